//! The operations of the API with their bodies: one file a resource, like the handlers.

mod admin;
mod audit;
mod partner;
pub(crate) mod values;

use super::operation::Operation;

/// Below this lies everything but what watches and describes the service.
const API: &str = "/api/v1";

/// Every operation of the service, in the order in which the document tells them.
pub(crate) fn operations() -> Vec<Operation> {
    let api: [(&str, Vec<Operation>); 3] =
        [("partner", partner::operations()), ("admin", admin::operations()), ("audit", audit::operations())];
    let api = api.into_iter().flat_map(|(tag, operations)| {
        operations.into_iter().map(move |operation| operation.tagged(tag).under(API))
    });
    api.collect()
}
