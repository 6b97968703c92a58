//! `offers migrate`: migrates the schema, as the role that owns the database.

use serde_json::json;

use super::output::Outcome;
use crate::runtime::migrations;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The URL of the database, as the role that owns it
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true)]
    database_owner_url: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    migrations::run(&args.database_owner_url).await?;
    Outcome::done("the schema is up to date", json!({"schema": "up_to_date"}))
}
