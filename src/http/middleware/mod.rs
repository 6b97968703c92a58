//! What holds for every request, one file a layer.

pub(crate) mod head;
pub(crate) mod limits;
pub(crate) mod observe;
pub(crate) mod rate_limit;
pub(crate) mod refusals;
pub(crate) mod request_span;
pub(crate) mod security;
pub(crate) mod unread;
