//! `/partner`: systems that sell for people, each on its own float account. A user may activate and
//! validate here too, for itself alone.

use super::activation::count;
use crate::app::idempotency::IdempotentRequest;
use crate::app::partner_activate::{Accepted, PartnerActivation, Reference};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Partner;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::query::{Parameters, text, variant};
use crate::http::extract::values::{amount, line, uuid};
use crate::http::headers::IDEMPOTENT_REPLAYED;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::http::problem::mapping::no_such_callback;
use crate::http::values::Status;
use crate::identity::Caller;
use crate::processors::callbacks::ValidateAnswer;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::ids::IdempotencyKey;
use domain::{Money, OfferId, UserId};
use projections::TransactionView;
use projections::transaction::PartnerFilter;
use serde_json::{Value, json};
use uuid::Uuid;

/// What an activation cannot do without.
const NEEDED: [&str; 3] = ["user_id", "offer_id", "amount"];
/// The longest reference of a partner, in characters.
const MAX_REFERENCE: usize = 200;
/// The longest URL that is looked at, in characters: more is none that could be registered.
const MAX_URL: usize = 4096;
/// How much of a reference that is none is said back, in characters.
const MAX_ECHO: usize = 64;

/// `POST /partner/activate/`: 201 once the money is reserved.
pub(crate) async fn activate(
    State(app): State<Shared>,
    caller: Caller,
    context: Context,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let activation = Wish::read(fields)?.of(&caller, &headers)?;
        let metadata = context.metadata(caller.actor().to_string());
        Ok::<_, Problem>(app.activations.activate_for_partner(&activation, metadata).await?)
    };
    let answer = answer.await;
    count(if answer.is_ok() { "accepted" } else { "rejected" });
    Ok(accepted(&answer?))
}

/// What the body asks for.
struct Wish {
    user_id: UserId,
    offer_id: OfferId,
    amount: Money,
    partner_reference: Option<String>,
    callback_url: Option<String>,
}

impl Wish {
    fn read(fields: Fields) -> Result<Self, Problem> {
        let missing = fields.missing(&NEEDED);
        if !missing.is_empty() {
            return Err(Problem::missing(&missing));
        }
        fields.read(|fields| Self {
            user_id: UserId(fields.required("user_id", uuid)),
            offer_id: OfferId(fields.required("offer_id", uuid)),
            amount: fields.required("amount", amount),
            partner_reference: fields.optional("partner_reference", line(1..=MAX_REFERENCE)),
            callback_url: fields.optional("callback_url", line(1..=MAX_URL)),
        })
    }

    /// The same from somebody who may ask for it. The caller's own reference is the key; a header beside
    /// it is not even looked at.
    fn of(self, caller: &Caller, headers: &HeaderMap) -> Result<PartnerActivation, Problem> {
        if !PartnerActivation::is_open_to(caller, self.user_id) {
            let detail = "A user may activate for itself alone";
            return Err(Problem::new(Code::NotAuthorizedForUser, detail));
        }
        let key = match &self.partner_reference {
            Some(reference) => Some(IdempotencyKey::PartnerReference(reference.clone())),
            None => idempotency::read(headers)?.map(Into::into),
        };
        let Self { user_id, offer_id, amount, partner_reference, callback_url } = self;
        let request = format!("POST /partner/activate user_id={user_id} offer_id={offer_id} amount={amount}");
        let request = IdempotentRequest::new(caller.id(), key, request);
        let partner_id = match caller {
            Caller::Partner { id, .. } => Some(*id),
            Caller::User { .. } => None,
        };
        Ok(PartnerActivation {
            partner_id,
            user_id,
            offer_id,
            amount,
            partner_reference,
            callback_url,
            request,
        })
    }
}

