//! `offers callback`: what partners were told.

use clap::Subcommand;

use crate::cli::api::{ListingByStatus, One, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// List callbacks, newest first
    List(ListingByStatus),
    /// Show a callback with its attempts
    Show(One),
    /// Send a callback again, with all its attempts
    Resend(Order),
}

const CALLBACKS: Resource = Resource {
    name: "callbacks",
    columns: &["id", "created_at", "status", "type", "transaction_id", "url", "last_status", "last_error"],
    named_by: None,
};

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::List(args) => CALLBACKS.list_by_status(&args).await,
        Verb::Show(one) => CALLBACKS.show(&one).await,
        Verb::Resend(order) => CALLBACKS.order(&order, "resend").await,
    }
}
