//! The wire: sends a call, reads its answer within the limits, keeps connections for the next one.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use crate::tls::http_client;
use domain::transaction::Evidence;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url, redirect, retry};
use uuid::Uuid;

use super::answer::Reply;
use super::{Inconclusive, Request, Settings};

/// For reaching the other side; the rest of the timeout is for its work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An idle connection is closed by us before the other side closes it (servers do so after 30 s and
/// more): a call sent into a closing connection is an unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes read of an answer; a longer one is no answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is not one to call.
    #[error(
        "the activation system's URL must be http(s)://host[:port][/path], without user, query or fragment"
    )]
    BaseUrl,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Firewalls refuse callers that do not say who they are.
const USER_AGENT: &str = concat!("offers/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client,
    activations: String,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Transport, SettingsError> {
        let base = checked(&settings.base_url)?;
        let mut client = http_client()
            .timeout(settings.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .pool_max_idle_per_host(settings.max_in_flight)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .retry(retry::never()) // the caller repeats, knowing what it knows
            .no_proxy();
        if base.scheme() == "http" {
            client = client.tls_certs_only([]); // no roots to read, and none to be missing
        }
        let client = client.build().map_err(SettingsError::Client)?;
        let activations = format!("{}/activations", base.as_str().trim_end_matches('/'));
        Ok(Transport { client, activations, timeout: settings.timeout })
    }

    pub(super) async fn post_activation(
        &self,
        id: Uuid,
        request: &Request<'_>,
        traceparent: &str,
    ) -> Result<Reply, Inconclusive> {
        let body = serde_json::to_vec(request).expect("a struct of strings and ids is always JSON");
        let call = self
            .client
            .post(&self.activations)
            .header("idempotency-key", id.to_string())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body);
        self.send(call, traceparent).await
    }

    pub(super) async fn get_activation(&self, id: Uuid, traceparent: &str) -> Result<Reply, Inconclusive> {
        self.send(self.client.get(format!("{}/{id}", self.activations)), traceparent).await
    }

    pub(super) async fn post_cancel(&self, id: Uuid, traceparent: &str) -> Result<Reply, Inconclusive> {
        let call = self
            .client
            .post(format!("{}/{id}/cancel", self.activations))
            .header("idempotency-key", id.to_string());
        self.send(call, traceparent).await
    }

    async fn send(&self, call: RequestBuilder, traceparent: &str) -> Result<Reply, Inconclusive> {
        let call = match HeaderValue::from_str(traceparent).ok() {
            Some(traceparent) => call.header("traceparent", traceparent),
            None => call,
        };
        let response = call.send().await.map_err(|error| self.failure(&error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let (status, retry_after) = (response.status().as_u16(), retry_after.map(str::to_owned));
        let body = self.read(response).await?;
        Ok(Reply { status, retry_after, body })
    }

    /// Reads the body to its end (so that the connection can be used again) or to the limit.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Inconclusive> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Inconclusive::answered("the answer is over 64 KiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failure(&self, error: &reqwest::Error) -> Inconclusive {
        let refused = error.is_connect() && was_refused(error);
        let detail = if refused {
            "the connection was refused".to_owned()
        } else if error.is_timeout() {
            format!("no answer within {} ms", self.timeout.as_millis())
        } else if error.is_connect() {
            "no connection".to_owned()
        } else {
            "the connection broke before the answer was whole".to_owned()
        };
        let evidence = if refused { Evidence::NotSent } else { Evidence::SentNoAnswer };
        Inconclusive { evidence, detail, retry_after: None }
    }
}

fn checked(base_url: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(base_url).map_err(|_| SettingsError::BaseUrl)?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(SettingsError::BaseUrl) }
}

fn was_refused(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_url_can_be_called() {
        for good in ["http://127.0.0.1:8090", "https://activations.example/v2/", "http://[::1]:1"] {
            assert!(Transport::new(&Settings::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8090", "ftp://x", "http://", "http://u:p@x", "http://x?k=v", "http://x#f"]
        {
            let refused = Transport::new(&Settings::new(bad));
            assert!(matches!(refused, Err(SettingsError::BaseUrl)), "{bad}");
        }
    }
}
