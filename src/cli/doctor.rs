//! `offers doctor`: whether the service could run well here, and what to do if not.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use clap::Command;
use serde_json::json;
use url::Url;

use super::output::Outcome;
use crate::config::Serve;
use crate::runtime::doctor::{Finding, Verdict, examine};

/// Looks at the settings, the servers with their versions and clocks, the rights of the service's role, the migrations and
/// the disk. Changes nothing, sends no mail, and shows no secret. Exit code 1 if something is wrong. Takes the settings of
/// `offers serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: Serve,
    /// The URL of the database as the role that owns it: shows which migrations are missing
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true)]
    database_owner_url: Option<String>,
    /// A directory of this machine whose disk must not become full
    #[arg(long, env = "OFFERS_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) async fn run(args: Args, command: &Command) -> anyhow::Result<Outcome> {
    let settings = given(command);
    let findings = examine(&args.config, args.database_owner_url.as_deref(), args.data_dir.as_deref()).await;
    let is_well = findings.iter().all(|finding| finding.verdict != Verdict::Wrong);
    let mut lines: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    lines.push(String::new());
    lines.extend(findings.iter().map(line));
    let result = json!({"well": is_well, "settings": settings, "findings": findings});
    Ok(Outcome::done(lines.join("\n"), result)?.or_no(is_well))
}

fn line(finding: &Finding) -> String {
    let Finding { about, verdict, found, remedy, took_ms } = finding;
    let took = took_ms.map(|ms| format!(" ({ms} ms)")).unwrap_or_default();
    let remedy =
        remedy.as_ref().map(|remedy| format!("\n                   -> {remedy}")).unwrap_or_default();
    format!("{:<6} {about:<11} {found}{took}{remedy}", verdict.to_string())
}

/// The variables of the environment that are settings, without secrets.
fn given(command: &Command) -> BTreeMap<String, String> {
    let settings = command.get_arguments().filter_map(|setting| {
        let name = setting.get_env()?.to_str()?;
        let value = env::var(name).ok().filter(|value| !value.is_empty())?;
        let shown = if setting.is_hide_env_values_set() { "(set)".to_owned() } else { without_login(value) };
        Some((name.to_owned(), shown))
    });
    settings.collect()
}

fn without_login(value: String) -> String {
    let Ok(mut url) = Url::parse(&value) else { return value };
    let _cannot_have_any = url.set_password(None).and_then(|()| url.set_username(""));
    if url.as_str().contains('@') || value.contains('@') { url.to_string() } else { value }
}
