//! API keys of partners: `ofk_<key id>_<secret>`.
//!
//! The key id finds the row, SHA-256 over the whole key proves it: a key has 256 random bits, so there
//! is nothing to guess and nothing for a slow hash to slow down. Keys that were checked are cached in
//! process, under the rules of [`Changes::trusts`](super::changes::Changes::trusts).

use super::caller::{Actor, Caller, KeyId};
use super::changes::{self, Polls};
use super::error::Error;
use super::{Identity, partner};
use crate::postgres::repeated;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{CreationKey, PartnerId, Slice};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Live keys of one partner: enough for a key a machine and a rotation.
pub const LIVE_KEYS_MAX: i64 = 50;
/// How exact `last_used_at` is: one write a key in this time, and no more.
const LAST_USED_STEP: TimeDelta = TimeDelta::minutes(1);

/// Keys in process, some 100 bytes each.
const CACHED_MAX: usize = 10_000;
/// How long a cached key is used before it is read again; well below what
/// [`Changes`](super::changes::Changes) remembers, so that no change is forgotten while it matters.
pub(super) const CACHED_FOR: Duration = Duration::from_secs(60);

const PREFIX: &str = "ofk_";
const SECRET_BYTES: usize = 32;
/// `ofk_`, 32 hex digits, `_`, 43 characters of base64url.
const KEY_CHARS: usize = 80;

/// A key just made, shown this once.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// What the key is called when it is listed or revoked.
    pub key_id: KeyId,
    pub api_key: SecretString,
}

/// What a list of keys shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    pub key_id: KeyId,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// The latest use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for KeyInfo {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            key_id: KeyId(row.try_get("key_id")?),
            created_at: row.try_get("created_at")?,
            revoked_at: row.try_get("revoked_at")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }
}

/// A live key of an active partner, as it was read.
#[derive(Debug, Clone)]
struct CachedKey {
    partner: PartnerId,
    hash: [u8; 32],
    loaded: Polls,
    loaded_at: Instant,
}

/// The keys that this process has seen.
#[derive(Debug)]
pub(super) struct KeyCache(Cache<KeyId, CachedKey>);

impl KeyCache {
    pub(super) fn new() -> Self {
        Self(Cache::new(CACHED_MAX))
    }

    /// What was known when `key` was read.
    pub(super) fn loaded(&self, key: KeyId) -> Option<Polls> {
        self.0.get(&key).map(|cached| cached.loaded)
    }
}

struct Stored {
    partner_id: Uuid,
    key_hash: Vec<u8>,
    last_used_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            partner_id: row.try_get("partner_id")?,
            key_hash: row.try_get("key_hash")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }
}

impl Identity {
    /// The partner that `key` belongs to. Usually without a query; a revoked key is refused within a second
    /// on every instance.
    ///
    /// # Errors
    /// `TokenInvalid` (unknown, revoked, or the partner is inactive), `Unavailable`.
    pub async fn verify_api_key(&self, key: &str, now: DateTime<Utc>) -> Result<Caller, Error> {
        let id = parse(key).ok_or(Error::TokenInvalid)?;
        let hash: [u8; 32] = Sha256::digest(key).into();
        let cached = match self.cached(id) {
            Some(cached) if matches(&cached.hash, &hash) => cached,
            Some(_) => return Err(Error::TokenInvalid),
            None => self.load(id, &hash, now).await?,
        };
        Ok(Caller::Partner { id: cached.partner, key: id })
    }

