//! The service that is watched.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::config::Secret;
use crate::tls::http_client;
use crate::tree::Hash;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Service {
    client: Client,
    api: String,
}

impl Service {
    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        let client = http_client().timeout(TIMEOUT).build().context("the HTTP client cannot be set up")?;
        Ok(Self { client, api: format!("{}/api/v1", url.trim_end_matches('/')) })
    }

    pub(super) async fn checkpoint(&self) -> anyhow::Result<String> {
        self.text(self.client.get(format!("{}/audit/checkpoint/", self.api))).await
    }

    /// An access token.
    pub(super) async fn log_in(&self, username: &str, password: &Secret) -> anyhow::Result<String> {
        let body = json!({"username": username, "password": password.expose()});
        let answer = self.text(self.client.post(format!("{}/auth/login/", self.api)).json(&body)).await?;
        let answer: Value = serde_json::from_str(&answer).context("the answer to the login is no JSON")?;
        let token = answer["access"].as_str().context("the answer to the login has no token")?;
        Ok(token.to_owned())
    }

    /// The hashes that prove that the log of `to` records begins with that of `from`.
    pub(super) async fn consistency(&self, token: &str, from: u64, to: u64) -> anyhow::Result<Vec<Hash>> {
        let url = format!("{}/audit/consistency/?from={from}&to={to}", self.api);
        let proof = self.text(self.client.get(url).bearer_auth(token)).await?;
        let hashes = proof.lines().map(str::parse).collect::<Result<_, _>>();
        hashes.context("the consistency proof is not hashes in base64")
    }

    async fn text(&self, request: RequestBuilder) -> anyhow::Result<String> {
        let answer = request.send().await.with_context(|| format!("{} does not answer", self.api))?;
        let (status, url) = (answer.status(), answer.url().clone());
        let text = answer.text().await.with_context(|| format!("{url}: the answer was cut off"))?;
        ensure!(status.is_success(), "{url}: {status} {text}");
        Ok(text)
    }
}
