//! One file a resource: its paths, requests, answers and handlers.

pub(crate) mod account;
pub(crate) mod activation;
pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod health;
pub(crate) mod offers;
pub(crate) mod partner;
pub(crate) mod renewals;
pub(crate) mod status;
pub(crate) mod status_stream;
