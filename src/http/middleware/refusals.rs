//! Records in the audit log who was refused because of a role (403).

use super::rate_limit::ClientAddress;
use crate::http::Shared;
use crate::http::extract::caller::Authenticated;
use crate::http::problem::Problem;
use crate::identity::Refusal;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::response::Response;

pub(crate) async fn record<F>(app: &Shared, request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let extensions = request.extensions();
    let caller = extensions.get::<Authenticated>().and_then(|Authenticated(caller)| caller.clone().ok());
    let route = extensions.get::<MatchedPath>().cloned();
    let address = extensions.get::<ClientAddress>().map(|ClientAddress(address)| *address);
    let method = request.method().clone();
    let response = next(request).await;
    if response.status() == StatusCode::FORBIDDEN
        && let (Some(caller), Some(route)) = (caller, route)
        && let Some(problem) = response.extensions().get::<Problem>()
    {
        let (method, route) = (method.to_string(), route.as_str().to_owned());
        let refusal = Refusal { address, method, route, code: problem.code().as_str() };
        app.identity.note_refusal(&caller, refusal, app.clock.now().utc());
    }
    response
}
