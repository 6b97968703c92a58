//! `offers account credit`: pays money into an account.

use anyhow::anyhow;
use clap::Subcommand;
use domain::ids::IdempotencyKey;
use domain::{AccountId, Metadata, Money};
use serde_json::json;
use uuid::Uuid;

use super::{AdminContext, Common};
use crate::app::accounts::{Adjustment, Direction};
use crate::app::idempotency::IdempotentRequest;
use crate::cli::admin;
use crate::cli::output::{Outcome, Refused};

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
    #[arg(value_parser = amount_to_pay_in, allow_negative_numbers = true)]
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

fn amount_to_pay_in(text: &str) -> Result<Money, String> {
    let amount = admin::amount(text)?;
    if amount.is_positive() { Ok(amount) } else { Err("an amount to pay in is more than 0.00".to_owned()) }
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    let Verb::Credit(args) = verb;
    let context = AdminContext::open(&args.common, None).await?;
    let account_id = owner(&context, &args.owner).await?;
    let amount = args.amount;
    let request = format!("credit {account_id} amount={amount}");
    let key = args.idempotency_key.map(IdempotencyKey::Header);
    let request = IdempotentRequest::new(CALLER, key, request);
    let adjustment = Adjustment { account_id, direction: Direction::Credit, amount, request };
    let metadata = Metadata { reference: args.reference, ..super::metadata(Some(&args.reason)) };
    let receipt = context.accounts.adjust(&adjustment, metadata).await.map_err(admin::explain)?;
    Ok(Outcome::members(json!({
        "account_id": account_id,
        "amount": amount,
        "balance": receipt.balance,
        "position": receipt.position,
    })))
}

async fn owner(context: &AdminContext, owner: &str) -> anyhow::Result<AccountId> {
    let identity = &context.identity;
    let Ok(id) = owner.parse::<Uuid>() else {
        let user = identity.user_named(owner).await.map_err(admin::explain)?;
        return Ok(user.id.into());
    };
    match identity.owner_kind(id).await.map_err(admin::explain)? {
        Some(_) => Ok(AccountId(id)),
        None => Err(Refused(anyhow!("there is no user or partner {id}")).into()),
    }
}
