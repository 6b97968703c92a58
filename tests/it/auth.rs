//! Login, refresh, logout, profile.

use crate::support::service::{PASSWORD, Reply, Service, Setting, send};
use chrono::{Duration, Utc};
use offers::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

async fn login(service: &Service, username: &str, password: &str) -> Reply {
    let body = json!({"username": username, "password": password});
    send(service.anonymous(Method::POST, "/api/v1/auth/login/").json(&body)).await
}

async fn refresh(service: &Service, token: &Value) -> Reply {
    let request = service.anonymous(Method::POST, "/api/v1/auth/refresh/");
    send(request.json(&json!({"refresh": token}))).await
}

async fn profile(service: &Service, token: &str) -> Reply {
    send(service.anonymous(Method::GET, "/api/v1/auth/profile/").bearer_auth(token)).await
}

#[tokio::test]
async fn a_login_opens_the_profile() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    let grant = login(&service, "alice", PASSWORD).await;
    assert_eq!(grant.status, 200);
    assert_eq!(grant.headers["cache-control"], "no-store");
    let grant = grant.json();
    assert_eq!((&grant["token_type"], &grant["expires_in"]), (&json!("Bearer"), &json!(300)));
    let profile = profile(&service, grant["access"].as_str().unwrap()).await.json();
    assert_eq!(profile["id"], alice.id.to_string());
    assert_eq!(profile["username"], "alice");
    assert_eq!(profile["roles"], json!(["user"]));
    assert_eq!((&profile["is_active"], &profile["first_name"]), (&json!(true), &json!("")));
    let last_login = profile["last_login"].as_str().unwrap();
    assert!(last_login.ends_with('Z') && last_login.len() == "2026-11-22T08:30:00.123456Z".len());
    let members: Vec<_> = profile.as_object().unwrap().keys().cloned().collect();
    let expected = "id username email first_name last_name roles is_active date_joined last_login";
    assert_eq!(members.join(" "), expected);
}

#[tokio::test]
async fn whoever_cannot_log_in_learns_nothing_about_why() {
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    let wrong = login(&service, "alice", "wrong").await;
    let unknown = login(&service, "nobody", PASSWORD).await;
    for reply in [&wrong, &unknown] {
        reply.is(401, "invalid_credentials");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
    assert_eq!(wrong.json()["detail"], unknown.json()["detail"]);
}

#[tokio::test]
async fn ten_failures_close_the_door_for_a_while() {
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    for _ in 0..10 {
        login(&service, "alice", "wrong").await.is(401, "invalid_credentials");
    }
    let refused = login(&service, "alice", PASSWORD).await;
    refused.is(429, "rate_limited");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_login_needs_both_fields_as_text() {
    let service = Service::start().await;
    for (body, fields) in [
        (json!({}), vec!["username", "password"]),
        (json!({"username": "alice"}), vec!["password"]),
        (json!({"username": null, "password": 7}), vec!["username", "password"]),
        (json!({"username": "a\u{0}", "password": "a\u{7}b"}), vec!["username", "password"]),
    ] {
        let reply = send(service.anonymous(Method::POST, "/api/v1/auth/login/").json(&body)).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), fields, "{body}");
    }
}

#[tokio::test]
async fn a_refresh_token_rotates_and_an_old_one_ends_the_session() {
    let service =
        Service::start_with(Setting { clock: Clock::standing_at(Utc::now()), ..Setting::default() }).await;
    service.person("alice", &["user"]).await;
    let first = login(&service, "alice", PASSWORD).await.json();
    let second = refresh(&service, &first["refresh"]).await.json();
    assert_ne!(first["refresh"], second["refresh"]);
    let lost_answer = refresh(&service, &first["refresh"]).await.json();
    assert_eq!(lost_answer["refresh"], second["refresh"], "the same successor within ten seconds");
    service.app.clock.advance(Duration::seconds(11));
    refresh(&service, &first["refresh"]).await.is(401, "token_reused");
    let ended = refresh(&service, &second["refresh"]).await;
    assert_eq!(ended.status, 401);
    assert_eq!(ended.headers["www-authenticate"], "Bearer");
    profile(&service, second["access"].as_str().unwrap()).await.is(401, "token_invalid");
}

#[tokio::test]
async fn a_logged_out_session_is_over() {
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    let grant = login(&service, "alice", PASSWORD).await.json();
    let logout = |token: Value| {
        let request = service.anonymous(Method::POST, "/api/v1/auth/logout/");
        send(request.json(&json!({"refresh": token})))
    };
    let reply = logout(grant["refresh"].clone()).await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["message"].is_string());
    refresh(&service, &grant["refresh"]).await.is(401, "token_invalid");
    logout(json!("nonsense")).await.is(401, "token_invalid");
}

#[tokio::test]
async fn without_a_good_token_there_is_no_way_in() {
    let service =
        Service::start_with(Setting { clock: Clock::standing_at(Utc::now()), ..Setting::default() }).await;
    let alice = service.person("alice", &["user"]).await;
    let none = send(service.anonymous(Method::GET, "/api/v1/account/balance/")).await;
    none.is(401, "not_authenticated");
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    profile(&service, "nonsense").await.is(401, "token_invalid");
    let basic = service.anonymous(Method::GET, "/api/v1/auth/profile/").basic_auth("alice", Some(PASSWORD));
    send(basic).await.is(401, "not_authenticated");
    let twice = service.request(&alice, Method::GET, "/auth/profile/").bearer_auth(&alice.token);
    send(twice).await.is(401, "not_authenticated");
    service.app.clock.advance(Duration::minutes(6));
    profile(&service, &alice.token).await.is(401, "token_expired");
}
