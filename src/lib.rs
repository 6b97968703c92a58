//! How it runs: one binary, its roles chosen by flag.

pub mod accounts;
pub mod activations;
pub mod app;
pub mod bus;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod devstack;
pub mod event_log;
pub mod external;
pub mod http;
pub mod identity;
pub mod migrations;
pub mod owners;
pub mod partner_activations;
pub mod processors;
pub mod projectors;
pub mod renewals;
pub mod repeats;
pub mod service;
pub mod simulator;
pub mod statuses;
pub mod telemetry;
mod vitals;
pub mod waiting_room;
