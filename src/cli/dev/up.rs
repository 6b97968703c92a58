//! `offers dev up`: everything, until Ctrl-C.

use std::env;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::ensure;

use super::Directory;
use crate::cli::output::{self, Outcome};
use crate::config::parse_currency;
use crate::devstack::{self, Demo, ExternalServers, Installation, InstallationOptions, Options};
use crate::runtime::Interruption;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    directory: Directory,
    /// The service's address; port 0 chooses a free port and keeps it
    #[arg(long, env = "OFFERS_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Lets other machines log in with the demo passwords, when the service listens on more than 127.0.0.1
    #[arg(long)]
    expose_demo_logins: bool,
    /// The activation system; simulated unless given
    #[arg(long, env = "OFFERS_EXTERNAL_URL")]
    external_url: Option<String>,
    /// The currency of this installation, as an ISO 4217 code
    #[arg(long, env = "OFFERS_CURRENCY", default_value = "EUR", value_parser = parse_currency)]
    currency: String,
    /// A PostgreSQL to use, as the service's role; a private one unless given
    #[arg(long, env = "OFFERS_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The same, as the role that owns and migrates the database
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true, requires = "database_url")]
    database_owner_url: Option<String>,
    /// A Redis to use; a private one unless given
    #[arg(long, env = "OFFERS_REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// A NATS server with JetStream to use; a private one unless given
    #[arg(long, env = "OFFERS_NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// The same, as the user that keeps the analysts' mirror
    #[arg(long, env = "OFFERS_NATS_ANALYTICS_URL", hide_env_values = true, requires = "nats_url")]
    nats_analytics_url: Option<String>,
}

pub(super) async fn run(args: Args, as_json: bool) -> anyhow::Result<Outcome> {
    ensure!(
        args.expose_demo_logins || args.listen.ip().is_loopback(),
        "{} can be reached from other machines, and everybody knows the demo passwords; listen on 127.0.0.1, or add \
         --expose-demo-logins",
        args.listen
    );
    let mut interruption = Interruption::listen()?.or_hangup()?;
    let dir = args.directory.dir.clone();
    let started = tokio::select! {
        started = Installation::start(options(args), move |step| progress(as_json, &format!("{step} …"))) => Some(started?),
        () = interruption.wait() => None,
    };
    if let Some(installation) = &started {
        print(&match as_json {
            true => serde_json::to_string(installation.demo())?,
            false => welcome(installation.demo(), &dir),
        });
        interruption.wait().await;
    }
    progress(as_json, "stopping (Ctrl-C again: at once) …");
    let stop = async {
        match started {
            Some(installation) => installation.stop().await,
            None => devstack::settle(&dir).await,
        }
    };
    tokio::select! {
        stopped = stop => stopped?,
        () = interruption.wait() => {
            devstack::kill(&dir);
            return Ok(Outcome::INTERRUPTED);
        }
    }
    Ok(Outcome::SILENT)
}

fn options(args: Args) -> InstallationOptions {
    let external = ExternalServers {
        database_url: args.database_url,
        database_owner_url: args.database_owner_url,
        redis_url: args.redis_url,
        nats_url: args.nats_url,
        nats_analytics_url: args.nats_analytics_url,
    };
    InstallationOptions {
        stack: Options { dir: args.directory.dir, durable: true, ephemeral: false, external },
        listen: args.listen,
        external_url: args.external_url,
        currency: args.currency,
    }
}

/// The URLs, the logins, and one thing to try.
fn welcome(demo: &Demo, dir: &Path) -> String {
    let mut lines = vec![
        String::new(),
        format!("The service is ready: {}", demo.api_url),
        format!("  documentation   {}/docs", demo.api_url),
        format!("  database        {}", demo.database_url),
        format!("  redis           {}", demo.redis_url),
        format!("  nats            {}", demo.nats_url),
    ];
    lines.extend(demo.analyst.iter().map(|analyst| {
        format!("  nats (analyst)  {} (JetStream API prefix {})", analyst.nats_url, analyst.js_api_prefix)
    }));
    lines.push(format!("  external        {}", demo.external_url));
    lines.push(format!("  all of it       {}", dir.join("demo.json").display()));
    lines.push(format!("  logs            {}", dir.join("log").display()));
    if env::var_os("OFFERS_SMTP_URL").is_none() && env::var_os("OFFERS_SMTP_URL_FILE").is_none() {
        lines.push(format!("  mail            {}", dir.join("mail").display()));
    }
    let logins = demo.members.users.iter();
    lines.extend(logins.map(|user| format!("  login           {} / {}", user.username, user.password)));
    lines.extend(
        demo.members.partner.iter().map(|partner| format!("  partner         ApiKey {}", partner.api_key)),
    );
    lines.push(String::new());
    lines.push("Try:".to_owned());
    lines.push(example(demo));
    lines.push(String::new());
    lines.push("Ctrl-C stops everything.".to_owned());
    lines.join("\n")
}

fn example(demo: &Demo) -> String {
    let url = &demo.api_url;
    match demo.members.users.first() {
        Some(user) => format!(
            "  curl -s {url}/api/v1/auth/login/ -H 'content-type: application/json' \\\n    \
             -d '{{\"username\": \"{}\", \"password\": \"{}\"}}'",
            user.username, user.password
        ),
        None => format!("  curl -s {url}/readyz"),
    }
}

/// Not on stdout when a program reads the result there.
fn progress(as_json: bool, line: &str) {
    if as_json { output::message(line) } else { print(line) }
}

/// The system runs on if nobody reads it.
fn print(line: &str) {
    let _stdout_may_be_full = output::print(line);
}
