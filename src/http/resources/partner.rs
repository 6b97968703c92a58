//! `/partner`: systems that sell for people, each on its own float account. A user may activate and
//! validate here too, for itself alone.

use super::activation::{BeginStatus, count};
use crate::app::idempotency::IdempotentRequest;
use crate::app::partner_activate::{Accepted, Customer, PartnerActivation, Reference};
use crate::http::context::Context;
use crate::http::extract::caller::{Partner, check_may_buy};
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::{self, IdempotencyKeyHeader};
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::query::{Parameters, text, variant};
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Amount, Identifier, Line, id};
use crate::http::headers::IDEMPOTENT_REPLAYED;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{self, Currency, Id, Status, Time};
use crate::http::{Code, Shared};
use crate::identity::Caller;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::ids::IdempotencyKey;
use domain::{Money, OfferId, Slice, UserId};
use projections::TransactionView;
use projections::transaction::PartnerFilter;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What an activation cannot do without; a username stands for the id.
const NEEDED: [&str; 3] = ["user_id", "offer_id", "amount"];
/// The longest username that is looked up, in characters.
const MAX_USERNAME: usize = 150;
/// The longest URL that is looked at, in characters: a longer one cannot be registered.
const MAX_URL: usize = 4096;
/// Characters of an invalid reference that are echoed.
const MAX_ECHO: usize = 64;

request! {
    /// What is bought, for whom, for how much.
    PartnerActivateRequest {
        /// The user; or name it by `username`.
        user_id: Option<UserId> = optional(id::<UserId>()),
        /// Instead of `user_id`: the exact name, case included.
        username: Option<String> = optional(Line(1..=MAX_USERNAME), Value::Null),
        offer_id: OfferId = required(id::<OfferId>()),
        /// The price, as the partner knows it.
        amount: Money = required(Amount),
        /// The partner's own reference; repeats are recognised by it.
        partner_reference: Option<String> = optional(Identifier, "order-7"),
        /// Where the callback goes instead of the registered URL; of the same origin.
        callback_url: Option<String> = optional(Line(1..=MAX_URL), Value::Null),
    }
}

/// A transaction has begun.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sold {
    #[schema(value_type = ReferenceText)]
    reference: String,
    transaction_id: Id,
    status: BeginStatus,
    #[schema(example = "Activation request received")]
    message: &'static str,
}

/// Our reference for a partner's transaction.
#[derive(ToSchema)]
#[schema(as = Reference, pattern = "^REF-[A-Z0-9]{12}$", example = "REF-0123456789AB")]
#[expect(dead_code, reason = "shows a text")]
struct ReferenceText(String);

/// A transaction as the partner who asked for it sees it; the `data` of a callback.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Validation {
    #[schema(value_type = ReferenceText)]
    reference: Option<String>,
    #[schema(required, example = "order-7")]
    partner_reference: Option<String>,
    transaction_id: Id,
    user_id: Id,
    offer_id: Id,
    amount: values::Money,
    status: Status,
    created_at: Time,
    updated_at: Time,
    /// Always true.
    is_valid: bool,
}

/// What is available.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FloatBalance {
    balance: values::Money,
    currency: Currency,
}

type ValidationPage = Page<Validation>;

/// Activate an offer for a user
///
/// A partner acts for any user, on its own float account; a user for itself alone, on its own balance.
/// `partner_reference` is the idempotency key if it is there, and the header is then not looked at. Errors
/// are checked in this order: missing fields, another's user, a reused key, the callback URL, user, offer,
/// amount, balance. The user is given by `user_id` or by `username`, not by both.
#[utoipa::path(post, path = "/partner/activate", security(("Bearer" = ["user"]), ("ApiKey" = [])),
    params(IdempotencyKeyHeader),
    request_body = PartnerActivateRequest,
    responses((status = 201, description = "The money is reserved.", body = Sold, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[
        Code::MissingFields, Code::NotAuthorizedForUser, Code::UnknownUser, Code::UnknownOffer,
        Code::AmountMismatch, Code::InsufficientBalance, Code::CallbackUrlNotAllowed, Code::Conflict,
    ])))))]
pub(crate) async fn activate(
    State(app): State<Shared>,
    caller: Caller,
    context: Context,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let request = PartnerActivateRequest::from_fields(fields)?;
        let customer = app.activations.customer_of(&caller, request.customer()?).await?;
        let activation = request.by(&caller, customer, &headers)?;
        let metadata = context.metadata(caller.actor().to_string());
        Ok::<_, Problem>(app.activations.activate_for_partner(&activation, metadata).await?)
    };
    let answer = answer.await;
    count(if answer.is_ok() { "accepted" } else { "rejected" });
    Ok(accepted(&answer?))
}

impl PartnerActivateRequest {
    fn from_fields(fields: Fields) -> Result<Self, Problem> {
        let named = fields.missing(&["username"]).is_empty();
        let mut missing = fields.missing(&NEEDED);
        missing.retain(|name| *name != "user_id" || !named);
        if !missing.is_empty() {
            return Err(Problem::missing(&missing));
        }
        if named && fields.has("user_id") {
            return Err(Problem::invalid_field("username", "is not taken together with user_id"));
        }
        Self::of(fields)
    }

