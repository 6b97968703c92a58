//! `offers load`: how many activations a running service accepts, and how fast it finishes them.

mod accounts;
mod connection;
mod durations;
mod followed;
mod report;
mod results;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::output::Outcome;
use super::progress;
use crate::devstack::Demo;
use accounts::Admin;
use connection::Target;
use report::Report;
use results::Results;
use traffic::Plan;

/// Each connection posts one activation after the other (a cheap offer, a fresh Idempotency-Key); every
/// accepted one is followed to its final status. Exit code 1 if one was not final after 60 s.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, without /api/v1 [default: that of demo.json, else http://127.0.0.1:8080]
    #[arg(long, env = "OFFERS_LOAD_URL")]
    url: Option<String>,

    /// Connections that post, each one call at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,

    /// How long to post
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Users to spread the load over, made if need be and given money
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=999))]
    users: u16,

    /// Who may make users and give them money [default: the admin of demo.json]
    #[arg(long, env = "OFFERS_LOAD_ADMIN", requires = "admin_password")]
    admin: Option<String>,

    /// The admin's password
    #[arg(long, env = "OFFERS_LOAD_ADMIN_PASSWORD", hide_env_values = true, requires = "admin")]
    admin_password: Option<String>,

    /// Where demo.json is
    #[arg(long, env = "OFFERS_DATA_DIR", default_value = ".data")]
    data_dir: PathBuf,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    super::on_one_thread(|| measure(args)).await
}

async fn measure(args: Args) -> anyhow::Result<Outcome> {
    let demo = Demo::read(&args.data_dir);
    let url = args.url.clone().or_else(|| demo.as_ref().map(|demo| demo.api_url.clone()));
    let url = url.as_deref().unwrap_or("http://127.0.0.1:8080");
    let target = Target::parse(url)?;
    let admin = admin(&args, demo).context("give --admin: there is no demo.json with one")?;
    let cast = accounts::prepare(&target, &admin, args.users.into(), args.seconds).await;
    let cast = cast.with_context(|| format!("cannot prepare the users of the load at {url}"))?;

    let plan = Plan {
        target: target.clone(),
        accounts: cast.accounts,
        offer_id: cast.offer_id,
        connections: args.connections.into(),
        posting: Duration::from_secs(args.seconds),
        token_lives: cast.token_lives,
    };
    let posting = Some(Duration::from_secs(args.seconds));
    let results = progress::while_waiting("posting and following", posting, traffic::run(plan)).await;
    let unfinished = results.unfinished();
    let report = report(&args, results);
    let is_good = report.accepted > 0 && unfinished == 0;
    Ok(Outcome::done(&report, &report)?.or_no(is_good))
}

fn admin(args: &Args, demo: Option<Demo>) -> Option<Admin> {
    if let (Some(username), Some(password)) = (&args.admin, &args.admin_password) {
        return Some(Admin { username: username.clone(), password: password.clone() });
    }
    let is_admin = |roles: &[String]| roles.iter().any(|role| role == "admin");
    let admin = demo?.members.users.into_iter().find(|user| is_admin(&user.roles))?;
    Some(Admin { username: admin.username, password: admin.password })
}

fn report(args: &Args, results: Results) -> Report {
    let per_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64().max(0.001);
    Report {
        connections: args.connections.into(),
        users: args.users.into(),
        posting_s: results.posting.as_secs_f64(),
        completing_s: results.completing().as_secs_f64(),
        settled_s: results.settled.as_secs_f64(),
        accepted: results.accepted,
        succeeded: results.succeeded,
        failed: results.failed,
        unfinished: results.unfinished(),
        accepted_per_s: per_second(results.accepted, results.posting),
        completed_per_s: per_second(results.completed(), results.completing()),
        post_ms: results.post.summary(),
        status_ms: results.status.summary(),
        end_to_end_ms: results.end_to_end.summary(),
        processing_ms: results.processing.summary(),
        looks_per_completed: results.looks as f64 / results.completed().max(1) as f64,
        not_2xx: results.not_2xx,
    }
}
