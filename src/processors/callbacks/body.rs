//! What a callback says. Made once and kept, so that every try sends the same bytes.

use domain::transaction::Status;
use domain::{Money, OfferId, Timestamp, TransactionId, UserId};
use projections::TransactionView;
use serde::Serialize;

/// The type of a partner's test.
pub(super) const PING: &str = "ping";

/// A purchase as a partner sees it: the answer to `validate`, and the `data` of a callback.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidateAnswer {
    /// Ours: `REF-…`.
    pub reference: Option<String>,
    /// The partner's own.
    pub partner_reference: Option<String>,
    /// Which purchase.
    pub transaction_id: TransactionId,
    /// For whom.
    pub user_id: UserId,
    /// What.
    pub offer_id: OfferId,
    /// The price paid.
    pub amount: Money,
    /// Where it stands.
    pub status: Status,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// There is such a purchase.
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

/// The three members that Standard Webhooks asks for.
#[derive(Serialize)]
struct Body<'a, D> {
    r#type: &'a str,
    timestamp: Timestamp,
    data: D,
}

/// The type of the callback about a final status; `None` while it is not final.
pub(super) fn type_of(status: Status) -> Option<&'static str> {
    match status {
        Status::Success => Some("transaction.succeeded"),
        Status::Failed => Some("transaction.failed"),
        Status::Pending | Status::Processing => None,
    }
}

/// The body about a purchase that became final `at`.
pub(super) fn about(r#type: &str, at: Timestamp, view: &TransactionView) -> String {
    json(&Body { r#type, timestamp: at, data: ValidateAnswer::from(view) })
}

/// The body of a test.
pub(super) fn ping(at: Timestamp) -> String {
    json(&Body { r#type: PING, timestamp: at, data: serde_json::Map::new() })
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("strings, ids and times are always JSON")
}
