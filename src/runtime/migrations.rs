//! The schema, embedded in the binary.
//!
//! The migrations run as the role that owns the database; they grant to `offers_app`, the role
//! the service connects as, what it needs and nothing else.

use crate::identity::{Findings, upgrade_texts};
use crate::postgres::{Answered, connect_options};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection};
use std::borrow::Cow;

/// Names the files of `migrations/` and embeds them: what sqlx's own macro does, without compiling sqlx twice.
macro_rules! embed {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $name, ".sql")))),*]
    };
}

/// Every migration, in order: its file's name, and its SQL.
const MIGRATIONS: &[(&str, &str)] = embed! {
    "0001_events"
    "0002_accounts"
    "0010_users"
    "0011_sessions"
    "0012_login_failures"
    "0013_partners"
    "0014_partner_keys"
    "0015_webhook_secrets"
    "0016_audit_log"
    "0017_identity_changes"
    "0020_read_tables"
    "0030_parked"
    "0032_references"
    "0033_requeued"
    "0040_callbacks"
    "0050_schedule_runs"
    "0051_sent_mail"
    "0052_mail_checkpoint"
    "0053_sent_mail_claims"
    "0060_callback_urls"
    "0061_user_texts"
    "0062_offers_by_name"
    "0064_audit_log_of_logins"
    "0066_read_tables_heal"
    "0067_announced_events"
    "0070_activation_rechecks"
    "0080_tree"
    "0082_audit_filters"
    "0091_smaller_read_tables"
    "0092_statement_of_owners"
    "0093_cheaper_indexes"
    "0100_session_address"
    "0101_read_side"
    "0102_erased_users"
    "0110_callback_attempts"
    "0120_statement_balances"
    "0121_search"
    "0122_charges_at_commit"
    "0123_references_by_age"
};

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer or refused the role.
    #[error("cannot connect to the database to migrate it")]
    Connect(#[source] sqlx::Error),
    /// A migration failed; the ones before it stand.
    #[error("a migration failed")]
    Migrate(#[from] MigrateError),
    /// The batches before it stand, and it continues there.
    #[error("cannot rewrite the texts of users")]
    Texts(#[source] sqlx::Error),
}

/// Brings the database at `owner_url` up to date, does nothing when it already is, and returns what a person should look
/// at.
///
/// Safe to run by many processes at once, and to repeat after it was interrupted: sqlx holds an advisory lock meanwhile,
/// and rows are rewritten under a lock.
///
/// # Errors
/// When the database cannot be reached, or a migration fails.
pub async fn run(owner_url: &str) -> Result<Findings, Error> {
    let connection = async { PgConnection::connect_with(&connect_options(owner_url)?).await };
    let mut connection = connection.await.map_err(Error::Connect)?;
    migrator().run_direct(&mut connection).await?;
    let findings = upgrade_texts(&mut connection).await.map_err(Error::Texts)?;
    connection.close().await.map_err(Error::Connect)?;
    Ok(findings)
}

/// Migrations that only one of this program and the database has.
pub struct Pending {
    pub missing: Vec<String>,
    /// Applied by a newer program.
    pub unknown: Vec<String>,
}

/// Compares the applied migrations with ours, as a role that may read them: the owner.
pub async fn pending(url: &str) -> Result<Pending, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&connect_options(url)?).answered().await?;
    let applied = sqlx::query_scalar("select version from _sqlx_migrations where success order by version");
    let applied: Vec<i64> = applied.fetch_all(&mut connection).answered().await?;
    connection.close().await?;
    let ours = migrator();
    let missing = ours.iter().filter(|one| !applied.contains(&one.version));
    let unknown = applied.iter().filter(|version| !ours.version_exists(**version));
    Ok(Pending {
        missing: missing.map(|one| format!("{:04} {}", one.version, one.description)).collect(),
        unknown: unknown.map(|version| format!("{version:04}")).collect(),
    })
}

fn migrator() -> Migrator {
    let migrations: Vec<Migration> = MIGRATIONS.iter().map(|(name, sql)| migration(name, sql)).collect();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }
}

fn migration(name: &str, sql: &'static str) -> Migration {
    let (version, description) = name.split_once('_').expect("a migration is called <version>_<what>");
    let version = version.parse().expect("a migration's version is a number");
    let description = description.replace('_', " ");
    Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_in_the_order_of_its_version() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let embedded: Vec<String> = MIGRATIONS.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(embedded, names);
        assert_eq!(migrator().iter().count(), names.len());
    }
}
