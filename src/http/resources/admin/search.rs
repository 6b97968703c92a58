//! `/admin/search`: what an id, a name or a reference belongs to.

use crate::app::search::{FOUND_MAX, Found};
use crate::http::extract::caller::Admin;
use crate::http::extract::query::Parameters;
use crate::http::extract::rules::{Line, Rule};
use crate::http::extract::values::{Expected, line_of};
use crate::http::json::Json;
use crate::http::problem::Problem;
use crate::http::values::Id;
use crate::http::{API, Shared};
use axum::extract::State;
use domain::transaction::Kind;
use serde::Serialize;
use std::ops::RangeInclusive;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// How long a text is that is searched for, in characters.
const LENGTH: RangeInclusive<usize> = 1..=255;

/// What was found, the best first.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchResults {
    #[schema(max_items = 20)]
    results: Vec<SearchResult>,
    /// Always null.
    #[schema(required, example = json!(null))]
    next: Option<String>,
    /// Always null.
    #[schema(required, example = json!(null))]
    previous: Option<String>,
}

/// Something that has an id.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchResult {
    kind: FoundKind,
    id: Id,
    /// For people.
    #[schema(example = "alice")]
    label: String,
    /// Of the resource that shows it, relative to the host.
    #[schema(example = "/api/v1/admin/users/0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11/")]
    url: String,
}

/// What it is.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FoundKind {
    User,
    Partner,
    Offer,
    Transaction,
    Subscription,
    Event,
}

/// A line with something visible.
struct SearchText;

impl PartialSchema for SearchText {
    fn schema() -> RefOr<Schema> {
        serde_json::from_value(Line(LENGTH).schema()).map(RefOr::T).expect("a JSON schema")
    }
}

impl ToSchema for SearchText {}

/// Search
///
/// By any id (of a user, partner, offer, transaction, subscription or event), a reference (ours, the partner's own, the
/// activation system's), `#` and the position of an event, or a username or a mail address, in any case, of which the first
/// letters are enough. What is exactly so comes first.
#[utoipa::path(get, path = "/admin/search", security(("Bearer" = ["admin"])),
    params(("q" = inline(SearchText), Query, description = "What to search for.", example = "alice")),
    responses((status = 200, description = "At most 20 things.", body = SearchResults)))]
pub(crate) async fn search(
    State(app): State<Shared>,
    _admin: Admin,
    parameters: Parameters,
) -> Result<Json<SearchResults>, Problem> {
    let q = parameters.read(|parameters| parameters.optional("q", text))?;
    let q = q.ok_or_else(|| Problem::invalid_field("q", "is required"))?;
    let found = app.search.find(&q).await?;
    debug_assert!(found.len() <= FOUND_MAX);
    Ok(Json(SearchResults {
        results: found.iter().map(SearchResult::from).collect(),
        next: None,
        previous: None,
    }))
}

fn text(text: &str) -> Result<String, Expected> {
    line_of(text, LENGTH)
}

impl From<&Found> for SearchResult {
    fn from(found: &Found) -> Self {
        let one = |kind, id: Uuid, label: String, path: String| Self {
            kind,
            id: id.into(),
            label,
            url: format!("{API}{path}"),
        };
        match found {
            Found::User(user) => {
                let path = format!("/admin/users/{}/", user.id);
                one(FoundKind::User, user.id.0, user.username.clone(), path)
            }
            Found::Partner(partner) => {
                let path = format!("/admin/partners/{}/", partner.id);
                one(FoundKind::Partner, partner.id.0, partner.name.clone(), path)
            }
            Found::Offer(offer) => {
                let path = format!("/offers/{}/", offer.offer_id);
                one(FoundKind::Offer, offer.offer_id.0, offer.terms.name.clone(), path)
            }
            Found::Transaction(view) => {
                let request = &view.request;
                let kind: &str = Kind::into(request.kind);
                let status: &str = view.status.as_ref();
                let label = format!("{kind}: {}, {}, {status}", request.offer_name, request.amount);
                let path = format!("/admin/transactions/{}/", view.transaction_id);
                one(FoundKind::Transaction, view.transaction_id.0, label, path)
            }
            Found::Subscription(view) => {
                let id = view.subscription_id;
                let label = format!("{} until {}", view.offer_name, view.expiration_date);
                let path = format!("/audit/events/?aggregate_type=UserOffer&aggregate_id={id}");
                one(FoundKind::Subscription, id.0, label, path)
            }
            Found::Event(event) => {
                let position = event.position;
                let label = format!("#{position} {} {}", event.aggregate_type, event.event_type);
                let path = format!("/audit/events/?from={position}&to={position}");
                one(FoundKind::Event, event.event_id, label, path)
            }
        }
    }
}