fn accepted(accepted: &Accepted) -> Response {
    let reference = accepted.reference.as_str();
    let body = json!({
        "reference": reference,
        "transaction_id": accepted.transaction_id,
        "status": "PENDING",
        "message": "Activation request received",
    });
    let location = format!("/api/v1/partner/validate/{reference}/");
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response();
    if accepted.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// `GET /partner/validate/{reference}/`: for the partner who asked for it, and for the user who got it.
pub(crate) async fn validate(
    State(app): State<Shared>,
    caller: Caller,
    path: Option<Path<String>>,
) -> Result<Json<ValidateAnswer>, Problem> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let found = match Reference::parse(&text) {
        Some(reference) => app.statuses.find_by_reference(&reference).await?,
        None => None,
    };
    let view = found.filter(|view| concerns(view, &caller)).ok_or_else(|| no_such_reference(&text))?;
    let mut answer = ValidateAnswer::from(&view);
    if view.request.partner_id.is_some() && matches!(caller, Caller::User { .. }) {
        answer.partner_reference = None; // the partner's own business
    }
    Ok(Json(answer))
}

fn concerns(view: &TransactionView, caller: &Caller) -> bool {
    match caller {
        Caller::Partner { id, .. } => view.request.partner_id == Some(*id),
        Caller::User { id, .. } => view.request.user_id == *id,
    }
}

fn no_such_reference(text: &str) -> Problem {
    let echo: String = text.chars().filter(|c| !c.is_control()).take(MAX_ECHO).collect();
    Problem::new(Code::TransactionNotFound, "Transaction not found")
        .with("reference", echo)
        .with("is_valid", false)
}

/// `GET /partner/transactions/?partner_reference=&status=`
pub(crate) async fn transactions(
    State(app): State<Shared>,
    Partner(partner): Partner,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, (partner_reference, status)) =
        PageParams::read(parameters, "partner_transactions", |parameters| {
            let reference = parameters.optional("partner_reference", text);
            (reference, parameters.optional("status", variant::<Status>).map(Into::into))
        })?;
    let after = params.key(|key| key.parse().ok())?;
    if let Some(reference) = partner_reference {
        let found = app.statuses.find_by_partner_reference(partner, reference).await?;
        let found = found.filter(|view| status.is_none_or(|status| view.status == status));
        return Ok(params.answer(&context, found.iter().map(ValidateAnswer::from).collect(), None));
    }
    let filter = PartnerFilter { partner_reference: None, status };
    let slice = app.statuses.list_for_partner(partner, filter, after, params.limit).await?;
    let items = slice.items.iter().map(ValidateAnswer::from).collect();
    Ok(params.answer(&context, items, slice.next.map(|key| key.to_string())))
}

/// `GET /partner/balance/`: what the float account has now.
pub(crate) async fn balance(
    State(app): State<Shared>,
    Partner(partner): Partner,
) -> Result<Json<Value>, Problem> {
    let balance = app.accounts.balance(partner.into()).await?;
    Ok(Json(json!({"balance": balance.balance, "currency": app.currency})))
}

/// `POST /partner/callbacks/test/`: a signed `ping` to the registered URL.
pub(crate) async fn test_callback(
    State(app): State<Shared>,
    Partner(partner): Partner,
) -> Result<impl IntoResponse, Problem> {
    let id = app.callbacks.enqueue_ping(partner).await?;
    let location = format!("/api/v1/partner/callbacks/{id}/");
    let body = json!({"id": id, "message": "A ping is on its way to the registered URL"});
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)))
}

/// `GET /partner/callbacks/{id}/`: what became of a ping, or of any callback to this partner.
pub(crate) async fn callback(
    State(app): State<Shared>,
    Partner(partner): Partner,
    Id(id): Id<Uuid>,
) -> Result<Json<Value>, Problem> {
    let found = app.callbacks.find(id).await?.filter(|delivery| delivery.partner_id == partner);
    let delivery = found.ok_or_else(no_such_callback)?;
    Ok(Json(json!({
        "id": delivery.id,
        "webhook_id": delivery.event_id,
        "type": delivery.r#type,
        "transaction_id": delivery.transaction_id,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
    })))
}
