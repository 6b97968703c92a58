//! `offers account credit`: money comes in from outside.

use std::process::ExitCode;

use clap::Subcommand;
use domain::ids::RepeatKey;
use domain::{AccountId, Metadata, Money};
use projections::Readers;
use serde_json::json;
use uuid::Uuid;

use super::{Common, Desk};
use crate::app::accounts::{self, Direction, Transfer};
use crate::app::idempotency::Repeatable;
use crate::cli::admin;

/// Whose idempotency keys these are: nobody else's.
const CALLER: Uuid = Uuid::from_u128(0x0063_6c69);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Pays into the account of a user or a partner
    Credit(Credit),
}

#[derive(Debug, clap::Args)]
struct Credit {
    /// Whose: the id of a user or a partner, or a username
    owner: String,
    /// How much, like 19.99
    #[arg(value_parser = admin::amount)]
    amount: Money,
    /// Why, in your words; it is kept with what is done
    #[arg(long)]
    reason: String,
    /// Your own reference, such as a receipt's number
    #[arg(long)]
    reference: Option<String>,
    /// Repeat with the same key, and it is paid in once
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Verb::Credit(args) = args.verb;
    let desk = Desk::open(&args.common)?;
    let account_id = owner(&desk, &args.owner).await?;
    let amount = args.amount;
    anyhow::ensure!(amount.is_positive(), "an amount to pay in is more than 0.00");
    let request = format!("credit {account_id} amount={amount}");
    let key = args.idempotency_key.map(RepeatKey::IdempotencyKey);
    let repeatable = Repeatable::new(CALLER, key, request);
    let transfer = Transfer { account_id, direction: Direction::Credit, amount, repeatable };
    let metadata = Metadata { reference: args.reference, ..super::metadata(Some(&args.reason)) };
    let carried = accounts::carry_out(&desk.log, &transfer, metadata).await?;
    let readers = Readers::at(desk.database_url())?;
    desk.tell(&json!({
        "account_id": account_id,
        "amount": amount,
        "balance": accounts::balance_after(&readers, account_id, carried).await?,
        "position": carried.position,
    }))?;
    Ok(ExitCode::SUCCESS)
}

async fn owner(desk: &Desk, owner: &str) -> anyhow::Result<AccountId> {
    let identity = desk.identity(None)?;
    let Ok(id) = owner.parse::<Uuid>() else { return Ok(identity.user_named(owner).await?.id.into()) };
    anyhow::ensure!(identity.owner_kind(id).await?.is_some(), "there is no user or partner {id}");
    Ok(AccountId(id))
}
