//! Logins and refusals on their way into the audit log.
//!
//! They wait in memory and are written together, so that a login waits for nothing, and a flood of guesses is a few
//! rows: what is the same within one turn is one row with a count.
//!
//! A name that has no user is never stored as it was typed, because people type their password into the wrong field.
//! It is stored as a hash that takes a server key to make: a plain hash of a password could be guessed.

use super::caller::{Caller, SessionId};
use super::error::Error;
use super::folding::folded;
use super::keyring::Key;
use super::{Grant, Identity};
use crate::postgres::Answered;
use crate::telemetry::chain;
use chrono::{DateTime, Utc};
use domain::UserId;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// How often what waits is written.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Rows that wait in one process, at most, some 500 bytes each; further ones are lost and counted.
const WAITING_MAX: usize = 4_096;
/// Rows of one statement.
const BATCH_ROWS: usize = 500;
/// How long a stop waits for the last write.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// Bytes of a name's hash that are kept.
const NAME_BYTES: usize = 16;
const NAME_PURPOSE: &str = "offers login name v1";

/// What happened; what is equal is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Event {
    actor: String,
    action: &'static str,
    subject: String,
    details: Details,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Details {
    Login { address: IpAddr, name: Option<String>, session: Option<SessionId> },
    Refusal { address: Option<IpAddr>, method: String, route: String, code: &'static str },
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Of its row.
    id: Uuid,
    at: DateTime<Utc>,
    times: u32,
}

#[derive(Clone, Debug)]
struct Row {
    event: Event,
    seen: Seen,
}

/// A request that was refused because of the caller's role.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub address: Option<IpAddr>,
    pub method: String,
    /// The route's template, not the path: a path may hold anything.
    pub route: String,
    /// Of the problem.
    pub code: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct AuditQueue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    seen: HashMap<Event, Seen>,
    /// Rows of earlier turns that are not known to be written.
    unwritten: VecDeque<Row>,
}

impl AuditQueue {
    fn add(&self, event: Event, at: DateTime<Utc>) {
        let mut waiting = self.0.lock();
        let is_full = waiting.seen.len() + waiting.unwritten.len() >= WAITING_MAX;
        match waiting.seen.get_mut(&event) {
            Some(seen) => seen.times = seen.times.saturating_add(1),
            None if is_full => metrics::counter!("offers_audit_rows_lost_total").increment(1),
            None => {
                waiting.seen.insert(event, Seen { id: Uuid::now_v7(), at, times: 1 });
            }
        }
    }

    /// Writes all that waits. Rows stay until they are written, so a write that is cut off loses nothing, and their ids
    /// keep them from being written twice.
    async fn write(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        self.end_turn();
        loop {
            let rows: Vec<Row> = self.0.lock().unwritten.iter().take(BATCH_ROWS).cloned().collect();
            if rows.is_empty() {
                return Ok(());
            }
            insert(pool, &rows).await?;
            self.0.lock().unwritten.retain(|row| rows.iter().all(|written| written.seen.id != row.seen.id));
        }
    }

    fn end_turn(&self) {
        let mut waiting = self.0.lock();
        let mut rows: Vec<Row> = waiting.seen.drain().map(|(event, seen)| Row { event, seen }).collect();
        rows.sort_unstable_by_key(|row| row.seen.id);
        waiting.unwritten.extend(rows);
    }
}

impl Identity {
    /// Records how a login ended, unless the fault was ours.
    pub(super) fn note_login(
        &self,
        result: &Result<Grant, Error>,
        name: &str,
        user: Option<UserId>,
        address: IpAddr,
        now: DateTime<Utc>,
    ) {
        let action = match result {
            Ok(_) => "login.succeeded",
            Err(Error::InvalidCredentials) => "login.refused",
            Err(Error::RateLimited { .. }) => "login.throttled",
            Err(_) => return,
        };
        let session = result.as_ref().ok().map(|grant| grant.session);
        let name = name_hash(self.token_keys.current(), name);
        let subject = user.map_or_else(|| format!("name:{name}"), |user| format!("user:{user}"));
        let actor = if session.is_some() { subject.clone() } else { format!("address:{address}") };
        let name = session.is_none().then_some(name);
        let details = Details::Login { address, name, session };
        self.audit_queue.add(Event { actor, action, subject, details }, now);
    }

    /// Records that `caller` may not do what it asked for.
    pub fn note_refusal(&self, caller: &Caller, refusal: Refusal, now: DateTime<Utc>) {
        let actor = caller.actor().to_string();
        let Refusal { address, method, route, code } = refusal;
        let details = Details::Refusal { address, method, route, code };
        self.audit_queue.add(Event { subject: actor.clone(), actor, action: "access.refused", details }, now);
    }

    /// Writes the logins and refusals that wait: a beat of [`Self::run`].
    pub async fn write_audit(&self) -> Result<(), Error> {
        Ok(self.audit_queue.write(&self.pool).await?)
    }

    /// Writes what still waits when nothing more can come, for a few seconds at most.
    pub async fn finish_audit(&self) {
        let failure = match timeout(STOP_WAIT, self.write_audit()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        let lost = self.audit_queue.0.lock().unwritten.len();
        tracing::warn!(error = failure, lost, "cannot write the last logins and refusals; they are lost");
    }
}

fn name_hash(key: &Key, name: &str) -> String {
    let hash = key.derive(NAME_PURPOSE, &[folded(name).as_bytes()]);
    hash[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Row {
    fn details(&self) -> Value {
        let mut details = match &self.event.details {
            Details::Login { address, name, session } => {
                json!({"address": address, "name": name, "session": session})
            }
            Details::Refusal { address, method, route, code } => {
                json!({"address": address, "method": method, "route": route, "code": code})
            }
        };
        if self.seen.times > 1 {
            details["times"] = self.seen.times.into();
        }
        if let Some(members) = details.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        details
    }
}

async fn insert(pool: &PgPool, rows: &[Row]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit_log (id, at, actor, action, subject, details)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
         on conflict (id) do nothing",
    )
    .bind(rows.iter().map(|row| row.seen.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.seen.at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.actor.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.action).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.subject.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(Row::details).collect::<Vec<_>>())
    .execute(pool)
    .answered()
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u32) -> Event {
        let address = IpAddr::from(number.to_be_bytes());
        let details = Details::Login { address, name: None, session: None };
        let (actor, subject) = (format!("address:{address}"), "name:1".to_owned());
        Event { actor, action: "login.refused", subject, details }
    }

    #[test]
    fn a_flood_of_the_same_is_one_row_and_a_flood_of_others_is_bounded() {
        let (queue, now) = (AuditQueue::default(), DateTime::UNIX_EPOCH);
        (0..100_000).for_each(|_| queue.add(event(0), now));
        queue.end_turn();
        assert_eq!(queue.0.lock().unwritten[0].details()["times"], 100_000);
        (0..100_000).for_each(|number| queue.add(event(number), now));
        queue.end_turn();
        assert_eq!(queue.0.lock().unwritten.len(), WAITING_MAX);
    }
}
