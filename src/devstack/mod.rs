//! Private PostgreSQL, Redis and NATS as child processes: `./dev`, the tests and the benches share it.
//!
//! All of it lies below one data directory: the servers' data, passwords, logs, pid files, and a lock that
//! says who uses it. Two directories know nothing of each other, and nothing here ever touches a server
//! that the system or anybody else runs.
//!
//! - [`Stack`] starts what is not given and stops it in order; its guard cleans up should it be killed.
//! - [`Installation`] is the whole system: a stack, the simulated activation system and the service.
//! - `service` keeps one child alive; `process` knows which process is ours and how to end it.
//! - `postgres`, `redis`, `nats` say how each server is started; `probe` when it is ready.

mod cleanup;
mod control;
mod data_dir;
mod demo;
pub mod demo_data;
mod environment;
mod error;
mod files;
mod installation;
mod nats;
mod ports;
mod postgres;
mod probe;
mod process;
mod programs;
mod reaper;
mod redis;
mod service;
mod stack;

pub use control::{Status, down, kill, reset, settle, status};
pub use demo::{Demo, Members, Partner, User};
pub use environment::Environment;
pub use error::Error;
pub use installation::{Installation, Plan, SERVICE_STOP, SIMULATOR_STOP};
pub use reaper::watch;
pub use stack::{Analyst, Given, Options, Stack, Urls};
