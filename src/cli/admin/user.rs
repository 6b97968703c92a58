//! `offers user`: people who may log in.

use clap::Subcommand;
use serde_json::json;

use super::{AdminContext, Common};
use crate::cli::admin;
use crate::cli::api::{Listing, One, Order, Resource};
use crate::cli::output::Outcome;
use crate::identity::{NewUser, Roles};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Create a user, on the database; the password is prompted for, or read from stdin
    Create(Create),
    /// List users, newest first
    List(List),
    /// Show a user
    Show(One),
    /// End the user's sessions and let it log in no more
    Disable(Order),
    /// Let the user log in again
    Enable(Order),
}

pub(in crate::cli) const USERS: Resource = Resource {
    name: "users",
    columns: &["id", "username", "email", "roles", "is_active", "date_joined", "last_login"],
    named_by: Some("username"),
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Part of the username, the mail address or the names
    #[arg(long = "search", value_name = "TEXT")]
    q: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Create {
    username: String,
    #[arg(long)]
    email: String,
    #[arg(long, default_value = "")]
    first_name: String,
    #[arg(long, default_value = "")]
    last_name: String,
    /// user, admin or auditor; may be repeated
    #[arg(long = "role", default_value = "user")]
    roles: Vec<String>,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::Create(args) => create(args).await,
        Verb::List(args) => USERS.list(&args.listing, &[("q", args.q.as_deref())]).await,
        Verb::Show(one) => USERS.show(&one).await,
        Verb::Disable(order) => USERS.change(&order, json!({"is_active": false})).await,
        Verb::Enable(order) => USERS.change(&order, json!({"is_active": true})).await,
    }
}

async fn create(args: Create) -> anyhow::Result<Outcome> {
    let context = AdminContext::open(&args.common, None).await?;
    let roles = Roles::parse(args.roles.iter().map(String::as_str));
    let new = NewUser {
        password: admin::secret(&format!("Password for {}", args.username))?,
        username: args.username,
        email: args.email,
        first_name: args.first_name,
        last_name: args.last_name,
        roles: roles.map_err(admin::explain)?,
    };
    let reason = args.reason.as_deref();
    let (by, metadata) = (admin::actor(reason), admin::metadata(reason));
    let created = context.registration.create_user(&new, &by, &metadata).await;
    let user = created.map_err(admin::explain)?;
    Ok(Outcome::members(json!({
        "id": user.id,
        "username": user.username,
        "roles": user.roles.names().collect::<Vec<_>>(),
    })))
}
