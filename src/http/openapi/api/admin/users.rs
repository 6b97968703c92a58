//! `/admin/users`

use crate::http::Code;
use crate::http::openapi::api::auth::Profile;
use crate::http::openapi::api::values::{Role, line};
use crate::http::openapi::operation::{Caller, Operation, get, patch, post};
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post("/admin/users/", "Add a user")
            .says("Opens an account with 0.00 under the user's id.")
            .by(Caller::Admin)
            .takes::<NewUser>()
            .answers::<Profile>(201, "The new user.")
            .refuses(&[Code::UsernameTaken, Code::Conflict]),
        get("/admin/users/", "Users, newest first")
            .by(Caller::Admin)
            .query("q", "Part of the name or the mail address.", line(0, 150))
            .lists::<Profile>("Users."),
        get("/admin/users/{id}/", "One user")
            .by(Caller::Admin)
            .id("id", "The user.")
            .answers::<Profile>(200, "The user.")
            .refuses(&[Code::UserNotFound]),
        patch("/admin/users/{id}/", "Change a user")
            .says("A new password, other roles and being disabled end all the user's sessions.")
            .by(Caller::Admin)
            .id("id", "The user.")
            .takes::<UserChange>()
            .answers::<Profile>(200, "The user as it is now.")
            .refuses(&[Code::UserNotFound]),
    ]
}

/// Somebody who may log in.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    #[schema(pattern = "^[A-Za-z0-9@.+_-]{1,150}$", example = "carol")]
    username: String,
    #[schema(min_length = 8, max_length = 1024, format = "password", example = "a long passphrase")]
    password: String,
    /// Where mail is sent; at most 64 characters stand before the `@`.
    #[schema(max_length = 254, format = "email", example = "carol@example.com")]
    email: String,
    #[schema(max_length = 150, format = "line", example = "Carol")]
    first_name: Option<String>,
    #[schema(max_length = 150, format = "line", example = "Danvers")]
    last_name: Option<String>,
    /// `user` alone unless given.
    #[schema(min_items = 1)]
    roles: Option<Vec<Role>>,
    /// Why, in your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Asked for by the customer")]
    reason: Option<String>,
}

/// What changes; the rest stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    #[schema(nullable = false)]
    is_active: Option<bool>,
    #[schema(nullable = false, min_items = 1)]
    roles: Option<Vec<Role>>,
    #[schema(
        nullable = false,
        min_length = 8,
        max_length = 1024,
        format = "password",
        example = "a long passphrase"
    )]
    password: Option<String>,
    /// Where mail is sent; at most 64 characters stand before the `@`.
    #[schema(nullable = false, max_length = 254, format = "email", example = "carol@example.com")]
    email: Option<String>,
    /// Why, in your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Asked for by the customer")]
    reason: Option<String>,
}
