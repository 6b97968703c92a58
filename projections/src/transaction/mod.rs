//! A transaction as it is shown, folded from its events by pure functions.

mod by_ids;
mod finality;
mod hash;
mod lists;
mod table;
#[cfg(test)]
mod tests;
mod unfinished;

pub use hash::TransactionHash;
pub(crate) use hash::{fields, id_of_key, key, removed_field};
pub use lists::{AdminFilter, PartnerFilter, UserFilter};
pub(crate) use table::{COLUMNS, bind, from_row};
pub(crate) use unfinished::bind as bind_unfinished;
pub use unfinished::{Backlog, Unfinished, Untried};

use crate::Error;
use domain::transaction::{ActivationRequested, Event, Status};
use domain::{Recorded, Timestamp, TransactionId};
use serde::Deserialize;

/// The pending reason of a transaction that is not final, after a call whose effect nobody knows.
pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";
/// The pending reason of a final transaction whose end the external system has contradicted. Only administrators see
/// it.
pub const CONTRADICTED: &str = "contradicted";

/// A transaction as it is shown, on every channel.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct TransactionView {
    /// Which one.
    pub transaction_id: TransactionId,
    /// What was asked for, by whom and for whom; its `reference` is ours for the partner.
    pub request: ActivationRequested,
    /// Where the callback goes instead of the partner's registered URL.
    pub callback_url: Option<String>,
    /// Only moves forward.
    pub status: Status,
    /// How often the external system was or is being asked.
    pub attempts: u32,
    /// The external system's reference, once succeeded.
    pub external_reference: Option<String>,
    /// Why it failed, for programs.
    pub error_code: Option<String>,
    /// Why it failed, for people.
    pub error_message: Option<String>,
    /// Why a person may have to look at it: [`OUTCOME_UNKNOWN`] or [`CONTRADICTED`].
    pub pending_reason: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// When it became final.
    pub completed_at: Option<Timestamp>,
    /// When the money went back.
    pub refunded_at: Option<Timestamp>,
    /// The position of its first event.
    pub created_position: i64,
    /// The position of its last event.
    pub position: i64,
}

impl TransactionView {
    /// True when nothing will change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        is_final(self.status)
    }

    /// Adds what has happened since.
    pub(crate) fn advance(&mut self, progress: Progress) {
        self.status = progress.status.unwrap_or(self.status);
        self.attempts = progress.attempts.unwrap_or(self.attempts);
        self.external_reference = progress.external_reference.or(self.external_reference.take());
        self.error_code = progress.error_code.or(self.error_code.take());
        self.error_message = progress.error_message.or(self.error_message.take());
        self.pending_reason = progress.pending_reason.unwrap_or(self.pending_reason.take());
        self.completed_at = progress.completed_at.or(self.completed_at);
        self.refunded_at = progress.refunded_at.or(self.refunded_at);
        self.updated_at = progress.updated_at;
        self.position = progress.position;
    }
}

/// The view of one transaction from its own stream; `None` when there is no such transaction.
///
/// # Errors
/// `Unreadable` and `Broken` for a history that this version cannot read.
pub fn fold(stream: &[Recorded]) -> Result<Option<TransactionView>, Error> {
    let Some(first) = stream.first() else { return Ok(None) };
    let id = first.aggregate_uuid().map_err(|_| Error::no_uuid(first))?.into();
    let mut change = Change::begin(id, first);
    for recorded in stream {
        match recorded.event()? {
            domain::Event::Transaction(event) => change.add(event, recorded)?,
            _ => return Err(Error::Broken { position: recorded.position, why: "not a transaction's event" }),
        }
    }
    Ok(change.into_view())
}

/// What some consecutive events of one transaction change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: TransactionId,
    /// Present when the events begin with the request: then the change is the whole transaction.
    pub(crate) requested: Option<Requested>,
    pub(crate) progress: Progress,
}

/// How a transaction begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requested {
    pub(crate) request: ActivationRequested,
    pub(crate) callback_url: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) position: i64,
}

/// The fields that change; `None` where they do not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Progress {
    pub(crate) status: Option<Status>,
    pub(crate) attempts: Option<u32>,
    pub(crate) external_reference: Option<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    /// `Some(None)` takes it away.
    pub(crate) pending_reason: Option<Option<String>>,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) refunded_at: Option<Timestamp>,
    pub(crate) updated_at: Timestamp,
    pub(crate) position: i64,
}

