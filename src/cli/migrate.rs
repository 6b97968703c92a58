//! `offers migrate`: migrates the schema, as the role that owns the database.

use serde_json::json;

use super::output::Outcome;
use crate::identity::{Finding, Findings};
use crate::runtime::migrations;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The URL of the database, as the role that owns it
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true)]
    database_owner_url: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let findings = migrations::run(&args.database_owner_url).await?;
    Outcome::done(report(&findings), json!({"schema": "up_to_date", "findings": findings}))
}

fn report(Findings { total, first }: &Findings) -> String {
    let mut lines = vec!["the schema is up to date".to_owned()];
    if *total > 0 {
        lines.push(format!("{total} findings about users, in the table user_findings (docs/operations.md):"));
        lines.extend(first.iter().map(describe));
    }
    let others = total - first.len() as i64;
    if others > 0 {
        lines.push(format!("and {others} more"));
    }
    lines.join("\n")
}

fn describe(Finding { user_id, username, finding }: &Finding) -> String {
    let what = match finding.as_str() {
        "name_collides" => "an older user has the same name in another case; this one must be typed exactly",
        "name_unfit" => "the name is too long in its normal form; it must be typed exactly",
        _ => "no mail can be written to the mail address; give the user another one",
    };
    format!("{user_id} {username:?}: {what}")
}
