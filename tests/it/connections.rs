//! What becomes of a connection whose request was refused, was no HTTP, or was never finished.

use crate::support::service::{Service, Setting, send};
use crate::support::stack::Stack;
use crate::support::tcp::Tunnel;
use futures::future::join_all;
use offers::config::{Protection, RateLimit};
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, timeout};
use url::Url;

/// The sizes of refused bodies, in bytes: below what is read, below and above what is dropped to keep the
/// connection.
const BODIES: [usize; 3] = [100, 60_000, 3_000_000];
/// Less than the 30 s after which a connection without a request is closed.
const BEFORE_IDLE_ENDS: Duration = Duration::from_secs(20);

/// Requests that are refused: `[name, method, path, headers, status]`.
async fn refused(service: &Service) -> Vec<Value> {
    let alice = service.person("alice", &["user"]).await;
    let bearer = format!("Bearer {}", alice.token);
    let typed =
        |authorization: &str| json!({"Authorization": authorization, "Content-Type": "application/json"});
    let (stranger, alice) = (typed("Bearer expired"), typed(&bearer));
    let untyped = json!({"Authorization": bearer, "Content-Type": "text/plain"});
    vec![
        json!(["401", "POST", "/api/v1/activation/", stranger, 401]),
        json!(["403", "POST", "/api/v1/admin/offers/", alice, 403]),
        json!(["404", "POST", "/api/v1/nothing/", alice, 404]),
        json!(["405", "PUT", "/api/v1/activation/", alice, 405]),
        json!(["a GET with a body", "GET", "/api/v1/account/", alice, 200]),
    ]
    .into_iter()
    .chain([json!(["415", "POST", "/api/v1/activation/", untyped, 415])])
    .collect()
}

/// A service that has lost its database, and a request that it cannot judge.
async fn without_database() -> (Service, Value) {
    let sandbox = Stack::get().await.sandbox().await;
    let mut database = Url::parse(&sandbox.database_url).unwrap();
    let tunnel = Tunnel::to(format!("127.0.0.1:{}", database.port().unwrap())).await;
    database.set_port(Some(tunnel.port)).unwrap();
    let database_url = Some(database.to_string());
    let setting = Setting { database_url, projects: false, ..Setting::default() };
    let service = Service::start_in(&sandbox, setting).await;
    let key = format!("ApiKey ofk_{}_{}", "0".repeat(32), "a".repeat(43));
    let key = json!({"Authorization": key, "Content-Type": "application/json"});
    (service, json!(["503", "POST", "/api/v1/partner/activate/", key, 503]))
}

