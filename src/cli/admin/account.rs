//! `offers account credit`: pays money into an account.

use std::process::ExitCode;

use clap::Subcommand;
use domain::ids::IdempotencyKey;
use domain::{AccountId, Metadata, Money};
use serde_json::json;
use uuid::Uuid;

use super::{AdminContext, Common};
use crate::app::accounts::{Adjustment, Direction};
use crate::app::idempotency::IdempotentRequest;
use crate::cli::admin;

/// The owner of these idempotency keys.
const CALLER: Uuid = Uuid::from_u128(0x0063_6c69);

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Pay into the account of a user or a partner
    Credit(Credit),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Credit {
    /// The id of a user or a partner, or a username
    owner: String,
    /// The amount, like 19.99
    #[arg(value_parser = admin::amount)]
    amount: Money,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: String,
    /// Your own reference, such as the number of a receipt
    #[arg(long)]
    reference: Option<String>,
    /// A repeat with the same key pays in once
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let Verb::Credit(args) = verb;
    let context = AdminContext::open(&args.common, None)?;
    let account_id = owner(&context, &args.owner).await?;
    let amount = args.amount;
    anyhow::ensure!(amount.is_positive(), "an amount to pay in is more than 0.00");
    let request = format!("credit {account_id} amount={amount}");
    let key = args.idempotency_key.map(IdempotencyKey::Header);
    let request = IdempotentRequest::new(CALLER, key, request);
    let adjustment = Adjustment { account_id, direction: Direction::Credit, amount, request };
    let metadata = Metadata { reference: args.reference, ..super::metadata(Some(&args.reason)) };
    let receipt = context.accounts.adjust(&adjustment, metadata).await?;
    context.print(&json!({
        "account_id": account_id,
        "amount": amount,
        "balance": receipt.balance,
        "position": receipt.position,
    }))?;
    Ok(ExitCode::SUCCESS)
}

async fn owner(context: &AdminContext, owner: &str) -> anyhow::Result<AccountId> {
    let identity = &context.identity;
    let Ok(id) = owner.parse::<Uuid>() else { return Ok(identity.user_named(owner).await?.id.into()) };
    anyhow::ensure!(identity.owner_kind(id).await?.is_some(), "there is no user or partner {id}");
    Ok(AccountId(id))
}