    /// As the caller names the customer.
    fn customer(&self) -> Result<Customer, Problem> {
        let by_name = || self.username.clone().map(Customer::Named);
        self.user_id.map(Customer::Id).or_else(by_name).ok_or_else(|| Problem::missing(&["user_id"]))
    }

    /// The same for a customer that the caller may buy for. The caller's own reference is the key; a header beside
    /// it is not even looked at.
    fn by(
        self,
        caller: &Caller,
        customer: Option<Customer>,
        headers: &HeaderMap,
    ) -> Result<PartnerActivation, Problem> {
        let Some(customer) = customer else {
            let detail = "A user may activate for itself alone";
            return Err(Problem::new(Code::NotAuthorizedForUser, detail));
        };
        check_may_buy(caller)?;
        let key = match &self.partner_reference {
            Some(reference) => Some(IdempotencyKey::PartnerReference(reference.clone())),
            None => idempotency::read(headers)?.map(Into::into),
        };
        let Self { user_id, offer_id, amount, partner_reference, callback_url, .. } = self;
        let user = match user_id {
            Some(id) => format!("user_id={id}"),
            None => "username".to_owned(), // it is compared with the user's own: no name is recorded
        };
        let request = format!("POST /partner/activate {user} offer_id={offer_id} amount={amount}");
        let request = IdempotentRequest::new(caller.id(), key, request);
        let partner_id = match caller {
            Caller::Partner { id, .. } => Some(*id),
            Caller::User { .. } => None,
        };
        Ok(PartnerActivation {
            partner_id,
            customer,
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
    let body = Sold {
        reference: reference.to_owned(),
        transaction_id: accepted.transaction_id.into(),
        status: BeginStatus::Pending,
        message: "Activation request received",
    };
    let location = format!("/api/v1/partner/validate/{reference}/");
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response();
    if accepted.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// What became of a transaction
///
/// For the partner who asked for it, and for the user it is for. The error has the members `reference` and
/// `is_valid` (false) too.
#[utoipa::path(get, path = "/partner/validate/{reference}", security(("Bearer" = []), ("ApiKey" = [])),
    params(("reference" = String, Path, description = "Ours: `REF-…`.", min_length = 1, max_length = 200,
        example = "REF-0123456789AB")),
    responses((status = 200, description = "The transaction.", body = Validation)),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound])))))]
pub(crate) async fn validate(
    State(app): State<Shared>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Validation>, Problem> {
    let text = path.map(|Path(text)| text).unwrap_or_default(); // what is not UTF-8 is no reference
    let found = match Reference::parse(&text) {
        Some(reference) => app.statuses.find_by_reference(&reference).await?,
        None => None,
    };
    let found = found.map(|found| found.view);
    let view = found.filter(|view| concerns(view, &caller)).ok_or_else(|| no_such_reference(&text))?;
    let mut answer = Validation::from(&view);
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

/// The partner's transactions, newest first
///
/// For a partner who never got the answer: look for your own reference.
#[utoipa::path(get, path = "/partner/transactions", security(("ApiKey" = [])),
    params(
        ("partner_reference" = String, Query, description = "The partner's own reference.", max_length = 200,
            format = "line", pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"),
        ("status" = Status, Query, description = "Only those with this status."),
        PageParams,
    ),
    responses((status = 200, description = "The caller's transactions.", body = ValidationPage)))]
pub(crate) async fn transactions(
    State(app): State<Shared>,
    Partner { id: partner, .. }: Partner,
    context: Context,
    parameters: Parameters,
) -> Result<Json<ValidationPage>, Problem> {
    let (params, (partner_reference, status)) =
        PageParams::read(parameters, "partner_transactions", |parameters| {
            let reference = parameters.optional("partner_reference", text);
            (reference, parameters.optional("status", variant::<Status>).map(Into::into))
        })?;
    let after = params.after()?;
    if let Some(reference) = partner_reference {
        let found = app.statuses.find_by_partner_reference(partner, reference).await?;
        let found = found.filter(|view| status.is_none_or(|status| view.status == status));
        let items = found.iter().map(Validation::from).collect();
        return Ok(Json(params.page(&context, Slice { items, next: None::<i64> })));
    }
    let filter = PartnerFilter { partner_reference: None, status };
    let slice = app.statuses.list_for_partner(partner, filter, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|view| Validation::from(&view)))))
}

/// Balance of the float account
#[utoipa::path(get, path = "/partner/balance", security(("ApiKey" = [])),
    responses((status = 200, description = "What is available.", body = FloatBalance)))]
pub(crate) async fn balance(
    State(app): State<Shared>,
    Partner { id: partner, .. }: Partner,
) -> Result<Json<FloatBalance>, Problem> {
    let balance = app.accounts.balance(partner.into()).await?;
    Ok(Json(FloatBalance { balance: balance.balance.into(), currency: Currency(app.currency.clone()) }))
}

impl From<&TransactionView> for Validation {
    fn from(view: &TransactionView) -> Self {
        let request = &view.request;
        Self {
            reference: request.reference.clone(),
            partner_reference: request.partner_reference.clone(),
            transaction_id: view.transaction_id.into(),
            user_id: request.user_id.into(),
            offer_id: request.offer_id.into(),
            amount: request.amount.into(),
            status: view.status.into(),
            created_at: view.created_at.into(),
            updated_at: view.updated_at.into(),
            is_valid: true,
        }
    }
}
