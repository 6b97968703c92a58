//! PostgreSQL: version, clock, schema, and what the service's role may do.

use super::Finding;
use crate::clock::Clock;
use crate::config::Serve;
use crate::postgres::{Answered, connect_options};
use crate::runtime::migrations::{self, Pending};
use crate::runtime::parts::check_database;
use crate::telemetry::chain;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

const ABOUT: &str = "PostgreSQL";
/// The oldest that is good enough, as `server_version_num`.
const LEAST_VERSION: i32 = 150_000;
/// A larger difference between the clocks is worth a note, or wrong: tokens and deadlines are judged by them.
const NOTED_DIFFERENCE: TimeDelta = TimeDelta::seconds(1);
const WRONG_DIFFERENCE: TimeDelta = TimeDelta::seconds(30);

/// What the service's role must be able to do: a table, and a right.
const NEEDED: [(&str, &str); 6] = [
    ("events", "select"),
    ("events", "insert"),
    ("accounts", "update"),
    ("audit_log", "insert"),
    ("sessions", "delete"),
    ("checkpoints", "insert"),
];
/// What it must not: history is only added to.
const FORBIDDEN: [(&str, &str); 7] = [
    ("events", "update"),
    ("events", "delete"),
    ("events", "truncate"),
    ("audit_log", "update"),
    ("audit_log", "delete"),
    ("checkpoints", "update"),
    ("checkpoints", "delete"),
];

const SERVER: &str = "select current_setting('server_version'), current_setting('server_version_num')::int, \
                      current_setting('fsync')::bool, clock_timestamp()";
const ROLE: &str = "select rolname::text, rolsuper or rolcreaterole or rolcreatedb from pg_roles where rolname = current_user";
const RIGHTS: &str = "select has_table_privilege(name, privilege) \
                      from unnest($1::text[], $2::text[]) with ordinality as wanted (name, privilege, number) order by number";

pub(super) async fn examine(config: &Serve, owner_url: Option<&str>) -> Vec<Finding> {
    let Ok(url) = config.servers.database_url() else { return Vec::new() }; // the settings say so
    if let Err(cause) = check_database("OFFERS_DATABASE_URL", url.expose()).await {
        return vec![Finding::wrong(
            ABOUT,
            chain(&cause),
            "start it, correct OFFERS_DATABASE_URL, or run offers migrate",
        )];
    }
    match look(url.expose()).await {
        Ok(findings) => findings.into_iter().chain([schema(url.expose(), owner_url).await]).collect(),
        Err(cause) => vec![Finding::wrong(ABOUT, chain(&cause), "look into the log of PostgreSQL")],
    }
}

async fn look(url: &str) -> Result<Vec<Finding>, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&connect_options(url)?).answered().await?;
    let (before, began) = (Clock::system().now().utc(), Instant::now());
    let server: (String, i32, bool, DateTime<Utc>) =
        sqlx::query_as(SERVER).fetch_one(&mut connection).answered().await?;
    let took = began.elapsed();
    let (version, number, is_durable, its_time) = server;
    let found = format!("{version} answers");
    let mut findings = vec![
        match number {
            ..LEAST_VERSION => Finding::wrong(ABOUT, found, "use PostgreSQL 15 or newer"),
            LEAST_VERSION.. => Finding::ok(ABOUT, found),
        }
        .took(took),
    ];
    if !is_durable {
        findings.push(Finding::wrong(
            ABOUT,
            "fsync is off: a power cut loses or breaks the log",
            "set fsync = on",
        ));
    }
    let asked_at = before + TimeDelta::from_std(took / 2).unwrap_or_default();
    findings.push(clock(its_time - asked_at));
    findings.extend(role(&mut connection).await?);
    connection.close().await?;
    Ok(findings)
}

fn clock(difference: TimeDelta) -> Finding {
    let found = format!("the clock of PostgreSQL differs from ours by {} ms", difference.num_milliseconds());
    match difference.abs() {
        small if small <= NOTED_DIFFERENCE => Finding::ok("clock", found),
        large if large <= WRONG_DIFFERENCE => {
            Finding::note("clock", found, "let both machines follow a time server")
        }
        _ => Finding::wrong("clock", found, "let both machines follow a time server"),
    }
}

async fn role(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let (name, is_mighty): (String, bool) =
        sqlx::query_as(ROLE).fetch_one(&mut *connection).answered().await?;
    let missing = rights(connection, &NEEDED).await?.into_iter().filter(|(_, has)| !has);
    let excess = rights(connection, &FORBIDDEN).await?.into_iter().filter(|(_, has)| *has);
    let missing: Vec<String> = missing.map(|(right, _)| right).collect();
    let mut excess: Vec<String> = excess.map(|(right, _)| right).collect();
    if is_mighty {
        excess.push("create roles or databases".to_owned());
    }
    let mut findings = Vec::new();
    if !missing.is_empty() {
        let found = format!("the role {name} may not: {}", missing.join(", "));
        findings.push(Finding::wrong(
            "rights",
            found,
            "run offers migrate with the owner's URL; it grants them",
        ));
    }
    if !excess.is_empty() {
        let found = format!("the role {name} could change history: it may {}", excess.join(", "));
        let remedy =
            "use the service's own role in OFFERS_DATABASE_URL, not the owner's (docs/operations.md)";
        findings.push(Finding::wrong("rights", found, remedy));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "rights",
            format!("the role {name} may add events, and change or delete none"),
        ));
    }
    Ok(findings)
}

async fn rights(
    connection: &mut PgConnection,
    wanted: &[(&str, &str)],
) -> Result<Vec<(String, bool)>, sqlx::Error> {
    let (tables, privileges): (Vec<&str>, Vec<&str>) = wanted.iter().copied().unzip();
    let asked = sqlx::query_scalar(RIGHTS).bind(tables).bind(privileges).fetch_all(connection);
    let has: Vec<bool> = asked.answered().await?;
    Ok(wanted.iter().map(|(table, privilege)| format!("{privilege} {table}")).zip(has).collect())
}

/// Only the owner sees which migrations were applied.
async fn schema(url: &str, owner_url: Option<&str>) -> Finding {
    const SCHEMA: &str = "schema";
    match migrations::pending(owner_url.unwrap_or(url)).await {
        Ok(Pending { missing, unknown }) => match (missing.len(), unknown.len()) {
            (0, 0) => Finding::ok(SCHEMA, "every migration is applied"),
            (0, _) => {
                let found = format!("a newer version has migrated the database: {}", unknown.join(", "));
                Finding::note(SCHEMA, found, "use the newer program")
            }
            _ => {
                let found = format!("migrations are not applied: {}", missing.join(", "));
                Finding::wrong(SCHEMA, found, "run offers migrate with the owner's URL")
            }
        },
        Err(cause) if owner_url.is_some() => {
            Finding::wrong(SCHEMA, chain(&cause), "correct OFFERS_DATABASE_OWNER_URL")
        }
        Err(_) => Finding::note(
            SCHEMA,
            "migrated; whether to this version only the owner can see",
            "give OFFERS_DATABASE_OWNER_URL, or run offers migrate",
        ),
    }
}
