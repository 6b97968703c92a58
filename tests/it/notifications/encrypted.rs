//! Mail over TLS: with a server that proves who it is, and with nobody else.

use super::fixture::{MailFixture, send_all};
use super::mail_server::{MailServer, Protection};
use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::tls::certificate;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

/// A service that trusts the `authority` and sends to `url` what alice hears of a purchase.
async fn buy(url: &str, authority: &str) -> System {
    let trusted = std::env::temp_dir().join(format!("offers-mail-{}.pem", uuid::Uuid::now_v7()));
    std::fs::write(&trusted, authority).unwrap();
    let environment = vec![
        ("OFFERS_SMTP_URL", url.to_owned()),
        ("OFFERS_MAIL_FROM", "offers@shop.example".to_owned()),
        ("SSL_CERT_FILE", trusted.display().to_string()),
    ];
    let system = System::start_with(&[], Serving { environment, log: None }).await;
    let answer = http()
        .post(format!("{}/api/v1/activation/", system.url))
        .bearer_auth(system.log_in("alice").await)
        .json(&json!({"offer_id": system.members.offers[0]}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    system
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_and_password_go_encrypted_to_a_server_that_is_trusted() {
    let (acceptor, authority) = certificate();
    let login = BASE64_STANDARD.encode("\0offers\0hunter2");
    for (scheme, query, protection) in [
        ("smtps", "", Protection::Tls(acceptor.clone())),
        ("smtp", "?tls=required", Protection::StartTls(acceptor)),
    ] {
        let server = MailServer::protected(protection).await;
        let url = format!("{scheme}://offers:hunter2@{}{query}", server.address());
        let _system = buy(&url, &authority).await;
        eventually("the mail is there", async || server.received().len() == 1).await;
        assert_eq!(server.received()[0].to, "alice@example.com");
        assert_eq!(server.logins(), [format!("PLAIN {login}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_a_server_that_is_not_trusted_or_does_not_encrypt() {
    let (acceptor, _) = certificate();
    for (scheme, query, protection) in [
        ("smtps", "", Protection::Tls(acceptor.clone())),
        ("smtp", "?tls=required", Protection::StartTls(acceptor)),
        ("smtp", "?tls=required", Protection::None),
    ] {
        let server = MailServer::protected(protection).await;
        let url = format!("{scheme}://offers:hunter2@{}{query}", server.address());
        let fixture = MailFixture::at("2026-03-01T09:00:00Z".parse().unwrap(), &url).await;
        let sender = fixture.open().await;
        let alice = fixture.rich("alice").await;
        fixture.base.buy(alice, 30).await;
        fixture.until_noted(1).await;
        send_all(&[&sender]).await;
        assert!(server.connections() > 0 && server.received().is_empty() && server.logins().is_empty());
        assert_eq!(
            fixture.states().await,
            [("pending".to_owned(), 1)].into(),
            "it waits for a better server"
        );
    }
}