impl Change {
    /// Nothing yet; `first` is the first event that will be added.
    pub(crate) fn begin(id: TransactionId, first: &Recorded) -> Self {
        let progress = Progress {
            status: None,
            attempts: None,
            external_reference: None,
            error_code: None,
            error_message: None,
            pending_reason: None,
            completed_at: None,
            refunded_at: None,
            updated_at: first.recorded_at,
            position: first.position,
        };
        Self { id, requested: None, progress }
    }

    pub(crate) fn add(&mut self, event: &Event, recorded: &Recorded) -> Result<(), Error> {
        let at = recorded.recorded_at;
        let progress = &mut self.progress;
        progress.updated_at = at;
        progress.position = recorded.position;
        match event {
            Event::ActivationRequested(request) => {
                progress.status = Some(Status::Pending);
                let (request, callback_url) = (request.clone(), callback_url(recorded)?);
                self.requested = Some(Requested { request, callback_url, at, position: recorded.position });
            }
            Event::Processing { attempt } => {
                progress.status = Some(Status::Processing);
                progress.attempts = Some(*attempt);
            }
            Event::Succeeded { reference } => {
                progress.status = Some(Status::Success);
                progress.external_reference = Some(reference.clone());
                progress.pending_reason = Some(None);
                progress.completed_at = Some(at);
            }
            Event::Failed { code, message } => {
                progress.status = Some(Status::Failed);
                progress.error_code = Some(code.clone());
                progress.error_message = Some(message.clone());
                progress.pending_reason = Some(None);
                progress.completed_at = Some(at);
            }
            Event::AttemptFailed { kind, evidence, .. } if kind.leaves_in_doubt(*evidence) => {
                progress.pending_reason = Some(Some(OUTCOME_UNKNOWN.to_owned()));
            }
            Event::AttemptFailed { .. } | Event::CancelRequested {} | Event::RetryRequested {} => {}
            Event::Contradicted { .. } => progress.pending_reason = Some(Some(CONTRADICTED.to_owned())),
            Event::Resolved { .. } => progress.pending_reason = Some(None),
            Event::Refunded { .. } => progress.refunded_at = Some(at),
        }
        Ok(())
    }

    /// True when the transaction is final after it.
    pub(crate) fn is_final(&self) -> bool {
        self.progress.status.is_some_and(is_final)
    }

    /// True when it only says whether the end is contradicted: that may come after the end.
    pub(crate) fn is_after_the_end(&self) -> bool {
        let reason = self.progress.pending_reason.as_ref().map(Option::as_deref);
        let is_late = matches!(reason, Some(None | Some(CONTRADICTED)));
        self.requested.is_none() && self.progress.status.is_none() && is_late
    }

    /// The whole transaction, when the change has its beginning.
    pub(crate) fn into_view(self) -> Option<TransactionView> {
        let requested = self.requested?;
        let mut view = TransactionView {
            transaction_id: self.id,
            request: requested.request,
            callback_url: requested.callback_url,
            status: Status::Pending,
            attempts: 0,
            external_reference: None,
            error_code: None,
            error_message: None,
            pending_reason: None,
            created_at: requested.at,
            updated_at: requested.at,
            completed_at: None,
            refunded_at: None,
            created_position: requested.position,
            position: requested.position,
        };
        view.advance(self.progress);
        Some(view)
    }
}

impl From<&TransactionView> for Change {
    fn from(view: &TransactionView) -> Self {
        Self {
            id: view.transaction_id,
            requested: Some(Requested {
                request: view.request.clone(),
                callback_url: view.callback_url.clone(),
                at: view.created_at,
                position: view.created_position,
            }),
            progress: Progress {
                status: Some(view.status),
                attempts: Some(view.attempts),
                external_reference: view.external_reference.clone(),
                error_code: view.error_code.clone(),
                error_message: view.error_message.clone(),
                pending_reason: Some(view.pending_reason.clone()),
                completed_at: view.completed_at,
                refunded_at: view.refunded_at,
                updated_at: view.updated_at,
                position: view.position,
            },
        }
    }
}

fn is_final(status: Status) -> bool {
    matches!(status, Status::Success | Status::Failed)
}

/// The one member of the metadata that is shown.
#[derive(Deserialize)]
struct ShownMetadata {
    callback_url: Option<String>,
}

fn callback_url(recorded: &Recorded) -> Result<Option<String>, Error> {
    serde_json::from_str::<ShownMetadata>(&recorded.metadata).map(|metadata| metadata.callback_url).map_err(
        |_| Error::Broken { position: recorded.position, why: "the metadata is not an object of strings" },
    )
}
