//! What the verbs have in common: their arguments, and how they tell an answer.

use clap::Args;
use serde_json::{Value, json};

use super::Api;
use crate::cli::output::{self, Outcome};
use crate::cli::table;
use crate::config::ApiAccess;

/// Rows of a list, unless more are asked for.
const ROWS: usize = 50;

#[derive(Args, Debug)]
pub(in crate::cli) struct Listing {
    /// How many rows
    #[arg(long, default_value_t = ROWS)]
    pub(in crate::cli) limit: usize,
    #[command(flatten)]
    api: ApiAccess,
}

impl Listing {
    pub(in crate::cli) fn api(&self) -> anyhow::Result<Api> {
        Api::open(&self.api)
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListingByStatus {
    /// Only those with this status, such as parked
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct One {
    /// The id; a user, a partner or an offer also by name
    pub(in crate::cli) id: String,
    #[command(flatten)]
    api: ApiAccess,
}

impl One {
    pub(in crate::cli) fn api(&self) -> anyhow::Result<Api> {
        Api::open(&self.api)
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    one: One,
    /// The reason, in your words; it is recorded
    #[arg(long)]
    reason: Option<String>,
}

/// What has a list of its own in the API.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Resource {
    /// Below /api/v1/admin.
    pub(in crate::cli) name: &'static str,
    /// The columns of its list.
    pub(in crate::cli) columns: &'static [&'static str],
    /// The member that may stand for the id.
    pub(in crate::cli) named_by: Option<&'static str>,
}

impl Resource {
    pub(in crate::cli) async fn id(&self, api: &Api, text: &str) -> anyhow::Result<String> {
        match self.named_by {
            // The users' list can be very long, and can be searched.
            Some(member @ "username") => api.id_of(&["admin", self.name], &[("q", text)], member, text).await,
            Some(member) => api.id_of(&["admin", self.name], &[], member, text).await,
            None => Ok(text.to_owned()),
        }
    }

    pub(in crate::cli) async fn list(
        &self,
        args: &Listing,
        filters: &[(&str, Option<&str>)],
    ) -> anyhow::Result<Outcome> {
        let filters: Vec<_> = filters.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
        let page = args.api()?.list(&["admin", self.name], &filters, args.limit).await?;
        listed(page, self.columns)
    }

    pub(in crate::cli) async fn list_by_status(&self, args: &ListingByStatus) -> anyhow::Result<Outcome> {
        self.list(&args.listing, &[("status", args.status.as_deref())]).await
    }

    pub(in crate::cli) async fn show(&self, args: &One) -> anyhow::Result<Outcome> {
        let api = args.api()?;
        let id = self.id(&api, &args.id).await?;
        Ok(Outcome::members(api.get(&["admin", self.name, &id], &[]).await?))
    }

    /// Sets members; null leaves one as it is.
    pub(in crate::cli) async fn change(&self, order: &Order, mut body: Value) -> anyhow::Result<Outcome> {
        let api = order.one.api()?;
        let id = self.id(&api, &order.one.id).await?;
        body["reason"] = json!(order.reason);
        Ok(Outcome::members(api.patch(&["admin", self.name, &id], body).await?))
    }

    /// Asks for work: resend, requeue, retry.
    pub(in crate::cli) async fn order(&self, order: &Order, verb: &str) -> anyhow::Result<Outcome> {
        let api = order.one.api()?;
        let path = ["admin", self.name, &order.one.id, verb];
        Ok(Outcome::members(api.post(&path, json!({"reason": order.reason})).await?))
    }
}

/// A page as a table.
pub(in crate::cli) fn listed(page: Value, columns: &[&str]) -> anyhow::Result<Outcome> {
    let rows = page["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    if page["next"].is_string() {
        output::message(format_args!("there are more than {} rows: --limit shows more", rows.len()));
    }
    Outcome::done(table::rows(rows, columns), &page)
}
