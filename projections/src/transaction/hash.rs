//! How is it going? The Redis hash `transaction:{id}`: its fields, and reading it.

use super::{Change, OUTCOME_UNKNOWN, TransactionView, is_final};
use domain::transaction::Status;
use domain::{PartnerId, TransactionId, UserId};
use uuid::Uuid;

/// A whole hash, from Redis or from a view: the same either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHash {
    /// In the order of `FIELDS`.
    fields: Vec<(&'static str, String)>,
    status: Status,
    user_id: UserId,
    partner_id: Option<PartnerId>,
    transaction_id: TransactionId,
    position: i64,
}

impl TransactionHash {
    /// The fields in the order in which they are shown.
    pub(crate) const FIELDS: [&str; 15] = [
        "transaction_id",
        "user_id",
        "offer_id",
        "amount",
        "status",
        "created_at",
        "updated_at",
        "kind",
        "completed_at",
        "reference",
        "error_message",
        "refunded_at",
        "partner_id",
        "pending_reason",
        "position",
    ];

    /// Only moves forward.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// True when nothing will change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        is_final(self.status)
    }

    /// Whom it is for.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// Who asked for it, when a partner did.
    #[must_use]
    pub fn partner_id(&self) -> Option<PartnerId> {
        self.partner_id
    }

    /// Which one.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// The position of its last event.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// What a client is shown: everything but the position, always in the same order.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields
            .iter()
            .filter(|(name, _)| *name != "position")
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// All fields, as they are written.
    pub(crate) fn fields(&self) -> &[(&'static str, String)] {
        &self.fields
    }

    /// From the `value` of each of `FIELDS`, asked for in their order; `None` if one is missing that must be there.
    pub(crate) fn read(mut value: impl FnMut(&'static str) -> Option<String>) -> Option<Self> {
        Self::whole(Self::FIELDS.into_iter().filter_map(|name| Some((name, value(name)?))).collect())
    }

    fn whole(fields: Vec<(&'static str, String)>) -> Option<Self> {
        let value = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str());
        let required = ["offer_id", "amount", "created_at", "updated_at", "kind"];
        required.iter().try_for_each(|name| value(name).map(|_| ()))?;
        Some(Self {
            status: value("status")?.parse().ok()?,
            user_id: value("user_id")?.parse().ok()?,
            partner_id: value("partner_id").map(str::parse).transpose().ok()?,
            transaction_id: value("transaction_id")?.parse().ok()?,
            position: value("position")?.parse().ok()?,
            fields,
        })
    }
}

impl From<&TransactionView> for TransactionHash {
    fn from(view: &TransactionView) -> Self {
        let fields = fields(&Change::from(view));
        Self::whole(fields).expect("a view has every field that a hash must have")
    }
}

/// The key of a transaction's hash.
pub(crate) fn key(id: TransactionId) -> String {
    format!("transaction:{id}")
}

/// The transaction whose key this is.
pub(crate) fn id_of_key(key: &[u8]) -> Option<TransactionId> {
    Uuid::try_parse_ascii(key.strip_prefix(b"transaction:")?).ok().map(TransactionId)
}

/// The fields that `change` moves, in the order of `FIELDS`; all of them when it has the beginning.
pub(crate) fn fields(change: &Change) -> Vec<(&'static str, String)> {
    let progress = &change.progress;
    let begun = change.requested.as_ref();
    let request = begun.map(|begun| &begun.request);
    let all = [
        ("transaction_id", begun.map(|_| change.id.to_string())),
        ("user_id", request.map(|request| request.user_id.to_string())),
        ("offer_id", request.map(|request| request.offer_id.to_string())),
        ("amount", request.map(|request| request.amount.to_string())),
        ("status", progress.status.map(|status| status.as_ref().to_owned())),
        ("created_at", begun.map(|begun| begun.at.to_string())),
        ("updated_at", Some(progress.updated_at.to_string())),
        ("kind", request.map(|request| request.kind.as_ref().to_owned())),
        ("completed_at", progress.completed_at.map(|at| at.to_string())),
        ("reference", progress.external_reference.clone()),
        ("error_message", progress.error_message.clone()),
        ("refunded_at", progress.refunded_at.map(|at| at.to_string())),
        ("partner_id", request.and_then(|request| request.partner_id).map(|id| id.to_string())),
        ("pending_reason", pending_reason(change).map(str::to_owned)),
        ("position", Some(progress.position.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The reason that a client is shown: of a purchase that is not final.
fn pending_reason(change: &Change) -> Option<&str> {
    change.progress.pending_reason.as_ref()?.as_deref().filter(|reason| *reason == OUTCOME_UNKNOWN)
}

/// The field that `change` takes away, or nothing.
pub(crate) fn removed_field(change: &Change) -> &'static str {
    let is_changed = change.progress.pending_reason.is_some();
    if is_changed && pending_reason(change).is_none() { "pending_reason" } else { "" }
}
