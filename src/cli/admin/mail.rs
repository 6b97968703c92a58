//! `offers mail`: what users were told.

use clap::Subcommand;

use crate::cli::api::{ListingByStatus, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// List mails, the newest event first
    List(ListingByStatus),
    /// Send a mail again, to the address that the user has now
    Resend(Order),
}

const MAILS: Resource = Resource {
    name: "mail",
    columns: &["id", "created_at", "status", "kind", "user_id", "aggregate_id", "attempts", "last_error"],
    named_by: None,
};

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::List(args) => MAILS.list_by_status(&args).await,
        Verb::Resend(order) => MAILS.order(&order, "resend").await,
    }
}
