//! A running service: one request, and its answer or its problem in the words of the service.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

use crate::cli::output::Refused;
use crate::tls::http_client;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// However long the service asks us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Service {
    client: Client,
    url: Url,
}

/// A request that may be sent several times.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<&'a Value>,
    pub(super) key: Option<&'a str>,
    /// The media type that is wanted, if not JSON.
    pub(super) accept: Option<&'static str>,
}

impl Call<'_> {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, body: None, key: None, accept: None }
    }

    /// A repeat changes nothing.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method != Method::POST || self.key.is_some()
    }

    /// What a person must know about a request that may have been done all the same.
    pub(super) fn explain(&self, cause: anyhow::Error) -> anyhow::Error {
        match self.key {
            _ if cause.is::<Refused>() || self.method != Method::POST => cause,
            Some(key) => {
                cause.context(format!("it may have been done; repeat it with --idempotency-key {key}"))
            }
            None => cause.context("it may have been done; look before you repeat it"),
        }
    }
}

impl Service {
    pub(super) fn at(url: &Url) -> anyhow::Result<Self> {
        let client = http_client().timeout(TIMEOUT).build().context("the HTTP client cannot be set up")?;
        Ok(Self { client, url: url.clone() })
    }

    /// The URL of a path, whose parts are below /api/v1.
    pub(super) fn url_of(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        let wrong = || anyhow!("--url: {} cannot have a path", self.url);
        url.path_segments_mut()
            .map_err(|()| wrong())?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path)
            .push("");
        Ok(url)
    }

    pub(super) async fn send(&self, call: &Call<'_>, token: Option<&str>) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.request(call.method.clone(), call.url.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        if let Some(accept) = call.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(key) = call.key {
            request = request.header("Idempotency-Key", key);
        }
        Answer::read(request.send().await?).await
    }

    /// As nobody, for logins. Sent once more when the connection is lost: a refresh token that was just used gives the
    /// same successor again.
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let call = Call { method: Method::POST, body: Some(body), ..Call::get(self.url_of(path)?) };
        let answer = match self.send(&call, None).await {
            Err(_lost) => self.send(&call, None).await,
            answer => answer,
        };
        answer.with_context(|| format!("{} does not answer", self.url))?.or_problem()?.json()
    }
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

impl Answer {
    async fn read(answer: Response) -> Result<Self, reqwest::Error> {
        let retry_after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        Ok(Self { status: answer.status(), retry_after, text: answer.text().await? })
    }

    pub(super) fn json(self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).context("the answer is not JSON; is this the service's URL?")
    }

    /// An error when it is a problem.
    pub(super) fn or_problem(self) -> anyhow::Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let problem: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else {
            return Err(anyhow!("the answer is {}; is this the service's URL?", self.status));
        };
        let mut lines = vec![format!("{detail} ({})", self.status)];
        for error in problem["errors"].as_array().into_iter().flatten() {
            let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
            lines.push(format!("  {} {}", text("field"), text("message")));
        }
        let problem = anyhow!("{}", lines.join("\n"));
        Err(if self.status.is_client_error() { Refused(problem).into() } else { problem })
    }
}
