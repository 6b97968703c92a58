//! `offers mail`: what users were told.

use clap::Subcommand;

use crate::cli::api::{Listing, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// List mails, the newest event first
    List(List),
    /// Send a mail again, to the address that the user has now
    Resend(Order),
}

const MAILS: Resource = Resource {
    name: "mail",
    columns: &["id", "created_at", "status", "kind", "user_id", "aggregate_id", "attempts", "last_error"],
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
        Verb::List(args) => MAILS.list(&args.listing, &[("status", args.status.as_deref())]).await,
        Verb::Resend(order) => MAILS.order(&order, "resend").await,
    }
}
