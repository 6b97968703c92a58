//! `/admin/transactions`: all transactions, with what was tried for each.

use super::callbacks::Delivery;
use super::mail::Mail;
use crate::event_log::LogError;
use crate::http::Code;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, boolean, id, integer, variant};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use crate::http::resources::account::{HistoryEntry, Transaction};
use crate::http::values::{Id, Status, Time, With};
use axum::extract::State;
use chrono::TimeDelta;
use domain::transaction::{self, AttemptKind, Event};
use domain::{Recorded, Slice, Timestamp, TransactionId, UnknownEvent};
use projections::TransactionView;
use projections::transaction::AdminFilter;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The longest age that can be asked for, in seconds: a hundred years.
const MAX_AGE_S: i64 = 100 * 366 * 24 * 60 * 60;
/// The kind of an attempt to cancel.
const CANCEL: &str = "cancel";

/// A transaction with what was tried for it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attempts {
    /// Who pays: the user or the partner.
    account_id: Id,
    #[schema(required, example = json!(null))]
    partner_id: Option<Id>,
    /// The partner's own.
    #[schema(required, example = json!(null))]
    partner_reference: Option<String>,
    /// Ours for the partner: `REF-…`.
    #[schema(required, example = json!(null))]
    partner_validate_reference: Option<String>,
    /// `outcome_unknown`: a call had no definite answer; `contradicted`: an answer came after the end that says otherwise.
    #[schema(required, example = json!(null))]
    pending_reason: Option<String>,
    /// Why it failed, for programs.
    #[schema(required, example = json!(null))]
    error_code: Option<String>,
    /// In order.
    attempts: Vec<Attempt>,
}

/// One call to the activation system, or the word of a person.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Attempt {
    /// When the intent was recorded, just before the first byte; of another call when its end was recorded.
    at: Time,
    /// `activate`, `look_up`, `cancel`; `resolve` by a person.
    #[schema(example = "activate")]
    kind: &'static str,
    /// `activated`, `rejected`, `cancelled`, or without a definite answer `not_sent`, `not_taken`, `sent_no_answer`,
    /// `answered`; null while it is under way, and `unknown` when its end was never recorded.
    #[schema(required, example = "activated")]
    evidence: Option<&'static str>,
    /// The system's own words.
    #[schema(required, example = "EXT-1")]
    detail: Option<String>,
}

/// What followed from a transaction.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Consequences {
    /// Every event of it, in order.
    #[schema(min_items = 1)]
    history: Vec<HistoryEntry>,
    /// To the partner that asked for it.
    callbacks: Vec<Delivery>,
    /// To the user.
    mails: Vec<Mail>,
}

type TransactionWithAttempts = With<Transaction, Attempts>;
type TransactionWithConsequences = With<TransactionWithAttempts, Consequences>;
type TransactionWithAttemptsPage = Page<TransactionWithAttempts>;

/// Days, months and years in seconds: a hundred years at most.
#[derive(ToSchema)]
#[schema(value_type = i64, minimum = 0, maximum = 3_162_240_000_i64)]
#[expect(dead_code, reason = "shows a parameter of the query")]
struct Age(i64);

