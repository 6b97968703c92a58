//! Integration tests: one binary, the real servers, one module a topic.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "a failed unwrap or a poisoned lock is a failed test; nothing outside"
)]

mod account;
mod activation;
mod activation_processor;
mod admin;
mod architecture;
mod audit;
mod auth;
mod bus;
mod callbacks;
mod catalogue;
mod chaos_plan;
mod cli;
mod connections;
mod containers;
mod dashboards;
mod dev_up;
mod devstack;
mod doctor;
mod documents;
mod doubt;
mod event_log;
mod external;
mod external_over_tls;
mod guessing;
mod guides;
mod identity;
mod interventions;
mod load;
mod logs;
mod metrics;
mod notifications;
mod operations;
mod outage;
mod ownership;
mod partner;
mod problems;
mod projections;
mod proofs;
mod protection;
mod redis_over_tls;
mod renewals;
mod schedules;
mod search;
mod start;
mod statement;
mod support;
mod texts;
mod tracing;
mod verbs;
mod waiting;
