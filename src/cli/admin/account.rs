//! `offers account`: what users and partners have, and paying in and out.

use clap::Subcommand;
use domain::Money;
use serde_json::json;

use super::partner::PARTNERS;
use super::user::USERS;
use crate::cli::admin;
use crate::cli::api::{Api, Listing, One, listed};
use crate::cli::output::{Outcome, Refused};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Show the balance of a user or a partner
    Show(One),
    /// Pay into the account of a user or a partner
    Credit(Transfer),
    /// Pay out of the account of a user or a partner
    Debit(Transfer),
    /// List what moved the money of a user or a partner, newest first
    Statement(Statement),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Transfer {
    #[command(flatten)]
    owner: One,
    /// The amount, like 19.99
    #[arg(value_parser = amount_to_move, allow_negative_numbers = true)]
    amount: Money,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: String,
    /// Your own reference, such as the number of a receipt
    #[arg(long)]
    reference: Option<String>,
    /// A repeat with the same key moves the money once
    #[arg(long)]
    idempotency_key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Statement {
    /// The id or the name of a user or a partner
    owner: String,
    /// The first moment, such as 2026-11-01T00:00:00Z
    #[arg(long)]
    from: Option<String>,
    /// The moment after the last
    #[arg(long)]
    to: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

fn amount_to_move(text: &str) -> Result<Money, String> {
    let amount = admin::amount(text)?;
    if amount.is_positive() { Ok(amount) } else { Err("an amount to pay is more than 0.00".to_owned()) }
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::Show(owner) => {
            let api = owner.api()?;
            let id = id_of(&api, &owner.id).await?;
            Ok(Outcome::members(api.get(&["admin", "accounts", &id], &[]).await?))
        }
        Verb::Credit(args) => transfer(&args, "credit").await,
        Verb::Debit(args) => transfer(&args, "debit").await,
        Verb::Statement(args) => statement(&args).await,
    }
}

async fn transfer(args: &Transfer, verb: &str) -> anyhow::Result<Outcome> {
    let api = args.owner.api()?;
    let id = id_of(&api, &args.owner.id).await?;
    let body = json!({"amount": args.amount, "reason": args.reason, "reference": args.reference});
    let path = ["admin", "accounts", &id, verb];
    Ok(Outcome::members(api.post_once(&path, body, args.idempotency_key.as_deref()).await?))
}

async fn statement(args: &Statement) -> anyhow::Result<Outcome> {
    let api = args.listing.api()?;
    let id = id_of(&api, &args.owner).await?;
    let account = api.get(&["admin", "accounts", &id], &[]).await?;
    let owners = if account["kind"] == "partner" { PARTNERS.name } else { USERS.name };
    let moments = [("from", &args.from), ("to", &args.to)];
    let moments: Vec<_> =
        moments.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let page = api.list(&["admin", owners, &id, "statement"], &moments, args.listing.limit).await?;
    listed(page, &["position", "at", "kind", "amount", "balance", "transaction_id", "reason"])
}

/// Of a user, else of a partner.
async fn id_of(api: &Api, owner: &str) -> anyhow::Result<String> {
    match USERS.id(api, owner).await {
        Err(cause) if cause.is::<Refused>() => PARTNERS.id(api, owner).await,
        id => id,
    }
}
