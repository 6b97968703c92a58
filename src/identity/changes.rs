//! What has been taken back: ended sessions, changed roles, changed keys, on every instance within a
//! second.
//!
//! Every instance polls the table `identity_changes` and keeps what it read for as long as anything
//! could contradict it. A row tells which transaction wrote it, and a poll asks for all rows of
//! transactions that the poll before could not see yet; so no row is skipped, in whatever order they
//! become visible, and some are read twice.
//!
//! When polling fails, access tokens are judged by what is known: they live for minutes, and a database
//! that does not answer accepts nothing anyway. Cached partner keys are not trusted then: see
//! [`Changes::trusts`].

use super::caller::{Roles, SessionId};
use super::error::Error;
use chrono::{DateTime, Utc};
use domain::UserId;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, Row as _};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// How often changes are read.
pub(super) const POLL_EVERY: Duration = Duration::from_millis(250);
/// A poll that takes longer has failed.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// How old the last poll may be for a cached key to be trusted: with it a revoked key is refused
/// everywhere in under a second, whatever happens to the polling.
const TRUST: Duration = Duration::from_millis(900);
/// Changes of one kind that are remembered, some 50 MiB; beyond it the oldest are forgotten early.
const REMEMBERED_MAX: usize = 500_000;

/// What became known when. Reads never wait for the database.
#[derive(Debug)]
pub(super) struct Changes {
    view: RwLock<View>,
    /// Signalled after every change that this instance hears of.
    heard: watch::Sender<()>,
}

#[derive(Debug)]
struct View {
    /// Everything from this transaction on is still to be read; `0` at first: everything.
    horizon: String,
    /// How many polls have been applied.
    polls: u64,
    /// When the latest applied poll began.
    polled_at: Option<Instant>,
    ended: Recent<()>,
    roles: Recent<(DateTime<Utc>, Roles)>,
    /// When a key or a partner changed, and the poll from which on it reads as it is now.
    keys: Recent<(Option<DateTime<Utc>>, u64)>,
}

/// A point in the order of polls: what was loaded after it began knows all changes up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Polls(u64);

struct Row {
    horizon: String,
    at: Option<DateTime<Utc>>,
    kind: Option<String>,
    subject: Option<Uuid>,
    roles: Option<Vec<String>>,
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            horizon: row.try_get("horizon")?,
            at: row.try_get("at")?,
            kind: row.try_get("kind")?,
            subject: row.try_get("subject")?,
            roles: row.try_get("roles")?,
        })
    }
}

impl Changes {
    /// Keeps changes for `keep`: longer than any access token or cached key lives.
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            view: RwLock::new(View {
                horizon: "0".to_owned(),
                polls: 0,
                polled_at: None,
                ended: Recent::new(keep),
                roles: Recent::new(keep),
                keys: Recent::new(keep),
            }),
            heard: watch::Sender::new(()),
        }
    }

    /// Reads what has changed since the last time.
    pub(super) async fn poll(&self, pool: &PgPool) -> Result<(), Error> {
        let began = Instant::now();
        let horizon = self.read().horizon.clone();
        let rows: Vec<Row> =
            sqlx::query_as(include_str!("read_changes.sql")).bind(horizon).fetch_all(pool).await?;
        if self.write().apply(rows, began) {
            self.heard.send_replace(());
        }
        Ok(())
    }

    /// This instance ended `sessions` itself: no need to wait for a poll.
    pub(super) fn sessions_ended(&self, sessions: &[Uuid]) {
        let mut view = self.write();
        for session in sessions {
            view.ended.insert(*session, (), Instant::now());
        }
        drop(view);
        self.heard.send_replace(());
    }

    /// This instance changed the roles of `user` itself.
    pub(super) fn roles_changed(&self, user: UserId, at: DateTime<Utc>, roles: Roles) {
        self.write().roles_changed(user.0, at, roles);
    }

    /// This instance changed a key, or a partner and so all its keys, itself.
    pub(super) fn keys_changed(&self, subject: Uuid) {
        let mut view = self.write();
        let next = view.polls + 1;
        view.keys.insert(subject, (None, next), Instant::now());
        drop(view);
        self.heard.send_replace(());
    }

    /// Is signalled after every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.heard.subscribe()
    }

    /// Whether an access token of this session, with these roles, still says what is true.
    ///
    /// # Errors
    /// `TokenInvalid` for an ended session; `TokenExpired` for outdated roles, because a refresh gives
    /// the new ones.
    pub(super) fn check(&self, user: UserId, session: SessionId, roles: &Roles) -> Result<(), Error> {
        let view = self.read();
        if view.ended.get(&session.0).is_some() {
            return Err(Error::TokenInvalid);
        }
        match view.roles.get(&user.0) {
            Some((_, current)) if current != roles => Err(Error::TokenExpired),
            _ => Ok(()),
        }
    }

    /// Where the polls stand. Ask before loading a key, keep it with the key.
    pub(super) fn now(&self) -> Polls {
        Polls(self.read().polls)
    }

    /// Whether a key that was loaded after `loaded` can be relied on: polling is alive, and neither the
    /// key nor its partner has changed since.
    pub(super) fn trusts(&self, loaded: Polls, key: Uuid, partner: Uuid) -> bool {
        let is_alive = self.read().polled_at.is_some_and(|at| at.elapsed() < TRUST);
        is_alive && self.are_unchanged(loaded, [key, partner])
    }

    /// Whether none of these keys and partners has changed since `loaded`, as far as this instance has heard.
    pub(super) fn are_unchanged(&self, loaded: Polls, subjects: [Uuid; 2]) -> bool {
        let view = self.read();
        subjects.iter().all(|id| view.keys.get(id).is_none_or(|(_, changed)| *changed <= loaded.0))
    }

    // A panic while the lock is held leaves a view that is only older than it could be.
    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write()
    }
}

