//! Users, passwords, sessions, tokens, partner keys.
//!
//! Personal data and secrets are in these tables and never in an event. Nothing here knows HTTP, and
//! nothing here reads a clock: `now` is an argument. The id of a user or partner is also the id of its
//! account, which an event opens (`app::registration`).
//!
//! A service that authenticates runs [`Identity::run`] in the background, and calls [`Identity::read_changes`]
//! once before it reports that it is ready.
//!
//! # What ends when
//!
//! | change | refresh tokens | access tokens | partner keys |
//! | --- | --- | --- | --- |
//! | logout, reuse of a refresh token | that session's at once | that session's within a second | |
//! | user disabled, new password | all of the user's at once | all within a second | |
//! | roles changed | go on, with the new roles | those with other roles have "expired" within a second | |
//! | key revoked, partner disabled | | | within a second |
//!
//! Within a second means: at once on the instance that made the change, after its next poll
//! (every 250 ms) on the others. While an instance cannot poll, it reads partner keys from the database
//! on every request; access tokens it goes on judging by their signature and what it last heard, for
//! the few minutes that they live.
//!
//! # Secrets
//!
//! Passwords are stored as argon2id, partner keys as SHA-256. Refresh tokens and webhook secrets are
//! not stored: they are derived from a server key and a random seed in the row. There are two rings of
//! server keys, because they are replaced at different speeds: token keys may go after seven days,
//! webhook keys only after every partner has rotated.

mod access;
mod access_token;
pub mod audit;
mod audit_queue;
mod background;
mod callback_url;
mod caller;
mod changes;
mod erasure;
mod error;
mod fields;
mod folding;
mod housekeeping;
mod hs256;
mod keyring;
mod live_sessions;
mod mail_address;
mod partner;
mod partner_keys;
mod partners;
mod password;
mod password_change;
mod refresh_token;
mod sessions;
mod throttle;
mod upgrade;
mod user;
mod users;
mod webhook_secrets;

pub use access::Access;
pub use audit::{Change, ChangeFilter};
pub use audit_queue::Refusal;
pub use callback_url::{CallbackUrl, InvalidCallbackUrl};
pub use caller::{Actor, Caller, KeyId, Role, Roles, SessionId};
pub use error::{Error, FieldError};
pub use keyring::{KEYS_MAX, Keyring, KeyringError, SECRET_MIN_BYTES};
pub use live_sessions::LiveSession;
pub use mail_address::mail_address;
pub use partner::Partner;
pub use partner_keys::{IssuedKey, KeyInfo, LIVE_KEYS_MAX};
pub use partners::{NewPartner, OwnerKind, PartnerChange};
pub use password::PasswordCost;
pub use password_change::Changing;
pub use refresh_token::REPEAT_WINDOW;
pub use sessions::{Grant, SESSIONS_MAX};
pub use throttle::{TRIES_PER_ADDRESS, TRIES_PER_NAME, network};
pub use upgrade::{Finding, Findings, upgrade_texts};
pub use user::{NewUser, User, UserChange};
pub use webhook_secrets::SECRET_OVERLAP;

use crate::postgres::connect_options;
use access_token::AccessTokens;
use audit_queue::AuditQueue;
use changes::Changes;
use chrono::{DateTime, Utc};
use partner_keys::KeyCache;
use password::Hasher;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::num::NonZeroUsize;
use std::time::Duration;
use throttle::Throttle;

/// How long an access token lives unless configured otherwise.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long a refresh token lives unless configured otherwise.
pub const REFRESH_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a change is remembered beyond the life of the tokens that it contradicts: for tokens issued
/// while it was being made, and for cached keys.
const CHANGES_KEPT_BEYOND: Duration = Duration::from_secs(10 * 60);

/// Connections of a command-line tool.
const TOOL_CONNECTIONS: u32 = 2;

/// What an installation decides about identity.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sign access tokens and make refresh tokens. Without a removed one, what it made is invalid.
    pub token_keys: Keyring,
    /// Make webhook secrets. Removing one that is in use stops the callbacks of those partners.
    pub webhook_keys: Keyring,
    /// `iss` of access tokens: this installation.
    pub issuer: String,
    /// `aud` of access tokens: its API.
    pub audience: String,
    /// Too long, and a stolen token is good for long when changes are not heard; too short, and
    /// clients do little but refresh.
    pub access_lifetime: Duration,
    /// How long one may stay away without having to log in again.
    pub refresh_lifetime: Duration,
    /// Raising it rehashes each password at its next login.
    pub password_cost: PasswordCost,
    /// Passwords hashed at the same time. With all cores, a flood of logins slows everything else down.
    pub hashes_at_once: NonZeroUsize,
}

