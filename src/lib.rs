//! How it runs: one binary, its roles chosen by flag.

pub mod app;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod devstack;
pub mod event_log;
pub mod external;
pub mod http;
pub mod identity;
pub mod migrations;
pub mod processors;
pub mod projectors;
pub mod simulator;
pub mod telemetry;
