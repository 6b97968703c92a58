//! Adds a delivery for each final event, as a part of the announcer, which follows the log.
//!
//! The checkpoint moves in the SQL transaction that adds the deliveries, so a replay adds nothing twice. A
//! delivery never runs ahead of the read tables and the hashes: a partner that hears of a success finds the
//! subscription and the same status.

use super::deliveries::Status;
use super::{body, own_urls, target};
use crate::clock::Clock;
use crate::event_log::SinkError;
use crate::identity::{self, Identity, Partner};
use crate::processors::ended::Ended;
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::transaction::{self, Transaction};
use domain::{Event, PartnerId, Recorded, Timestamp, TransactionId};
use projections::{RedisHashes, TransactionView};
use sqlx::{PgConnection, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
enum EnqueueError {
    #[error("the event at position {0} has no transaction id")]
    NoId(i64),
    #[error("the read tables do not show the transaction of position {0}")]
    NoTransaction(i64),
    #[error("the read tables do not show the transaction of position {0} as final")]
    NotFinal(i64),
}

/// Adds a delivery for every final event of a partner's transaction. Cheap to clone.
#[derive(Clone)]
pub struct Enqueuer {
    pub(super) pool: PgPool,
    pub(super) identity: Arc<Identity>,
    pub(super) hashes: RedisHashes,
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
}

/// The last event of a transaction.
struct Final {
    event_id: Uuid,
    position: i64,
    transaction: TransactionId,
    at: Timestamp,
}

impl Final {
    /// The transaction as the read tables show it. A page whose transactions are not all there is read again.
    fn shown_in<'a>(&self, ended: &'a Ended) -> Result<&'a TransactionView, EnqueueError> {
        ended.get(&self.transaction).ok_or(EnqueueError::NoTransaction(self.position))
    }
}

pub(in crate::processors) struct NewDelivery {
    partner: PartnerId,
    event_id: Uuid,
    r#type: &'static str,
    transaction: TransactionId,
    position: i64,
    own_url: Option<String>,
    url: String,
    body: String,
    status: Status,
}

impl Enqueuer {
    /// The deliveries of the final events in `page`.
    pub(in crate::processors) async fn deliveries(
        &self,
        page: &[Recorded],
        ended: &Ended,
    ) -> Result<Vec<NewDelivery>, SinkError> {
        let finals = finals(page)?;
        let mut views = finals.iter().map(|event| event.shown_in(ended)).collect::<Result<Vec<_>, _>>()?;
        views.retain(|view| view.request.partner_id.is_some());
        if views.is_empty() {
            return Ok(Vec::new());
        }
        if let Err(cause) = self.hashes.keep_up_with(&views).await {
            tracing::debug!(error = %chain(&cause), "cannot update Redis; callbacks are sent without it");
        }
        let with_own = views.iter().filter(|view| view.callback_url.is_some());
        let references: Vec<_> = with_own.filter_map(|view| view.request.reference.as_deref()).collect();
        let whole_urls = own_urls::load(&self.pool, &references).await?;
        let mut partners = HashMap::new();
        let mut deliveries = Vec::new();
        for event in &finals {
            let view = event.shown_in(ended)?;
            let Some(id) = view.request.partner_id else { continue };
            let partner = match partners.get(&id) {
                Some(known) => known,
                None => partners.entry(id).or_insert(self.partner(id).await?),
            };
            let whole = view.request.reference.as_ref().and_then(|reference| whole_urls.get(reference));
            let own_url = whole.or(view.callback_url.as_ref()).map(String::as_str);
            deliveries.extend(delivery(event, view, own_url, partner.as_ref())?);
        }
        Ok(deliveries)
    }

