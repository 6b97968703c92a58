//! How this program connects to PostgreSQL, and what it does when a connection falls silent or the server gives a
//! transaction up.

use crate::backoff::{Backoff, jittered};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Every transaction sees what others have committed before each of its statements: the log's lock and every row
/// lock depend on it. Set on each connection, because a database or a role may have another default. The space is
/// escaped, as libpq's `options` need it.
const SETTINGS: [(&str, &str); 1] = [("default_transaction_isolation", "read\\ committed")];

/// How long PostgreSQL may take to answer a statement: longer than `statement_timeout`, so that the server speaks first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection of a pool may take to show that it lives.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was given back within this time is used without asking whether it lives.
const FRESH: Duration = Duration::from_millis(100);

/// PostgreSQL's codes for a transaction that had to make way for another and will succeed when it is repeated: a
/// serialization failure, a deadlock.
const GIVEN_UP: [&str; 2] = ["40001", "40P01"];
/// Times that such a transaction is tried.
const TRIES: u32 = 5;
/// The delays before it is repeated.
const DELAYS: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(80));

/// How to connect to `url`: every pool and every connection is made from it.
pub fn connect_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(url.parse::<PgConnectOptions>()?.options(SETTINGS).disable_statement_logging())
}

/// Options of a pool that closes connections that have fallen silent. By itself a pool waits for ever for one that is
/// given back in the middle of a statement, and its place is lost.
#[must_use]
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                match metadata.idle_for < FRESH {
                    true => Ok(true),
                    false => lives(connection).await,
                }
            })
        })
        .after_release(|connection, _| Box::pin(lives(connection)))
}

/// The answer to one statement.
pub trait Answered<T>: Future<Output = Result<T, sqlx::Error>> + Send + Sized {
    /// Waits no longer than PostgreSQL may work on a statement: then the connection has fallen silent.
    fn answered(self) -> impl Future<Output = Result<T, sqlx::Error>> + Send {
        async { timeout(ANSWER_TIMEOUT, self).await.unwrap_or_else(|_| Err(silent())) }
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>> + Send> Answered<T> for F {}

fn silent() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL does not answer").into()
}

async fn lives(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(silent()),
    }
}

/// An error that may say that PostgreSQL has given a transaction up.
pub trait GivenUp {
    /// True if nothing was done and the same transaction is to be repeated.
    fn is_given_up(&self) -> bool;
}

impl GivenUp for sqlx::Error {
    fn is_given_up(&self) -> bool {
        let code = self.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| GIVEN_UP.contains(&&*code))
    }
}

/// Runs `transaction`, and again while PostgreSQL gives it up, a bounded number of times.
pub async fn repeated<T, E, F>(mut transaction: impl FnMut() -> F) -> Result<T, E>
where
    E: GivenUp,
    F: Future<Output = Result<T, E>>,
{
    let mut delays = DELAYS.delays();
    for _ in 1..TRIES {
        match transaction().await {
            Err(error) if error.is_given_up() => sleep(jittered(delays.next_delay(), 0.5..=1.5)).await,
            done => return done,
        }
    }
    transaction().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failure {
        is_given_up: bool,
    }

    impl GivenUp for Failure {
        fn is_given_up(&self) -> bool {
            self.is_given_up
        }
    }

    /// How often a transaction is tried that fails `failures` times.
    async fn tries(failures: u32, is_given_up: bool) -> (u32, Result<(), Failure>) {
        let mut tries = 0;
        let done = repeated(|| {
            tries += 1;
            std::future::ready(if tries > failures { Ok(()) } else { Err(Failure { is_given_up }) })
        });
        let done = done.await;
        (tries, done)
    }

    #[tokio::test]
    async fn a_transaction_that_was_given_up_is_repeated_a_bounded_number_of_times() {
        assert_eq!(tries(3, true).await, (4, Ok(())));
        assert_eq!(tries(u32::MAX, true).await, (TRIES, Err(Failure { is_given_up: true })));
        assert_eq!(tries(3, false).await, (1, Err(Failure { is_given_up: false })));
    }
}
