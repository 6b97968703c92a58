//! One shape for every error there is, and what holds for every response.

use crate::support::eventually::{DEADLINE, eventually};
use crate::support::service::{Reply, Service, Setting, send};
use crate::support::stack::{Sandbox, Stack};
use crate::support::tcp::Tunnel;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::Uuid;

#[tokio::test]
async fn what_does_not_exist_is_a_problem() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    for path in ["/api", "/api/v1", "/api/v1/nothing/", "/api/v1/account/nothing", "/api/v1//offers"] {
        let reply = send(service.anonymous(Method::GET, path)).await;
        reply.is(404, "not_found");
        assert_eq!(reply.json()["instance"], path);
    }
    for path in ["//api/v1/offers/", "/nowhere//", "//livez"] {
        service_at(&service, path).await.is(404, "not_found");
    }
    let drf = service.anonymous(Method::GET, "/api/v1/offers/").header("Authorization", "Token abc");
    let drf = send(drf).await;
    drf.is(401, "not_authenticated");
    assert!(drf.text.contains("Authorization: Bearer"), "{}", drf.text);
    let reply = send(service.request(&alice, Method::DELETE, "/offers/")).await;
    reply.is(405, "method_not_allowed");
    assert_eq!(reply.headers["allow"], "GET,HEAD");
    let reply = send(service.request(&alice, Method::PUT, "/activation")).await;
    reply.is(405, "method_not_allowed");
    assert_eq!(reply.headers["allow"], "POST");
}

async fn service_at(service: &Service, path: &str) -> Reply {
    send(service.anonymous(Method::GET, path)).await
}

#[tokio::test]
async fn a_trailing_slash_means_nothing_and_nobody_is_redirected() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 500).await;
    for path in ["/activation", "/activation/"] {
        assert_eq!(service.post(&alice, path, &json!({"offer_id": offer})).await.status, 202, "{path}");
    }
    for path in ["/account", "/account/", "/offers", "/offers/", "/offers?limit=1", "/offers/?limit=1"] {
        assert_eq!(service.get(&alice, path).await.status, 200, "{path}");
    }
    for path in ["/livez", "/livez/", "/readyz", "/metrics"] {
        assert_eq!(send(service.anonymous(Method::GET, path)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_body_is_one_json_object_that_says_so() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = service.request(&alice, Method::POST, "/activation/");
        send(request.header("content-type", content_type).body(body))
    };
    for body in ["", "{", "[]", "null", "7", "\"a\"", "{\"offer_id\":", "{}x", "{\"a\":\u{1}}"] {
        post("application/json", body.into()).await.is(400, "invalid_json");
    }
    post("application/json", b"{\"offer_id\":\"\xff\"}".to_vec()).await.is(400, "invalid_json");
    post("application/json", format!("{{\"a\":{}}}", "[".repeat(20_000)).into())
        .await
        .is(400, "invalid_json");
    post("text/plain", b"{}".to_vec()).await.is(415, "unsupported_media_type");
    post("application/x-www-form-urlencoded", b"offer_id=1".to_vec()).await.is(415, "unsupported_media_type");
    let untyped = service.request(&alice, Method::POST, "/activation/").body("{}");
    send(untyped).await.is(415, "unsupported_media_type");
    let gzip = service.request(&alice, Method::POST, "/activation/").header("content-encoding", "gzip");
    let gzip = send(gzip.json(&json!({}))).await;
    gzip.is(415, "unsupported_media_type");
    assert_eq!(gzip.headers["accept-encoding"], "identity");
    let padded = |length: usize| format!("{{\"offer_id\":7{}}}", " ".repeat(length - 14)).into();
    post("application/json", padded(64 * 1024)).await.is(400, "invalid_request");
    post("application/json", padded(64 * 1024 + 1)).await.is(413, "body_too_large");
    post("application/json", padded(5_000_000)).await.is(413, "body_too_large");
    let twice = format!("{{\"offer_id\":\"{0}\",\"offer_id\":\"{0}\"}}", Uuid::nil());
    let reply = post("application/json; charset=utf-8", twice.into()).await;
    reply.is(400, "invalid_request");
    assert_eq!(reply.fields(), ["offer_id"]);
}

#[tokio::test]
async fn wrong_parameters_and_cursors_are_reported() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        "limit=1.0",
        "limit=99999999999999999999",
    ] {
        let reply = service.get(&alice, &format!("/account/transactions/?{query}")).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["limit"], "{query}");
    }
    let reply = service.get(&alice, "/account/transactions/?status=DONE&kind=gift&limit=x").await;
    assert_eq!(reply.fields(), ["limit", "status", "kind"]);
    for cursor in ["x", "!!", "MXxvZmZlcnN8MQ", "MXx0cmFuc2FjdGlvbnN8eA"] {
        let path = format!("/account/transactions/?cursor={cursor}");
        service.get(&alice, &path).await.is(400, "invalid_cursor");
    }
    assert_eq!(service.get(&alice, "/account/transactions/?unknown=1&limit=200&status=").await.status, 200);
    let cursor_of = |key: &str| URL_SAFE_NO_PAD.encode(key);
    service
        .get(&alice, &format!("/offers/?cursor={}", cursor_of(&format!("1|offers|{}|a\0", Uuid::nil()))))
        .await
        .is(400, "invalid_cursor");
    let admin = service.admin().await;
    for (path, kind) in [("users", "users"), ("partners", "partners"), ("parked", "parked")] {
        for time in [i64::MIN, -8_000_000_000_000_000_000, 8_000_000_000_000_000_000, i64::MAX] {
            let cursor = cursor_of(&format!("1|{kind}|{time}|{}", Uuid::nil()));
            service.get(&admin, &format!("/admin/{path}/?cursor={cursor}")).await.is(400, "invalid_cursor");
        }
    }
    for path in ["/offers/7/", "/activation/status/x", "/account/transactions/%00/", "/offers/%ff"] {
        service.get(&alice, path).await.is(400, "malformed_id");
    }
}

