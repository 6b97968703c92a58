//! `offers listen`: a partner's callbacks on a developer's machine, which the service cannot reach.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::output::{self, Outcome};
use crate::clock::Clock;
use crate::config::{PartnerSecrets, Secret};
use crate::processors::callbacks::signatures;
use crate::runtime::Interruption;
use crate::tls::http_client;

/// Between two looks at the list of callbacks.
const POLL: Duration = Duration::from_secs(1);
/// After a look that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// How long an answer may take, of the service or of the receiver.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Callbacks in a page of the list: the most that the service gives.
const PAGE: usize = 200;
/// Pages of new callbacks that one look reads.
const MAX_PAGES: usize = 25;
const NO_CLIENT: &str = "the HTTP client cannot be set up";

/// Posts each new callback of a partner to a URL of your own, signed as the service signs it, until Ctrl-C; a callback that is
/// sent again is posted again. What came before is not posted, and what fails is not retried: send it again. The service
/// goes on calling the registered URL.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where callbacks are posted, such as http://localhost:3000/hook
    #[arg(long, value_name = "URL")]
    forward_to: Url,
    /// The service, without /api/v1
    #[arg(long, env = "OFFERS_PARTNER_URL", default_value = "http://127.0.0.1:8080")]
    url: Url,
    #[command(flatten)]
    secrets: PartnerSecrets,
}

pub(super) async fn run(args: Args, as_json: bool) -> anyhow::Result<Outcome> {
    let mut interruption = Interruption::listen()?.or_hangup()?;
    tokio::select! {
        ended = listen(&args, as_json) => ended,
        () = interruption.wait() => Ok(Outcome::INTERRUPTED),
    }
}

