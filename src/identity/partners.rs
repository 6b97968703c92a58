//! Partners: systems that sell for users, each with keys, a float account and a callback URL.

use super::callback_url::{CallbackUrl, without_query};
use super::caller::Actor;
use super::error::Error;
use super::fields::Check;
use super::partner::{self, Partner};
use super::partner_keys::{self, IssuedKey};
use super::{Identity, changes, webhook_secrets};
use crate::postgres::repeated;
use chrono::{DateTime, Utc};
use domain::{CreationKey, PartnerId, Slice};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// A partner just made, with the secrets that are shown this once.
#[derive(Debug, Clone)]
pub struct NewPartner {
    /// The partner; its float account is still to be opened, which can be repeated at will.
    pub partner: Partner,
    pub key: IssuedKey,
    /// What its callbacks are signed with.
    pub webhook_secret: SecretString,
}

/// The changes to a partner; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct PartnerChange {
    /// 1 to 150 characters.
    pub name: Option<String>,
    /// `Some(None)` removes the URL.
    pub callback_url: Option<Option<CallbackUrl>>,
    /// Takes effect on every instance within a second.
    pub is_active: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    User,
    /// A partner's: a float account.
    Partner,
}

impl Identity {
    /// Makes a partner with one key and one webhook secret.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable`.
    pub async fn create_partner(
        &self,
        name: &str,
        callback_url: Option<&CallbackUrl>,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<NewPartner, Error> {
        let name = &*checked_name(name)?;
        repeated(|| self.insert_partner(name, callback_url, by, now)).await
    }

    async fn insert_partner(
        &self,
        name: &str,
        callback_url: Option<&CallbackUrl>,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<NewPartner, Error> {
        let mut transaction = self.pool.begin().await?;
        let partner: Partner = sqlx::query_as(
            "insert into partners (id, name, callback_url, created_at) values ($1, $2, $3, $4) returning *",
        )
        .bind(Uuid::now_v7())
        .bind(name)
        .bind(callback_url.map(CallbackUrl::as_str))
        .bind(now)
        .fetch_one(&mut *transaction)
        .await?;
        let key = partner_keys::insert(&mut transaction, partner.id, now).await?;
        let webhook_secret =
            webhook_secrets::insert(&mut transaction, &self.webhook_keys, partner.id, now).await?;
        let details = json!({"key_id": key.key_id});
        partner::record(&mut transaction, by, "partner.created", partner.id, details, now).await?;
        transaction.commit().await?;
        Ok(NewPartner { partner, key, webhook_secret })
    }

    pub async fn list_partners(
        &self,
        after: Option<CreationKey>,
        limit: u32,
    ) -> Result<Slice<Partner, CreationKey>, Error> {
        let partners = sqlx::query_as(
            "select * from partners where (created_at, id) < (coalesce($1, 'infinity'), $2)
             order by created_at desc, id desc limit $3",
        )
        .bind(after.map(|(created, _)| created.utc()))
        .bind(after.map_or(Uuid::max(), |(_, id)| id))
        .bind(i64::from(limit) + 1);
        Ok(Slice::cut(partners.fetch_all(&self.pool).await?, limit, |partner: &Partner| {
            (partner.created_at.into(), partner.id.0)
        }))
    }

    /// The partner with this id.
    ///
    /// # Errors
    /// `PartnerNotFound`, `Unavailable`.
    pub async fn get_partner(&self, id: PartnerId) -> Result<Partner, Error> {
        let partner = sqlx::query_as("select * from partners where id = $1").bind(id.0);
        partner.fetch_optional(&self.pool).await?.ok_or(Error::PartnerNotFound)
    }

    /// Changes a partner, all or nothing.
    ///
    /// # Errors
    /// `Invalid`, `PartnerNotFound`, `Unavailable`.
    pub async fn update_partner(
        &self,
        id: PartnerId,
        change: &PartnerChange,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Partner, Error> {
        let name = change.name.as_deref().map(checked_name).transpose()?;
        let change = PartnerChange { name, ..change.clone() };
        repeated(|| self.write_partner(id, &change, by, now)).await
    }

    async fn write_partner(
        &self,
        id: PartnerId,
        change: &PartnerChange,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Partner, Error> {
        let mut transaction = self.pool.begin().await?;
        let before = partner::lock(&mut transaction, id).await?;
        let after = write(&mut transaction, id, change).await?;
        if before != after {
            partner::record(&mut transaction, by, "partner.changed", id, differences(&before, &after), now)
                .await?;
        }
        if before.is_active != after.is_active {
            changes::note_keys_changed(&mut transaction, id.0).await?;
        }
        transaction.commit().await?;
        if before.is_active != after.is_active {
            self.changes.keys_changed(id.0);
        }
        Ok(after)
    }

    /// Sends no more callbacks to `url`, because it answered that it is gone; unless the partner has
    /// registered another one meanwhile.
    pub async fn disable_callback(&self, id: PartnerId, url: &str, now: DateTime<Utc>) -> Result<(), Error> {
        sqlx::query(
            "update partners set callback_disabled_at = $3
             where id = $1 and callback_url = $2 and callback_disabled_at is null",
        )
        .bind(id.0)
        .bind(url)
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The kind of owner that `owner` is; `None` if there is no such user or partner.
    pub async fn owner_kind(&self, owner: Uuid) -> Result<Option<OwnerKind>, Error> {
        let (is_user, is_partner): (bool, bool) = sqlx::query_as(
            "select exists (select from users where id = $1), exists (select from partners where id = $1)",
        )
        .bind(owner)
        .fetch_one(&self.pool)
        .await?;
        Ok(match (is_user, is_partner) {
            (true, _) => Some(OwnerKind::User),
            (false, true) => Some(OwnerKind::Partner),
            (false, false) => None,
        })
    }
}

fn checked_name(name: &str) -> Result<String, Error> {
    let mut fields = Check::default();
    let name = fields.line("name", name, 1);
    fields.done()?;
    Ok(name)
}

async fn write(
    connection: &mut PgConnection,
    id: PartnerId,
    change: &PartnerChange,
) -> Result<Partner, sqlx::Error> {
    sqlx::query_as(
        "update partners
         set name = coalesce($2, name), is_active = coalesce($3, is_active),
             callback_url = case when $4 then $5 else callback_url end,
             callback_disabled_at = case when $4 then null else callback_disabled_at end
         where id = $1
         returning *",
    )
    .bind(id.0)
    .bind(change.name.as_deref())
    .bind(change.is_active)
    .bind(change.callback_url.is_some())
    .bind(change.callback_url.as_ref().and_then(Option::as_ref).map(CallbackUrl::as_str))
    .fetch_one(connection)
    .await
}

fn differences(before: &Partner, after: &Partner) -> Value {
    let mut details = serde_json::Map::new();
    if before.name != after.name {
        details.insert("name".to_owned(), json!({"from": before.name, "to": after.name}));
    }
    if before.callback_url != after.callback_url {
        let shown = |partner: &Partner| partner.callback_url.as_deref().map(without_query).map(str::to_owned);
        let change = json!({"from": shown(before), "to": shown(after)});
        details.insert("callback_url".to_owned(), change);
    }
    if before.is_active != after.is_active {
        details.insert("is_active".to_owned(), json!(after.is_active));
    }
    Value::Object(details)
}
