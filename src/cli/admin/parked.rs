//! `offers parked`: messages that nothing could handle.

use clap::Subcommand;

use crate::cli::api::{Listing, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// List messages that wait for a person, newest first
    List(Listing),
    /// Try a message again
    Requeue(Order),
}

const PARKED: Resource = Resource {
    name: "parked",
    columns: &["id", "parked_at", "consumer", "position", "subject", "attempts", "reason"],
    named_by: None,
};

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::List(listing) => PARKED.list(&listing, &[]).await,
        Verb::Requeue(order) => PARKED.order(&order, "requeue").await,
    }
}