#[tokio::test]
async fn every_response_has_the_callers_request_id_or_a_fresh_one() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let with = |id: String| send(service.request(&alice, Method::GET, "/offers/").header("X-Request-Id", id));
    assert_eq!(with("my-id-1".into()).await.headers["x-request-id"], "my-id-1");
    assert_eq!(with("x".repeat(128)).await.headers["x-request-id"], "x".repeat(128));
    for unfit in [String::new(), "a b".into(), "x".repeat(129)] {
        let reply = with(unfit.clone()).await;
        let given = reply.headers["x-request-id"].to_str().unwrap();
        assert!(given.parse::<Uuid>().is_ok(), "{unfit:?} became {given:?}");
    }
    let missing = service.anonymous(Method::GET, "/nothing").header("X-Request-Id", "mine");
    let reply = send(missing).await;
    assert_eq!(reply.json()["request_id"], "mine");
}

#[tokio::test]
async fn without_postgresql_nothing_is_accepted() {
    let sandbox = Stack::get().await.sandbox().await;
    let mut database: Url = sandbox.database_url.parse().unwrap();
    let tunnel = Tunnel::to(format!("127.0.0.1:{}", database.port().unwrap())).await;
    database.set_port(Some(tunnel.port)).unwrap();
    let setting = Setting { database_url: Some(database.to_string()), projects: false, ..Setting::default() };
    let service = Service::start_in(&sandbox, setting).await;
    drop(tunnel);
    let login = service.anonymous(Method::POST, "/api/v1/auth/login/");
    let reply = send(login.json(&json!({"username": "alice", "password": "secret"}))).await;
    reply.is(503, "unavailable");
    assert!(reply.headers.contains_key("retry-after"));
    let ready = send(service.anonymous(Method::GET, "/readyz")).await;
    ready.is(503, "unavailable");
    assert!(ready.json()["detail"].as_str().unwrap().contains("PostgreSQL"));
    assert_eq!(ready.json()["parts"]["redis"], "ok");
    assert_ne!(ready.json()["parts"]["postgresql"], "ok");
    assert_eq!(send(service.anonymous(Method::GET, "/livez")).await.status, 200);
}

#[tokio::test]
async fn without_redis_the_service_is_degraded_and_serves() {
    let setting = Setting { redis_url: Some("redis://127.0.0.1:1/0".into()), ..Setting::default() };
    let service = Service::start_with(setting).await;
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 500).await;
    let accepted = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    assert_eq!(accepted.status, 202);
    let path = format!("/activation/status/{}/", accepted.id("transaction_id"));
    assert_eq!(service.get(&alice, &path).await.json()["status"], "PENDING");
    let ready = send(service.anonymous(Method::GET, "/readyz")).await;
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (200, &json!("degraded")));
    assert_ne!(ready.json()["parts"]["redis"], "ok");
}

#[tokio::test]
async fn without_nats_the_service_is_degraded_and_serves() {
    let setting = Setting { nats_url: Some("nats://127.0.0.1:1".into()), ..Setting::default() };
    let service = Service::start_with(setting).await;
    let ready = async || send(service.anonymous(Method::GET, "/readyz")).await;
    eventually("degraded", async || ready().await.json()["status"] == "degraded").await;
    let shown = ready().await;
    assert_eq!(shown.status, 200);
    assert_ne!(shown.json()["parts"]["nats"], "ok");
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 500).await;
    assert_eq!(service.post(&alice, "/activation/", &json!({"offer_id": offer})).await.status, 202);
}

/// Ends the writer's connection, so that the next one has the database's settings.
async fn reconnect_the_writer(sandbox: &Sandbox) {
    let mut service = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let query = "select pg_terminate_backend(pid) from pg_stat_activity \
                 where application_name = 'offers writer' and datname = current_database()";
    sqlx::query(query).execute(&mut service).await.unwrap();
}

