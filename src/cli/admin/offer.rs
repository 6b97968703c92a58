//! `offers offer create`: creates an offer.

use clap::Subcommand;
use domain::offer::{DURATION_DAYS, Terms};
use domain::text::{fits_a_line, is_visible};
use domain::{Money, OfferId};
use serde_json::json;
use uuid::Uuid;

use super::{AdminContext, Common};
use crate::app::catalogue::{MAX_DESCRIPTION, MAX_NAME};
use crate::cli::admin;
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Create a new offer
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Create {
    #[arg(value_parser = name)]
    name: String,
    /// The price, like 19.99; 0.00 is allowed
    #[arg(long, value_parser = admin::amount, allow_negative_numbers = true)]
    price: Money,
    /// The duration of a subscription, in days
    #[arg(long, value_parser = days())]
    days: u32,
    #[arg(long, default_value = "", value_parser = description)]
    description: String,
    /// Not active: nobody can buy it yet
    #[arg(long)]
    inactive: bool,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

fn name(text: &str) -> Result<String, String> {
    let fits =
        text.chars().count() <= MAX_NAME && text.chars().all(fits_a_line) && text.chars().any(is_visible);
    if fits { Ok(text.to_owned()) } else { Err(format!("a name is a line of 1 to {MAX_NAME} characters")) }
}

fn description(text: &str) -> Result<String, String> {
    let unwelcome = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let fits = text.chars().count() <= MAX_DESCRIPTION && !text.chars().any(unwelcome);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("a description has up to {MAX_DESCRIPTION} characters"))
    }
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(*DURATION_DAYS.start())..=i64::from(*DURATION_DAYS.end()))
}

pub(in crate::cli) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    let Verb::Create(args) = verb;
    let context = AdminContext::open(&args.common, None).await?;
    let id = OfferId(Uuid::now_v7());
    let terms =
        Terms { name: args.name, description: args.description, price: args.price, duration_days: args.days };
    let metadata = admin::metadata(args.reason.as_deref());
    let position = context
        .catalogue
        .create(id, terms.clone(), !args.inactive, &metadata)
        .await
        .map_err(admin::explain)?;
    Ok(Outcome::members(json!({
        "id": id,
        "name": terms.name,
        "price": terms.price,
        "duration_days": terms.duration_days,
        "is_active": !args.inactive,
        "position": position,
    })))
}
