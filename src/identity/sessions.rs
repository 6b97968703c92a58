//! Login, refresh and logout.

use super::caller::{Roles, SessionId};
use super::error::Error;
use super::refresh_token::{self, Presented, Seed, State, Verdict};
use super::throttle::Guess;
use super::users::Name;
use super::{Identity, users};
use chrono::{DateTime, Utc};
use domain::UserId;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, PgPool, Row};
use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

/// Live logins of one user; a further one ends the oldest.
pub const SESSIONS_MAX: usize = 1000;
/// Refreshes of one token that meet: each try loses only to one that got its successor.
const REFRESH_TRIES_MAX: usize = 3;
/// Sessions that one purge removes, so that it never holds the table up.
const PURGE_MAX_ROWS: i64 = 10_000;

/// What a login or a refresh gives.
#[derive(Debug, Clone)]
pub struct Grant {
    pub user: UserId,
    pub session: SessionId,
    pub access: SecretString,
    /// The refresh token; the one it replaces works no more.
    pub refresh: SecretString,
    /// How long the access token lives.
    pub expires_in: Duration,
}

struct Credentials {
    id: Uuid,
    password_hash: String,
    is_active: bool,
}

impl FromRow<'_, PgRow> for Credentials {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            password_hash: row.try_get("password_hash")?,
            is_active: row.try_get("is_active")?,
        })
    }
}

struct Session {
    user_id: Uuid,
    seed: Vec<u8>,
    key_id: String,
    generation: i32,
    rotated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    ended: bool,
    roles: Roles,
}

impl FromRow<'_, PgRow> for Session {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user_id: row.try_get("user_id")?,
            seed: row.try_get("seed")?,
            key_id: row.try_get("key_id")?,
            generation: row.try_get("generation")?,
            rotated_at: row.try_get("rotated_at")?,
            expires_at: row.try_get("expires_at")?,
            ended: row.try_get("ended")?,
            roles: Roles::from_column(row)?,
        })
    }
}