impl View {
    /// True if any of the rows was not known yet: rows may be read again and again, as long as an older SQL
    /// transaction is open.
    fn apply(&mut self, rows: Vec<Row>, began: Instant) -> bool {
        let mut news = false;
        self.polls += 1;
        self.polled_at = self.polled_at.max(Some(began));
        for row in rows {
            self.horizon = row.horizon;
            let (Some(at), Some(kind), Some(subject)) = (row.at, row.kind, row.subject) else { continue };
            news |= match kind.as_str() {
                "session_ended" => self.ended.insert(subject, (), began),
                "keys_changed" => self.key_changed(subject, at, began),
                "roles_changed" => match Roles::from_names(row.roles.unwrap_or_default()) {
                    Ok(roles) => self.roles_changed(subject, at, roles),
                    Err(_) => {
                        tracing::error!(user = %subject, "a change names roles that do not exist");
                        false
                    }
                },
                other => {
                    tracing::error!(kind = other, "a change of unknown kind");
                    false
                }
            }
        }
        news
    }

    /// Not only newer ones: PostgreSQL's clock may be set back, and no revocation may be missed.
    fn key_changed(&mut self, subject: Uuid, at: DateTime<Utc>, began: Instant) -> bool {
        let is_known = self.keys.get(&subject).is_some_and(|(known, _)| *known == Some(at));
        !is_known && self.keys.insert(subject, (Some(at), self.polls), began)
    }

    /// Rows may be read twice and in any order: the newest wins.
    fn roles_changed(&mut self, user: Uuid, at: DateTime<Utc>, roles: Roles) -> bool {
        self.roles.get(&user).is_none_or(|(known_at, _)| *known_at < at)
            && self.roles.insert(user, (at, roles), Instant::now())
    }
}

/// A map that forgets what is older than `keep`, and the oldest when it is full.
#[derive(Debug)]
struct Recent<V> {
    keep: Duration,
    entries: HashMap<Uuid, (Instant, V)>,
    order: VecDeque<(Instant, Uuid)>,
}

impl<V: PartialEq> Recent<V> {
    fn new(keep: Duration) -> Self {
        Self { keep, entries: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&self, id: &Uuid) -> Option<&V> {
        self.entries.get(id).map(|(_, value)| value)
    }

    /// True if that is new.
    fn insert(&mut self, id: Uuid, value: V, at: Instant) -> bool {
        let is_new = self.get(&id) != Some(&value);
        if is_new {
            self.entries.insert(id, (at, value));
            self.order.push_back((at, id));
        }
        while self.order.front().is_some_and(|(oldest, _)| at.duration_since(*oldest) > self.keep)
            || self.order.len() > REMEMBERED_MAX
        {
            self.forget_oldest();
        }
        is_new
    }

    fn forget_oldest(&mut self) {
        let Some((at, id)) = self.order.pop_front() else { return };
        if self.entries.get(&id).is_some_and(|(latest, _)| *latest == at) {
            self.entries.remove(&id);
        }
    }
}

/// Tells every instance which roles `user` has from now on, in the transaction that changes them, while
/// the user's row is locked: so the times of two changes are in their order.
pub(super) async fn note_roles_changed(
    connection: &mut sqlx::PgConnection,
    user: UserId,
    roles: &Roles,
) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar::<Postgres, _>(
        "insert into identity_changes (kind, subject, roles) values ('roles_changed', $1, $2) returning at",
    )
    .bind(user.0)
    .bind(roles.stored())
    .fetch_one(connection)
    .await
}

