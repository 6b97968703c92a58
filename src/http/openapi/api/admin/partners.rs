//! `/admin/partners`

use super::Reason;
use crate::http::Code;
use crate::http::openapi::api::values::{Id, Time, line};
use crate::http::openapi::operation::{Caller, Operation, delete, get, patch, post};
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    [partners(), keys()].into_iter().flatten().collect()
}

fn partners() -> Vec<Operation> {
    vec![
        post("/admin/partners/", "Add a partner")
            .says("The key and the secret are told this once. The float account begins with 0.00.")
            .by(Caller::Admin)
            .takes::<NewPartner>()
            .answers::<PartnerWithKey>(201, "The new partner.")
            .refuses(&[Code::Conflict]),
        get("/admin/partners/", "Partners, newest first").by(Caller::Admin).lists::<Partner>("Partners."),
        get("/admin/partners/{id}/", "One partner")
            .by(Caller::Admin)
            .id("id", "The partner.")
            .answers::<Partner>(200, "The partner.")
            .refuses(&[Code::PartnerNotFound]),
        patch("/admin/partners/{id}/", "Change a partner")
            .by(Caller::Admin)
            .id("id", "The partner.")
            .takes::<PartnerChange>()
            .answers::<Partner>(200, "The partner as it is now.")
            .refuses(&[Code::PartnerNotFound]),
    ]
}

fn keys() -> Vec<Operation> {
    vec![
        post("/admin/partners/{id}/keys/", "Add a key")
            .says("It is told this once; those before stay good.")
            .by(Caller::Admin)
            .id("id", "The partner.")
            .takes_if_any::<Reason>()
            .answers::<NewKey>(201, "The new key.")
            .refuses(&[Code::PartnerNotFound, Code::Conflict]),
        get("/admin/partners/{id}/keys/", "Keys, newest first")
            .by(Caller::Admin)
            .id("id", "The partner.")
            .lists::<Key>("Keys, revoked ones too.")
            .refuses(&[Code::PartnerNotFound]),
        delete("/admin/partners/{id}/keys/{key_id}/", "Revoke a key")
            .says("It is refused everywhere within a second.")
            .by(Caller::Admin)
            .id("id", "The partner.")
            .id("key_id", "The key.")
            .query("reason", "Why; kept.", line(0, 500))
            .answers_nothing(204, "Revoked.")
            .refuses(&[Code::PartnerNotFound, Code::KeyNotFound]),
        post("/admin/partners/{id}/webhook-secret/", "Replace the secret that signs callbacks")
            .says("It is told this once. For a day the one before signs too.")
            .by(Caller::Admin)
            .id("id", "The partner.")
            .takes_if_any::<Reason>()
            .answers::<NewSecret>(201, "The new secret.")
            .refuses(&[Code::PartnerNotFound]),
    ]
}

/// A system that sells to users.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPartner {
    /// One line.
    #[schema(min_length = 1, max_length = 150, format = "line", example = "Corner Shop")]
    name: String,
    /// Where callbacks go: http or https, without a user.
    #[schema(
        min_length = 1,
        max_length = 2048,
        pattern = "^https?://",
        example = "https://shop.example/hook"
    )]
    callback_url: Option<String>,
    /// Why, in your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Contract 2026-17")]
    reason: Option<String>,
}

/// A new partner, with what it is told once.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct PartnerWithKey {
    id: Id,
    #[schema(example = "Corner Shop")]
    name: String,
    #[schema(required, example = "https://shop.example/hook")]
    callback_url: Option<String>,
    #[schema(example = "ofk_Ab3dEf6hIj9lMn2pQr5tUv8xYz1")]
    api_key: String,
    #[schema(example = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")]
    webhook_secret: String,
}

/// A system that sells to users.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Partner {
    id: Id,
    #[schema(example = "Corner Shop")]
    name: String,
    #[schema(required, example = "https://shop.example/hook")]
    callback_url: Option<String>,
    /// When the endpoint said that it is gone (410).
    #[schema(required, example = json!(null))]
    callback_disabled_at: Option<Time>,
    is_active: bool,
    created_at: Time,
}

/// What changes; the rest stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct PartnerChange {
    /// One line.
    #[schema(nullable = false, min_length = 1, max_length = 150, format = "line", example = "Corner Shop")]
    name: Option<String>,
    /// Null takes it away.
    #[schema(
        min_length = 1,
        max_length = 2048,
        pattern = "^https?://",
        example = "https://shop.example/hook"
    )]
    callback_url: Option<String>,
    #[schema(nullable = false)]
    is_active: Option<bool>,
    /// Why, in your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "They moved")]
    reason: Option<String>,
}

/// A key, told once.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    key_id: Id,
    #[schema(example = "ofk_Ab3dEf6hIj9lMn2pQr5tUv8xYz1")]
    api_key: String,
}

/// What is known of a key.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Key {
    key_id: Id,
    created_at: Time,
    #[schema(required, example = json!(null))]
    revoked_at: Option<Time>,
    /// To the minute.
    #[schema(required)]
    last_used_at: Option<Time>,
}

/// A secret, told once.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    #[schema(example = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")]
    webhook_secret: String,
}
