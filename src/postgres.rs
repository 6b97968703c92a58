//! How this program connects to PostgreSQL, and what it does when the server gives a transaction up.

use crate::backoff::{Backoff, jittered};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::time::Duration;
use tokio::time::sleep;

/// Every transaction sees what others have committed before each of its statements: the log's lock and every row
/// lock depend on it. Set on each connection, because a database or a role may have another default. The space is
/// escaped, as libpq's `options` need it.
const SETTINGS: [(&str, &str); 1] = [("default_transaction_isolation", "read\\ committed")];

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
