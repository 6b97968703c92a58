//! A user: as it is, as it is to be made, and as it is to be changed.

use super::caller::Roles;
use super::error::Error;
use super::fields::Check;
use super::folding::nfkc;
use chrono::{DateTime, Utc};
use domain::UserId;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Also the id of the account.
    pub id: UserId,
    /// What the user logs in with.
    pub username: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub roles: Roles,
    /// A disabled user cannot log in and has no live session.
    pub is_active: bool,
    pub date_joined: DateTime<Utc>,
    pub last_login: Option<DateTime<Utc>>,
    /// When what is known of this person was erased: then nothing of the user is changed any more.
    pub erased_at: Option<DateTime<Utc>>,
}

impl User {
    /// Whether this is exactly the user's name, in normal form NFKC or as it is stored.
    #[must_use]
    pub fn is_named(&self, username: &str) -> bool {
        self.username == username || self.username == nfkc(username)
    }
}

/// A user to be made.
#[derive(Clone)]
pub struct NewUser {
    /// 1 to 150 letters and digits of any script and `@ . + - _`; nobody else's, without regard to case.
    pub username: String,
    /// 8 to 1024 characters, and not easily guessed.
    pub password: SecretString,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    /// Usually [`Roles::default`].
    pub roles: Roles,
}

/// The changes to a user; `None` leaves a field as it is.
#[derive(Clone, Default)]
pub struct UserChange {
    /// `false` ends all sessions.
    pub is_active: Option<bool>,
    /// Access tokens with other roles stop working within a second; a refresh gives new ones.
    pub roles: Option<Roles>,
    /// A new password ends all sessions.
    pub password: Option<SecretString>,
    pub email: Option<String>,
}

impl NewUser {
    /// The same in the form in which it is stored.
    pub(super) fn checked(&self) -> Result<Self, Error> {
        let mut fields = Check::default();
        let username = fields.username(&self.username);
        fields.password(&self.password, &username, &self.email);
        let checked = Self {
            username,
            password: self.password.clone(),
            email: fields.email(&self.email),
            first_name: fields.line("first_name", &self.first_name, 0),
            last_name: fields.line("last_name", &self.last_name, 0),
            roles: self.roles.clone(),
        };
        fields.done()?;
        Ok(checked)
    }

    pub(super) fn describes(&self, user: &User) -> bool {
        (&self.username, &self.email, &self.first_name, &self.last_name, &self.roles)
            == (&user.username, &user.email, &user.first_name, &user.last_name, &user.roles)
    }
}

impl UserChange {
    /// The same in the form in which it is stored; `user` is as it is before.
    pub(super) fn checked(&self, user: &User) -> Result<Self, Error> {
        let mut fields = Check::default();
        if let Some(password) = &self.password {
            fields.password(password, &user.username, self.email.as_deref().unwrap_or(&user.email));
        }
        let email = self.email.as_ref().map(|email| fields.email(email));
        fields.done()?;
        Ok(Self { email, ..self.clone() })
    }

    /// Why the sessions must end, if they must.
    pub(super) fn locks_out(&self, before: &User) -> Option<&'static str> {
        if before.is_active && self.is_active == Some(false) {
            Some("disabled")
        } else {
            self.password.as_ref().map(|_| "password")
        }
    }

    /// What the audit log says about it: nothing about what did not change.
    pub(super) fn actions(&self, before: &User, after: &User) -> Vec<(&'static str, Value)> {
        let mut actions = Vec::new();
        match (before.is_active, after.is_active) {
            (true, false) => actions.push(("user.disabled", json!({}))),
            (false, true) => actions.push(("user.enabled", json!({}))),
            _ => {}
        }
        if before.roles != after.roles {
            actions.push(("user.roles_changed", json!({"from": before.roles, "to": after.roles})));
        }
        if self.password.is_some() {
            actions.push(("user.password_reset", json!({})));
        }
        if before.email != after.email {
            actions.push(("user.email_changed", json!({})));
        }
        actions
    }
}

impl FromRow<'_, PgRow> for User {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: UserId(row.try_get("id")?),
            username: row.try_get("username")?,
            email: row.try_get("email")?,
            first_name: row.try_get("first_name")?,
            last_name: row.try_get("last_name")?,
            roles: Roles::from_column(row)?,
            is_active: row.try_get("is_active")?,
            date_joined: row.try_get("date_joined")?,
            last_login: row.try_get("last_login")?,
            erased_at: row.try_get("erased_at")?,
        })
    }
}

/// Without personal data: it ends up in logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, roles, is_active, .. } = self;
        f.debug_struct("User")
            .field("id", id)
            .field("roles", roles)
            .field("is_active", is_active)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_active, roles, .. } = self;
        f.debug_struct("UserChange")
            .field("is_active", is_active)
            .field("roles", roles)
            .finish_non_exhaustive()
    }
}
