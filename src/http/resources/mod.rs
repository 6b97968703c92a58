//! One file a resource: requests, answers and handlers, in this order. Router and document are one list
//! (`super::routes`), made of the handlers and what stands above them.
//!
//! How a resource is written; `auth.rs`, `offers.rs` and `admin/users.rs` are examples.
//!
//! 1. **A request** is made by [`request!`](super::extract::request): a member is its name, its type, how
//!    it may be left out, its rule and an example. `strict` refuses unknown members: below `/admin`.
//!    The handler takes `fields: Fields` and reads them by `Request::of(fields)?`. A body that comes in
//!    several forms implements `Request`, `PartialSchema` and `ToSchema` by hand.
//! 2. **An answer** is a struct with `#[derive(Serialize, ToSchema)] #[serde(deny_unknown_fields)]`, made
//!    by `From<&View>`. Ids, money, moments are the types of [`super::values`]. The doc of a field is its
//!    description, `#[schema(example = …)]` its example; an `Option` that is `null` rather than left out is
//!    `#[schema(required)]`. A list is a `Page<T>`, which the operation names by an alias: `type OfferPage`.
//! 3. **A handler** has a doc: the first line is the operation's summary (no full stop), the rest after an
//!    empty line its description. `#[utoipa::path]` has the method, the path as the router has it (no slash
//!    at the end), `security`, `params` (`PageParams`, `IdempotencyKeyHeader`, `("id" = Id, Path, …)`),
//!    `request_body`, `responses` of success, and the codes of its own: `extensions(("x-refusals" =
//!    json!(refusals(&[Code::OfferNotFound]))))`. What follows from these (401, 413, 503, headers, the
//!    operation's id and tag) is added by `openapi::conventions`.
//! 4. **The route** is a line in `http/mod.rs`: `.routes(routes!(offers::list))`, one line a path.

pub(crate) mod account;
pub(crate) mod activation;
pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod health;
pub(crate) mod offers;
pub(crate) mod partner;
pub(crate) mod partner_callbacks;
pub(crate) mod partner_keys;
pub(crate) mod partner_profile;
pub(crate) mod proofs;
pub(crate) mod renewals;
pub(crate) mod sessions;
pub(crate) mod statement;
pub(crate) mod status;
pub(crate) mod status_stream;
