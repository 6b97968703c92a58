//! `/admin`: what takes the role `admin`. Unknown members of a body are refused here: an admin who
//! mistypes one wants to know. Every change may say why (`reason`), and that is kept with it.

pub(crate) mod accounts;
pub(crate) mod callbacks;
pub(crate) mod changes;
pub(crate) mod interventions;
pub(crate) mod mail;
pub(crate) mod offers;
pub(crate) mod parked;
pub(crate) mod partner_keys;
pub(crate) mod partners;
pub(crate) mod schedules;
pub(crate) mod search;
pub(crate) mod transactions;
pub(crate) mod users;

use crate::http::extract::fields::Fields;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::Prose;
use crate::http::problem::Problem;

/// The longest reason, in characters.
pub(super) const MAX_REASON: usize = 500;

request! {
    /// Why, and nothing else.
    strict Reason {
        /// In your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "Asked for by the partner"),
    }
}

/// The reason of a request that may have no body.
pub(super) fn only_reason(fields: Option<Fields>) -> Result<Option<String>, Problem> {
    fields.map_or(Ok(None), |fields| Reason::of(fields).map(|Reason { reason }| reason))
}
