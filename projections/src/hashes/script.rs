//! The one script through which every hash is written.

use crate::transaction::{self, TransactionHash};
use crate::{OfferView, TransactionView, offer};
use domain::Checkpoint;
use redis::{Script, ScriptInvocation};
use std::sync::LazyLock;
use std::time::Duration;

static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));
static CLEAR: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("clear.lua")));
static FINISH_COPY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("finish_copy.lua")));

/// What a write expects to be stored at a key, and what it stores there.
pub(super) struct Guard<'a> {
    key: &'a str,
    expected: String,
    next: String,
}

impl<'a> Guard<'a> {
    /// No condition. A key is needed all the same, for the script's sake.
    pub(super) fn none(key: &'a str) -> Self {
        Self { key, expected: "*".to_owned(), next: String::new() }
    }

    /// `key` holds `expected` and goes on doing so.
    pub(super) fn holds(key: &'a str, expected: &str) -> Self {
        Self { key, expected: expected.to_owned(), next: String::new() }
    }

    /// The checkpoint at `key` moves on from the position `from`.
    pub(super) fn moves(key: &'a str, from: i64, to: Checkpoint) -> Self {
        Self { key, expected: format!("{from}:"), next: to.to_string() }
    }
}

/// A hash to write, whole or in part.
pub(super) struct Hash {
    key: String,
    whole: bool,
    position: i64,
    /// 0: never.
    expire_s: u64,
    fields: Vec<(&'static str, String)>,
    /// A field that a change removes, or nothing.
    removed: &'static str,
}

impl Hash {
    pub(super) fn transaction(change: &transaction::Change, ttl: Duration) -> Self {
        Self {
            key: transaction::key(change.id),
            whole: change.requested.is_some(),
            position: change.progress.position,
            expire_s: expiry(change.is_final(), ttl),
            fields: transaction::fields(change),
            removed: transaction::removed_field(change),
        }
    }

    pub(super) fn whole_transaction(hash: &TransactionHash, ttl: Duration) -> Self {
        Self {
            key: transaction::key(hash.transaction_id()),
            whole: true,
            position: hash.position(),
            expire_s: expiry(hash.is_final(), ttl),
            fields: hash.fields().to_vec(),
            removed: "",
        }
    }

    pub(super) fn transaction_row(view: &TransactionView, ttl: Duration) -> Self {
        Self::whole_transaction(&TransactionHash::from(view), ttl)
    }

    pub(super) fn offer(change: &offer::Change) -> Self {
        Self {
            key: offer::key(change.id),
            whole: change.created_at.is_some(),
            position: change.position,
            expire_s: 0,
            fields: offer::fields(change),
            removed: "",
        }
    }

    pub(super) fn offer_row(view: OfferView) -> Self {
        Self::offer(&view.into())
    }
}

/// A TTL below a second would mean "never" to the script.
fn expiry(is_final: bool, ttl: Duration) -> u64 {
    if is_final { ttl.as_secs().max(1) } else { 0 }
}

/// Writes `hashes` if `guard` holds; answers 0 when it does not.
pub(super) fn write(guard: &Guard<'_>, hashes: &[Hash]) -> ScriptInvocation<'static> {
    let mut call = WRITE.prepare_invoke();
    call.key(guard.key).arg(&guard.expected).arg(&guard.next);
    for hash in hashes {
        call.key(&hash.key);
        call.arg(if hash.whole { "whole" } else { "change" });
        call.arg(hash.position).arg(hash.expire_s).arg(hash.fields.len() * 2);
        for (name, value) in &hash.fields {
            call.arg(*name).arg(value);
        }
        call.arg(hash.removed);
    }
    call
}

/// Removes `keys`; answers 0 when the copy was interrupted.
pub(super) fn clear(mark: &str, token: &str, keys: &[Vec<u8>]) -> ScriptInvocation<'static> {
    let mut call = CLEAR.prepare_invoke();
    call.key(mark).key(keys).arg(token);
    call
}

/// Sets the checkpoint after a copy; answers 0 when the copy was interrupted.
pub(super) fn finish_copy(
    mark: &str,
    token: &str,
    checkpoint: &str,
    at: Checkpoint,
) -> ScriptInvocation<'static> {
    let mut call = FINISH_COPY.prepare_invoke();
    call.key(mark).arg(token).key(checkpoint).arg(at.to_string());
    call
}