impl Settings {
    /// The defaults, with the secrets that have none.
    #[must_use]
    pub fn new(token_keys: Keyring, webhook_keys: Keyring) -> Self {
        Self {
            token_keys,
            webhook_keys,
            issuer: "offers".to_owned(),
            audience: "offers-api".to_owned(),
            access_lifetime: ACCESS_LIFETIME,
            refresh_lifetime: REFRESH_LIFETIME,
            password_cost: PasswordCost::default(),
            hashes_at_once: a_quarter_of_the_cores(),
        }
    }
}

/// What leaves the rest to others: with half of four cores, a flood of guesses tripled the time of
/// everybody's slowest requests, although hashing stands back.
fn a_quarter_of_the_cores() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 4).unwrap_or(NonZeroUsize::MIN)
}

/// Who is who, and who may do what.
pub struct Identity {
    pool: PgPool,
    token_keys: Keyring,
    webhook_keys: Keyring,
    access_tokens: AccessTokens,
    refresh_lifetime: Duration,
    hasher: Hasher,
    throttle: Throttle,
    changes: Changes,
    keep_changes: Duration,
    key_cache: KeyCache,
    audit_queue: AuditQueue,
}

impl Identity {
    /// Identity over `pool`. Hashes one password, so it takes as long as a login.
    ///
    /// # Errors
    /// `Hashing` when argon2 refuses the configured cost.
    pub fn new(pool: PgPool, settings: &Settings) -> Result<Self, Error> {
        let Settings { token_keys, issuer, audience, access_lifetime, .. } = settings;
        let keep_changes = *access_lifetime + CHANGES_KEPT_BEYOND;
        Ok(Self {
            pool,
            token_keys: token_keys.clone(),
            webhook_keys: settings.webhook_keys.clone(),
            access_tokens: AccessTokens::new(token_keys, issuer, audience, *access_lifetime),
            refresh_lifetime: settings.refresh_lifetime,
            hasher: Hasher::new(settings.password_cost, settings.hashes_at_once)?,
            throttle: Throttle::new(),
            changes: Changes::new(keep_changes),
            keep_changes,
            key_cache: KeyCache::new(),
            audit_queue: AuditQueue::default(),
        })
    }

    /// Identity for a tool that makes no tokens, on few connections to the database at `url`. Without the
    /// service's `webhook_keys` it makes no webhook secrets that could be used either.
    ///
    /// # Errors
    /// `Unavailable` if `url` is not a PostgreSQL URL.
    pub fn at(url: &str, webhook_keys: Option<Keyring>) -> Result<Self, Error> {
        let pool =
            PgPoolOptions::new().max_connections(TOOL_CONNECTIONS).connect_lazy_with(connect_options(url)?);
        Self::new(pool, &Settings::new(Keyring::random(), webhook_keys.unwrap_or_else(Keyring::random)))
    }

    /// Passwords hashed so far: tests count the work of a login instead of timing it.
    #[doc(hidden)]
    #[must_use]
    pub fn password_hashes(&self) -> u64 {
        self.hasher.hashes()
    }

    /// The caller that an `Authorization` header speaks for: `Bearer <access token>` or
    /// `ApiKey <key>`, the scheme in any case.
    ///
    /// # Errors
    /// `NotAuthenticated` for no header or another scheme, `TokenInvalid`, `TokenExpired`; and
    /// `Unavailable` for a partner key that must be read from the database.
    pub async fn authenticate(&self, header: Option<&str>, now: DateTime<Utc>) -> Result<Caller, Error> {
        let (scheme, credentials) =
            header.and_then(|value| value.trim().split_once(' ')).ok_or(Error::NotAuthenticated)?;
        let credentials = credentials.trim_start();
        if scheme.eq_ignore_ascii_case("Bearer") {
            self.verify_access_token(credentials, now)
        } else if scheme.eq_ignore_ascii_case("ApiKey") {
            self.verify_api_key(credentials, now).await
        } else {
            Err(Error::NotAuthenticated)
        }
    }

    /// The user that an access token speaks for; without a query.
    ///
    /// # Errors
    /// `TokenInvalid`, also when its session has ended; `TokenExpired`, also when the user's roles have
    /// changed since.
    pub fn verify_access_token(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, Error> {
        let caller = self.access_tokens.verify(token, now)?;
        if let Caller::User { id, roles, session } = &caller {
            self.changes.check(*id, *session, roles)?;
        }
        Ok(caller)
    }
}
