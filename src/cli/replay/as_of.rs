//! `offers replay --to`: an account, a transaction or a subscription as it was at a position or a time, from its
//! events alone.

use anyhow::Context;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use domain::{AccountId, Recorded, SubscriptionId, TransactionId};
use projections::{Check, SubscriptionView, TransactionView, subscription, transaction};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::progress::Progress;
use crate::cli::output::Outcome;
use crate::event_log::{At, EventLog, Span, StreamId};

#[derive(Debug, clap::Args)]
pub(super) struct Subject {
    /// Print a thing as it was right after this position, or at this time (like 2026-11-22T08:30:00Z)
    #[arg(long, value_name = "POSITION|TIME", requires = "subject", conflicts_with = "check")]
    pub(super) to: Option<At>,
    /// The account of this user or partner
    #[arg(long, value_name = "OWNER_ID", group = "subject", requires = "to")]
    account: Option<Uuid>,
    /// This transaction
    #[arg(long, value_name = "ID", group = "subject", requires = "to")]
    transaction: Option<Uuid>,
    /// This subscription
    #[arg(long, value_name = "ID", group = "subject", requires = "to")]
    subscription: Option<Uuid>,
}

pub(super) async fn show(subject: &Subject, to: At, log: &EventLog) -> anyhow::Result<Outcome> {
    let position = match to {
        At::Position(position) => position,
        At::Time(moment) => log.position_at(moment).await?,
    };
    let head = log.head().await?;
    anyhow::ensure!(position <= head, "the log ends at position {head}: there is no position {position}");
    let mut shown = match (subject.account, subject.transaction, subject.subscription) {
        (Some(owner), ..) => account(log, owner.into(), position).await?,
        (_, Some(id), _) => transaction_as_of(log, id.into(), position).await?,
        (.., Some(id)) => subscription_as_of(log, id.into(), position).await?,
        (None, None, None) => anyhow::bail!("name what to print: --account, --transaction or --subscription"),
    };
    shown["as_of"] = position.into();
    Ok(Outcome::members(shown))
}

/// Folds the whole log up to `position`: what an account has is spread over all transactions.
async fn account(log: &EventLog, id: AccountId, position: i64) -> anyhow::Result<Value> {
    let opened = log.stream(StreamId::of::<domain::account::Account>(id.0)).await?;
    let is_there = opened.first().is_some_and(|first| first.position <= position);
    anyhow::ensure!(is_there, "there is no account {id} at position {position}");
    let mut check = Check::default();
    let mut progress = Progress::of("events", position.unsigned_abs());
    let mut scan = log.scan(Span { after: 0, up_to: position });
    while let Some(page) = scan.next().await {
        let page = page?;
        check.fold(&page)?;
        progress.add(page.len() as u64);
    }
    anyhow::ensure!(check.position() == position, "the log ends before position {position}");
    Ok(json!({"account_id": id, "balance": check.balance(id)}))
}

async fn transaction_as_of(log: &EventLog, id: TransactionId, position: i64) -> anyhow::Result<Value> {
    let view = transaction::fold(&until(log, StreamId::of::<Transaction>(id.0), position).await?)?;
    let view = view.with_context(|| format!("there is no transaction {id} at position {position}"))?;
    Ok(transaction_members(&view))
}

async fn subscription_as_of(log: &EventLog, id: SubscriptionId, position: i64) -> anyhow::Result<Value> {
    let events = until(log, StreamId::of::<UserOffer>(id.0), position).await?;
    let view = subscription::fold(&events, "")?;
    let mut view = view.with_context(|| format!("there is no subscription {id} at position {position}"))?;
    let bought = until(log, StreamId::of::<Transaction>(view.transaction_id.0), position).await?;
    view.offer_name = transaction::fold(&bought)?.map_or(String::new(), |bought| bought.request.offer_name);
    Ok(subscription_members(&view))
}

/// The events of a stream up to `position`.
async fn until(log: &EventLog, stream: StreamId, position: i64) -> anyhow::Result<Vec<Recorded>> {
    let mut events = log.stream(stream).await?;
    events.retain(|event| event.position <= position);
    Ok(events)
}

fn transaction_members(view: &TransactionView) -> Value {
    json!({
        "transaction_id": view.transaction_id,
        "status": view.status.as_ref(),
        "kind": view.request.kind,
        "user_id": view.request.user_id,
        "account_id": view.request.account_id,
        "offer_id": view.request.offer_id,
        "offer_name": view.request.offer_name,
        "amount": view.request.amount,
        "attempts": view.attempts,
        "external_reference": view.external_reference,
        "error_code": view.error_code,
        "error_message": view.error_message,
        "pending_reason": view.pending_reason,
        "created_at": view.created_at,
        "updated_at": view.updated_at,
        "completed_at": view.completed_at,
        "refunded_at": view.refunded_at,
        "position": view.position,
    })
}

fn subscription_members(view: &SubscriptionView) -> Value {
    json!({
        "subscription_id": view.subscription_id,
        "user_id": view.user_id,
        "offer_id": view.offer_id,
        "offer_name": view.offer_name,
        "transaction_id": view.transaction_id,
        "activation_date": view.activation_date,
        "expiration_date": view.expiration_date,
        "announced": view.announced,
        "expired": view.expired,
        "position": view.position,
    })
}
