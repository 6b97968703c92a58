//! What the tests share: a stack of servers, the service on it, and people who call it.

pub mod config;
pub mod documented;
pub mod door;
pub mod eventually;
pub mod guide;
pub mod languages;
pub mod nats_server;
pub mod service;
pub mod stack;
pub mod tcp;
pub mod tls;
pub mod up;

/// A client of its own: its connections end with the test's runtime.
pub fn http() -> reqwest::Client {
    offers::tls::http_client().build().unwrap()
}

/// A port of the loopback for a server that a test starts as a process. It lies below the range of outgoing
/// connections: a port of that range is often taken again before the server has it.
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(10_000..20_000)).take(1_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("one of a thousand ports is free")
}
