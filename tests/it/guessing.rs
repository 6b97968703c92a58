//! Guessing passwords: few guesses get through, and the owners still log in. What it costs others is
//! measured by `cargo bench --bench guessing`.

use crate::outage::processes::{Serving, System};
use futures::StreamExt;
use offers::identity::TRIES_PER_NAME;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const ACCOUNTS: usize = 3;
const TRIES_PER_ACCOUNT: usize = 50;
/// Guesses under way at once.
const GUESSERS: usize = 16;

/// One person's door to the service.
struct Door {
    client: Client,
    url: String,
}

impl Door {
    /// From the address 127.0.0.`last`.
    fn at(system: &System, last: u8) -> Self {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        Self {
            client: offers::tls::http_client().local_address(address).build().unwrap(),
            url: system.url.clone(),
        }
    }

    async fn log_in(&self, username: &str, password: &str) -> (StatusCode, Value) {
        let body = json!({"username": username, "password": password});
        let request = self.client.post(format!("{}/api/v1/auth/login/", self.url)).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn token(&self, username: &str) -> String {
        let (status, grant) = self.log_in(username, &format!("{username}-demo")).await;
        assert_eq!(status, StatusCode::OK);
        grant["access"].as_str().unwrap().to_owned()
    }

    async fn create(&self, admin: &str, username: &str) {
        let body = json!({"username": username, "password": password_of(username),
            "email": format!("{username}@example.com")});
        let request = self.client.post(format!("{}/api/v1/admin/users/", self.url)).bearer_auth(admin);
        assert_eq!(request.json(&body).send().await.unwrap().status(), StatusCode::CREATED);
    }

    /// How many of the guesses at `username` were compared with the password.
    async fn guess(&self, username: &str) -> usize {
        let tries = futures::stream::iter(0..TRIES_PER_ACCOUNT);
        let answers = tries.map(|_| self.log_in(username, "a guess that is wrong"));
        let answers = answers.buffer_unordered(GUESSERS).map(|(status, _)| status.as_u16());
        let answers: Vec<u16> = answers.collect().await;
        assert!(answers.iter().all(|status| [401, 429].contains(status)), "{answers:?}");
        answers.iter().filter(|status| **status == 401).count()
    }
}

fn password_of(username: &str) -> String {
    format!("the secret of {username}")
}

#[tokio::test(flavor = "multi_thread")]
async fn few_guesses_get_through_and_the_owners_still_log_in() {
    // The throttle of logins alone, as under ./dev.
    let environment = vec![("OFFERS_RATE_LIMIT_LOGIN", "off".to_owned())];
    let system = System::start_with(&[], Serving { environment, log: None }).await;
    let (admin, guesser, home) = (Door::at(&system, 3), Door::at(&system, 100), Door::at(&system, 2));
    let token = admin.token("admin").await;
    for number in 0..ACCOUNTS {
        let name = format!("owner-{number}");
        admin.create(&token, &name).await;
        let password = password_of(&name);
        let (guessed, (status, _)) = tokio::join!(guesser.guess(&name), home.log_in(&name, &password));
        assert_eq!(status, StatusCode::OK, "{name} logs in");
        // And those that were being compared when the tenth failed: one turn for every four cores.
        let turns = (std::thread::available_parallelism().unwrap().get() / 4).max(1);
        let most = TRIES_PER_NAME + turns;
        assert!((TRIES_PER_NAME..=most).contains(&guessed), "{guessed} guesses got through");
    }
}
