//! What the tests share: a stack of servers, the service on it, and people who call it.

pub mod documented;
pub mod eventually;
pub mod nats_server;
pub mod python;
pub mod service;
pub mod stack;
