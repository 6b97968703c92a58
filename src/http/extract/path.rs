//! Ids in a path.

use super::values::parse_uuid;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use uuid::Uuid;

/// The one id of a path, of whatever kind the handler takes it for.
pub(crate) struct Id<T>(pub T);

impl<S: Send + Sync, T: From<Uuid>> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = text.as_ref().and_then(|Path(text)| parse_uuid(text));
        id.map(|id| Self(T::from(id)))
            .ok_or_else(|| Problem::new(Code::MalformedId, "The id in the path is not a UUID"))
    }
}