/// Tells every instance that a key, or all keys of a partner, must be read again.
pub(super) async fn note_keys_changed(
    connection: &mut sqlx::PgConnection,
    subject: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into identity_changes (kind, subject) values ('keys_changed', $1)")
        .bind(subject)
        .execute(connection)
        .await
        .map(drop)
}

/// Forgets changes that nothing can contradict any more. Returns how many.
pub(super) async fn purge(pool: &PgPool, keep: Duration) -> Result<u64, Error> {
    let gone =
        sqlx::query("delete from identity_changes where at < clock_timestamp() - make_interval(secs => $1)")
            .bind(keep.as_secs_f64());
    Ok(gone.execute(pool).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId(Uuid::from_u128(1));
    const SESSION: SessionId = SessionId(Uuid::from_u128(2));
    const KEY: Uuid = Uuid::from_u128(3);
    const PARTNER: Uuid = Uuid::from_u128(4);

    fn changes() -> Changes {
        Changes::new(Duration::from_secs(600))
    }

    fn roles(names: &[&str]) -> Roles {
        Roles::parse(names.iter().copied()).expect("known roles")
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a valid time")
    }

    fn row(kind: &str, subject: Uuid) -> Row {
        let (at, roles) = (Some(at(0)), None);
        Row { horizon: "9".to_owned(), at, kind: Some(kind.to_owned()), subject: Some(subject), roles }
    }

    #[test]
    fn tokens_of_an_ended_session_are_invalid() {
        let changes = changes();
        assert!(changes.check(USER, SESSION, &roles(&["user"])).is_ok());
        changes.write().apply(vec![row("session_ended", SESSION.0)], Instant::now());
        assert!(matches!(changes.check(USER, SESSION, &roles(&["user"])), Err(Error::TokenInvalid)));
    }

    #[test]
    fn tokens_with_outdated_roles_have_expired_and_the_newest_change_wins() {
        let changes = changes();
        changes.roles_changed(USER, at(2), roles(&["user"]));
        changes.roles_changed(USER, at(1), roles(&["admin"]));
        assert!(changes.check(USER, SESSION, &roles(&["user"])).is_ok());
        assert!(matches!(changes.check(USER, SESSION, &roles(&["admin"])), Err(Error::TokenExpired)));
    }

    #[test]
    fn a_key_is_trusted_only_while_polling_lives_and_until_it_or_its_partner_changes() {
        for changed in [KEY, PARTNER] {
            let changes = changes();
            let before = changes.now();
            assert!(!changes.trusts(before, KEY, PARTNER), "nothing was polled yet");
            changes.write().apply(Vec::new(), Instant::now());
            let loaded = changes.now();
            assert!(changes.trusts(loaded, KEY, PARTNER));
            changes.write().apply(vec![row("keys_changed", changed)], Instant::now());
            assert!(!changes.trusts(loaded, KEY, PARTNER), "loaded before the change was known");
            assert!(changes.trusts(changes.now(), KEY, PARTNER), "loaded again");
        }
    }

    #[test]
    fn a_change_that_is_read_again_is_no_news() {
        let changes = changes();
        assert!(changes.write().apply(vec![row("keys_changed", KEY)], Instant::now()));
        let loaded = changes.now();
        assert!(!changes.write().apply(vec![row("keys_changed", KEY)], Instant::now()));
        assert!(changes.trusts(loaded, KEY, PARTNER), "it is still the same change");
        let another = Row { at: Some(at(-1)), ..row("keys_changed", KEY) };
        assert!(changes.write().apply(vec![another], Instant::now()), "also when the clock was set back");
        assert!(!changes.trusts(loaded, KEY, PARTNER));
    }

    #[test]
    fn a_key_loaded_while_this_instance_changes_it_is_not_trusted() {
        let changes = changes();
        changes.write().apply(Vec::new(), Instant::now());
        let loading = changes.now();
        changes.keys_changed(KEY);
        assert!(!changes.trusts(loading, KEY, PARTNER));
    }

    #[test]
    fn what_is_old_is_forgotten_unless_it_happened_again() {
        let mut recent = Recent::new(Duration::from_secs(10));
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        recent.insert(KEY, 1, start);
        recent.insert(PARTNER, 1, start);
        recent.insert(KEY, 2, later(5));
        recent.insert(USER.0, 1, later(11));
        assert_eq!((recent.get(&KEY), recent.get(&PARTNER)), (Some(&2), None));
        recent.insert(USER.0, 2, later(16));
        assert_eq!(recent.get(&KEY), None);
    }
}
