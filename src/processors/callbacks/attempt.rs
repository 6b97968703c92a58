//! One attempt of a claimed delivery: its endpoint, the request, and what follows from the answer.

use super::claim::{self, AttemptResult, Claimed};
use super::deliveries::{Attempt, Status};
use super::post::{Answer, Message, Poster};
use super::signature::signatures;
use super::target::target;
use super::{Error, delays};
use crate::clock::Clock;
use crate::failpoint::{Step, failpoint};
use crate::identity::{self, Identity, Partner};
use chrono::{DateTime, Utc};
use domain::{PartnerId, Timestamp};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What every attempt of a sender needs.
pub(super) struct AttemptContext {
    pub(super) pool: PgPool,
    pub(super) identity: Arc<Identity>,
    pub(super) clock: Clock,
    pub(super) poster: Poster,
}

/// A partner's registered URL, or why there is none.
enum Endpoint {
    Open {
        url: String,
    },
    Closed {
        why: &'static str,
    },
    /// The partner is disabled: its deliveries wait until it is enabled again.
    Held,
}

const DISABLED: &str = "the endpoint answered 410 (gone)";

impl AttemptContext {
    /// Attempts one delivery and records the result. After an error of the database the claim expires, and the
    /// delivery is attempted again.
    pub(super) async fn attempt(&self, claimed: &Claimed) -> Result<(), Error> {
        let outcome = match self.endpoint(claimed.partner_id).await? {
            Endpoint::Closed { why } => self.not_sent(claimed, Status::Disabled, why),
            Endpoint::Held => self.not_sent(claimed, Status::Pending, "the partner is disabled"),
            Endpoint::Open { url } => {
                let target = target(claimed.own_url.as_deref(), &url).to_owned();
                let (at, began) = (self.clock.now(), Instant::now());
                let answer = self.send(claimed, &target).await?;
                let made = Attempt::new(at, began.elapsed(), &answer);
                failpoint(Step::CallbackPosted);
                AttemptResult { made: Some(made), ..self.result_of(claimed, target, answer).await? }
            }
        };
        claim::finish(&self.pool, claimed, &outcome).await?;
        failpoint(Step::CallbackCommitted);
        report(claimed, &outcome);
        Ok(())
    }

    async fn endpoint(&self, partner: PartnerId) -> Result<Endpoint, Error> {
        Ok(match self.identity.get_partner(partner).await {
            Ok(Partner { is_active: false, .. }) => Endpoint::Held,
            Ok(Partner { callback_disabled_at: Some(_), .. }) => Endpoint::Closed { why: DISABLED },
            Ok(Partner { callback_url: Some(url), .. }) => Endpoint::Open { url },
            Ok(_) => Endpoint::Closed { why: "the partner has no callback URL" },
            Err(identity::Error::PartnerNotFound) => Endpoint::Closed { why: "there is no such partner" },
            Err(other) => return Err(other.into()),
        })
    }

    async fn send(&self, claimed: &Claimed, url: &str) -> Result<Answer, Error> {
        let now = self.clock.now().utc();
        let secrets = match self.identity.webhook_secrets(claimed.partner_id, now).await {
            Ok(secrets) => secrets,
            Err(identity::Error::Unavailable(cause)) => return Err(cause.into()),
            Err(other) => return Ok(Answer::none(other.to_string())), // an operator can repair it in time
        };
        let (id, timestamp, body) = (claimed.event_id, now.timestamp(), claimed.body.as_str());
        Ok(match signatures(&secrets, id, timestamp, body) {
            None => Answer::none("the webhook secret is invalid"),
            Some(signatures) => {
                self.poster.post(Message { url, id, timestamp, signatures: &signatures, body }).await
            }
        })
    }

    async fn result_of(
        &self,
        claimed: &Claimed,
        url: String,
        answer: Answer,
    ) -> Result<AttemptResult, Error> {
        let now = self.clock.now().utc();
        let gone = answer.status == Some(410) && self.is_closed_by_410(claimed, &url, now).await?;
        let attempts = claimed.attempts.saturating_add(1);
        let again = delays::delay(attempts.unsigned_abs(), answer.retry_after, rand::random());
        let (status, delivered_at) = match (&answer.error, again) {
            (None, _) => (Status::Delivered, Some(now)),
            (Some(_), _) if gone => (Status::Disabled, None),
            (Some(_), Some(_)) => (Status::Pending, None),
            (Some(_), None) => (Status::Parked, None),
        };
        let next_attempt_at = now + again.unwrap_or_default();
        Ok(AttemptResult { status, next_attempt_at, delivered_at, attempts, url, answer, made: None })
    }

    /// A 410 disables the endpoint and its pending deliveries; from a transaction's own URL only this delivery.
    /// It does not if the partner has registered another URL meanwhile.
    async fn is_closed_by_410(
        &self,
        claimed: &Claimed,
        url: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        self.identity.disable_callback(claimed.partner_id, url, now).await?;
        match self.endpoint(claimed.partner_id).await? {
            Endpoint::Open { url: registered } => Ok(target(claimed.own_url.as_deref(), &registered) == url),
            Endpoint::Closed { why } => {
                let disabled = claim::disable_waiting(&self.pool, claimed.partner_id, why).await?;
                tracing::warn!(partner_id = %claimed.partner_id, disabled, "a partner's endpoint answered 410; its callbacks are disabled");
                Ok(true)
            }
            Endpoint::Held => Ok(false),
        }
    }

    fn not_sent(&self, claimed: &Claimed, status: Status, why: &str) -> AttemptResult {
        AttemptResult {
            status,
            next_attempt_at: self.clock.now().utc(),
            delivered_at: None,
            attempts: claimed.attempts,
            url: claimed.url.clone(),
            answer: Answer::none(why),
            made: None,
        }
    }
}

impl Attempt {
    fn new(at: Timestamp, took: Duration, answer: &Answer) -> Self {
        let Answer { status, error, response, .. } = answer.clone();
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { at, status, duration_ms, error, response }
    }
}

fn report(claimed: &Claimed, outcome: &AttemptResult) {
    let result = match outcome.status {
        Status::Pending => "failed",
        status => status.into_str(),
    };
    metrics::counter!("offers_callbacks_total", "outcome" => result).increment(1);
    tracing::debug!(
        delivery_id = %claimed.id,
        partner_id = %claimed.partner_id,
        event_id = %claimed.event_id,
        attempts = outcome.attempts,
        status = outcome.answer.status,
        error = outcome.answer.error,
        "a callback was {result}"
    );
}
