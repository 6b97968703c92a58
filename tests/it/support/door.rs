//! One person's door to a service: logs in, creates users, guesses passwords.

use futures::StreamExt;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const TRIES_PER_ACCOUNT: usize = 50;
/// Guesses under way at once.
const GUESSERS: usize = 16;

pub struct Door {
    pub client: Client,
    pub url: String,
}

impl Door {
    /// To the service at `url`, from the address 127.0.0.`last`.
    pub fn at(url: &str, last: u8) -> Self {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let client = offers::tls::http_client().local_address(address).build().unwrap();
        Self { client, url: url.to_owned() }
    }

    pub async fn log_in(&self, username: &str, password: &str) -> (StatusCode, Value) {
        let body = json!({"username": username, "password": password});
        let request = self.client.post(format!("{}/api/v1/auth/login/", self.url)).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub async fn token(&self, username: &str) -> String {
        let (status, grant) = self.log_in(username, &format!("{username}-demo")).await;
        assert_eq!(status, StatusCode::OK);
        grant["access"].as_str().unwrap().to_owned()
    }

    /// Creates a user and returns its path.
    pub async fn create(&self, admin: &str, username: &str) -> String {
        let body = json!({"username": username, "password": password_of(username),
            "email": format!("{username}@example.com")});
        let request = self.client.post(format!("{}/api/v1/admin/users/", self.url)).bearer_auth(admin);
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let user: Value = answer.json().await.unwrap();
        format!("/api/v1/admin/users/{}/", user["id"].as_str().unwrap())
    }

    /// How many of the guesses at `username` were compared with the password.
    pub async fn guess(&self, username: &str) -> usize {
        let tries = futures::stream::iter(0..TRIES_PER_ACCOUNT);
        let answers = tries.map(|_| self.log_in(username, "a guess that is wrong"));
        let answers = answers.buffer_unordered(GUESSERS).map(|(status, _)| status.as_u16());
        let answers: Vec<u16> = answers.collect().await;
        assert!(answers.iter().all(|status| [401, 429].contains(status)), "{answers:?}");
        answers.iter().filter(|status| **status == 401).count()
    }
}

pub fn password_of(username: &str) -> String {
    format!("the secret of {username}")
}
