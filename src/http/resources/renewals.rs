//! `/offers/expiring` and `/offers/renew`: what ends soon, and more of it.

use super::account::subscription;
use super::activation::{accepted, counted};
use crate::app::idempotency::IdempotentRequest;
use crate::app::renew::{Renewal, Target};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::User;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::IdempotencyKeyHeader;
use crate::http::extract::page::PageParams;
use crate::http::extract::query::{Parameters, integer};
use crate::http::extract::values::uuid;
use crate::http::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use domain::{OfferId, SubscriptionId, Timestamp};
use projections::EndKey;

/// How far ahead one may look, in days.
const MAX_DAYS: i64 = 90;
/// How far one looks when one does not say, in days.
const DEFAULT_DAYS: u32 = 3;

/// `GET /offers/expiring/?days=`: the caller's running subscriptions that end within `days`, soonest
/// first.
pub(crate) async fn expiring(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, days) = PageParams::read(parameters, "expiring", |parameters| {
        parameters.optional("days", integer(1..=MAX_DAYS))
    })?;
    let days = days.map_or(DEFAULT_DAYS, |days| u32::try_from(days).expect("1 to 90"));
    let after = params.key(end_key)?;
    let now = app.clock.now();
    let slice = app.accounts.expiring(user.id, now, days, after, params.limit).await?;
    let items = slice.items.iter().map(|item| subscription(item, now)).collect();
    Ok(params.answer(&context, items, slice.next.map(|(end, id)| format!("{end}|{id}"))))
}

/// `POST /offers/renew/`: 202 once the money is reserved, like an activation.
pub(crate) async fn renew(
    State(app): State<Shared>,
    user: User,
    context: Context,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let target = fields.read(target)?;
        let request = match target {
            Target::Offer(id) => format!("POST /offers/renew offer_id={id}"),
            Target::Subscription(id) => format!("POST /offers/renew subscription_id={id}"),
        };
        let request = IdempotentRequest::new(user.id.0, key.map(Into::into), request);
        let renewal = Renewal { user_id: user.id, target, request };
        let metadata = context.metadata(user.actor);
        Ok::<_, Problem>(app.activations.renew(&renewal, metadata).await?)
    };
    Ok(accepted(counted(answer.await)?))
}

/// Exactly one of the two members says what is meant.
fn target(fields: &mut Fields) -> Target {
    match (fields.has("offer_id"), fields.has("subscription_id")) {
        (false, true) => Target::Subscription(SubscriptionId(fields.required("subscription_id", uuid))),
        (offer, subscription) => {
            if offer && subscription {
                fields.refuse("subscription_id", "must not stand beside offer_id");
            }
            Target::Offer(OfferId(fields.required("offer_id", uuid)))
        }
    }
}

fn end_key(key: &str) -> Option<EndKey> {
    let (end, id) = key.split_once('|')?;
    Some((end.parse::<Timestamp>().ok()?, id.parse().ok()?))
}
