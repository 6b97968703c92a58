//! What holds for every request, one file a step.
//!
//! A step takes what comes after it as a function. So several steps are one layer of axum's, which would clone all
//! that is within it and box it twice for every request.

pub(crate) mod head;
pub(crate) mod layer;
pub(crate) mod limits;
pub(crate) mod observe;
pub(crate) mod rate_limit;
pub(crate) mod refusals;
pub(crate) mod request_id;
pub(crate) mod security;
pub(crate) mod unread;
