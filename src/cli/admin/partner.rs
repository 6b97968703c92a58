//! `offers partner`: partners, their keys and webhook secrets. Keys and secrets are printed once and cannot be shown
//! again.

use clap::Subcommand;
use domain::{PartnerId, SLICE_MAX};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AdminContext, Common};
use crate::cli::admin;
use crate::cli::api::{Listing, One, Order, Resource};
use crate::cli::output::Outcome;
use crate::config::Secrets;
use crate::identity::{Actor, CallbackUrl, KeyId};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Create a partner with a key and a webhook secret, on the database
    Create(Create),
    /// Create another key, or another webhook secret, on the database
    Rotate(Rotate),
    /// List partners, newest first
    List(Listing),
    /// Show a partner
    Show(One),
    /// Refuse the partner's keys
    Disable(Order),
    /// Take the partner's keys again
    Enable(Order),
}

pub(in crate::cli) const PARTNERS: Resource = Resource {
    name: "partners",
    columns: &["id", "name", "callback_url", "is_active", "created_at"],
    named_by: Some("name"),
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Create {
    name: String,
    /// The URL for callbacks
    #[arg(long, value_parser = CallbackUrl::parse)]
    callback_url: Option<CallbackUrl>,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rotate {
    /// The id of the partner
    id: Uuid,
    /// Create a webhook secret instead of a key; for a day the previous secret signs too
    #[arg(long, conflicts_with = "revoke_others")]
    webhook_secret: bool,
    /// Revoke all other keys of the partner: they are refused within a second
    #[arg(long)]
    revoke_others: bool,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    common: Common,
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::Create(args) => create(args).await,
        Verb::Rotate(args) => rotate(args).await,
        Verb::List(listing) => PARTNERS.list(&listing, &[]).await,
        Verb::Show(one) => PARTNERS.show(&one).await,
        Verb::Disable(order) => PARTNERS.change(&order, json!({"is_active": false})).await,
        Verb::Enable(order) => PARTNERS.change(&order, json!({"is_active": true})).await,
    }
}

async fn create(args: Create) -> anyhow::Result<Outcome> {
    let context = AdminContext::open(&args.common, Some(&args.secrets.webhook_key()?)).await?;
    let reason = args.reason.as_deref();
    let (by, metadata) = (admin::actor(reason), admin::metadata(reason));
    let created =
        context.registration.create_partner(&args.name, args.callback_url.as_ref(), &by, &metadata).await;
    let new = created.map_err(admin::explain)?;
    Ok(Outcome::members(json!({
        "id": new.partner.id,
        "name": new.partner.name,
        "callback_url": new.partner.callback_url,
        "api_key": new.key.api_key.expose_secret(),
        "webhook_secret": new.webhook_secret.expose_secret(),
    })))
}

async fn rotate(args: Rotate) -> anyhow::Result<Outcome> {
    let webhook_key = args.webhook_secret.then(|| args.secrets.webhook_key()).transpose()?;
    let context = AdminContext::open(&args.common, webhook_key.as_ref()).await?;
    let (id, by) = (PartnerId(args.id), admin::actor(args.reason.as_deref()));
    let (identity, now) = (&context.identity, context.clock.now().utc());
    if args.webhook_secret {
        let secret = identity.rotate_webhook_secret(id, &by, now).await.map_err(admin::explain)?;
        return Ok(Outcome::members(json!({"id": id, "webhook_secret": secret.expose_secret()})));
    }
    let key = identity.create_key(id, &by, now).await.map_err(admin::explain)?;
    let revoked = match args.revoke_others {
        true => revoke_others(&context, id, key.key_id, &by).await?,
        false => Vec::new(),
    };
    Ok(Outcome::members(json!({
        "id": id,
        "key_id": key.key_id,
        "api_key": key.api_key.expose_secret(),
        "revoked": Value::from(revoked.iter().map(ToString::to_string).collect::<Vec<_>>()),
    })))
}

async fn revoke_others(
    context: &AdminContext,
    partner: PartnerId,
    kept: KeyId,
    by: &Actor,
) -> anyhow::Result<Vec<KeyId>> {
    let (mut revoked, mut after) = (Vec::new(), None);
    loop {
        let page = context.identity.list_keys(partner, after, SLICE_MAX).await?;
        for key in page.items.iter().filter(|key| key.revoked_at.is_none() && key.key_id != kept) {
            context.identity.revoke_key(partner, key.key_id, by, context.clock.now().utc()).await?;
            revoked.push(key.key_id);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(revoked),
        }
    }
}
