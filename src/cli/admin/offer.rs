//! `offers offer`: the catalogue.

use clap::Subcommand;
use domain::offer::{DURATION_DAYS, Terms};
use domain::text::{fits_a_line, is_visible};
use domain::{Money, OfferId};
use serde_json::json;
use uuid::Uuid;

use super::{AdminContext, Common};
use crate::app::catalogue::{MAX_DESCRIPTION, MAX_NAME};
use crate::cli::admin;
use crate::cli::api::{Listing, One, Order, Resource};
use crate::cli::output::Outcome;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Create a new offer, on the database
    Create(Create),
    /// List all offers by name, also those off sale
    List(List),
    /// Show an offer
    Show(One),
    /// Change an offer; a new price applies to new transactions only
    Change(Change),
    /// Take an offer off sale
    Disable(Order),
    /// Put an offer on sale again
    Enable(Order),
}

const OFFERS: Resource = Resource {
    name: "offers",
    columns: &["id", "name", "price", "duration_days", "is_active", "updated_at"],
    named_by: Some("name"),
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those on sale (true) or off sale (false)
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"])]
    is_active: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, clap::Args)]
#[group(id = "changes", required = true, multiple = true, args = ["name", "description", "price", "days"])]
pub(in crate::cli) struct Change {
    #[command(flatten)]
    order: Order,
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    description: Option<String>,
    /// The price, like 19.99
    #[arg(long, value_parser = admin::amount, allow_negative_numbers = true)]
    price: Option<Money>,
    /// The duration of a subscription, in days
    #[arg(long)]
    days: Option<u32>,
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
    match verb {
        Verb::Create(args) => create(args).await,
        Verb::List(args) => OFFERS.list(&args.listing, &[("is_active", args.is_active.as_deref())]).await,
        Verb::Show(one) => show(&one).await,
        Verb::Change(args) => {
            let Change { order, name, description, price, days } = args;
            let body =
                json!({"name": name, "description": description, "price": price, "duration_days": days});
            OFFERS.change(&order, body).await
        }
        Verb::Disable(order) => OFFERS.change(&order, json!({"is_active": false})).await,
        Verb::Enable(order) => OFFERS.change(&order, json!({"is_active": true})).await,
    }
}

/// Everybody may see an offer: it has no path below /admin.
async fn show(one: &One) -> anyhow::Result<Outcome> {
    let api = one.api()?;
    let id = OFFERS.id(&api, &one.id).await?;
    Ok(Outcome::members(api.get(&["offers", &id], &[]).await?))
}

async fn create(args: Create) -> anyhow::Result<Outcome> {
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
