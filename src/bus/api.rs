//! Requests to JetStream, and the meaning of its refusals.

use super::error::Error;
use async_nats::jetstream::context::RequestError;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, Context, ErrorCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sends a request to `subject` (without the API's prefix).
pub(super) async fn ask<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    payload: &(impl Serialize + ?Sized + Sync),
) -> Result<T, Error> {
    let answer: Result<Response<T>, RequestError> = context.request(subject, payload).await;
    match answer {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => Err(refusal(&error)),
        Err(cause) => Err(Error::unreachable(cause)),
    }
}

/// Like [`ask`], but a missing stream, consumer or message is `None`.
pub(super) async fn find<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    payload: &(impl Serialize + ?Sized + Sync),
) -> Result<Option<T>, Error> {
    match ask(context, subject, payload).await {
        Ok(found) => Ok(Some(found)),
        Err(Error::Gone) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Maps an error of the server to ours.
pub(super) fn refusal(error: &jetstream::Error) -> Error {
    match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::NO_MESSAGE_FOUND => {
            Error::Gone
        }
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES => Error::Full(error.to_string()),
        _ => Error::Refused(error.to_string()),
    }
}
