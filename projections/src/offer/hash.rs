//! The Redis hash `offer:{id}`: the offer's members as strings.

use super::Change;
use domain::OfferId;

/// The key of an offer's hash.
pub(crate) fn key(id: OfferId) -> String {
    format!("offer:{id}")
}

/// The fields that `change` moves; all of them when it has the beginning.
pub(crate) fn fields(change: &Change) -> Vec<(&'static str, String)> {
    let terms = change.terms.as_ref();
    let all = [
        ("id", change.created_at.map(|_| change.id.to_string())),
        ("name", terms.map(|terms| terms.name.clone())),
        ("description", terms.map(|terms| terms.description.clone())),
        ("price", terms.map(|terms| terms.price.to_string())),
        ("duration_days", terms.map(|terms| terms.duration_days.to_string())),
        ("is_active", change.is_active.map(|active| active.to_string())),
        ("created_at", change.created_at.map(|at| at.to_string())),
        ("updated_at", Some(change.updated_at.to_string())),
        ("position", Some(change.position.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
