//! What auditors ask: history as the log has it, and balances as of any moment.

use super::Error;
use crate::event_log::{At, EventLog, Filter, LogError, PAGE_EVENTS, Span, StreamId};
use crate::identity::Identity;
use domain::transaction::{Event, Kind, Transaction};
use domain::user_offer::{self, UserOffer};
use domain::{Money, Recorded, Slice, SubscriptionId, Timestamp, TransactionId};
use futures::stream::{self, Stream};
use projections::Readers;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a balance waits for the read tables.
const BALANCE_WAIT: Duration = Duration::from_secs(5);

pub struct History {
    log: EventLog,
    readers: Readers,
    identity: Arc<Identity>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BalanceAt {
    pub balance: Money,
    /// The event that it is as of.
    pub position: i64,
    /// When that event was recorded; `None` before the first one.
    pub recorded_at: Option<Timestamp>,
}

impl History {
    #[must_use]
    pub fn new(log: EventLog, readers: Readers, identity: Arc<Identity>) -> Self {
        Self { log, readers, identity }
    }

    /// The part of the log from `from` up to `to` (see `EventLog::span`).
    pub async fn span(&self, from: Option<At>, to: Option<At>) -> Result<Span, Error> {
        Ok(self.log.span(from, to).await?)
    }

    /// The events of `span` that match `filter`, in order.
    pub async fn page(&self, filter: &Filter, span: Span, limit: u32) -> Result<Slice<Recorded, i64>, Error> {
        let events = self.log.search(filter, span, i64::from(limit) + 1).await?;
        Ok(Slice::cut(events, limit, |event| event.position))
    }

    /// All events of `span` that match `filter`, up to the current head, as pages: memory stays bounded however
    /// long the history is.
    pub async fn pages(
        &self,
        filter: Filter,
        span: Span,
    ) -> Result<impl Stream<Item = Result<Vec<Recorded>, Error>> + use<>, Error> {
        let (log, up_to) = (self.log.clone(), self.log.head().await?.min(span.up_to));
        Ok(stream::try_unfold(span.after, move |after| {
            let (log, filter) = (log.clone(), filter.clone());
            async move {
                if after >= up_to {
                    return Ok(None);
                }
                let mut page = page(&log, &filter, Span { after, up_to }).await?;
                let Some(last) = page.last().map(|event| event.position) else { return Ok(None) };
                page.retain(|event| event.position <= up_to);
                Ok(Some((page, last)))
            }
        }))
    }

    /// What happened to a transaction and, because of it, to its subscription, in order.
    ///
    /// # Errors
    /// `TransactionNotFound`, or the log's own.
    pub async fn of_transaction(&self, id: TransactionId) -> Result<Vec<Recorded>, Error> {
        let mut events = self.log.stream(StreamId::of::<Transaction>(id.0)).await?;
        let first = events.first().ok_or(Error::TransactionNotFound)?;
        let subscription = subscription_of(id, first)?;
        let of_subscription = self.log.stream(StreamId::of::<UserOffer>(subscription.0)).await?;
        events.extend(of_subscription.into_iter().filter(|event| is_caused_by(id, subscription, event)));
        events.sort_by_key(|event| event.position);
        Ok(events)
    }

    /// What `owner` had right after the event at `at`, or after the last one. A position beyond the head
    /// means the head.
    ///
    /// # Errors
    /// `AccountNotFound`, or `Projection` when the read tables are too far behind to say.
    pub async fn balance_at(&self, owner: Uuid, at: Option<At>) -> Result<BalanceAt, Error> {
        if self.identity.owner_kind(owner).await?.is_none() {
            return Err(Error::AccountNotFound);
        }
        let head = self.log.head().await?;
        let position = match at {
            None => head,
            Some(At::Position(position)) => position.min(head),
            Some(At::Time(moment)) => self.log.position_at(moment).await?,
        };
        self.readers.checkpoint().wait_for(position, Instant::now() + BALANCE_WAIT).await?;
        let balance = self.readers.balance_at(owner, position).await?;
        let recorded_at = self.log.recorded_at(position).await?;
        Ok(BalanceAt { balance, position, recorded_at })
    }
}

async fn page(log: &EventLog, filter: &Filter, span: Span) -> Result<Vec<Recorded>, LogError> {
    if filter.is_empty() {
        return log.page(span.after, PAGE_EVENTS).await; // stops at a hole
    }
    log.search(filter, span, i64::try_from(PAGE_EVENTS).expect("a thousand")).await
}

/// The subscription that the transaction starts or extends.
fn subscription_of(id: TransactionId, first: &Recorded) -> Result<SubscriptionId, LogError> {
    match first.event()? {
        domain::Event::Transaction(Event::ActivationRequested(request)) if request.kind == Kind::Renewal => {
            Ok(request.subscription_id.unwrap_or(SubscriptionId::started_by(id)))
        }
        _ => Ok(SubscriptionId::started_by(id)),
    }
}

/// Every event of a subscription that the transaction started; of one that it extended, only the
/// extension.
fn is_caused_by(id: TransactionId, subscription: SubscriptionId, event: &Recorded) -> bool {
    if subscription == SubscriptionId::started_by(id) {
        return true;
    }
    let Ok(domain::Event::UserOffer(event)) = event.event() else { return false };
    matches!(event, user_offer::Event::Renewed(period) if period.transaction_id == id)
}
