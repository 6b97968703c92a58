//! The client of the verbs: requests as somebody, repeated where that is safe.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::logins::Logins;
use super::service::{Answer, Call, Service};
use crate::backoff::Backoff;
use crate::cli::output::{self, Refused};
use crate::config::{ApiAccess, Secret};

/// How often a request is sent that can be repeated.
const TRIES: u32 = 5;
const DELAYS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(4));
/// Records, a line each.
const NDJSON: &str = "application/x-ndjson";
/// Rows in a page: the most that the service gives.
const PAGE: usize = 200;

/// A running service, and who we are there.
pub(in crate::cli) struct Api {
    service: Service,
    access: Access,
}

enum Access {
    Token(Secret),
    Login(Logins),
}

impl Api {
    pub(in crate::cli) fn open(args: &ApiAccess) -> anyhow::Result<Self> {
        let access = match args.token()? {
            Some(token) => Access::Token(token),
            None => Access::Login(Logins::of(args)?),
        };
        Ok(Self { service: Service::at(&args.url)?, access })
    }

    /// The parts of `path` are below /api/v1.
    pub(in crate::cli) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = self.service.url_of(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(Call::get(url)).await?.json()
    }

    /// The lines of an answer of type NDJSON.
    pub(in crate::cli) async fn lines(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let mut url = self.service.url_of(path)?;
        url.query_pairs_mut().extend_pairs(query);
        Ok(self.answer(Call { accept: Some(NDJSON), ..Call::get(url) }).await?.text)
    }

    /// Up to `limit` rows in the shape of one page, with the `next` of the last.
    pub(in crate::cli) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        limit: usize,
    ) -> anyhow::Result<Value> {
        let mut url = self.service.url_of(path)?;
        url.query_pairs_mut().extend_pairs(query);
        let mut rows: Vec<Value> = Vec::new();
        loop {
            let size = limit.saturating_sub(rows.len()).min(PAGE).to_string();
            let kept: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "limit").collect();
            url.query_pairs_mut().clear().extend_pairs(kept).append_pair("limit", &size);
            let mut page = self.answer(Call::get(url.clone())).await?.json()?;
            if let Some(results) = page["results"].as_array_mut() {
                rows.append(results);
            }
            let next = page["next"].as_str().map(str::to_owned);
            match next {
                Some(next) if rows.len() < limit => {
                    url.set_query(next.split_once('?').map(|(_, query)| query));
                }
                next => return Ok(json!({"results": rows, "next": next, "previous": null})),
            }
        }
    }

    /// Members of `body` that are null are left out.
    pub(in crate::cli) async fn patch(&self, path: &[&str], body: Value) -> anyhow::Result<Value> {
        let body = without_nulls(body);
        let call = Call { method: Method::PATCH, body: Some(&body), ..Call::get(self.service.url_of(path)?) };
        self.answer(call).await?.json()
    }

    pub(in crate::cli) async fn post(&self, path: &[&str], body: Value) -> anyhow::Result<Value> {
        let body = without_nulls(body);
        let call = Call { method: Method::POST, body: Some(&body), ..Call::get(self.service.url_of(path)?) };
        self.answer(call).await?.json()
    }

    /// For what moves money: with a key, which is made unless it is given, and so repeated safely.
    pub(in crate::cli) async fn post_once(
        &self,
        path: &[&str],
        body: Value,
        key: Option<&str>,
    ) -> anyhow::Result<Value> {
        let body = without_nulls(body);
        let key = key.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let url = self.service.url_of(path)?;
        let call = Call { method: Method::POST, body: Some(&body), key: Some(&key), ..Call::get(url) };
        self.answer(call).await?.json()
    }

    /// The id of what the list at `path` has under `name`, in any case; an id stays as it is.
    pub(in crate::cli) async fn id_of(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        member: &str,
        name: &str,
    ) -> anyhow::Result<String> {
        if name.parse::<Uuid>().is_ok() {
            return Ok(name.to_owned());
        }
        let page = self.list(path, query, usize::MAX).await?;
        let rows = page["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_it = |row: &&Value| {
            row[member].as_str().is_some_and(|text| text.to_lowercase() == name.to_lowercase())
        };
        let ids: Vec<&str> = rows.iter().filter(is_it).filter_map(|row| row["id"].as_str()).collect();
        match ids[..] {
            [id] => Ok(id.to_owned()),
            [] => {
                let list = path.last().copied().unwrap_or_default();
                Err(Refused(anyhow!("none of the {list} is named {name}")).into())
            }
            _ => Err(Refused(anyhow!("{name} is the name of several: {}", ids.join(", "))).into()),
        }
    }

    async fn answer(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        let mut delays = DELAYS.delays();
        let (mut tries, mut refused) = (0, None);
        loop {
            tries += 1;
            let may_repeat = call.is_repeatable() && tries < TRIES;
            let token = match &self.access {
                Access::Token(token) => token.expose().to_owned(),
                Access::Login(logins) => logins.token(&self.service, refused.as_deref()).await?,
            };
            let delay = delays.next_delay();
            match self.service.send(&call, Some(&token)).await {
                // A token that was taken back, or of another database.
                Ok(answer)
                    if answer.status == StatusCode::UNAUTHORIZED && self.may_log_in(refused.as_ref()) =>
                {
                    refused = Some(token);
                }
                Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE && may_repeat => {
                    sleep(answer.retry_after.unwrap_or(delay)).await;
                }
                Ok(answer) => return answer.or_problem().map_err(|cause| call.explain(cause)),
                Err(cause) if cause.is_connect() && tries == 1 => {
                    return Err(cause)
                        .context(format!("{} does not answer", call.url.origin().ascii_serialization()));
                }
                Err(cause) if may_repeat => {
                    output::message(format_args!("the connection was lost; trying again: {cause}"));
                    sleep(delay).await;
                }
                Err(cause) => {
                    return Err(call.explain(
                        anyhow!(cause)
                            .context(format!("no answer from {}", call.url.origin().ascii_serialization())),
                    ));
                }
            }
        }
    }

    fn may_log_in(&self, refused: Option<&String>) -> bool {
        refused.is_none() && matches!(self.access, Access::Login(_))
    }
}

fn without_nulls(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    body
}
