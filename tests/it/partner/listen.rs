//! `offers listen`: a partner's callbacks on a developer's machine.

use crate::callbacks::receiver::Receiver;
use crate::support::eventually::eventually;
use crate::support::service::{Service, Shop, send};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use standardwebhooks::Webhook;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

async fn post(service: &Service, shop: &Shop, path: &str) -> Value {
    send(service.request_by(shop, Method::POST, path)).await.json()
}

fn listen(service: &Service, shop: &Shop, secret: &str, forward_to: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command
        .args(["--json", "listen", "--forward-to", forward_to, "--url", &service.url])
        .env_clear()
        .env("OFFERS_PARTNER_KEY", &shop.key)
        .env("OFFERS_PARTNER_SECRET", secret)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn new_callbacks_reach_the_developer_signed_and_once_more_when_they_are_sent_again() {
    let service = Service::start().await;
    let shop = service.shop_at("Shop", 0, Some("https://shop.example/hook")).await;
    let rotated = post(&service, &shop, "/partner/webhook-secret/").await;
    let secret = rotated["webhook_secret"].as_str().unwrap();
    let receiver = Receiver::answering(204).await;
    let mut listening = listen(&service, &shop, secret, &receiver.url).spawn().unwrap();
    let mut messages = BufReader::new(listening.stderr.take().unwrap()).lines();
    let mut posts = BufReader::new(listening.stdout.take().unwrap()).lines();
    let begun = messages.next_line().await.unwrap().unwrap();
    assert!(begun.starts_with("posting the new callbacks of Shop to "), "{begun}");

    let ping = post(&service, &shop, "/partner/callbacks/test/").await;
    eventually("the ping is posted", async || receiver.count() == 1).await;
    let request = receiver.requests().remove(0);
    Webhook::new(secret).unwrap().verify(request.body.as_bytes(), &request.head).unwrap();
    assert_eq!(request.json()["type"], "ping");
    let line: Value = serde_json::from_str(&posts.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!((&line["id"], &line["type"], &line["error"]), (&ping["id"], &"ping".into(), &Value::Null));
    assert_eq!(line["status"], 204);

    post(&service, &shop, &format!("/partner/callbacks/{}/resend/", ping["id"].as_str().unwrap())).await;
    eventually("it is posted again", async || receiver.count() == 2).await;
    let again = receiver.requests().remove(1);
    assert_eq!((again.id(), &again.body), (request.id(), &request.body));
    let pid = Pid::from_raw(i32::try_from(listening.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(listening.wait().await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn a_wrong_key_or_secret_is_told_at_once() {
    let service = Service::start().await;
    let shop = service.shop("Shop", 0).await;
    let stranger = Shop { key: "ofk_x".to_owned(), ..shop };
    for (secret, told) in
        [("whsec_b2xk", "the service refuses the key"), ("b2xk", "it must be a webhook secret")]
    {
        let refused = listen(&service, &stranger, secret, "http://127.0.0.1:1/").output().await.unwrap();
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(message.contains(told) && !message.contains("ofk_x"), "{message}");
        assert_eq!(refused.status.code(), Some(2));
    }
}
