//! Makes guessing passwords slow, without letting a guesser lock the owner out.
//!
//! Failures are counted for (name, address) and for the address, over five minutes that slide, in a
//! table that all instances share; a success neither counts nor clears anything. The count is read
//! while a turn of the [hasher](super::password) is held and a failure is recorded before the turn is
//! given back. So at most [`TRIES_PER_NAME`] guesses at one name and [`TRIES_PER_ADDRESS`] in all get
//! through to argon2 from one address in five minutes, plus, at each name, those that were being hashed
//! when the last one failed: fewer than there are turns. 1,000 tries against 20 accounts are 200 to 220
//! guesses on four cores.
//!
//! Blocked names and addresses are kept in memory, so that a flood costs neither a hash nor a query.

use super::error::Error;
use super::folding::folded;
use chrono::{DateTime, TimeDelta, Utc};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use std::net::IpAddr;
use std::time::Duration;

/// Failures at one name from one address before it is blocked.
pub const TRIES_PER_NAME: usize = 10;
/// Failures from one address, whatever the names: slows trying one password on everybody from hundreds
/// a second to three, yet a whole office behind one address does not meet it by mistyping.
pub const TRIES_PER_ADDRESS: usize = 1000;
/// How long a failure counts.
const WINDOW: TimeDelta = TimeDelta::minutes(5);

/// How many blocked keys one process remembers; a forgotten one costs a query.
const REMEMBERED_MAX: usize = 10_000;

type Key = [u8; 32];

/// Who tries to log in as whom. Holds hashes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guess {
    pair: Key,
    address: Key,
}

impl Guess {
    /// `name` in any case is one name.
    pub(super) fn new(name: &str, address: IpAddr) -> Self {
        let network = network(address).to_string();
        Self { pair: digest(&["pair", &network, &folded(name)]), address: digest(&["address", &network]) }
    }

    fn limits(&self) -> [(Key, usize); 2] {
        [(self.pair, TRIES_PER_NAME), (self.address, TRIES_PER_ADDRESS)]
    }
}

/// Counts failures and says who has to wait.
#[derive(Debug)]
pub(super) struct Throttle {
    blocked_until: Cache<Key, DateTime<Utc>>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { blocked_until: Cache::new(REMEMBERED_MAX) }
    }

    /// Refuses a name or address that this process knows to be blocked; without a query.
    pub(super) fn check_remembered(&self, guess: Guess, now: DateTime<Utc>) -> Result<(), Error> {
        for (key, _) in guess.limits() {
            if let Some(until) = self.blocked_until.get(&key) {
                refuse_until(until, now)?;
            }
        }
        Ok(())
    }

    /// Refuses whom any process has blocked. Call it with a turn in hand.
    pub(super) async fn check(&self, pool: &PgPool, guess: Guess, now: DateTime<Utc>) -> Result<(), Error> {
        let rows: Vec<(Vec<u8>, Vec<DateTime<Utc>>)> =
            sqlx::query_as("select key, failures from login_failures where key in ($1, $2)")
                .bind(guess.pair.as_slice())
                .bind(guess.address.as_slice())
                .fetch_all(pool)
                .await?;
        self.remember(guess, &rows);
        self.check_remembered(guess, now)
    }

    /// Records a failure. Call it before the turn is given back.
    pub(super) async fn failed(&self, pool: &PgPool, guess: Guess, now: DateTime<Utc>) -> Result<(), Error> {
        let rows: Vec<(Vec<u8>, Vec<DateTime<Utc>>)> = sqlx::query_as(include_str!("record_failure.sql"))
            .bind(guess.pair.as_slice())
            .bind(guess.address.as_slice())
            .bind(now)
            .bind(now - WINDOW)
            .fetch_all(pool)
            .await?;
        self.remember(guess, &rows);
        Ok(())
    }

    fn remember(&self, guess: Guess, rows: &[(Vec<u8>, Vec<DateTime<Utc>>)]) {
        for (key, limit) in guess.limits() {
            let failures = rows.iter().find(|(stored, _)| *stored == key).map(|(_, failures)| failures);
            if let Some(until) = failures.and_then(|failures| blocked_until(failures, limit)) {
                self.blocked_until.insert(key, until);
            }
        }
    }
}

/// Forgets failures that no longer count. Returns how many rows went.
pub(super) async fn purge(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, Error> {
    let gone = sqlx::query("delete from login_failures where last_at < $1").bind(now - WINDOW);
    Ok(gone.execute(pool).await?.rows_affected())
}

/// Until when `failures` (oldest first) block, if they are as many as `limit`.
fn blocked_until(failures: &[DateTime<Utc>], limit: usize) -> Option<DateTime<Utc>> {
    let first_that_counts = failures.len().checked_sub(limit)?;
    failures.get(first_that_counts).map(|failure| *failure + WINDOW)
}

fn refuse_until(until: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Error> {
    match (until - now).to_std() {
        Ok(retry_after) if retry_after > Duration::ZERO => Err(Error::RateLimited { retry_after }),
        _ => Ok(()),
    }
}

/// The part of an address that one customer has: all of IPv4, the first 64 bits of IPv6.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        IpAddr::V4(_) => address.to_canonical(),
    }
}

fn digest(parts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a valid time")
    }

    #[test]
    fn ten_failures_in_five_minutes_block_until_the_first_is_forgotten() {
        let nine: Vec<_> = (0..9).map(at).collect();
        assert_eq!(blocked_until(&nine, TRIES_PER_NAME), None);
        let ten: Vec<_> = (0..10).map(at).collect();
        assert_eq!(blocked_until(&ten, TRIES_PER_NAME), Some(at(300)));
        assert!(refuse_until(at(300), at(299)).is_err());
        assert!(refuse_until(at(300), at(300)).is_ok());
        let eleven: Vec<_> = (0..11).map(at).collect();
        assert_eq!(blocked_until(&eleven, TRIES_PER_NAME), Some(at(301)), "the newest ten count");
    }

    #[test]
    fn the_answer_says_how_long_to_wait() {
        let Err(Error::RateLimited { retry_after }) = refuse_until(at(300), at(60)) else {
            panic!("a blocked guess was let through");
        };
        assert_eq!(retry_after, Duration::from_secs(240));
    }

    #[test]
    fn another_address_or_another_name_is_counted_apart() {
        let home: IpAddr = "192.0.2.1".parse().expect("an address");
        let elsewhere: IpAddr = "192.0.2.2".parse().expect("an address");
        let (alice, bob) = (Guess::new("alice", home), Guess::new("bob", home));
        assert_ne!(alice.pair, bob.pair);
        assert_eq!(alice.address, bob.address);
        assert_ne!(alice.pair, Guess::new("alice", elsewhere).pair);
        assert_eq!(alice, Guess::new("ALICE", home), "another case is no further try");
    }

    #[test]
    fn one_customers_ipv6_network_is_one_address() {
        let guess = |address: &str| Guess::new("alice", address.parse().expect("an address"));
        assert_eq!(guess("2001:db8::1"), guess("2001:db8::2:ffff"));
        assert_ne!(guess("2001:db8::1"), guess("2001:db8:0:1::1"));
        assert_eq!(guess("::ffff:192.0.2.1"), guess("192.0.2.1"));
    }
}