    /// Makes another key.
    ///
    /// # Errors
    /// `PartnerNotFound`, `TooManyKeys`, `Unavailable`.
    pub async fn create_key(
        &self,
        partner: PartnerId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<IssuedKey, Error> {
        repeated(|| self.insert_key(partner, by, now)).await
    }

    async fn insert_key(
        &self,
        partner: PartnerId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<IssuedKey, Error> {
        let mut transaction = self.pool.begin().await?;
        partner::lock(&mut transaction, partner).await?;
        let live: i64 = sqlx::query_scalar(
            "select count(*) from partner_keys where partner_id = $1 and revoked_at is null",
        )
        .bind(partner.0)
        .fetch_one(&mut *transaction)
        .await?;
        if live >= LIVE_KEYS_MAX {
            return Err(Error::TooManyKeys);
        }
        let key = insert(&mut transaction, partner, now).await?;
        let details = json!({"key_id": key.key_id});
        partner::record(&mut transaction, by, "partner.key_created", partner, details, now).await?;
        transaction.commit().await?;
        Ok(key)
    }

    /// The keys of a partner, revoked ones too, newest first.
    ///
    /// # Errors
    /// `PartnerNotFound`, `Unavailable`.
    pub async fn list_keys(
        &self,
        partner: PartnerId,
        after: Option<CreationKey>,
        limit: u32,
    ) -> Result<Slice<KeyInfo, CreationKey>, Error> {
        self.get_partner(partner).await?;
        let keys = sqlx::query_as(
            "select key_id, created_at, revoked_at, last_used_at from partner_keys
             where partner_id = $1 and (created_at, key_id) < (coalesce($2, 'infinity'), $3)
             order by created_at desc, key_id desc limit $4",
        )
        .bind(partner.0)
        .bind(after.map(|(created, _)| created.utc()))
        .bind(after.map_or(Uuid::max(), |(_, id)| id))
        .bind(i64::from(limit) + 1);
        Ok(Slice::cut(keys.fetch_all(&self.pool).await?, limit, |key: &KeyInfo| {
            (key.created_at.into(), key.key_id.0)
        }))
    }

    /// Ends a key, on every instance within a second. Revoking it twice is fine.
    ///
    /// # Errors
    /// `KeyNotFound`, `Unavailable`.
    pub async fn revoke_key(
        &self,
        partner: PartnerId,
        key: KeyId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        repeated(|| self.write_revoked(partner, key, by, now)).await
    }

    async fn write_revoked(
        &self,
        partner: PartnerId,
        key: KeyId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        let was_revoked: Option<bool> = sqlx::query_scalar(
            "select revoked_at is not null from partner_keys where key_id = $1 and partner_id = $2 for update",
        )
        .bind(key.0)
        .bind(partner.0)
        .fetch_optional(&mut *transaction)
        .await?;
        if was_revoked.ok_or(Error::KeyNotFound)? {
            return Ok(());
        }
        sqlx::query("update partner_keys set revoked_at = $2 where key_id = $1")
            .bind(key.0)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        changes::note_keys_changed(&mut transaction, key.0).await?;
        let details = json!({"key_id": key});
        partner::record(&mut transaction, by, "partner.key_revoked", partner, details, now).await?;
        transaction.commit().await?;
        self.changes.keys_changed(key.0);
        Ok(())
    }

    fn cached(&self, id: KeyId) -> Option<CachedKey> {
        let cached = self.key_cache.0.get(&id)?;
        let is_fresh = cached.loaded_at.elapsed() < CACHED_FOR
            && self.changes.trusts(cached.loaded, id.0, cached.partner.0);
        is_fresh.then_some(cached)
    }

    async fn load(&self, id: KeyId, presented: &[u8; 32], now: DateTime<Utc>) -> Result<CachedKey, Error> {
        let (loaded, loaded_at) = (self.changes.now(), Instant::now());
        let stored: Stored = sqlx::query_as(
            "select k.partner_id, k.key_hash, k.last_used_at
             from partner_keys k join partners p on p.id = k.partner_id
             where k.key_id = $1 and k.revoked_at is null and p.is_active",
        )
        .bind(id.0)
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::TokenInvalid)?;
        let hash: [u8; 32] = stored.key_hash.try_into().map_err(|_| Error::TokenInvalid)?;
        if !matches(&hash, presented) {
            return Err(Error::TokenInvalid);
        }
        if stored.last_used_at.is_none_or(|last| now - last >= LAST_USED_STEP) {
            self.note_use(id, now).await?;
        }
        let cached = CachedKey { partner: PartnerId(stored.partner_id), hash, loaded, loaded_at };
        self.key_cache.0.insert(id, cached.clone());
        Ok(cached)
    }

    async fn note_use(&self, id: KeyId, now: DateTime<Utc>) -> Result<(), Error> {
        sqlx::query(
            "update partner_keys set last_used_at = $2
             where key_id = $1 and (last_used_at is null or last_used_at <= $3)",
        )
        .bind(id.0)
        .bind(now)
        .bind(now - LAST_USED_STEP)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Makes a key in the transaction that makes its partner, or after [`partner::lock`].
pub(super) async fn insert(
    connection: &mut PgConnection,
    partner: PartnerId,
    now: DateTime<Utc>,
) -> Result<IssuedKey, sqlx::Error> {
    let key = IssuedKey::new();
    let hash: [u8; 32] = Sha256::digest(key.api_key.expose_secret()).into();
    sqlx::query(
        "insert into partner_keys (key_id, partner_id, key_hash, created_at) values ($1, $2, $3, $4)",
    )
    .bind(key.key_id.0)
    .bind(partner.0)
    .bind(hash.as_slice())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(key)
}

impl IssuedKey {
    fn new() -> Self {
        let id = Uuid::now_v7();
        let secret = BASE64.encode(rand::random::<[u8; SECRET_BYTES]>());
        Self { key_id: KeyId(id), api_key: format!("{PREFIX}{}_{secret}", id.simple()).into() }
    }
}

/// The id of a text that has the shape of a key.
fn parse(text: &str) -> Option<KeyId> {
    if text.len() != KEY_CHARS {
        return None;
    }
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_secret = secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let id = Uuid::try_parse(id).ok().filter(|parsed| parsed.simple().to_string() == id)?;
    is_secret.then_some(KeyId(id))
}

fn matches(stored: &[u8; 32], presented: &[u8; 32]) -> bool {
    stored.ct_eq(presented).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_id_and_nothing_in_debug_output() {
        for _ in 0..100 {
            let key = IssuedKey::new(); // secrets may contain the separator
            let text = key.api_key.expose_secret();
            assert_eq!(parse(text), Some(key.key_id));
            assert!(!format!("{key:?}").contains(&text[40..]));
        }
    }

    #[test]
    fn no_other_text_has_the_shape_of_a_key() {
        let key = IssuedKey::new();
        let text = key.api_key.expose_secret();
        let cut = &text[..text.len() - 1];
        for bad in
            ["", "ofk_", cut, &format!("{cut}="), &text.to_uppercase(), &text.replacen("ofk", "ofr", 1)]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
