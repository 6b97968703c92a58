//! A page of events, folded in memory: several events of one thing become one change.

use crate::statement_entry::{self, Charge, StatementEntry};
use crate::{Error, offer, subscription, transaction};
use domain::{Event, OfferId, Recorded, SubscriptionId, TransactionId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// What a page changes.
#[derive(Debug)]
pub(crate) struct Page {
    /// The position of its first event.
    pub(crate) first: i64,
    /// The position of its last event.
    pub(crate) last: i64,
    /// In the order in which they first appear, like the next two.
    pub(crate) transactions: Vec<transaction::Change>,
    pub(crate) subscriptions: Vec<subscription::Change>,
    pub(crate) offers: Vec<offer::Change>,
    /// What it moves on the accounts of users and partners.
    pub(crate) entries: Vec<StatementEntry>,
    /// The holds that become final in it, of transactions that began before it.
    pub(crate) charges: Vec<Charge>,
}

impl Page {
    /// Folds `events`, which must follow one upon the other.
    ///
    /// # Errors
    /// `Unreadable` for an event that this version does not know, `Broken` for a hole or nonsense.
    pub(crate) fn fold(events: &[Recorded]) -> Result<Option<Self>, Error> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
        let mut folding = Folding::default();
        for (recorded, position) in events.iter().zip(first.position..) {
            if recorded.position != position {
                return Err(Error::Broken { position, why: "there is a hole in the page" });
            }
            folding.add(recorded)?;
        }
        Ok(Some(Self {
            first: first.position,
            last: last.position,
            transactions: folding.transactions.changes,
            subscriptions: folding.subscriptions.changes,
            offers: folding.offers.changes,
            entries: folding.entries,
            charges: folding.charges,
        }))
    }
}

#[derive(Default)]
struct Folding {
    transactions: Changes<TransactionId, transaction::Change>,
    subscriptions: Changes<SubscriptionId, subscription::Change>,
    offers: Changes<OfferId, offer::Change>,
    entries: Vec<StatementEntry>,
    charges: Vec<Charge>,
}

impl Folding {
    fn add(&mut self, recorded: &Recorded) -> Result<(), Error> {
        let id = recorded.aggregate_uuid().map_err(|_| Error::no_uuid(recorded))?;
        match recorded.event()? {
            Event::Transaction(event) => self.add_to_transaction(id.into(), event, recorded),
            Event::UserOffer(event) => {
                let id = id.into();
                let change = self.subscriptions.of(id, || subscription::Change::begin(id, recorded));
                change.add(event, recorded);
                Ok(())
            }
            Event::Offer(event) => {
                let id = id.into();
                self.offers.of(id, || offer::Change::begin(id, recorded)).add(event, recorded);
                Ok(())
            }
            Event::Account(event) => {
                self.entries.extend(statement_entry::of_account(id, event, recorded.position));
                Ok(())
            }
        }
    }

    fn add_to_transaction(
        &mut self,
        id: TransactionId,
        event: &domain::transaction::Event,
        recorded: &Recorded,
    ) -> Result<(), Error> {
        self.entries.extend(statement_entry::of_transaction(event, recorded.position));
        let change = self.transactions.of(id, || transaction::Change::begin(id, recorded));
        change.add(event, recorded)?;
        let requested = change.requested.as_ref().map(|requested| requested.request.account_id.0);
        match (statement_entry::charge(id, event, recorded.position), requested) {
            (Some(charge), Some(account)) => self.entries.push(charge.on(account)),
            (Some(charge), None) => self.charges.push(charge),
            (None, _) => {}
        }
        Ok(())
    }
}

/// Changes in the order in which they first appear, found by id.
struct Changes<K, C> {
    changes: Vec<C>,
    index: HashMap<K, usize>,
}

impl<K, C> Default for Changes<K, C> {
    fn default() -> Self {
        Self { changes: Vec::new(), index: HashMap::new() }
    }
}

impl<K: Eq + Hash, C> Changes<K, C> {
    fn of(&mut self, id: K, begin: impl FnOnce() -> C) -> &mut C {
        let at = match self.index.entry(id) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.changes.push(begin());
                *new.insert(self.changes.len() - 1)
            }
        };
        &mut self.changes[at]
    }
}
