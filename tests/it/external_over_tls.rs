//! The activation system over TLS: one whose certificate is trusted, and no other.

use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::tls::certificate;
use domain::transaction::Evidence;
use offers::external::{ActivationSystem, LookUp, Settings};
use offers::simulator::{self, Running};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// An activation system behind TLS.
struct Encrypted {
    url: String,
    /// Its certificate, as a file of authorities.
    authority: String,
    system: Running,
}

impl Encrypted {
    async fn start() -> Self {
        let system = simulator::start(simulator::Settings::default()).await.unwrap();
        let plain = system.url().trim_start_matches("http://").to_owned();
        let (acceptor, authority) = certificate();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (acceptor, plain) = (acceptor.clone(), plain.clone());
                tokio::spawn(async move {
                    let mut near = acceptor.accept(near).await?;
                    copy_bidirectional(&mut near, &mut TcpStream::connect(plain).await?).await
                });
            }
        });
        Self { url, authority, system }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_goes_over_tls_to_a_system_that_is_trusted() {
    let encrypted = Encrypted::start().await;
    let trusted = std::env::temp_dir().join(format!("offers-external-{}.pem", Uuid::now_v7()));
    std::fs::write(&trusted, &encrypted.authority).unwrap();
    let environment = vec![
        ("OFFERS_EXTERNAL_URL", encrypted.url.clone()),
        ("SSL_CERT_FILE", trusted.display().to_string()),
    ];
    let system = System::start_with(&[], Serving { environment, log: None }).await;
    let token = system.log_in("alice").await;
    let body = json!({"offer_id": system.members.offers[0]});
    let bought = http().post(format!("{}/api/v1/activation/", system.url)).bearer_auth(&token).json(&body);
    let bought: Value = bought.send().await.unwrap().json().await.unwrap();
    let id = bought["transaction_id"].as_str().unwrap().to_owned();
    eventually("it is activated", async || {
        let status = http().get(format!("{}/api/v1/activation/status/{id}/", system.url)).bearer_auth(&token);
        status.send().await.unwrap().json::<Value>().await.unwrap()["status"] == "SUCCESS"
    })
    .await;
    let seen = http().get(format!("{}/activations/{id}", encrypted.system.url())).send().await.unwrap();
    assert_eq!(seen.status(), 200);
    std::fs::remove_file(trusted).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_a_system_that_is_not_trusted() {
    let encrypted = Encrypted::start().await;
    let client = ActivationSystem::new(&Settings::new(&encrypted.url)).unwrap();
    let LookUp::Inconclusive(failure) = client.look_up(Uuid::now_v7(), None).await else {
        panic!("it was asked");
    };
    assert_eq!((failure.evidence, &*failure.detail), (Evidence::SentNoAnswer, "no connection"));
    let plain = ActivationSystem::new(&Settings::new(encrypted.system.url())).unwrap();
    assert_eq!(plain.look_up(Uuid::now_v7(), None).await, LookUp::NotSeen, "the system itself works");
}
