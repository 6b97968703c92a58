//! One try: sends a signed body to a URL and says what came of it, within a bounded time and with
//! bounded memory whatever the receiver does.

use super::Settings;
use super::address::is_public;
use super::resolver::{AddressRefused, JudgingResolver};
use super::url;
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

/// An idle connection is closed by us before a usual receiver closes it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read and kept for the operator; of a longer one the rest is not read.
const RESPONSE_KEPT: usize = 2 * 1024;
/// How long the answer's body may take once the status is known: it changes nothing any more.
const RESPONSE_WAIT: Duration = Duration::from_secs(2);

/// Characters of an error that are kept.
const ERROR_CHARS: usize = 200;

/// Why the HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client of the callbacks cannot be set up")]
pub struct ClientError(#[source] reqwest::Error);

/// What is sent.
pub(super) struct Message<'a> {
    pub(super) url: &'a str,
    pub(super) id: Uuid,
    /// Seconds since 1970.
    pub(super) timestamp: i64,
    pub(super) signatures: &'a str,
    pub(super) body: &'a str,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of HTTP; `None` without an answer.
    pub(super) status: Option<u16>,
    /// Why it does not count as delivered; short, for people.
    pub(super) error: Option<String>,
    /// The beginning of the answer's body, made fit for a table.
    pub(super) response: Option<String>,
    /// What a receiver that is busy asks for.
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    /// No answer, because of this.
    pub(super) fn none(why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), ..Self::default() }
    }
}

/// Sends; cheap to clone, clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    client: Client,
    allow_private: bool,
    timeout: Duration,
}

impl Poster {
    pub(super) fn new(settings: &Settings) -> Result<Self, ClientError> {
        let client = client(settings).build().or_else(|cause| {
            tracing::warn!(error = %chain(&cause), "callbacks to https will fail: are the CA certificates installed?");
            client(settings).tls_certs_only([]).build().map_err(ClientError)
        })?;
        Ok(Self { client, allow_private: settings.allow_private, timeout: settings.timeout })
    }

    /// One try, at most the timeout long.
    pub(super) async fn post(&self, message: Message<'_>) -> Answer {
        let Some(url) = url::parse(message.url) else {
            return Answer::none("the URL cannot be called");
        };
        if !self.may_call(&url) {
            return Answer::none(AddressRefused.to_string());
        }
        let deadline = Instant::now() + self.timeout;
        let call = self
            .client
            .post(url)
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

    /// An address in the URL itself is never resolved, so it is judged here.
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
        .redirect(redirect::Policy::none()) // it would lead past the judged address
        .retry(retry::never()) // the schedule repeats
        .no_proxy() // a proxy would resolve the name itself
        .user_agent(USER_AGENT)
        .dns_resolver(JudgingResolver { allow_private: settings.allow_private })
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
        error: complaint(status),
        response: Some(printable(&body)).filter(|text| !text.is_empty()),
        retry_after,
    }
}

/// Why an answer with this status is not a success.
fn complaint(status: StatusCode) -> Option<String> {
    if status.is_success() {
        None
    } else if status.is_redirection() {
        Some(format!("answered {}: redirects are not followed", status.as_u16()))
    } else {
        Some(format!("answered {}", status.as_u16()))
    }
}

/// `Retry-After` in seconds, of the two statuses that mean "later".
fn retry_after(response: &Response) -> Option<Duration> {
    let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let value = response.headers().get(RETRY_AFTER).filter(|_| later.contains(&response.status()))?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// A text that a table takes and that does nothing to a terminal.
fn printable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poster(allow_private: bool) -> Poster {
        Poster::new(&Settings { allow_private, ..Settings::default() }).unwrap()
    }

    #[test]
    fn an_address_in_the_url_is_judged_however_it_is_written() {
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
    fn what_is_kept_of_an_answer_is_text() {
        assert_eq!(printable(b"ok\0\x1b[31m\r\n\xff"), "ok[31m\n\u{fffd}");
    }
}