impl Identity {
    /// Logs a user in from `address`.
    ///
    /// An unknown name, a wrong password and a disabled user take the same path: one look at the user,
    /// one hash, one failure recorded.
    ///
    /// # Errors
    /// `InvalidCredentials`, `RateLimited`, `Overloaded`, `Unavailable`.
    pub async fn login(
        &self,
        username: &str,
        password: &SecretString,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Grant, Error> {
        let mut user = None;
        let result = self.check_login(username, password, address, &mut user, now).await;
        self.note_login(&result, username, user, address, now);
        result
    }

    /// Sets `user` once it is known who has this name.
    async fn check_login(
        &self,
        username: &str,
        password: &SecretString,
        address: IpAddr,
        user: &mut Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<Grant, Error> {
        let guess = Guess::new(username, address);
        self.throttle.check_remembered(guess, now)?;
        let turn = self.hasher.turn().await?;
        self.throttle.check(&self.pool, guess, now).await?;
        let found = credentials(&self.pool, &Name::typed(username)).await?;
        *user = found.as_ref().map(|found| UserId(found.id));
        let stored = found.as_ref().map(|user| user.password_hash.as_str());
        let matches = turn.verify(password, stored).await?;
        let Some(found) = found.filter(|found| matches && found.is_active) else {
            self.throttle.failed(&self.pool, guess, now).await?;
            return Err(Error::InvalidCredentials);
        };
        let hash = if self.hasher.is_outdated(&found.password_hash) {
            let hash = turn.hash(password).await?;
            users::replace_hash(&self.pool, found.id, &found.password_hash, &hash).await?;
            hash
        } else {
            found.password_hash
        };
        drop(turn);
        self.open_session(UserId(found.id), &hash, address, now).await
    }

    /// Exchanges a refresh token for its successor and a new access token.
    ///
    /// The token just replaced gives the same successor for [`REPEAT_WINDOW`](super::REPEAT_WINDOW), also to
    /// two requests at once. Any other used token ends its session.
    ///
    /// # Errors
    /// `TokenReused`, `TokenExpired`, `TokenInvalid` (unknown, or its session is over), `Unavailable`.
    pub async fn refresh(&self, token: &SecretString, now: DateTime<Utc>) -> Result<Grant, Error> {
        let presented = Presented::parse(token.expose_secret()).ok_or(Error::TokenInvalid)?;
        for _ in 0..REFRESH_TRIES_MAX {
            let (session, seed) = self.genuine_session(&presented).await?;
            match refresh_token::judge(presented.generation, session.state(), now) {
                Verdict::Rotate => {
                    if let Some(key_id) = self.rotate(&presented, now).await? {
                        return self.grant_successor(&presented, &session, &seed, &key_id, now);
                    } // another refresh, or the end of the session, came first: look again
                }
                Verdict::RepeatSuccessor => {
                    return self.grant_successor(&presented, &session, &seed, &session.key_id, now);
                }
                Verdict::Reused => {
                    if self.end_session(&presented, &session, "reused", now).await? {
                        let id = presented.session.0;
                        tracing::warn!(session = %id, "a used refresh token came back: session {id} has ended");
                    }
                    return Err(Error::TokenReused);
                }
                Verdict::Ended => return Err(Error::TokenInvalid),
                Verdict::Expired => return Err(Error::TokenExpired),
            }
        }
        Err(Error::Overloaded)
    }

    /// Ends the session of a refresh token, whichever of its tokens it is. Ending it twice is fine.
    ///
    /// # Errors
    /// `TokenInvalid` if `token` is not one of our tokens, `Unavailable`.
    pub async fn logout(&self, token: &SecretString, now: DateTime<Utc>) -> Result<(), Error> {
        let presented = Presented::parse(token.expose_secret()).ok_or(Error::TokenInvalid)?;
        let (session, _) = self.genuine_session(&presented).await?;
        self.end_session(&presented, &session, "logout", now).await.map(drop)
    }

    async fn open_session(
        &self,
        user: UserId,
        hash: &str,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Grant, Error> {
        let session = SessionId(Uuid::now_v7());
        let seed: Seed = rand::random();
        let key = self.token_keys.current();
        let opened: Option<(Vec<String>, Vec<Uuid>)> = sqlx::query_as(include_str!("open_session.sql"))
            .bind(session.0)
            .bind(user.0)
            .bind(hash)
            .bind(seed.as_slice())
            .bind(key.id())
            .bind(now)
            .bind(now + self.refresh_lifetime)
            .bind(SESSIONS_MAX as i64 - 1)
            .bind(address.to_canonical().to_string())
            .fetch_optional(&self.pool)
            .await?;
        // Nothing was opened: disabled, or given another password, since it was checked.
        let (roles, surplus) = opened.ok_or(Error::InvalidCredentials)?;
        self.changes.sessions_ended(&surplus);
        let access = self.access_tokens.issue(user, &Roles::from_names(roles)?, session, now);
        let refresh = refresh_token::token(key, session, 0, &seed);
        Ok(Grant { user, session, access, refresh, expires_in: self.access_tokens.lifetime() })
    }

    async fn genuine_session(&self, presented: &Presented) -> Result<(Session, Seed), Error> {
        let session: Session = sqlx::query_as(
            "select s.user_id, s.seed, s.key_id, s.generation, s.rotated_at, s.expires_at,
                    s.ended_at is not null as ended, u.roles
             from sessions s join users u on u.id = s.user_id where s.id = $1",
        )
        .bind(presented.session.0)
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::TokenInvalid)?;
        let seed = Seed::try_from(session.seed.as_slice()).map_err(|_| Error::TokenInvalid)?;
        if presented.is_genuine(&self.token_keys, &seed) {
            Ok((session, seed))
        } else {
            Err(Error::TokenInvalid)
        }
    }

    /// Moves the session on to the next generation; `None` when it has moved or ended meanwhile.
    async fn rotate(&self, presented: &Presented, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let rotated = sqlx::query_scalar(
            "update sessions
             set generation = generation + 1, rotated_at = $3, expires_at = $4, key_id = $5
             where id = $1 and generation = $2 and num_nulls(ended_at) = 1 -- not the index of live sessions
             returning key_id",
        )
        .bind(presented.session.0)
        .bind(presented.generation)
        .bind(now)
        .bind(now + self.refresh_lifetime)
        .bind(self.token_keys.current().id());
        Ok(rotated.fetch_optional(&self.pool).await?)
    }

    fn grant_successor(
        &self,
        presented: &Presented,
        session: &Session,
        seed: &Seed,
        key_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Grant, Error> {
        // A key taken out within the repeat window: the session can only be begun again.
        let key = self.token_keys.get(key_id).ok_or(Error::TokenInvalid)?;
        let user = UserId(session.user_id);
        Ok(Grant {
            user,
            session: presented.session,
            access: self.access_tokens.issue(user, &session.roles, presented.session, now),
            refresh: refresh_token::token(key, presented.session, presented.generation + 1, seed),
            expires_in: self.access_tokens.lifetime(),
        })
    }

    /// Whether it was live until now.
    async fn end_session(
        &self,
        presented: &Presented,
        session: &Session,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let user = UserId(session.user_id);
        let ended = end(&self.pool, user, Ended::Only(presented.session), reason, now).await?;
        self.changes.sessions_ended(&ended);
        Ok(!ended.is_empty())
    }
}

impl Session {
    fn state(&self) -> State {
        State {
            generation: self.generation,
            rotated_at: self.rotated_at,
            expires_at: self.expires_at,
            ended: self.ended,
        }
    }
}

async fn credentials(pool: &PgPool, name: &Name) -> Result<Option<Credentials>, sqlx::Error> {
    let query = Name::query("id, password_hash, is_active");
    sqlx::query_as(&query).bind(&name.typed).bind(&name.stored).bind(&name.folded).fetch_optional(pool).await
}

/// Which live sessions of a user end.
#[derive(Clone, Copy)]
pub(super) enum Ended {
    All,
    Only(SessionId),
    AllBut(SessionId),
}

/// Ends live sessions of `user`, and tells every instance. Returns those it ended.
pub(super) async fn end(
    executor: impl PgExecutor<'_>,
    user: UserId,
    which: Ended,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let (only, kept) = match which {
        Ended::All => (None, None),
        Ended::Only(session) => (Some(session.0), None),
        Ended::AllBut(session) => (None, Some(session.0)),
    };
    sqlx::query_scalar(
        "with ended as (
             update sessions set ended_at = $3, end_reason = $4
             where user_id = $1 and id = coalesce($2, id) and id is distinct from $5 and ended_at is null
             returning id
         )
         insert into identity_changes (kind, subject) select 'session_ended', id from ended returning subject",
    )
    .bind(user.0)
    .bind(only)
    .bind(now)
    .bind(reason)
    .bind(kept)
    .fetch_all(executor)
    .await
}

/// Removes sessions whose last token expired at least a day ago. Returns how many.
pub(super) async fn purge(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, Error> {
    let gone = sqlx::query(
        "delete from sessions where id in
             (select id from sessions where expires_at < $1 order by expires_at limit $2)",
    )
    .bind(now - chrono::TimeDelta::days(1))
    .bind(PURGE_MAX_ROWS);
    Ok(gone.execute(pool).await?.rows_affected())
}
