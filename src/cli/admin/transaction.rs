//! `offers transaction`: what users and partners asked for.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::cli::api::{Listing, One, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// List transactions, newest first
    List(List),
    /// Show a transaction: what was tried, what happened, and who was told
    Show(One),
    /// Try a transaction again now; its deadline begins again
    Retry(Order),
    /// End a transaction by hand, whose outcome nobody else can tell
    Resolve(Resolve),
}

const TRANSACTIONS: Resource = Resource {
    name: "transactions",
    columns: &[
        "transaction_id",
        "created_at",
        "status",
        "kind",
        "amount",
        "user_id",
        "offer.name",
        "pending_reason",
    ],
    named_by: None,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// PENDING, PROCESSING, SUCCESS or FAILED
    #[arg(long)]
    status: Option<String>,
    /// Only those for this user, by id
    #[arg(long)]
    user_id: Option<String>,
    /// Only those that this partner asked for, by id
    #[arg(long)]
    partner_id: Option<String>,
    /// Only those of which nothing certain is known
    #[arg(long)]
    in_doubt: bool,
    /// Only those asked for so many seconds ago
    #[arg(long, value_name = "SECONDS")]
    older_than_s: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resolve {
    #[command(flatten)]
    one: One,
    outcome: Ended,
    /// How you know; it is recorded
    #[arg(long)]
    reason: String,
    /// The activation system's reference, if it was done
    #[arg(long)]
    reference: Option<String>,
    /// A repeat with the same key ends it once
    #[arg(long)]
    idempotency_key: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ended {
    /// It was done: the subscription begins
    Succeeded,
    /// It was not done and never will be: the money goes back
    Failed,
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::List(args) => list(&args).await,
        Verb::Show(one) => TRANSACTIONS.show(&one).await,
        Verb::Retry(order) => TRANSACTIONS.order(&order, "retry").await,
        Verb::Resolve(args) => resolve(&args).await,
    }
}

async fn list(args: &List) -> anyhow::Result<Outcome> {
    let filters = [
        ("status", args.status.as_deref()),
        ("user_id", args.user_id.as_deref()),
        ("partner_id", args.partner_id.as_deref()),
        ("in_doubt", args.in_doubt.then_some("true")),
        ("older_than_s", args.older_than_s.as_deref()),
    ];
    TRANSACTIONS.list(&args.listing, &filters).await
}

async fn resolve(args: &Resolve) -> anyhow::Result<Outcome> {
    let outcome = match args.outcome {
        Ended::Succeeded => "succeeded",
        Ended::Failed => "failed",
    };
    let body = json!({"outcome": outcome, "reason": args.reason, "reference": args.reference});
    let path = ["admin", "transactions", &args.one.id, "resolve"];
    Ok(Outcome::members(args.one.api()?.post_once(&path, body, args.idempotency_key.as_deref()).await?))
}