#[tokio::test]
async fn while_postgresql_cannot_write_the_service_is_not_ready_and_says_why() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 500).await;
    let ready = async || send(service.anonymous(Method::GET, "/readyz")).await;
    let activate = async || service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut owner).await.unwrap();
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    sqlx::query(&read_only).execute(&mut owner).await.unwrap();
    reconnect_the_writer(&sandbox).await;
    activate().await.is(503, "unavailable");
    let shown = ready().await;
    shown.is(503, "unavailable");
    let why = shown.json()["parts"]["postgresql"].as_str().unwrap().to_owned();
    assert!(why.contains("read-only"), "{why}");
    let mut watch = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let mut rolled_back = async || -> i64 {
        let query = "select xact_rollback from pg_stat_database where datname = current_database()";
        sqlx::query_scalar(query).fetch_one(&mut watch).await.unwrap()
    };
    let before = rolled_back().await;
    eventually("the writer has tried by itself", async || rolled_back().await > before + 1).await;
    ready().await.is(503, "unavailable"); // and found that it still cannot

    let reset = format!("alter database {name} reset default_transaction_read_only");
    sqlx::query(&reset).execute(&mut owner).await.unwrap();
    reconnect_the_writer(&sandbox).await;
    eventually("ready, without a request that writes", async || ready().await.status == 200).await;
    assert_eq!(activate().await.status, 202);
}

#[tokio::test]
async fn a_sink_that_keeps_restarting_is_named() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let ready = async || send(service.anonymous(Method::GET, "/readyz")).await;
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    sqlx::query("alter table read.statement rename column amount to hidden")
        .execute(&mut owner)
        .await
        .unwrap();
    service.rich("alice").await;
    let named = async || {
        let shown = ready().await;
        let notes = shown.json()["notes"].to_string();
        shown.status == 200
            && shown.json()["status"] == "degraded"
            && notes.contains("read_tables keeps restarting")
    };
    eventually("named", named).await;
    sqlx::query("alter table read.statement rename column hidden to amount")
        .execute(&mut owner)
        .await
        .unwrap();
    eventually("not named any more", async || ready().await.json()["notes"].is_null()).await;
}

#[tokio::test]
async fn with_everything_there_the_service_is_ready() {
    let service = Service::start().await;
    let ready = async || send(service.anonymous(Method::GET, "/readyz")).await;
    eventually("ok", async || ready().await.json()["status"] == "ok").await;
    let parts = json!({"postgresql": "ok", "redis": "ok", "nats": "ok"});
    assert_eq!(ready().await.json(), json!({"status": "ok", "parts": parts}));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let service = Service::start().await;
    let mut connection = TcpStream::connect(service.url.strip_prefix("http://").unwrap()).await.unwrap();
    for _ in 0..2 {
        connection.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let length = connection.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent_or_after_all_of_it() {
    let service = Service::start().await;
    let address = service.url.strip_prefix("http://").unwrap().to_owned();
    let head = "POST /api/v1/auth/login/ HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let asking = format!("{head}content-length: 65537\r\nexpect: 100-continue\r\n\r\n");
    connection.write_all(asking.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = connection.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    let large = vec![b' '; 20_000_000];
    let request = service.anonymous(Method::POST, "/api/v1/auth/login/");
    send(request.header("content-type", "application/json").body(large)).await.is(413, "body_too_large");
}

#[tokio::test]
async fn a_stopped_service_finishes_what_it_has_begun() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let address = service.url.strip_prefix("http://").unwrap().to_owned();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let token = &alice.token;
    let head = format!(
        "POST /api/v1/activation/ HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    connection.read_exact(&mut go_on).await.unwrap(); // somebody waits for the body
    let stopping = tokio::spawn(service.stop());
    eventually("nobody listens any more", async || TcpStream::connect(&address).await.is_err()).await;
    connection.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn the_metrics_are_for_prometheus() {
    let service = Service::start().await;
    let reply = send(service.anonymous(Method::GET, "/metrics")).await;
    assert!(reply.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert!(reply.text.contains("# TYPE activation_requests_total counter"), "{}", reply.text);
}

#[tokio::test]
async fn with_an_address_of_their_own_the_metrics_are_not_on_the_public_port() {
    let metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    let service = Service::start_with(Setting { metrics_listen, ..Setting::default() }).await;
    for path in ["/metrics", "/metrics/"] {
        // The document describes the usual service.
        assert_eq!(service.anonymous(Method::GET, path).send().await.unwrap().status(), 404);
    }
    assert_eq!(send(service.anonymous(Method::GET, "/readyz")).await.status, 200);
}

#[tokio::test]
async fn the_health_answer_is_shared_for_a_second_and_no_longer() {
    let service = Service::start().await;
    let health = &service.app.health;
    let begun = Instant::now();
    let first = health.latest().await;
    let mut answers = 0;
    while Arc::ptr_eq(&first, &health.latest().await) {
        answers += 1;
        assert!(begun.elapsed() < DEADLINE, "it is never asked again");
        sleep(Duration::from_millis(5)).await;
    }
    let age = begun.elapsed();
    assert!(age >= Duration::from_secs(1) && age < Duration::from_secs(10), "{answers} answers in {age:?}");
}
