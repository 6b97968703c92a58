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

async fn change_password(service: &Service, token: &str, old: &str, new: &str) -> Reply {
    let request = service.anonymous(Method::POST, "/api/v1/auth/password/").bearer_auth(token);
    send(request.json(&json!({"old_password": old, "new_password": new}))).await
}

async fn sessions(service: &Service, token: &str) -> Vec<Value> {
    let request = service.anonymous(Method::GET, "/api/v1/auth/sessions/").bearer_auth(token);
    send(request).await.json()["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_new_password_ends_every_session_but_the_one_that_set_it() {
    const NEW: &str = "another long passphrase";
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    let [here, elsewhere] = [(); 2].map(|()| login(&service, "alice", PASSWORD));
    let (here, elsewhere) = (here.await.json(), elsewhere.await.json());
    let token = here["access"].as_str().unwrap();
    let changed = change_password(&service, token, PASSWORD, NEW).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["message"], "Password changed");
    assert_eq!(profile(&service, token).await.status, 200);
    profile(&service, elsewhere["access"].as_str().unwrap()).await.is(401, "token_invalid");
    refresh(&service, &elsewhere["refresh"]).await.is(401, "token_invalid");
    assert_eq!(refresh(&service, &here["refresh"]).await.status, 200);
    login(&service, "alice", PASSWORD).await.is(401, "invalid_credentials");
    assert_eq!(login(&service, "alice", NEW).await.status, 200);
}

#[tokio::test]
async fn a_wrong_old_password_and_an_unfit_new_one_change_nothing() {
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    let grant = login(&service, "alice", PASSWORD).await.json();
    let token = grant["access"].as_str().unwrap();
    for (old, new, field) in [
        ("not the password", "another long passphrase", "old_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, "password", "new_password"),
        (PASSWORD, "alice@example.com", "new_password"),
    ] {
        let refused = change_password(&service, token, old, new).await;
        refused.is(400, "invalid_request");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{new}");
    }
    assert_eq!(login(&service, "alice", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn guessing_the_old_password_is_throttled_as_logins_are() {
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    let grant = login(&service, "alice", PASSWORD).await.json();
    let token = grant["access"].as_str().unwrap();
    for _ in 0..10 {
        change_password(&service, token, "not the password", "another long passphrase")
            .await
            .is(400, "invalid_request");
    }
    let refused = change_password(&service, token, PASSWORD, "another long passphrase").await;
    refused.is(429, "rate_limited");
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_user_sees_and_ends_the_own_sessions_alone() {
    let service = Service::start().await;
    service.person("alice", &["user"]).await;
    service.person("bob", &["user"]).await;
    let phone = login(&service, "alice", PASSWORD).await.json();
    let laptop = login(&service, "alice", PASSWORD).await.json();
    let bob = login(&service, "bob", PASSWORD).await.json();
    let token = laptop["access"].as_str().unwrap();
    let seen = sessions(&service, token).await;
    let current: Vec<_> = seen.iter().map(|session| session["is_current"].as_bool().unwrap()).collect();
    assert_eq!(current, [true, false, false], "newest first, the person's own last: {seen:?}");
    assert_eq!(seen[0]["address"], "127.0.0.1");
    let members: Vec<_> = seen[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.join(" "), "id created_at last_used_at address is_current");

    let bobs = sessions(&service, bob["access"].as_str().unwrap()).await;
    let end = async |id: &Value| {
        let path = format!("/api/v1/auth/sessions/{}/", id.as_str().unwrap());
        send(service.anonymous(Method::DELETE, &path).bearer_auth(token)).await
    };
    end(&bobs[0]["id"]).await.is(404, "session_not_found");
    assert_eq!(end(&seen[1]["id"]).await.status, 204);
    end(&seen[1]["id"]).await.is(404, "session_not_found");
    profile(&service, phone["access"].as_str().unwrap()).await.is(401, "token_invalid");
    assert_eq!(sessions(&service, token).await.len(), 2);
    assert_eq!(profile(&service, bob["access"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn an_administrator_sees_and_ends_the_sessions_of_a_user() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    let admin = service.admin().await;
    let grant = login(&service, "alice", PASSWORD).await.json();
    let path = format!("/admin/users/{}/sessions/", alice.id);
    let listed = service.get(&admin, &path).await.json();
    assert_eq!(listed["results"].as_array().unwrap().len(), 1 + 1, "{listed}"); // the person's own, and this one
    let ended = send(service.request(&admin, Method::DELETE, &path)).await;
    assert_eq!(ended.status, 204);
    profile(&service, grant["access"].as_str().unwrap()).await.is(401, "token_invalid");
    assert_eq!(service.get(&admin, &path).await.json()["results"], json!([]));
    let nobody = format!("/admin/users/{}/sessions/", uuid::Uuid::now_v7());
    send(service.request(&admin, Method::DELETE, &nobody)).await.is(404, "user_not_found");
}
