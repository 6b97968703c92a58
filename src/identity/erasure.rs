//! Erases what is known of a person. The id stays, and with it the account and its history.

use super::audit::{self, Entry};
use super::caller::Actor;
use super::error::Error;
use super::folding::folded;
use super::sessions::{self, Ended};
use super::user::User;
use super::{Identity, users};
use crate::postgres::repeated;
use chrono::{DateTime, Utc};
use domain::UserId;
use secrecy::SecretString;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

/// Random bytes of a password that nobody knows.
const UNKNOWN_PASSWORD: usize = 32;

impl Identity {
    /// Erases name, mail address and names for ever, disables the user and ends all sessions. Doing it twice is fine.
    /// Others may take the name.
    ///
    /// # Errors
    /// `UserNotFound`, `Overloaded`, `Unavailable`.
    pub async fn erase_user(&self, id: UserId, by: &Actor, now: DateTime<Utc>) -> Result<User, Error> {
        self.get_user(id).await?;
        let random: [u8; UNKNOWN_PASSWORD] = rand::random();
        let unknown: SecretString =
            random.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        let hash = self.hasher.turn().await?.hash(&unknown).await?;
        let (user, ended) = repeated(|| self.write_erased(id, &hash, by, now)).await?;
        self.changes.sessions_ended(&ended);
        Ok(user)
    }

    async fn write_erased(
        &self,
        id: UserId,
        hash: &str,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(User, Vec<Uuid>), Error> {
        let mut transaction = self.pool.begin().await?;
        let before = users::lock(&mut transaction, id).await?;
        if before.erased_at.is_some() {
            return Ok((before, Vec::new()));
        }
        let user = erase(&mut transaction, id, hash, now).await?;
        let ended = sessions::end(&mut *transaction, id, Ended::All, "erased", now).await?;
        sqlx::query("update sessions set address = null where user_id = $1")
            .bind(id.0)
            .execute(&mut *transaction)
            .await?;
        let entry =
            Entry { actor: by, action: "user.erased", subject: format!("user:{id}"), details: json!({}) };
        audit::record(&mut transaction, entry, now).await?;
        transaction.commit().await?;
        Ok((user, ended))
    }
}

async fn erase(
    connection: &mut PgConnection,
    id: UserId,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<User, sqlx::Error> {
    let username = format!("erased-{id}");
    sqlx::query_as(
        "with settled as (delete from user_findings where user_id = $1)
         update users
         set username = $2, username_folded = $3, search_text = '', email = '', first_name = '', last_name = '',
             password_hash = $4, is_active = false, last_login = null, erased_at = $5
         where id = $1
         returning *",
    )
    .bind(id.0)
    .bind(&username)
    .bind(folded(&username))
    .bind(hash)
    .bind(now)
    .fetch_one(connection)
    .await
}
