//! Users: made, found and changed by admins.

use super::audit::{self, Entry};
use super::caller::{Actor, Roles};
use super::changes;
use super::error::Error;
use super::fields::Check;
use super::folding::{folded, folded_mail, nfkc, search_text};
use super::sessions::Ended;
use super::user::{NewUser, User, UserChange};
use super::{Identity, sessions};
use crate::postgres::repeated;
use chrono::{DateTime, Utc};
use domain::{CreationKey, Slice, UserId};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use uuid::Uuid;

/// The rules by which today's texts are written (`users.text_rules`). When the forms in `folding` change, it is raised,
/// and `offers migrate` writes the forms of older rows again.
pub(super) const TEXT_RULES: i16 = 1;

/// A username as somebody typed it, in the forms by which it is looked up.
pub(super) struct Name {
    pub(super) typed: String,
    pub(super) stored: String,
    pub(super) folded: String,
}

impl Name {
    pub(super) fn typed(text: &str) -> Self {
        // A NUL would be an error of PostgreSQL's, and so tell this name from others.
        let text = if text.contains('\0') { "" } else { text };
        Self { typed: text.to_owned(), stored: nfkc(text), folded: folded(text) }
    }

    /// The statement that finds the user; its parameters are `typed`, `stored` and `folded`. Names that differ only in
    /// case may be older than the rule that there are none: each is found when it is typed exactly.
    pub(super) fn query(columns: &str) -> String {
        format!(
            "select {columns} from users where username in ($1, $2) or username_folded = $3
             order by username = $1 desc, username = $2 desc limit 1"
        )
    }
}

impl Identity {
    /// Writes a user's row. The account is not open yet: open it (that can be repeated at will), then
    /// call [`Self::confirm_user`].
    ///
    /// When a try was cut off in between, the same call with the same data finds its row again and
    /// goes on with it, under the same id.
    ///
    /// # Errors
    /// `Invalid`, `UsernameTaken`, `Overloaded`, `Unavailable`.
    pub async fn create_user(&self, new: &NewUser, by: &Actor, now: DateTime<Utc>) -> Result<User, Error> {
        let new = new.checked()?;
        let hash = self.hasher.turn().await?.hash(&new.password).await?;
        match repeated(|| self.insert_user(&new, &hash, by, now)).await? {
            Some(user) => Ok(user),
            None => self.unfinished(&new).await,
        }
    }

