//! Fills an empty log with a whole history at once, as the role that owns the database: for demonstrations and
//! measurements. Everything else goes through the writer.

use super::writer::LOCK;
use domain::{AccountId, Money, Record, Recorded, Timestamp};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use std::fmt::Write;
use uuid::Uuid;

/// Why an empty log was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Only an empty log may be filled.
    #[error("the log has events already")]
    NotEmpty,
    #[error("PostgreSQL cannot take the history")]
    Database(#[from] sqlx::Error),
}

/// A history on its way into the log, in one SQL transaction under the log's lock: all of it or nothing.
pub struct Fill {
    sql: PgConnection,
}

impl Fill {
    /// # Errors
    /// `NotEmpty`; `Database`, also when the role may not write balances and events by COPY.
    pub async fn begin(connect: &PgConnectOptions) -> Result<Self, FillError> {
        let mut sql = PgConnection::connect_with(connect).await?;
        sql.execute(LOCK).await?;
        let has_events = sqlx::query_scalar("select exists (select from events)");
        match has_events.fetch_one(&mut sql).await? {
            true => Err(FillError::NotEmpty),
            false => Ok(Self { sql }),
        }
    }

    /// Takes the next events: whole commits, in the order of their positions.
    pub async fn write(&mut self, events: &[Recorded]) -> Result<(), FillError> {
        let mut rows = String::with_capacity(events.len() * 700);
        for event in events {
            push_row(&mut rows, event);
        }
        self.copy(
            "copy events (position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
             payload, metadata, recorded_at, commit_end) from stdin",
            rows,
        )
        .await
    }

    /// Writes what the events leave on the accounts, and makes all of it visible.
    pub async fn commit(mut self, balances: &[(AccountId, Money)], at: Timestamp) -> Result<(), FillError> {
        let mut rows = String::new();
        for (account, balance) in balances {
            writeln!(rows, "{account}\t{balance}\t{at}").expect("a String takes every write");
        }
        self.copy("copy accounts (account_id, balance, updated_at) from stdin", rows).await?;
        self.sql.execute("commit").await?;
        // Plans made for an empty table would read all of it.
        self.sql.execute("analyze events; analyze accounts").await?;
        self.sql.close().await?;
        Ok(())
    }

    async fn copy(&mut self, statement: &str, rows: String) -> Result<(), FillError> {
        let mut copy = self.sql.copy_in_raw(statement).await?;
        copy.send(rows.into_bytes()).await?;
        copy.finish().await?;
        Ok(())
    }
}

fn push_row(rows: &mut String, event: &Recorded) {
    let Record { position, event_id, sequence, recorded_at, commit_end, .. } = &**event;
    let ids: (&i64, &Uuid) = (position, event_id);
    write!(rows, "{}\t{}\t", ids.0, ids.1).expect("a String takes every write");
    push_text(rows, &event.aggregate_type);
    push_text(rows, &event.aggregate_id);
    write!(rows, "{sequence}\t").expect("a String takes every write");
    for text in [&event.event_type, &event.event_version, &event.payload, &event.metadata] {
        push_text(rows, text);
    }
    writeln!(rows, "{recorded_at}\t{commit_end}").expect("a String takes every write");
}

/// One column of COPY's text format, with the tab behind it.
fn push_text(rows: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => rows.push_str("\\\\"),
            '\t' => rows.push_str("\\t"),
            '\n' => rows.push_str("\\n"),
            '\r' => rows.push_str("\\r"),
            other => rows.push(other),
        }
    }
    rows.push('\t');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_column_whatever_is_in_it() {
        let mut rows = String::new();
        push_text(&mut rows, "a\\n\tb\r\nc");
        assert_eq!(rows, "a\\\\n\\tb\\r\\nc\t");
    }
}
