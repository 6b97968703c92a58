//! Systems that sell for people, and the answers that they get.

mod activate;
mod admin;
mod alone;
mod by_name;
mod callback_url;
mod callbacks;
mod demo;
mod example;
mod listen;
mod repeats;
mod validate;

use crate::support::service::{Person, Reply, Service, Shop, send};
use reqwest::Method;
use serde_json::{Value, json};

/// What a partner sends for a purchase at 10.00.
fn wish(user: &Person, offer: domain::OfferId) -> Value {
    json!({"user_id": user.id, "offer_id": offer, "amount": "10.00"})
}

/// `body` with one member more, or another one.
fn with(body: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut body = body.clone();
    body[member] = value.into();
    body
}

async fn activate(service: &Service, shop: &Shop, body: &Value) -> Reply {
    send(service.request_by(shop, Method::POST, "/partner/activate/").json(body)).await
}

async fn get(service: &Service, shop: &Shop, path: &str) -> Reply {
    send(service.request_by(shop, Method::GET, path)).await
}

async fn float(service: &Service, shop: &Shop) -> String {
    get(service, shop, "/partner/balance/").await.json()["balance"].as_str().unwrap().to_owned()
}

fn is_replayed(reply: &Reply) -> bool {
    reply.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}
