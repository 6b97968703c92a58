//! `/admin/transactions`: all purchases, with what was tried for each.

use crate::event_log::LogError;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::page::PageParams;
use crate::http::extract::query::{Parameters, boolean, id, integer, variant};
use crate::http::problem::Problem;
use crate::http::resources::account::Transaction as Body;
use crate::http::values::Status;
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use domain::transaction::Event;
use domain::{Recorded, Timestamp, UnknownEvent};
use projections::TransactionView;
use projections::transaction::AdminFilter;
use serde::Serialize;
use serde_json::{Value, json};

/// The longest age that can be asked for, in seconds: a hundred years.
const MAX_AGE_S: i64 = 100 * 366 * 24 * 60 * 60;

/// `GET /admin/transactions/?status=&user_id=&partner_id=&in_doubt=&older_than_s=`
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
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
    let after = params.key(|key| key.parse().ok())?;
    let slice = app.statuses.list_all(filter, after, params.limit).await?;
    let items = slice.items.iter().map(|transaction| {
        let attempts = attempts(&transaction.events).map_err(LogError::from)?;
        Ok(shown(&transaction.view, &attempts))
    });
    let items = items.collect::<Result<_, Problem>>()?;
    Ok(params.answer(&context, items, slice.next.map(|key| key.to_string())))
}

fn before(now: Timestamp, age_s: i64) -> Timestamp {
    Timestamp::new(now.utc() - TimeDelta::seconds(age_s))
}

/// A purchase as its user sees it, and what only an operator does. `partner_validate_reference` is the
/// one that a partner was told; `reference` is the activation system's.
fn shown(view: &TransactionView, attempts: &[Attempt]) -> Value {
    let mut shown = json!(Body::from(view));
    shown["account_id"] = json!(view.request.account_id);
    shown["partner_id"] = json!(view.request.partner_id);
    shown["partner_reference"] = json!(view.request.partner_reference);
    shown["partner_validate_reference"] = json!(view.request.reference);
    shown["pending_reason"] = json!(view.pending_reason);
    shown["error_code"] = json!(view.error_code);
    shown["attempts"] = json!(attempts);
    shown
}

/// One time that the activation system was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Attempt {
    /// When the intent was recorded, just before the first byte.
    at: Timestamp,
    /// What it was asked for.
    kind: &'static str,
    /// What is certain because of it; nothing as long as nothing is.
    evidence: Option<&'static str>,
    /// The system's own words about it.
    detail: Option<String>,
}

/// The attempts of one transaction, from its events.
fn attempts(events: &[Recorded]) -> Result<Vec<Attempt>, UnknownEvent> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for recorded in events {
        let domain::Event::Transaction(event) = domain::Event::decode(recorded)? else { continue };
        let (evidence, detail) = match event {
            Event::Processing { .. } => {
                let at = recorded.recorded_at;
                attempts.push(Attempt { at, kind: "activate", evidence: None, detail: None });
                continue;
            }
            Event::Succeeded { reference } => ("activated", reference),
            Event::Failed { code, message } => ("rejected", format!("{code}: {message}")),
            Event::ActivationRequested(_) | Event::Refunded { .. } => continue,
        };
        if let Some(last) = attempts.last_mut() {
            (last.evidence, last.detail) = (Some(evidence), Some(detail));
        }
    }
    Ok(attempts)
}
