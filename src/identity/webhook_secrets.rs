//! What callbacks to a partner are signed with: `whsec_` and base64 of 32 bytes (Standard Webhooks).
//!
//! A secret is derived from a server key and a stored random seed, so neither the database nor the
//! configuration alone can sign. Each row knows which server key it needs: that one must stay in the
//! ring of webhook keys until the secrets made from it have been rotated.

use super::caller::Actor;
use super::error::Error;
use super::keyring::{Key, Keyring};
use super::{Identity, partner};
use crate::postgres::repeated;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use domain::PartnerId;
use secrecy::SecretString;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

/// How long the replaced secret still signs in addition to the new one.
pub const SECRET_OVERLAP: TimeDelta = TimeDelta::hours(24);

const PURPOSE: &str = "offers webhook secret v1";
const SEED_BYTES: usize = 32;

impl Identity {
    /// Makes a new secret current. The one before signs too for [`SECRET_OVERLAP`], any older one no more.
    ///
    /// # Errors
    /// `PartnerNotFound`, `Unavailable`.
    pub async fn rotate_webhook_secret(
        &self,
        partner: PartnerId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<SecretString, Error> {
        repeated(|| self.replace_webhook_secret(partner, by, now)).await
    }

    async fn replace_webhook_secret(
        &self,
        partner: PartnerId,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<SecretString, Error> {
        let mut transaction = self.pool.begin().await?;
        partner::lock(&mut transaction, partner).await?;
        sqlx::query("delete from webhook_secrets where partner_id = $1 and expires_at is not null")
            .bind(partner.0)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("update webhook_secrets set expires_at = $2 where partner_id = $1")
            .bind(partner.0)
            .bind(now + SECRET_OVERLAP)
            .execute(&mut *transaction)
            .await?;
        let secret = insert(&mut transaction, &self.webhook_keys, partner, now).await?;
        partner::record(&mut transaction, by, "partner.webhook_secret_rotated", partner, json!({}), now)
            .await?;
        transaction.commit().await?;
        Ok(secret)
    }

    /// The secrets to sign with now, the current one first: two during a rotation.
    ///
    /// # Errors
    /// `PartnerNotFound`; `KeyRetired` when the current secret's server key is gone; `Unavailable`.
    pub async fn webhook_secrets(
        &self,
        partner: PartnerId,
        now: DateTime<Utc>,
    ) -> Result<Vec<SecretString>, Error> {
        let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "select seed, key_id from webhook_secrets
             where partner_id = $1 and (expires_at is null or expires_at > $2)
             order by expires_at desc nulls first",
        )
        .bind(partner.0)
        .bind(now)
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            return Err(Error::PartnerNotFound);
        }
        rows.into_iter()
            .map(|(seed, key_id)| match self.webhook_keys.get(&key_id) {
                Some(key) => Ok(secret(key, partner, &seed)),
                None => Err(Error::KeyRetired { key_id }),
            })
            .collect()
    }
}

/// Makes the current secret; the one before must have been given an end.
pub(super) async fn insert(
    connection: &mut PgConnection,
    keys: &Keyring,
    partner: PartnerId,
    now: DateTime<Utc>,
) -> Result<SecretString, sqlx::Error> {
    let seed: [u8; SEED_BYTES] = rand::random();
    let key = keys.current();
    sqlx::query(
        "insert into webhook_secrets (id, partner_id, seed, key_id, created_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(Uuid::now_v7())
    .bind(partner.0)
    .bind(seed.as_slice())
    .bind(key.id())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(secret(key, partner, &seed))
}

fn secret(key: &Key, partner: PartnerId, seed: &[u8]) -> SecretString {
    let bytes = key.derive(PURPOSE, &[partner.0.as_bytes(), seed]);
    format!("whsec_{}", BASE64.encode(bytes)).into()
}
