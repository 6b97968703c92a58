//! `/offers/expiring` and `/offers/renew`: what ends soon, and more of it.

use super::account::{Subscription, SubscriptionPage};
use super::activation::{Accepted, accepted, counted};
use crate::app::idempotency::IdempotentRequest;
use crate::app::renew::{Renewal, Target};
use crate::http::context::Context;
use crate::http::extract::caller::{Buyer, User};
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::IdempotencyKeyHeader;
use crate::http::extract::page::PageParams;
use crate::http::extract::query::{Parameters, integer};
use crate::http::extract::request::Request;
use crate::http::extract::rules::id;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::Id;
use crate::http::{Code, Shared};
use axum::extract::State;
use axum::response::Response;
use domain::{OfferId, SubscriptionId};
use utoipa::ToSchema;

/// How far ahead one may look, in days.
const MAX_DAYS: i64 = 90;
/// How far one looks when one does not say, in days.
const DEFAULT_DAYS: u32 = 3;

/// Days of 24 hours.
#[derive(ToSchema)]
#[schema(value_type = u32, minimum = 1, maximum = 90, default = 3)]
#[expect(dead_code, reason = "shows a parameter of the query")]
struct Days(u32);

/// What is to go on: one of the two.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "shows the two forms of the body, which is read into a Target")]
enum RenewalRequest {
    Subscription { subscription_id: Id },
    Offer { offer_id: Id },
}

/// What of mine ends soon, soonest first
#[utoipa::path(get, path = "/offers/expiring", security(("Bearer" = ["user"])),
    params(
        ("days" = inline(Days), Query, description = "How far to look ahead."),
        PageParams,
    ),
    responses((status = 200,
        description = "The caller's active subscriptions that end within so many days.",
        body = SubscriptionPage)))]
pub(crate) async fn expiring(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Json<SubscriptionPage>, Problem> {
    let (params, days) = PageParams::read(parameters, "expiring", |parameters| {
        parameters.optional("days", integer(1..=MAX_DAYS))
    })?;
    let days = days.map_or(DEFAULT_DAYS, |days| u32::try_from(days).expect("1 to 90"));
    let after = params.after()?;
    let now = app.clock.now();
    let slice = app.accounts.expiring(user.id, now, days, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|view| Subscription::of(&view, now)))))
}

/// Renew a subscription
///
/// At today's price. Exactly one of the members says what is meant: a subscription, or of those to an offer
/// the one that ends last. A running subscription is extended from its expiration date, one that has ended
/// starts again now.
#[utoipa::path(post, path = "/offers/renew", security(("Bearer" = ["user"])),
    params(IdempotencyKeyHeader),
    request_body = RenewalRequest,
    responses((status = 202, description = "Accepted, like an activation.", body = Accepted,
        headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[
        Code::InsufficientBalance, Code::SubscriptionNotFound, Code::OfferNotFound, Code::Conflict,
    ])))))]
pub(crate) async fn renew(
    State(app): State<Shared>,
    Buyer(user): Buyer,
    context: Context,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let target = Target::of(fields)?;
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
impl Request for Target {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (offer, subscription) = (fields.has("offer_id"), fields.has("subscription_id"));
        if offer && subscription {
            fields.refuse("subscription_id", "must not stand beside offer_id");
        }
        if subscription && !offer {
            fields.required("subscription_id", &id::<SubscriptionId>()).map(Self::Subscription)
        } else {
            fields.required("offer_id", &id::<OfferId>()).map(Self::Offer)
        }
    }
}
