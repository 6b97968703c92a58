//! The schema, embedded in the binary.
//!
//! The migrations run as the role that owns the database; they grant to `offers_app`, the role
//! the service connects as, what it needs and nothing else.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

/// Every migration in `migrations/`, in order.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer or refused the role.
    #[error("cannot connect to the database to migrate it")]
    Connect(#[source] sqlx::Error),
    /// A migration failed; the ones before it stand.
    #[error("a migration failed")]
    Migrate(#[from] MigrateError),
}

/// Brings the database at `owner_url` up to date; does nothing when it already is.
///
/// Safe to run by many processes at once: sqlx holds an advisory lock meanwhile.
///
/// # Errors
/// When the database cannot be reached, or a migration fails.
pub async fn run(owner_url: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(owner_url).await.map_err(Error::Connect)?;
    MIGRATOR.run_direct(&mut connection).await?;
    connection.close().await.map_err(Error::Connect)
}
