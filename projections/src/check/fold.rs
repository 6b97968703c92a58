//! The state of everything, folded from the events. Small: a final transaction is a digest of its row.

use crate::page::Page;
use crate::statement_entry::{self, FUNDING, HOLDING, REVENUE, StatementEntry};
use crate::{Error, OfferView, SubscriptionView, TransactionView, offer, subscription, transaction};
use domain::transaction::ActivationRequested;
use domain::{Money, OfferId, Recorded, SubscriptionId, TransactionId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use uuid::Uuid;

/// Everything after some position.
#[derive(Debug, Default)]
pub(super) struct Fold {
    position: i64,
    /// The sum and the number of each account's entries.
    pub(super) accounts: HashMap<Uuid, (Money, i64)>,
    pub(super) transactions: HashMap<TransactionId, Held<TransactionState>>,
    pub(super) subscriptions: HashMap<SubscriptionId, Held<Box<SubscriptionView>>>,
    pub(super) offers: HashMap<OfferId, Held<OfferView>>,
}

/// Something folded, and whether a table was found to have it.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) state: T,
    pub(super) found: bool,
}

/// A transaction: whole while it can move, then only what tells its row from any other.
#[derive(Debug)]
pub(super) enum TransactionState {
    Open(Box<TransactionView>),
    Final(u64),
}

impl Fold {
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    pub(super) fn apply(&mut self, events: &[Recorded]) -> Result<(), Error> {
        let Some(page) = Page::fold(events)? else { return Ok(()) };
        if page.first != self.position + 1 {
            return Err(Error::Broken {
                position: page.first,
                why: "the page does not follow on the last one",
            });
        }
        self.post(&page.entries)?;
        for (position, id) in &page.unpriced {
            let entries = statement_entry::of_success(self.request(*id, *position)?, *position);
            self.post(&entries)?;
        }
        let ended = self.transactions(page.transactions)?;
        self.subscriptions(&page.subscriptions)?;
        self.offers(page.offers)?;
        self.forget(&ended);
        self.position = page.last;
        Ok(())
    }

    /// What owners have.
    pub(super) fn owners(&self) -> HashMap<Uuid, Money> {
        let ours = [FUNDING, HOLDING, REVENUE];
        let owners = self.accounts.iter().filter(|(account, _)| !ours.contains(account));
        owners.map(|(account, (sum, _))| (*account, *sum)).collect()
    }

    pub(super) fn summary(&self) -> String {
        let open = self.transactions.values().filter(|held| matches!(held.state, TransactionState::Open(_)));
        format!(
            "{} events, {} transactions ({} unfinished), {} subscriptions, {} offers, {} accounts",
            self.position,
            self.transactions.len(),
            open.count(),
            self.subscriptions.len(),
            self.offers.len(),
            self.owners().len(),
        )
    }

    fn post(&mut self, entries: &[StatementEntry]) -> Result<(), Error> {
        for entry in entries {
            let (sum, count) = self.accounts.entry(entry.account).or_default();
            *sum = sum.checked_add(entry.amount).ok_or(Error::Broken {
                position: entry.position,
                why: "a balance beyond what any balance can hold",
            })?;
            *count += 1;
        }
        Ok(())
    }

    fn request(&self, id: TransactionId, position: i64) -> Result<&ActivationRequested, Error> {
        match self.transactions.get(&id).map(|held| &held.state) {
            Some(TransactionState::Open(view)) => Ok(&view.request),
            _ => Err(Error::Broken { position, why: "a success of a transaction that is not open" }),
        }
    }

    /// Takes the changes; gives those that are final now.
    fn transactions(&mut self, changes: Vec<transaction::Change>) -> Result<Vec<TransactionId>, Error> {
        let mut ended = Vec::new();
        for change in changes {
            let (id, position) = (change.id, change.progress.position);
            if change.is_final() {
                ended.push(id);
            }
            match self.transactions.get_mut(&id).map(|held| &mut held.state) {
                Some(TransactionState::Open(view)) => view.advance(change.progress),
                Some(TransactionState::Final(_)) => {
                    return Err(Error::Broken { position, why: "a final transaction has moved" });
                }
                None => {
                    let why = "a transaction that was never requested has moved";
                    let view = change.into_view().ok_or(Error::Broken { position, why })?;
                    self.transactions.insert(id, Held::new(TransactionState::Open(Box::new(view))));
                }
            }
        }
        Ok(ended)
    }

    fn subscriptions(&mut self, changes: &[subscription::Change]) -> Result<(), Error> {
        for change in changes {
            if let Some(held) = self.subscriptions.get_mut(&change.id) {
                held.state.advance(change);
                continue;
            }
            let position = change.position;
            let why = "a subscription that was never activated has moved";
            let begun = change.activated.as_ref().ok_or(Error::Broken { position, why })?;
            let name = self.request(begun.period.transaction_id, position)?.offer_name.clone();
            if let Some(view) = change.to_view(&name) {
                self.subscriptions.insert(change.id, Held::new(Box::new(view)));
            }
        }
        Ok(())
    }

    fn offers(&mut self, changes: Vec<offer::Change>) -> Result<(), Error> {
        for change in changes {
            if let Some(held) = self.offers.get_mut(&change.id) {
                held.state.advance(change);
                continue;
            }
            let broken =
                Error::Broken { position: change.position, why: "an offer that never was has moved" };
            let id = change.id;
            self.offers.insert(id, Held::new(change.into_view().ok_or(broken)?));
        }
        Ok(())
    }

    /// Last, because a subscription takes its name from a transaction that ends in the same page.
    fn forget(&mut self, ended: &[TransactionId]) {
        for id in ended {
            let Some(held) = self.transactions.get_mut(id) else { continue };
            if let TransactionState::Open(view) = &held.state {
                held.state = TransactionState::Final(digest(view));
            }
        }
    }
}

impl<T> Held<T> {
    fn new(state: T) -> Self {
        Self { state, found: false }
    }
}

/// Distinguishes a row from any other, within this process.
pub(super) fn digest(view: &TransactionView) -> u64 {
    let mut hasher = DefaultHasher::new();
    view.hash(&mut hasher);
    hasher.finish()
}
