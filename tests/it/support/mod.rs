//! What the tests share: a stack of servers, the service on it, and people who call it.

pub mod config;
pub mod documented;
pub mod eventually;
pub mod nats_server;
pub mod python;
pub mod service;
pub mod stack;
pub mod tcp;

/// A client of its own: its connections end with the test's runtime.
pub fn http() -> reqwest::Client {
    offers::tls::http_client().build().unwrap()
}
