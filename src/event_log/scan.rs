//! Reads much of the log, fast: by COPY, some thousand events at a time, so that no snapshot is held for long.
//!
//! Nothing is checked here: an export stops at a hole, and `offers verify` names it.

use super::read::whole_commits;
use super::{EventLog, LogError, Span};
use chrono::DateTime;
use domain::{Record, Recorded, Timestamp};
use futures::TryStreamExt;
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Events of one COPY.
const PAGE_EVENTS: usize = 2_000;
/// Pages that are read ahead.
const PAGES_AHEAD: usize = 2;
/// What COPY's binary format begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// PostgreSQL counts from the year 2000.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Events in the order of their positions, in pages.
pub struct Scan(mpsc::Receiver<Result<Vec<Recorded>, LogError>>);

impl Scan {
    /// `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Vec<Recorded>, LogError>> {
        self.0.recv().await
    }
}

impl EventLog {
    /// Reads the events of `span`, up to the end of the log. Each page but the last ends with a whole commit.
    #[must_use]
    pub fn scan(&self, span: Span) -> Scan {
        let (send, receive) = mpsc::channel(PAGES_AHEAD);
        let pool = self.0.pool.clone();
        tokio::spawn(async move {
            let mut after = span.after;
            while after < span.up_to {
                let mut page = page(&pool, Span { after, ..span }).await;
                let is_last = page.as_ref().map_or(true, |page| page.len() < PAGE_EVENTS);
                if let (Ok(page), false) = (&mut page, is_last) {
                    cut_after_commit(page);
                }
                after = page.as_ref().ok().and_then(|page| page.last()).map_or(after, |event| event.position);
                if page.as_ref().is_ok_and(Vec::is_empty) || send.send(page).await.is_err() || is_last {
                    break;
                }
            }
        });
        Scan(receive)
    }
}

/// Who folds a page may need the rest of a commit with its beginning. What somebody has tampered with is not cut to
/// nothing, nor between two events of one position: the next page would begin after both.
fn cut_after_commit(page: &mut Vec<Recorded>) {
    let whole = whole_commits(page);
    let last = whole.checked_sub(1).map(|last| page[last].position);
    if last.is_some() && last != page.get(whole).map(|next| next.position) {
        page.truncate(whole);
    }
}

async fn page(pool: &PgPool, Span { after, up_to }: Span) -> Result<Vec<Recorded>, LogError> {
    let query = format!(
        "copy (select position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
         recorded_at, payload, metadata, commit_end from events where position > '{after}' and position <= '{up_to}' \
         order by position fetch first {PAGE_EVENTS} rows with ties) to stdout (format binary)"
    );
    let rows = pool.copy_out_raw(&query).await?;
    let bytes = rows.try_fold(Vec::new(), |mut bytes, row| {
        bytes.extend_from_slice(&row);
        futures::future::ready(Ok(bytes))
    });
    parse(&bytes.await?).ok_or_else(|| LogError::unavailable("COPY has sent something else than events"))
}

/// `None` if it is not what `page` asks for.
fn parse(bytes: &[u8]) -> Option<Vec<Recorded>> {
    let mut columns = Columns(bytes.strip_prefix(SIGNATURE)?);
    let mut page = Vec::with_capacity(PAGE_EVENTS);
    while columns.next_row()? {
        page.push(Recorded::from(Record {
            position: columns.number()?,
            event_id: Uuid::from_bytes(columns.array()?),
            aggregate_type: columns.text()?,
            aggregate_id: columns.text()?,
            sequence: columns.number()?,
            event_type: columns.text()?,
            event_version: columns.text()?,
            recorded_at: columns.time()?,
            payload: columns.text()?,
            metadata: columns.text()?,
            commit_end: columns.number()?,
        }));
    }
    Some(page)
}

/// What is left of the rows.
struct Columns<'a>(&'a [u8]);

impl<'a> Columns<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// False at the end, where the number of columns is −1.
    fn next_row(&mut self) -> Option<bool> {
        let columns = i16::from_be_bytes(self.take(2)?.try_into().ok()?);
        Some(columns >= 0)
    }

    fn column(&mut self) -> Option<&'a [u8]> {
        let length = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.column()?.try_into().ok()
    }

    fn number(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.column()?).ok().map(str::to_owned)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let micros = self.number()?.checked_add(EPOCH_US)?;
        DateTime::from_timestamp_micros(micros).map(Timestamp::new)
    }
}