    /// `None` if the name is taken.
    async fn insert_user(
        &self,
        new: &NewUser,
        hash: &str,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Option<User>, Error> {
        let mut transaction = self.pool.begin().await?;
        let Some(user) = insert(&mut transaction, new, hash, now).await? else {
            transaction.rollback().await?;
            return Ok(None);
        };
        record(&mut transaction, by, "user.created", user.id, json!({"roles": user.roles}), now).await?;
        transaction.commit().await?;
        Ok(Some(user))
    }

    /// Notes that the account is open, which ends the making of a user. Of several callers that made
    /// the same user at once, one is told that it did; the others get what they would have got later.
    ///
    /// # Errors
    /// `UsernameTaken` when it was confirmed before, `Unavailable`.
    pub async fn confirm_user(&self, id: UserId) -> Result<(), Error> {
        let confirmed =
            sqlx::query("update users set account_opened = true where id = $1 and not account_opened")
                .bind(id.0)
                .execute(&self.pool)
                .await?;
        if confirmed.rows_affected() == 1 { Ok(()) } else { Err(Error::UsernameTaken) }
    }

    /// The user with this id.
    ///
    /// # Errors
    /// `UserNotFound`, `Unavailable`.
    pub async fn get_user(&self, id: UserId) -> Result<User, Error> {
        let user = sqlx::query_as("select * from users where id = $1").bind(id.0);
        user.fetch_optional(&self.pool).await?.ok_or(Error::UserNotFound)
    }

    /// The user with this name, as somebody types it: in any case, unless another user's is exactly so.
    ///
    /// # Errors
    /// `UserNotFound`, `Unavailable`.
    pub async fn user_named(&self, username: &str) -> Result<User, Error> {
        let name = Name::typed(username);
        let query = Name::query("*");
        let user = sqlx::query_as(&query).bind(&name.typed).bind(&name.stored).bind(&name.folded);
        user.fetch_optional(&self.pool).await?.ok_or(Error::UserNotFound)
    }

    /// The user with exactly this name, in normal form NFKC or as it is stored: case matters.
    ///
    /// # Errors
    /// `UserNotFound`, `Unavailable`.
    pub async fn user_named_exactly(&self, username: &str) -> Result<User, Error> {
        let user = self.user_named(username).await?;
        if user.is_named(username) { Ok(user) } else { Err(Error::UserNotFound) }
    }

    /// Users whose name, mail, first or last name contains `q`, in any case; all of them for an empty
    /// `q`. Newest first.
    ///
    /// # Errors
    /// `Invalid` for a `q` that is too long, `Unavailable`.
    pub async fn find_users(
        &self,
        q: &str,
        after: Option<CreationKey>,
        limit: u32,
    ) -> Result<Slice<User, CreationKey>, Error> {
        let mut fields = Check::default();
        fields.search(q);
        fields.done()?;
        let users = sqlx::query_as(
            "select * from users
             where ($1 = '' or position($1 in search_text) > 0)
               and (date_joined, id) < (coalesce($2, 'infinity'), $3)
             order by date_joined desc, id desc limit $4",
        )
        .bind(folded(q))
        .bind(after.map(|(created, _)| created.utc()))
        .bind(after.map_or(Uuid::max(), |(_, id)| id))
        .bind(i64::from(limit) + 1);
        Ok(Slice::cut(users.fetch_all(&self.pool).await?, limit, |user: &User| {
            (user.date_joined.into(), user.id.0)
        }))
    }

    /// Users with this name or mail address, then those whose name or mail address begins with it, in any case: at most `limit` of
    /// each. By index, however many users there are.
    pub async fn users_by_prefix(&self, text: &str, limit: i64) -> Result<Vec<User>, Error> {
        let name = Name::typed(text);
        let (named, mail) = (&name.folded, folded_mail(text));
        if named.is_empty() || mail.is_empty() {
            return Ok(Vec::new());
        }
        // Planned again each time: a plan made while the table was small would read the whole table.
        let users = sqlx::query_as(include_str!("users_by_prefix.sql")).persistent(false);
        let users = users.bind(&name.typed).bind(&name.stored).bind(named).bind(after_all_with(named));
        let users = users.bind(&mail).bind(after_all_with(&mail)).bind(limit);
        Ok(users.fetch_all(&self.pool).await?)
    }

    /// Changes a user, all or nothing. A new password and `is_active: false` end all its sessions.
    ///
    /// # Errors
    /// `Invalid`, `UserNotFound`, `UserErased`, `Overloaded`, `Unavailable`.
    pub async fn update_user(
        &self,
        id: UserId,
        change: &UserChange,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<User, Error> {
        let change = change.checked(&self.get_user(id).await?)?;
        let hash = match &change.password {
            Some(password) => Some(self.hasher.turn().await?.hash(password).await?),
            None => None,
        };
        repeated(|| self.write_user(id, &change, hash.as_deref(), by, now)).await
    }

    async fn write_user(
        &self,
        id: UserId,
        change: &UserChange,
        hash: Option<&str>,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<User, Error> {
        let mut transaction = self.pool.begin().await?;
        let before = lock(&mut transaction, id).await?;
        if before.erased_at.is_some() {
            return Err(Error::UserErased);
        }
        let after = write(&mut transaction, &before, change, hash).await?;
        for (action, details) in change.actions(&before, &after) {
            record(&mut transaction, by, action, id, details, now).await?;
        }
        let locked_out = change.locks_out(&before);
        let ended = match locked_out {
            Some(reason) => sessions::end(&mut *transaction, id, Ended::All, reason, now).await?,
            None => Vec::new(),
        };
        let roles_changed = if before.roles == after.roles {
            None
        } else {
            Some(changes::note_roles_changed(&mut transaction, id, &after.roles).await?)
        };
        transaction.commit().await?;
        self.changes.sessions_ended(&ended);
        if let Some(at) = roles_changed {
            self.changes.roles_changed(id, at, after.roles.clone());
        }
        Ok(after)
    }

    /// The row that an earlier, cut-off try with the same data left behind.
    async fn unfinished(&self, new: &NewUser) -> Result<User, Error> {
        let row: Option<PgRow> =
            sqlx::query("select * from users where username_folded = $1 and not account_opened")
                .bind(folded(&new.username))
                .fetch_optional(&self.pool)
                .await?;
        let row = row.ok_or(Error::UsernameTaken)?;
        let user = User::from_row(&row)?;
        let hash: String = row.try_get("password_hash")?;
        let is_same =
            new.describes(&user) && self.hasher.turn().await?.verify(&new.password, Some(&hash)).await?;
        if is_same { Ok(user) } else { Err(Error::UsernameTaken) }
    }
}

/// A text that comes after all those that begin with `prefix`, in the order of their bytes.
fn after_all_with(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

/// `None` if the name is taken.
async fn insert(
    connection: &mut PgConnection,
    new: &NewUser,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as(
        "insert into users (id, username, email, first_name, last_name, password_hash, roles, date_joined,
                            username_folded, search_text, text_rules)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict do nothing
         returning *",
    )
    .bind(Uuid::now_v7())
    .bind(&new.username)
    .bind(&new.email)
    .bind(&new.first_name)
    .bind(&new.last_name)
    .bind(hash)
    .bind(new.roles.stored())
    .bind(now)
    .bind(folded(&new.username))
    .bind(search_text(&new.username, &new.email, &new.first_name, &new.last_name))
    .bind(TEXT_RULES)
    .fetch_optional(connection)
    .await
}

pub(super) async fn lock(connection: &mut PgConnection, id: UserId) -> Result<User, Error> {
    let user = sqlx::query_as("select * from users where id = $1 for update").bind(id.0);
    user.fetch_optional(connection).await?.ok_or(Error::UserNotFound)
}

async fn write(
    connection: &mut PgConnection,
    before: &User,
    change: &UserChange,
    hash: Option<&str>,
) -> Result<User, sqlx::Error> {
    let User { id, username, first_name, last_name, .. } = before;
    let searched = change.email.as_ref().map(|email| search_text(username, email, first_name, last_name));
    sqlx::query_as(
        "with settled as (delete from user_findings where user_id = $1 and finding = 'mail_unusable' and $5 is not null)
         update users
         set is_active = coalesce($2, is_active), roles = coalesce($3, roles),
             password_hash = coalesce($4, password_hash), email = coalesce($5, email),
             search_text = coalesce($6, search_text)
         where id = $1
         returning *",
    )
    .bind(id.0)
    .bind(change.is_active)
    .bind(change.roles.as_ref().map(Roles::stored))
    .bind(hash)
    .bind(change.email.as_deref())
    .bind(searched)
    .fetch_one(connection)
    .await
}

/// Stores the same password at today's cost.
pub(super) async fn replace_hash(pool: &PgPool, id: Uuid, old: &str, new: &str) -> Result<(), Error> {
    let replaced = sqlx::query("update users set password_hash = $3 where id = $1 and password_hash = $2");
    replaced.bind(id).bind(old).bind(new).execute(pool).await?;
    Ok(())
}

pub(super) async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    user: UserId,
    details: Value,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let entry = Entry { actor, action, subject: format!("user:{user}"), details };
    audit::record(connection, entry, now).await
}