async fn listen(args: &Args, as_json: bool) -> anyhow::Result<Outcome> {
    let service = Service::at(&args.url, args.secrets.key()?)?;
    let receiver = Receiver::at(&args.forward_to, args.secrets.webhook_secret()?)?;
    let partner: Partner = service.get("/api/v1/partner/").await?;
    let mut seen = Seen::default();
    seen.take_new(service.newest(&seen).await?);
    output::message(format_args!(
        "posting the new callbacks of {} to {}; Ctrl-C ends",
        partner.name, args.forward_to
    ));
    if partner.callback_url.is_none() {
        output::message(
            "no callback URL is registered, so there are no callbacks: PATCH /partner/ registers one",
        );
    }
    loop {
        sleep(POLL).await;
        let newest = match service.newest(&seen).await {
            Ok(newest) => newest,
            Err(cause) if cause.is::<KeyRefused>() => return Err(cause),
            Err(cause) => {
                output::message(format_args!("cannot read the callbacks; retrying: {cause:#}"));
                sleep(PAUSE).await;
                continue;
            }
        };
        for callback in seen.take_new(newest) {
            let posted = receiver.post(&callback).await;
            if !output::print_to_reader(&line(&callback, &posted, as_json))? {
                return Ok(Outcome::SILENT);
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct Partner {
    name: String,
    callback_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Callback {
    id: Uuid,
    webhook_id: Uuid,
    r#type: String,
    transaction_id: Option<Uuid>,
    body: String,
    resent_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    results: Vec<Callback>,
    next: Option<String>,
}

/// The callbacks of the last look, and when each was last sent again; `None` before the first look.
#[derive(Default)]
struct Seen(Option<HashMap<Uuid, Option<String>>>);

impl Seen {
    fn has(&self, callback: &Callback) -> bool {
        let seen = self.0.as_ref().and_then(|seen| seen.get(&callback.id));
        seen.is_some_and(|resent_at| *resent_at == callback.resent_at)
    }

    /// Those of `newest` that are new or sent again, oldest first. The others are forgotten, so this does not grow.
    fn take_new(&mut self, mut newest: Vec<Callback>) -> Vec<Callback> {
        newest.sort_by_key(|callback| callback.id);
        newest.dedup_by_key(|callback| callback.id);
        let now = newest.iter().map(|callback| (callback.id, callback.resent_at.clone())).collect();
        let new = newest.into_iter().filter(|callback| !self.has(callback)).collect();
        self.0 = Some(now);
        new
    }
}

/// The service refuses the key: it is of no use to ask again.
#[derive(Debug, thiserror::Error)]
#[error("the service refuses the key: {0}")]
struct KeyRefused(String);

struct Service {
    client: Client,
    url: Url,
    key: Secret,
}

impl Service {
    fn at(url: &Url, key: Secret) -> anyhow::Result<Self> {
        let client = http_client().timeout(TIMEOUT).build().context(NO_CLIENT)?;
        Ok(Self { client, url: url.clone(), key })
    }

    /// The newest callbacks, up to one that was seen; and the newest of those that wait, among which are old ones that are
    /// sent again.
    async fn newest(&self, seen: &Seen) -> anyhow::Result<Vec<Callback>> {
        let pending: Page =
            self.get(&format!("/api/v1/partner/callbacks/?status=pending&limit={PAGE}")).await?;
        let mut newest = pending.results;
        let mut path = format!("/api/v1/partner/callbacks/?limit={PAGE}");
        for _ in 0..MAX_PAGES {
            let page: Page = self.get(&path).await?;
            let goes_on = seen.0.is_some() && !page.results.iter().any(|callback| seen.has(callback));
            newest.extend(page.results);
            match page.next {
                Some(next) if goes_on => path = next,
                _ => break,
            }
        }
        Ok(newest)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = self.url.join(path)?;
        let request = self.client.get(url).header("Authorization", format!("ApiKey {}", self.key.expose()));
        let answer = request.send().await.with_context(|| format!("{} does not answer", self.url))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{}: the answer was cut off", self.url))?;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            bail!(KeyRefused(text));
        }
        ensure!(status.is_success(), "{}{path}: {status} {text}", self.url);
        serde_json::from_str(&text).with_context(|| format!("{}: an unexpected answer", self.url))
    }
}

struct Receiver {
    client: Client,
    url: Url,
    secret: Secret,
    clock: Clock,
}

/// What became of a post.
struct Posted {
    /// The status, or why there was no answer.
    answer: Result<u16, String>,
    took: Duration,
}

impl Receiver {
    fn at(url: &Url, secret: Secret) -> anyhow::Result<Self> {
        let signs = signatures(std::slice::from_ref(secret.inner()), Uuid::nil(), 0, "").is_some();
        ensure!(signs, "--secret: it must be a webhook secret, whsec_…");
        let client = http_client().timeout(TIMEOUT).redirect(Policy::none()).no_proxy();
        let client = client.build().context(NO_CLIENT)?;
        Ok(Self { client, url: url.clone(), secret, clock: Clock::system() })
    }

    async fn post(&self, callback: &Callback) -> Posted {
        let (id, timestamp) = (callback.webhook_id, self.clock.now().utc().timestamp());
        let secrets = std::slice::from_ref(self.secret.inner());
        let signature = signatures(secrets, id, timestamp, &callback.body).unwrap_or_default();
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(callback.body.clone());
        let began = Instant::now();
        let answer = request.send().await.map(|answer| answer.status().as_u16());
        let answer = answer.map_err(|cause| format!("{:#}", anyhow::Error::from(cause)));
        Posted { answer, took: began.elapsed() }
    }
}

fn line(callback: &Callback, posted: &Posted, as_json: bool) -> String {
    let Callback { id, webhook_id, r#type, transaction_id, .. } = callback;
    let duration_ms = posted.took.as_millis();
    if as_json {
        let (status, error) = (posted.answer.as_ref().ok(), posted.answer.as_ref().err());
        let line = json!({
            "id": id, "webhook_id": webhook_id, "type": r#type, "transaction_id": transaction_id,
            "status": status, "duration_ms": u64::try_from(duration_ms).unwrap_or(u64::MAX), "error": error,
        });
        return line.to_string();
    }
    let about = transaction_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let answer = match &posted.answer {
        Ok(status) => status.to_string(),
        Err(cause) => format!("no answer: {cause}"),
    };
    format!("{webhook_id}  {type}  {about}  {answer}  {duration_ms} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(id: u128, resent_at: Option<&str>) -> Callback {
        Callback {
            id: Uuid::from_u128(id),
            webhook_id: Uuid::from_u128(id),
            r#type: "ping".to_owned(),
            transaction_id: None,
            body: "{}".to_owned(),
            resent_at: resent_at.map(str::to_owned),
        }
    }

    #[test]
    fn a_callback_is_new_once_and_once_more_when_it_is_sent_again() {
        let mut seen = Seen::default();
        let mut take = |callbacks: &[(u128, Option<&str>)]| {
            let callbacks = callbacks.iter().map(|(id, resent_at)| callback(*id, *resent_at)).collect();
            seen.take_new(callbacks).iter().map(|callback| callback.id.as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(take(&[(2, None), (1, None), (2, None)]), [1, 2], "oldest first");
        assert_eq!(take(&[(3, None), (2, None), (1, None)]), [3]);
        assert_eq!(take(&[(3, None), (2, None), (1, Some("now"))]), [1]);
        assert_eq!(take(&[(3, None), (2, None), (1, Some("now"))]), [] as [u128; 0]);
    }
}
