//! Puts offers on sale, changes them, takes them off.

use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Plan, Rejection, StreamId};
use cqrs_es::Aggregate;
use domain::offer::{self, Command, Offer, Terms};
use domain::{Event, Metadata, Money, OfferId};
use projections::OfferView;

/// The longest name of an offer, in characters.
pub const MAX_NAME: usize = 100;
/// The longest description of an offer, in characters.
pub const MAX_DESCRIPTION: usize = 2000;

/// What is to be different; an absent member stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// For those who buy from now on.
    pub price: Option<Money>,
    /// Days of 24 hours.
    pub duration_days: Option<u32>,
    /// On sale or not.
    pub is_active: Option<bool>,
}

/// Why the catalogue stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such offer.
    #[error("there is no such offer")]
    NotFound,
    /// Others were faster, too often.
    #[error("others were faster, too often")]
    Conflict,
    /// The log could not do it, or (`OutcomeUnknown`) may have done it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Rejected(Rejection::Offer(offer::Error::NeverCreated)) => Self::NotFound,
            ExecuteError::Log(cause) => Self::Log(cause),
            _ => Self::Conflict,
        }
    }
}

/// Puts a new offer on sale (or only into the catalogue, when not `on_sale`); where its last event stands.
///
/// # Errors
/// The log's own.
pub async fn create(
    log: &EventLog,
    id: OfferId,
    terms: Terms,
    on_sale: bool,
    metadata: &Metadata,
) -> Result<Option<i64>, Error> {
    let command = if on_sale { Command::Create(terms) } else { Command::Prepare(terms) };
    order(log, id, command, metadata).await
}

/// Changes an offer; where its last new event stands, `None` when everything was so already.
///
/// New terms and going on or off sale are two commits, in the order in which nobody can buy on terms
/// that were not meant to be sold. Repeating the change completes it.
///
/// # Errors
/// `NotFound`, `Conflict`, or the log's own.
pub async fn change(
    log: &EventLog,
    id: OfferId,
    change: &Change,
    metadata: &Metadata,
) -> Result<Option<i64>, Error> {
    let before = match change.is_active {
        Some(false) => order(log, id, Command::Deactivate, metadata).await?,
        Some(true) | None => None,
    };
    let changed = new_terms(log, id, change, metadata).await?;
    let after = match change.is_active {
        Some(true) => order(log, id, Command::Reactivate, metadata).await?,
        Some(false) | None => None,
    };
    Ok(after.or(changed).or(before))
}

/// The offer as the log has it, which is never behind; `None` when there is no such offer.
///
/// # Errors
/// The log's own.
pub async fn as_logged(log: &EventLog, id: OfferId) -> Result<Option<OfferView>, LogError> {
    let events = log.stream(StreamId::of::<Offer>(id.0)).await?;
    let mut offer = Offer::default();
    for recorded in &events {
        if let Event::Offer(event) = Event::decode(recorded)? {
            offer.apply(event);
        }
    }
    let (Some(first), Some(last), Some(terms)) = (events.first(), events.last(), offer.terms()) else {
        return Ok(None);
    };
    Ok(Some(OfferView {
        offer_id: id,
        terms: terms.clone(),
        is_active: matches!(offer, Offer::Active(_)),
        created_at: first.recorded_at,
        updated_at: last.recorded_at,
        position: last.position,
    }))
}

async fn order(
    log: &EventLog,
    id: OfferId,
    command: Command,
    metadata: &Metadata,
) -> Result<Option<i64>, Error> {
    let plan = Plan::new().command(AggregateCommand::Offer(id, command));
    Ok(log.commit(metadata, plan).await?.position())
}

/// The terms as they are now, with what is to be different: looked up again on every try, so that two
/// changes of different members at the same time both last.
async fn new_terms(
    log: &EventLog,
    id: OfferId,
    change: &Change,
    metadata: &Metadata,
) -> Result<Option<i64>, Error> {
    let plan = |_| async move {
        let offer = log.reload::<Offer>(id.0).await?;
        let Some(terms) = offer.state.terms() else {
            return Err(Rejection::Offer(offer::Error::NeverCreated).into());
        };
        let terms = change.applied_to(terms.clone());
        let plan = Plan::new().command(AggregateCommand::Offer(id, Command::Change(terms)));
        Ok(plan.expect_version::<Offer>(id.0, offer.version))
    };
    Ok(log.commit_with(metadata, plan).await?.position())
}

impl Change {
    fn applied_to(&self, terms: Terms) -> Terms {
        Terms {
            name: self.name.clone().unwrap_or(terms.name),
            description: self.description.clone().unwrap_or(terms.description),
            price: self.price.unwrap_or(terms.price),
            duration_days: self.duration_days.unwrap_or(terms.duration_days),
        }
    }
}