/// A connection that speaks HTTP by hand.
struct Wire(BufStream<TcpStream>);

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Wire {
    async fn to(service: &Service) -> Self {
        let stream = TcpStream::connect(service.url.strip_prefix("http://").unwrap()).await.unwrap();
        Self(BufStream::new(stream))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn answer(&mut self) -> Answer {
        let first = self.line().await;
        let status = first.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {first:?}"));
        let mut answer = Answer { status: status.parse().unwrap(), headers: Vec::new(), body: String::new() };
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else { break };
            answer.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut body = vec![0; answer.header("content-length").map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }
}

fn head(case: &Value, length: usize) -> String {
    let (method, path) = (case[1].as_str().unwrap(), case[2].as_str().unwrap());
    let headers = case[3].as_object().unwrap().iter();
    let lines: String =
        headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {length}\r\n\r\n")
}

/// Sends a refused request with each body, at once and after its head, and then another request.
async fn survive(service: &Service, case: &Value) {
    for size in BODIES {
        for pause_ms in [0, 10] {
            let mut wire = Wire::to(service).await;
            wire.send(head(case, size).as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(pause_ms)).await; // the client's own pause
            wire.send(&vec![b' '; size]).await;
            let answer = wire.answer().await;
            assert_eq!(json!(answer.status), case[4], "{case} with {size} bytes: {answer:?}");
            assert!(answer.closes() || size < 1_000_000, "a small body costs no connection: {case}");
            if !answer.closes() {
                wire.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
                assert_eq!(wire.answer().await.status, 200, "after {case} with {size} bytes");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_read_and_the_connection_serves_on_or_says_that_it_does_not() {
    let service = Service::start().await;
    for case in refused(&service).await {
        survive(&service, &case).await;
    }
    let typed = json!({"Content-Type": "application/json"});
    let mut wire = Wire::to(&service).await;
    wire.send(head(&json!(["413", "POST", "/api/v1/auth/login/", typed, 413]), 3_000_000).as_bytes()).await;
    wire.send(&vec![b' '; 3_000_000]).await;
    let answer = wire.answer().await;
    assert!(answer.status == 413 && answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_for_too_many_requests_leaves_the_connection_usable() {
    let once = RateLimit::of(1, Duration::from_secs(3600));
    let protection = Protection { rate_limit_login: once, ..Protection::default() };
    let service = Service::start_with(Setting { protection, ..Setting::default() }).await;
    let login = service.anonymous(Method::POST, "/api/v1/auth/login/");
    send(login.json(&json!({"username": "alice", "password": "wrong password"})))
        .await
        .is(401, "invalid_credentials");
    let typed = json!({"Content-Type": "application/json"});
    survive(&service, &json!(["429", "POST", "/api/v1/auth/login/", typed, 429])).await;
}

#[tokio::test]
async fn a_refusal_without_a_database_leaves_the_connection_usable() {
    let (service, unavailable) = without_database().await;
    survive(&service, &unavailable).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_the_clients_fault() {
    let service = Service::start().await;
    let mut wire = Wire::to(&service).await;
    let typed = json!({"Content-Type": "application/json"});
    wire.send(head(&json!(["408", "POST", "/api/v1/auth/login/", typed, 408]), 100).as_bytes()).await;
    wire.send(b"{\"user").await;
    let answer = wire.answer().await;
    assert!(answer.status == 408 && answer.closes(), "{answer:?}");
    assert!(answer.body.contains("\"request_timeout\""), "{answer:?}");
}

#[tokio::test]
async fn what_is_not_http_is_answered_as_every_other_error() {
    let service = Service::start().await;
    let long = "x".repeat(70_000);
    for (request, status) in [
        ("GET /livez\r\n\r\n".to_owned(), 400),
        ("G@T /livez HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        (format!("GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(1_000_000)), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("GET /livez HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
    ] {
        let mut wire = Wire::to(&service).await;
        wire.send(request.as_bytes()).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
        assert_eq!(body["code"], "invalid_request");
        assert_eq!(
            (body["status"].as_u64(), body["request_id"].as_str()),
            (Some(status.into()), answer.header("x-request-id"))
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_others_are_served() {
    let most = NonZeroU32::new(20);
    let protection = Protection { connections_per_address: most, ..Protection::default() };
    let service = Service::start_with(Setting { protection, ..Setting::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(Wire::to(&service).await);
    }
    let server: SocketAddr = service.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Wire(BufStream::new(socket.connect(server).await.unwrap()));
    let begun = Instant::now();
    other.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(other.answer().await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for refused in idle.iter_mut().skip(20) {
        let read = timeout(BEFORE_IDLE_ENDS, refused.0.read(&mut [0; 1])).await;
        let read = read.expect("it is refused, and not only closed as every idle one is");
        assert!(matches!(read, Ok(0) | Err(_)), "the 21st is closed: {read:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_never_read_is_given_up() {
    let service = Service::start().await;
    let mut wire = Wire::to(&service).await;
    let pipelined = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    wire.send(&pipelined).await;
    let client = wire.0.get_ref().local_addr().unwrap();
    let held = async || {
        std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(|line| {
            let remote = line.split_whitespace().nth(2).unwrap_or_default();
            remote.ends_with(&format!(":{:04X}", client.port())) // in whatever state: the kernel holds it
        })
    };
    assert!(held().await);
    let deadline = Instant::now() + Duration::from_secs(60);
    while held().await {
        assert!(Instant::now() < deadline, "it is still held");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Runs a script with the service's URL and the refused requests; says so where its language is missing.
async fn run(language: &str, script: &str) {
    let there = Command::new(language).arg("--version").stdout(Stdio::null()).status().await;
    if !there.is_ok_and(|status| status.success()) {
        println!("skipped: {language} is not installed");
        return;
    }
    let service = Service::start().await;
    let stalls = json!(["408", "POST", "/api/v1/auth/login/", {"Content-Type": "application/json"}, 408]);
    let cases: Vec<_> = refused(&service).await.into_iter().chain([stalls]).collect();
    let (without_database, unavailable) = without_database().await;
    let both = [(service, cases), (without_database, vec![unavailable])].map(async |(service, cases)| {
        let script = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
        let cases = json!(cases).to_string();
        let output = Command::new(language).args([&script, &service.url, &cases]).output().await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        println!("{text}");
        assert!(output.status.success(), "{text}");
    });
    join_all(both).await;
}

#[tokio::test]
async fn pythons_clients_survive_refusals() {
    run("python3", "refusals.py").await;
}

#[tokio::test]
async fn nodes_client_survives_refusals() {
    run("node", "refusals.js").await;
}
