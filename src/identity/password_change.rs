//! A user's own new password.

use super::caller::{Actor, SessionId};
use super::error::{Error, FieldError};
use super::sessions::{self, Ended};
use super::throttle::Guess;
use super::user::{User, UserChange};
use super::{Identity, users};
use crate::postgres::repeated;
use chrono::{DateTime, Utc};
use domain::UserId;
use secrecy::SecretString;
use serde_json::json;
use std::net::IpAddr;
use uuid::Uuid;

/// Who changes the own password, from where.
#[derive(Debug, Clone, Copy)]
pub struct Changing {
    pub user: UserId,
    /// It goes on; all others of the user end.
    pub session: SessionId,
    pub address: IpAddr,
}

impl Identity {
    /// Gives a user another password. Guessing the old one is as slow as guessing it at a login.
    ///
    /// # Errors
    /// `Invalid` for a wrong old password and for an unfit new one, `RateLimited`, `Overloaded`, `Unavailable`.
    pub async fn change_password(
        &self,
        who: Changing,
        old: &SecretString,
        new: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let user = self.get_user(who.user).await?;
        let guess = Guess::new(&user.username, who.address);
        self.throttle.check_remembered(guess, now)?;
        let turn = self.hasher.turn().await?;
        self.throttle.check(&self.pool, guess, now).await?;
        let stored: String = sqlx::query_scalar("select password_hash from users where id = $1")
            .bind(user.id.0)
            .fetch_one(&self.pool)
            .await?;
        if !turn.verify(old, Some(&stored)).await? {
            self.throttle.failed(&self.pool, guess, now).await?;
            return Err(wrong_old_password());
        }
        check_new_password(&user, new)?;
        let hash = turn.hash(new).await?;
        drop(turn);
        let ended = repeated(|| self.write_password(who, &stored, &hash, now)).await?;
        self.changes.sessions_ended(&ended);
        Ok(())
    }

    /// Writes the new hash unless the password was changed since it was checked.
    async fn write_password(
        &self,
        who: Changing,
        old: &str,
        new: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Uuid>, Error> {
        let Changing { user, session, .. } = who;
        let mut transaction = self.pool.begin().await?;
        // The new one is there already when the answer to the first try was lost.
        let changed =
            sqlx::query("update users set password_hash = $3 where id = $1 and password_hash in ($2, $3)")
                .bind(user.0)
                .bind(old)
                .bind(new)
                .execute(&mut *transaction)
                .await?;
        if changed.rows_affected() == 0 {
            return Err(wrong_old_password());
        }
        let by = Actor::user(user);
        users::record(&mut transaction, &by, "user.password_changed", user, json!({}), now).await?;
        let ended = sessions::end(&mut *transaction, user, Ended::AllBut(session), "password", now).await?;
        transaction.commit().await?;
        Ok(ended)
    }
}

fn wrong_old_password() -> Error {
    Error::Invalid(vec![FieldError { field: "old_password", message: "is not the password".to_owned() }])
}

fn check_new_password(user: &User, new: &SecretString) -> Result<(), Error> {
    let change = UserChange { password: Some(new.clone()), ..UserChange::default() };
    change.checked(user).map(drop).map_err(|error| match error {
        Error::Invalid(errors) => {
            let named = |error: FieldError| FieldError { field: "new_password", ..error };
            Error::Invalid(errors.into_iter().map(named).collect())
        }
        other => other,
    })
}