    async fn partner(&self, id: PartnerId) -> Result<Option<Partner>, identity::Error> {
        match self.identity.get_partner(id).await {
            Ok(partner) => Ok(Some(partner)),
            Err(identity::Error::PartnerNotFound) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Adds `deliveries` and moves the checkpoint. False, and nothing is written, if it was not at `from`.
    pub(in crate::processors) async fn write(
        &self,
        connection: &mut PgConnection,
        from: i64,
        to: i64,
        deliveries: &[NewDelivery],
    ) -> Result<bool, sqlx::Error> {
        let moved = sqlx::query("update callback_checkpoint set position = $2 where position = $1");
        let moved = moved.bind(from).bind(to).execute(&mut *connection).await?;
        if moved.rows_affected() != 1 {
            return Ok(false);
        }
        if !deliveries.is_empty() {
            let column = |value: fn(&NewDelivery) -> Uuid| deliveries.iter().map(value).collect::<Vec<_>>();
            let text = |value: fn(&NewDelivery) -> &str| deliveries.iter().map(value).collect::<Vec<_>>();
            let own_urls: Vec<_> = deliveries.iter().map(|new| new.own_url.as_deref()).collect();
            let positions: Vec<_> = deliveries.iter().map(|new| new.position).collect();
            let ids: Vec<_> = deliveries.iter().map(|_| Uuid::now_v7()).collect();
            sqlx::query(include_str!("enqueue.sql"))
                .bind(self.clock.now().utc())
                .bind(ids)
                .bind(column(|new| new.partner.0))
                .bind(column(|new| new.event_id))
                .bind(text(|new| new.r#type))
                .bind(column(|new| new.transaction.0))
                .bind(positions)
                .bind(own_urls)
                .bind(text(|new| &new.url))
                .bind(text(|new| &new.body))
                .bind(text(|new| new.status.into_str()))
                .execute(connection)
                .await?;
        }
        Ok(true)
    }

    pub(in crate::processors) fn wake_sender(&self) {
        self.due.notify_one();
    }
}

/// The final events in a page.
fn finals(page: &[Recorded]) -> Result<Vec<Final>, SinkError> {
    let mut finals = Vec::new();
    for recorded in page.iter().filter(|recorded| recorded.aggregate_type == Transaction::TYPE) {
        use transaction::Event::{Failed, Succeeded};
        if let Event::Transaction(Succeeded { .. } | Failed { .. }) = recorded.event()? {
            let position = recorded.position;
            let transaction =
                TransactionId(recorded.aggregate_uuid().map_err(|_| EnqueueError::NoId(position))?);
            finals.push(Final {
                event_id: recorded.event_id,
                position,
                transaction,
                at: recorded.recorded_at,
            });
        }
    }
    Ok(finals)
}

/// The delivery of a final event, if its partner has a URL.
fn delivery(
    event: &Final,
    view: &TransactionView,
    own_url: Option<&str>,
    partner: Option<&Partner>,
) -> Result<Option<NewDelivery>, EnqueueError> {
    let r#type = body::type_of(view.status).ok_or(EnqueueError::NotFinal(event.position))?;
    let Some((partner, registered)) = partner.and_then(|known| Some((known, known.callback_url.as_deref()?)))
    else {
        return Ok(None);
    };
    let own_url = target::allowed(own_url, registered);
    Ok(Some(NewDelivery {
        partner: partner.id,
        event_id: event.event_id,
        r#type,
        transaction: event.transaction,
        position: event.position,
        own_url: own_url.map(str::to_owned),
        url: own_url.unwrap_or(registered).to_owned(),
        body: body::about(r#type, event.at, view),
        status: if partner.callback_disabled_at.is_some() { Status::Disabled } else { Status::Pending },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_event_whose_transaction_the_read_tables_do_not_show_is_an_error_and_not_skipped() {
        let transaction = TransactionId(Uuid::nil());
        let event = Final {
            event_id: Uuid::nil(),
            position: 7,
            transaction,
            at: Timestamp::new(chrono::DateTime::UNIX_EPOCH),
        };
        let none = Ended::new();
        let shown = event.shown_in(&none);
        assert!(matches!(shown, Err(EnqueueError::NoTransaction(7))), "{shown:?}");
    }
}