/// All transactions, newest first
#[utoipa::path(get, path = "/admin/transactions", security(("Bearer" = ["admin"])),
    params(
        ("status" = Status, Query, description = "Only those with this status."),
        ("user_id" = Id, Query, description = "Only those for this user."),
        ("partner_id" = Id, Query, description = "Only those that this partner asked for."),
        ("in_doubt" = bool, Query,
            description = "Only those of which nothing certain is known, or only others."),
        ("older_than_s" = inline(Age), Query, description = "Only those asked for so many seconds ago."),
        PageParams,
    ),
    responses((status = 200, description = "Transactions with what was tried for each.",
        body = TransactionWithAttemptsPage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<TransactionWithAttemptsPage>, Problem> {
    let now = app.clock.now();
    let (params, filter) = PageParams::read(parameters, "all_transactions", |parameters| AdminFilter {
        status: parameters.optional("status", variant::<Status>).map(Into::into),
        user_id: parameters.optional("user_id", id),
        partner_id: parameters.optional("partner_id", id),
        in_doubt: parameters.optional("in_doubt", boolean),
        created_before: parameters
            .optional("older_than_s", integer(0..=MAX_AGE_S))
            .map(|age_s| before(now, age_s)),
    })?;
    let after = params.after()?;
    let slice = app.statuses.list_all(filter, after, params.limit).await?;
    let items = slice.items.iter().map(|transaction| {
        let attempts = attempts(&transaction.events).map_err(LogError::from)?;
        let view = &transaction.view;
        Ok(With { base: Transaction::from(view), more: Attempts::of(view, attempts) })
    });
    let items = items.collect::<Result<Vec<_>, Problem>>()?;
    Ok(Json(params.page(&context, Slice { items, next: slice.next })))
}

/// One transaction with all that is known of it
#[utoipa::path(get, path = "/admin/transactions/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The transaction.")),
    responses((status = 200, description = "The transaction, what was tried, what happened, and who was told.",
        body = TransactionWithConsequences)),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(id): path::Id<TransactionId>,
) -> Result<Json<TransactionWithConsequences>, Problem> {
    let known = app.statuses.find(id).await?.ok_or_else(no_such_transaction)?;
    let attempts = attempts(&known.events).map_err(LogError::from)?;
    let events: Vec<Uuid> = known.events.iter().map(|event| event.event_id).collect();
    let callbacks = match known.view.request.partner_id {
        Some(partner) => app.callbacks.about(partner, &events).await?,
        None => Vec::new(),
    };
    let mails = app.mails.about(&events).await?;
    let more = Consequences {
        history: known.events.iter().map(HistoryEntry::from).collect(),
        callbacks: callbacks.into_iter().map(Delivery::from).collect(),
        mails: mails.into_iter().map(Mail::from).collect(),
    };
    let base = With { base: Transaction::from(&known.view), more: Attempts::of(&known.view, attempts) };
    Ok(Json(With { base, more }))
}

fn before(now: Timestamp, age_s: i64) -> Timestamp {
    Timestamp::new(now.utc() - TimeDelta::seconds(age_s))
}

impl Attempts {
    fn of(view: &TransactionView, attempts: Vec<Attempt>) -> Self {
        let request = &view.request;
        Self {
            account_id: request.account_id.into(),
            partner_id: request.partner_id.map(Into::into),
            partner_reference: request.partner_reference.clone(),
            partner_validate_reference: request.reference.clone(),
            pending_reason: view.pending_reason.clone(),
            error_code: view.error_code.clone(),
            attempts,
        }
    }
}

/// The attempts of one transaction, from its events.
fn attempts(events: &[Recorded]) -> Result<Vec<Attempt>, UnknownEvent> {
    let mut attempts = Attempted::default();
    for recorded in events {
        let domain::Event::Transaction(event) = recorded.event()?.clone() else { continue };
        let at = recorded.recorded_at;
        attempts.is_final |= matches!(event, Event::Succeeded { .. } | Event::Failed { .. });
        match event {
            Event::Processing { attempt } => attempts.begin(at, attempt),
            Event::AttemptFailed { attempt, kind: AttemptKind::Activate, evidence, detail } => {
                attempts.end(attempt, evidence.into(), detail);
            }
            Event::CancelRequested {} => attempts.begin_cancellation(at),
            Event::AttemptFailed { kind: AttemptKind::Cancel, evidence, detail, .. } => {
                attempts.end_cancellation(at, evidence.into(), detail);
            }
            Event::AttemptFailed { kind, evidence, detail, .. } => {
                attempts.add(at, kind.into(), evidence.into(), detail);
            }
            Event::Resolved { .. } => attempts.by = Some("resolve"),
            Event::Succeeded { reference } => attempts.conclude(at, "look_up", "activated", reference),
            Event::Failed { code, .. } if code == transaction::DEADLINE_EXCEEDED => {}
            Event::Failed { code, message } if code == transaction::CANCELLED => {
                attempts.end_cancellation(at, "cancelled", message);
            }
            Event::Failed { code, message } => {
                attempts.conclude(at, "look_up", "rejected", format!("{code}: {message}"));
            }
            Event::Contradicted { kind, answer, detail } => {
                attempts.add(at, kind.into(), answer.into(), detail);
            }
            Event::ActivationRequested(_) | Event::RetryRequested {} | Event::Refunded { .. } => {}
        }
    }
    if attempts.is_final {
        for unknown in attempts.all.iter_mut().filter(|attempt| attempt.evidence.is_none()) {
            unknown.evidence = Some("unknown");
        }
    }
    Ok(attempts.all)
}

#[derive(Default)]
struct Attempted {
    all: Vec<Attempt>,
    /// Where the attempts to activate are in `all`, by number; 1 is the first.
    begun: Vec<(u32, usize)>,
    /// How the end was found out, if not by a call.
    by: Option<&'static str>,
    is_final: bool,
}

impl Attempted {
    fn begin(&mut self, at: Timestamp, attempt: u32) {
        self.begun.push((attempt, self.all.len()));
        self.all.push(Attempt { at: at.into(), kind: "activate", evidence: None, detail: None });
    }

    fn end(&mut self, attempt: u32, evidence: &'static str, detail: String) {
        let begun = self.begun.iter().find(|(number, _)| *number == attempt);
        if let Some(known) = begun.and_then(|(_, index)| self.all.get_mut(*index)) {
            (known.evidence, known.detail) = (Some(evidence), Some(detail));
        }
    }

    fn begin_cancellation(&mut self, at: Timestamp) {
        self.all.push(Attempt { at: at.into(), kind: CANCEL, evidence: None, detail: None });
    }

    /// The one that has begun, or another one: what is sent again is not recorded again.
    fn end_cancellation(&mut self, at: Timestamp, evidence: &'static str, detail: String) {
        match self.all.last_mut().filter(|last| last.kind == CANCEL && last.evidence.is_none()) {
            Some(last) => (last.evidence, last.detail) = (Some(evidence), Some(detail)),
            None => self.add(at, CANCEL, evidence, detail),
        }
    }

    fn add(&mut self, at: Timestamp, kind: &'static str, evidence: &'static str, detail: String) {
        self.all.push(Attempt { at: at.into(), kind, evidence: Some(evidence), detail: Some(detail) });
    }

    /// A definite answer belongs to the last attempt, if that is open, or was found out by `kind` or a person.
    fn conclude(&mut self, at: Timestamp, kind: &'static str, evidence: &'static str, detail: String) {
        match self.all.last_mut().filter(|last| last.evidence.is_none() && self.by.is_none()) {
            Some(last) => (last.evidence, last.detail) = (Some(evidence), Some(detail)),
            None => self.add(at, self.by.unwrap_or(kind), evidence, detail),
        }
    }
}
