//! Integration tests: one binary, the real servers, one module a topic.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failed unwrap is a failed test; one crate, nothing outside it"
)]

mod bus;
mod devstack;
mod event_log;
mod eventually;
mod external;
mod identity;
mod import_rules;
mod load;
mod nats_server;
mod projections;
mod stack;
