//! `offers callback`: what partners were told.

use clap::Subcommand;

use crate::cli::api::{Listing, One, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// List callbacks, newest first
    List(List),
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

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those with this status, such as parked
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::List(args) => CALLBACKS.list(&args.listing, &[("status", args.status.as_deref())]).await,
        Verb::Show(one) => CALLBACKS.show(&one).await,
        Verb::Resend(order) => CALLBACKS.order(&order, "resend").await,
    }
}
