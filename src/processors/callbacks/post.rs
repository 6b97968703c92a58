//! Sends a signed body to a URL and returns the answer, in bounded time and memory whatever the receiver does.

use super::Settings;
use super::address::is_public;
use super::resolver::{AddressRefused, PublicResolver};
use crate::identity::CallbackUrl;
use crate::telemetry::chain;
use crate::tls::http_client;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect, retry};
use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const USER_AGENT: &str = concat!("offers-callbacks/", env!("CARGO_PKG_VERSION"));

/// Shorter than usual receivers keep an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, and kept as text.
const RESPONSE_KEPT: usize = 1024;
/// The limit for the answer's body after the status is known: the body changes nothing.
const RESPONSE_WAIT: Duration = Duration::from_secs(2);

/// Characters of an error that are kept.
const ERROR_CHARS: usize = 200;

#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client of the callbacks")]
pub struct ClientError(#[source] reqwest::Error);

pub(super) struct Message<'a> {
    pub(super) url: &'a str,
    pub(super) id: Uuid,
    /// Seconds since 1970.
    pub(super) timestamp: i64,
    pub(super) signatures: &'a str,
    pub(super) body: &'a str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status; `None` without an answer.
    pub(super) status: Option<u16>,
    /// Why it does not count as delivered; short, for operators.
    pub(super) error: Option<String>,
    /// The beginning of the answer's body, without control characters.
    pub(super) response: Option<String>,
    /// From a receiver that is busy.
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    /// Without an answer, for this reason.
    pub(super) fn none(why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), ..Self::default() }
    }
}

/// Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    client: Client,
    allow_private: bool,
    timeout: Duration,
}

impl Poster {
    pub(super) fn new(settings: &Settings) -> Result<Self, ClientError> {
        let client = client(settings).build().or_else(|cause| {
            tracing::warn!(error = %chain(&cause), "cannot load CA certificates; callbacks to https will fail: are they installed?");
            client(settings).tls_certs_only([]).build().map_err(ClientError)
        })?;
        Ok(Self { client, allow_private: settings.allow_private, timeout: settings.timeout })
    }

    /// Sends one request, in at most the timeout.
    pub(super) async fn post(&self, message: Message<'_>) -> Answer {
        let Ok(url) = CallbackUrl::parse(message.url) else {
            return Answer::none("the URL is invalid");
        };
        if !self.may_call(url.url()) {
            return Answer::none(AddressRefused.to_string());
        }
        let deadline = Instant::now() + self.timeout;
        let call = self
            .client
            .post(url.url().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(WEBHOOK_ID, message.id.to_string())
            .header(WEBHOOK_TIMESTAMP, message.timestamp)
            .header(WEBHOOK_SIGNATURE, message.signatures)
            .body(message.body.to_owned());
        match timeout_at(deadline, call.send()).await {
            Ok(Ok(response)) => read(response, deadline).await,
            Ok(Err(error)) => Answer::none(self.describe(&error)),
            Err(_) => Answer::none(self.timed_out()),
        }
    }

    /// An address in the URL itself is never resolved, so it is checked here.
    fn may_call(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.allow_private || literal.map_or(true, is_public)
    }

    /// Short, without the URL.
    fn describe(&self, error: &reqwest::Error) -> String {
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        if causes().any(<dyn std::error::Error>::is::<AddressRefused>) {
            AddressRefused.to_string()
        } else if error.is_timeout() {
            self.timed_out()
        } else if error.is_connect() {
            let cause = causes().last().map(ToString::to_string).unwrap_or_default();
            format!("no connection: {cause}").chars().take(ERROR_CHARS).collect()
        } else {
            "the connection broke before there was an answer".to_owned()
        }
    }

    fn timed_out(&self) -> String {
        format!("no answer within {} ms", self.timeout.as_millis())
    }
}

fn client(settings: &Settings) -> ClientBuilder {
    http_client()
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout.min(settings.timeout))
        .pool_max_idle_per_host(settings.per_endpoint)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(redirect::Policy::none()) // it could lead to an address that was not checked
        .retry(retry::never()) // the schedule retries
        .no_proxy() // a proxy would resolve the name itself
        .user_agent(USER_AGENT)
        .dns_resolver(PublicResolver { allow_private: settings.allow_private })
}

async fn read(mut response: Response, deadline: Instant) -> Answer {
    let status = response.status();
    let retry_after = retry_after(&response);
    let mut body = Vec::new();
    let until = deadline.min(Instant::now() + RESPONSE_WAIT);
    while body.len() < RESPONSE_KEPT
        && let Ok(Ok(Some(chunk))) = timeout_at(until, response.chunk()).await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(RESPONSE_KEPT - body.len())]);
    }
    Answer {
        status: Some(status.as_u16()),
        error: failure(status),
        response: Some(printable(&body)).filter(|text| !text.is_empty()),
        retry_after,
    }
}

/// Why an answer with this status is not a success.
fn failure(status: StatusCode) -> Option<String> {
    if status.is_success() {
        None
    } else if status.is_redirection() {
        Some(format!("answered {}: redirects are not followed", status.as_u16()))
    } else {
        Some(format!("answered {}", status.as_u16()))
    }
}

/// `Retry-After` in seconds, of the two statuses that allow a retry.
fn retry_after(response: &Response) -> Option<Duration> {
    let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let value = response.headers().get(RETRY_AFTER).filter(|_| later.contains(&response.status()))?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// At most [`RESPONSE_KEPT`] bytes of text; what is no text, and control characters, are replaced: safe for a table and
/// a terminal.
fn printable(body: &[u8]) -> String {
    let cut_within = std::str::from_utf8(body).err().filter(|error| error.error_len().is_none());
    let whole = cut_within.map_or(body, |error| &body[..error.valid_up_to()]);
    let shown =
        |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    let mut text: String = String::from_utf8_lossy(whole).replace("\r\n", "\n").chars().map(shown).collect();
    text.truncate(text.floor_char_boundary(RESPONSE_KEPT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poster(allow_private: bool) -> Poster {
        Poster::new(&Settings { allow_private, ..Settings::default() }).unwrap()
    }

    #[test]
    fn an_address_in_the_url_is_checked_in_every_notation() {
        for inside in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::1]:80/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            let url = Url::parse(inside).unwrap();
            assert!(!poster(false).may_call(&url), "{inside}");
            assert!(poster(true).may_call(&url), "{inside}");
        }
        for outside in ["http://1.1.1.1/", "http://[2606:4700::1]/", "http://p.example/"] {
            assert!(poster(false).may_call(&Url::parse(outside).unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_kept_answer_has_no_control_characters() {
        assert_eq!(printable(b"ok\0\x1b[31m\r\n\xff!"), "ok\u{fffd}\u{fffd}[31m\n\u{fffd}!");
        assert_eq!(printable(b"caf\xc3"), "caf", "a character that the limit cut");
        assert!(printable(&[0xff; RESPONSE_KEPT]).len() <= RESPONSE_KEPT);
    }
}
