//! Private PostgreSQL, Redis and NATS as child processes, for `./dev`, the tests and the benches.
//!
//! Everything is below one data directory: the servers' data, passwords, logs, pid files, and a lock file with
//! the process that uses it. Data directories are independent of each other, and nothing here ever touches a
//! server that somebody else runs.
//!
//! - [`Stack`] starts the servers that are not external and stops them in order; if its process is killed,
//!   its reaper cleans up.
//! - [`Installation`] is the whole system: a stack, the simulated activation system and the service.
//! - `service` keeps one child alive; `process` identifies and ends our processes.
//! - `postgres`, `redis`, `nats` define how each server is started; `probe` checks that it is ready.

mod cleanup;
mod control;
mod data_dir;
mod demo;
pub mod demo_data;
mod environment;
mod error;
mod files;
mod history;
mod installation;
mod nats;
mod options;
mod ports;
mod postgres;
mod probe;
mod process;
mod programs;
mod reaper;
mod redis;
mod service;
mod stack;

pub use control::{Status, down, kill, move_clock, reset, settle, status};
pub use demo::Demo;
pub use demo_data::{Members, Partner, User};
pub use environment::Environment;
pub use error::Error;
pub(crate) use files::replace as replace_file;
pub use history::DemoHistory;
pub use installation::{Installation, InstallationOptions, SERVICE_STOP, SIMULATOR_STOP};
pub use options::{Analyst, ExternalServers, Options, Urls};
pub use reaper::watch;
pub use stack::Stack;
