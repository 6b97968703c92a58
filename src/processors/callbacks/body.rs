//! The body of a callback. It is stored, so that every attempt sends the same bytes.

use domain::transaction::Status;
use domain::{Money, OfferId, Timestamp, TransactionId, UserId};
use projections::TransactionView;
use serde::Serialize;

pub(super) const PING: &str = "ping";

/// A transaction as a partner sees it: the answer to `validate`, and the `data` of a callback.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidateAnswer {
    /// Ours: `REF-…`.
    pub reference: Option<String>,
    pub partner_reference: Option<String>,
    pub transaction_id: TransactionId,
    pub user_id: UserId,
    pub offer_id: OfferId,
    pub amount: Money,
    pub status: Status,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Always true: the seed system's member.
    pub is_valid: bool,
}

impl From<&TransactionView> for ValidateAnswer {
    fn from(view: &TransactionView) -> Self {
        Self {
            reference: view.request.reference.clone(),
            partner_reference: view.request.partner_reference.clone(),
            transaction_id: view.transaction_id,
            user_id: view.request.user_id,
            offer_id: view.request.offer_id,
            amount: view.request.amount,
            status: view.status,
            created_at: view.created_at,
            updated_at: view.updated_at,
            is_valid: true,
        }
    }
}

/// The three members of Standard Webhooks.
#[derive(Serialize)]
struct Body<'a, D> {
    r#type: &'a str,
    timestamp: Timestamp,
    data: D,
}

/// The type of the callback for a final status.
pub(super) fn type_of(status: Status) -> Option<&'static str> {
    match status {
        Status::Success => Some("transaction.succeeded"),
        Status::Failed => Some("transaction.failed"),
        Status::Pending | Status::Processing => None,
    }
}

/// The body for a transaction that became final `at`.
pub(super) fn about(r#type: &str, at: Timestamp, view: &TransactionView) -> String {
    json(&Body { r#type, timestamp: at, data: ValidateAnswer::from(view) })
}

pub(super) fn ping(at: Timestamp) -> String {
    json(&Body { r#type: PING, timestamp: at, data: serde_json::Map::new() })
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("strings, ids and times are always JSON")
}
