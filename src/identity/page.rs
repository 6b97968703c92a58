//! Lists, newest first, walked by where one was and not by counting.

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub const PAGE_MAX: usize = 200;

/// The last row that was seen: its creation time, then its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub created: DateTime<Utc>,
    /// Tells rows of the same microsecond apart.
    pub id: Uuid,
}

/// Some rows, and where to go on.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Present when there are more.
    pub next: Option<Cursor>,
}

/// A row that a list can go on after.
pub(super) trait Listed {
    fn cursor(&self) -> Cursor;
}

/// How many rows to read for a page of `limit`: one more tells whether there is a next page.
pub(super) fn rows_for(limit: usize) -> i64 {
    limit.clamp(1, PAGE_MAX) as i64 + 1
}

/// Cuts what was read with [`rows_for`] down to the page.
pub(super) fn page<T: Listed>(mut rows: Vec<T>, limit: usize) -> Page<T> {
    let limit = limit.clamp(1, PAGE_MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(Listed::cursor) } else { None };
    Page { items: rows, next }
}
