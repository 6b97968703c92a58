//! Brings the texts of users that an older version wrote under the rules of today: a step of `offers migrate`.
//!
//! It goes through the users from the oldest to the newest, a batch in a transaction, and a row says which rules it has
//! been written by. So it continues where it was interrupted, and does nothing when there is nothing to do.

use super::fields::NAME_MAX_CHARS;
use super::folding::{folded, nfkc, search_text};
use super::mail_address::mail_address;
use super::users::TEXT_RULES;
use chrono::{DateTime, Utc};
use domain::UserId;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

/// Users that are rewritten in one transaction; meanwhile no user can be changed.
const BATCH: i64 = 1000;
/// Findings that are reported one by one.
const REPORTED_MAX: i64 = 100;

/// What could not be brought under the rules of today; the table `user_findings` has all of it.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    pub total: i64,
    /// The oldest of them.
    pub first: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    pub user_id: UserId,
    pub username: String,
    /// `name_collides`, `name_unfit` or `mail_unusable`.
    pub finding: String,
}

/// Rewrites the texts of older rows, and returns everything that a person should look at. `connection` is the owner's.
pub async fn upgrade_texts(connection: &mut PgConnection) -> Result<Findings, sqlx::Error> {
    let mut last = None;
    loop {
        last = upgrade_batch(connection, last).await?;
        if last.is_none() {
            return findings(connection).await;
        }
    }
}

async fn findings(connection: &mut PgConnection) -> Result<Findings, sqlx::Error> {
    let total = sqlx::query_scalar("select count(*) from user_findings").fetch_one(&mut *connection).await?;
    let first: Vec<(Uuid, String, String)> = sqlx::query_as(
        "select user_id, username, finding from user_findings join users on users.id = user_id
         order by found_at, user_id, finding limit $1",
    )
    .bind(REPORTED_MAX)
    .fetch_all(connection)
    .await?;
    let finding = |(id, username, finding)| Finding { user_id: UserId(id), username, finding };
    Ok(Findings { total, first: first.into_iter().map(finding).collect() })
}

/// The key of a user in the order of the batches.
type Key = (DateTime<Utc>, Uuid);
/// Id, username, mail address, first and last name.
type Row = (DateTime<Utc>, Uuid, String, String, String, String);

/// Rewrites the users that follow upon `last`, and returns the key of the last of them; `None` when there are no more.
async fn upgrade_batch(connection: &mut PgConnection, last: Option<Key>) -> Result<Option<Key>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Nobody takes a name between the statement that finds it free and the commit.
    sqlx::query("lock table users in share row exclusive mode").execute(&mut *transaction).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "select date_joined, id, username, email, first_name, last_name from users
         where (date_joined, id) > (coalesce($1, '-infinity'), $2) and text_rules < $3
         order by date_joined, id limit $4",
    )
    .bind(last.map(|(joined, _)| joined))
    .bind(last.map_or(Uuid::nil(), |(_, id)| id))
    .bind(TEXT_RULES)
    .bind(BATCH)
    .fetch_all(&mut *transaction)
    .await?;
    if let Some((joined, id, ..)) = rows.last() {
        Texts::of(&rows).write(&mut transaction).await?;
        transaction.commit().await?;
        return Ok(Some((*joined, *id)));
    }
    Ok(None)
}

/// The texts of a batch as they are to be, column by column.
#[derive(Default)]
struct Texts {
    ids: Vec<Uuid>,
    usernames: Vec<String>,
    /// `None` for a name that is too long in the form in which it would be stored.
    folded: Vec<Option<String>>,
    emails: Vec<String>,
    search_texts: Vec<String>,
    mail_unusable: Vec<bool>,
}

impl Texts {
    fn of(rows: &[Row]) -> Self {
        let mut texts = Self::default();
        for (_, id, username, email, first_name, last_name) in rows {
            let name = nfkc(username);
            let fits = (1..=NAME_MAX_CHARS).contains(&name.chars().count());
            let address = mail_address(email).map(|address| address.to_string());
            texts.ids.push(*id);
            texts.folded.push(fits.then(|| folded(&name)));
            texts.usernames.push(if fits { name } else { username.clone() });
            texts.mail_unusable.push(address.is_none() && !email.is_empty());
            let email = address.unwrap_or_else(|| email.clone());
            texts.search_texts.push(search_text(username, &email, first_name, last_name));
            texts.emails.push(email);
        }
        texts
    }

    async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(include_str!("upgrade.sql"))
            .bind(&self.ids)
            .bind(&self.usernames)
            .bind(&self.folded)
            .bind(&self.emails)
            .bind(&self.search_texts)
            .bind(&self.mail_unusable)
            .bind(TEXT_RULES)
            .execute(connection)
            .await
            .map(drop)
    }
}
