//! The verbs that work through the API of a running service: one client, and one way to say what it answered.
//!
//! What can be repeated safely is repeated when the connection is lost: what reads, what sets a value, and what moves
//! money, under one `Idempotency-Key`.

mod client;
mod logins;
mod service;
mod verbs;

pub(super) use client::Api;
pub(super) use verbs::{Listing, ListingByStatus, One, Order, Resource, listed};

use anyhow::anyhow;
use serde_json::json;

use super::admin;
use super::output::{Outcome, Refused};
use crate::config::ApiAccess;
use logins::Logins;
use service::Service;

/// Log in at a service: the password is prompted for, or read from stdin. The login is kept in a file that only you can
/// read, and is renewed until it has not been used for days.
#[derive(Debug, clap::Args)]
pub(super) struct Login {
    username: String,
    #[command(flatten)]
    api: ApiAccess,
}

#[derive(Debug, clap::Args)]
pub(super) struct Logout {
    #[command(flatten)]
    api: ApiAccess,
}

pub(super) async fn login(args: Login) -> anyhow::Result<Outcome> {
    let service = Service::at(&args.api.url)?;
    let password = admin::password(&format!("Password for {} at {}", args.username, args.api.url))?;
    let logins = Logins::of(&args.api)?;
    logins.log_in(&service, &args.username, &password).await?;
    let told = format!("logged in at {} as {}", args.api.url, args.username);
    Outcome::done(
        told,
        json!({"url": args.api.url.as_str(), "username": args.username, "login_file": logins.path()}),
    )
}

pub(super) async fn logout(args: Logout) -> anyhow::Result<Outcome> {
    let service = Service::at(&args.api.url)?;
    let Some(username) = Logins::of(&args.api)?.log_out(&service).await? else {
        return Err(Refused(anyhow!("there is no login at {}", args.api.url)).into());
    };
    Outcome::done(
        format_args!("logged out at {}: {username}", args.api.url),
        json!({"url": args.api.url.as_str(), "username": username}),
    )
}

#[derive(Debug, clap::Args)]
pub(super) struct Search {
    /// Any id, a username, a mail address, a reference, or # and a position
    query: String,
    #[command(flatten)]
    api: ApiAccess,
}

pub(super) async fn search(args: Search) -> anyhow::Result<Outcome> {
    let found = Api::open(&args.api)?.get(&["admin", "search"], &[("q", &args.query)]).await?;
    listed(found, &["kind", "id", "label"])
}
