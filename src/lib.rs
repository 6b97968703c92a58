//! How it runs: one binary, its roles chosen by flag. The rooms, from the top floor down; who may import whom is
//! in docs/ARCHITECTURE.md.

pub mod cli;
pub mod devstack;
pub mod runtime;

pub mod http;

pub mod app;

pub mod processors;

pub mod notary;

pub mod bus;
pub mod external;
pub mod simulator;

pub mod event_log;
pub mod identity;
pub mod verify;

pub mod backoff;
pub mod clock;
pub mod config;
pub mod failpoint;
pub mod postgres;
pub mod telemetry;
pub mod tls;
pub mod tree;
