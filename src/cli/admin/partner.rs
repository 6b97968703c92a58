//! `offers partner create` and `rotate`: systems that sell for people, and what they call with. Keys and
//! secrets are printed once; nothing can show them again.

use std::process::ExitCode;

use clap::Subcommand;
use domain::PartnerId;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Common, Desk};
use crate::app::registration;
use crate::cli::admin;
use crate::config::Secrets;
use crate::identity::{Actor, Identity, KeyId, PAGE_MAX};
use crate::processors::callbacks::valid_callback_url;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a partner with a key and a webhook secret
    Create(Create),
    /// Makes another key, or another webhook secret
    Rotate(Rotate),
}

#[derive(Debug, clap::Args)]
struct Create {
    name: String,
    /// Where it is told what became of its purchases
    #[arg(long)]
    callback_url: Option<String>,
    /// Why, in your words; it is kept with what is done
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// Which partner
    id: Uuid,
    /// Another webhook secret instead of a key; for a day the one before signs too
    #[arg(long, conflicts_with = "revoke_others")]
    webhook_secret: bool,
    /// Takes back all its other keys: they are refused within a second
    #[arg(long)]
    revoke_others: bool,
    /// Why, in your words; it is kept with what is done
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    common: Common,
}

pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Create(args) => create(args).await?,
        Verb::Rotate(args) => rotate(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: Create) -> anyhow::Result<()> {
    let desk = Desk::open(&args.common)?;
    let identity = desk.identity(Some(&args.secrets.webhook_key()?))?;
    let url = args.callback_url.as_deref();
    anyhow::ensure!(url.is_none_or(valid_callback_url), "the callback URL is not an http or https URL");
    let reason = args.reason.as_deref();
    let (by, metadata, now) = (admin::actor(reason), admin::metadata(reason), desk.clock.now().utc());
    let made =
        registration::create_partner(&desk.log, &identity, (&args.name, url), &by, &metadata, now).await;
    let new = made.map_err(admin::refusal)?;
    desk.tell(&json!({
        "id": new.partner.id,
        "name": new.partner.name,
        "callback_url": new.partner.callback_url,
        "api_key": new.key.api_key.expose_secret(),
        "webhook_secret": new.webhook_secret.expose_secret(),
    }))
}

async fn rotate(args: Rotate) -> anyhow::Result<()> {
    let desk = Desk::open(&args.common)?;
    let (id, by) = (PartnerId(args.id), admin::actor(args.reason.as_deref()));
    let now = desk.clock.now().utc();
    if args.webhook_secret {
        let identity = desk.identity(Some(&args.secrets.webhook_key()?))?;
        let secret = identity.rotate_webhook_secret(id, &by, now).await?;
        return desk.tell(&json!({"id": id, "webhook_secret": secret.expose_secret()}));
    }
    let identity = desk.identity(None)?;
    let key = identity.create_key(id, &by, now).await?;
    let revoked = match args.revoke_others {
        true => revoke_others(&desk, &identity, id, key.key_id, &by).await?,
        false => Vec::new(),
    };
    desk.tell(&json!({
        "id": id,
        "key_id": key.key_id,
        "api_key": key.api_key.expose_secret(),
        "revoked": Value::from(revoked.iter().map(ToString::to_string).collect::<Vec<_>>()),
    }))
}

async fn revoke_others(
    desk: &Desk,
    identity: &Identity,
    partner: PartnerId,
    kept: KeyId,
    by: &Actor,
) -> anyhow::Result<Vec<KeyId>> {
    let (mut revoked, mut after) = (Vec::new(), None);
    loop {
        let page = identity.list_keys(partner, after, PAGE_MAX).await?;
        for key in page.items.iter().filter(|key| key.revoked_at.is_none() && key.key_id != kept) {
            identity.revoke_key(partner, key.key_id, by, desk.clock.now().utc()).await?;
            revoked.push(key.key_id);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(revoked),
        }
    }
}
