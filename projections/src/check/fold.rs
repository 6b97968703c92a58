//! What is folded from the events in the order of the log: balances, offers, and the transactions that are not final. Finished
//! transactions and expired subscriptions, which grow with history, are only summed (`rows`).

use super::rows::{Hashes, Rows};
use crate::page::Page;
use crate::statement::Entry;
use crate::{Error, OfferView, TransactionView, offer, subscription, transaction};
use domain::{Money, OfferId, Recorded, TransactionId};
use std::collections::HashMap;
use uuid::Uuid;

/// Everything after some position.
#[derive(Debug)]
pub(super) struct Fold {
    position: i64,
    pub(super) accounts: HashMap<Uuid, Statement>,
    pub(super) hashes: Hashes,
    /// Those that are not final.
    pub(super) open: HashMap<TransactionId, Box<TransactionView>>,
    /// `None` once they were compared.
    pub(super) rows: Option<Rows>,
    requested: u64,
    activated: usize,
    pub(super) offers: HashMap<OfferId, Held<OfferView>>,
}

/// What is kept of an account's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) balance: Money,
    pub(super) entries: u64,
    /// The sum of the hashes of all entries.
    fingerprint: u64,
}

impl Statement {
    /// The next entry, as the read table has it.
    pub(super) fn add(&mut self, entry: &Entry, hashes: &Hashes) {
        self.balance = entry.balance;
        self.entries += 1;
        self.fingerprint = self.fingerprint.wrapping_add(hashes.of(entry));
    }
}

/// Something folded, and whether a table was found to have it.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) state: T,
    pub(super) found: bool,
}

impl Default for Fold {
    fn default() -> Self {
        let rows = Rows::default();
        Self {
            position: 0,
            accounts: HashMap::new(),
            hashes: rows.hashes(),
            open: HashMap::new(),
            rows: Some(rows),
            requested: 0,
            activated: 0,
            offers: HashMap::new(),
        }
    }
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
        self.post(&page)?;
        self.subscriptions(&page.subscriptions, &page.transactions);
        self.transactions(page.transactions)?;
        self.offers(page.offers)?;
        self.position = page.last;
        Ok(())
    }

    /// What owners have.
    pub(super) fn owners(&self) -> HashMap<Uuid, Money> {
        self.accounts.iter().map(|(account, statement)| (*account, statement.balance)).collect()
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} events, {} transactions ({} unfinished), {} subscriptions, {} offers, {} accounts",
            self.position,
            self.requested,
            self.open.len(),
            self.activated,
            self.offers.len(),
            self.owners().len(),
        )
    }

    /// Before the transactions of the page, by which those that are charged are over.
    fn post(&mut self, page: &Page) -> Result<(), Error> {
        let account = |id| self.open.get(id).map(|view| view.request.account_id.0);
        let charges = page.charges.iter();
        let charges =
            charges.filter_map(|charge| Some((account(&charge.transaction)?, charge.position, Money::ZERO)));
        let moves = page.entries.iter().map(|entry| (entry.account, entry.position, entry.amount));
        let mut moves: Vec<_> = moves.chain(charges).collect();
        moves.sort_unstable_by_key(|(_, position, _)| *position);
        for (account, position, amount) in moves {
            let statement = self.accounts.entry(account).or_default();
            let why = "a balance beyond what any balance can hold";
            let balance = statement.balance.checked_add(amount).ok_or(Error::Broken { position, why })?;
            statement.add(&Entry { position, amount, balance }, &self.hashes);
        }
        Ok(())
    }

    /// Before the transactions of the page, by which those that began a subscription are over.
    fn subscriptions(&mut self, changes: &[subscription::Change], transactions: &[transaction::Change]) {
        self.activated += changes.iter().filter(|change| change.activated.is_some()).count();
        let Some(rows) = &mut self.rows else { return };
        let requested =
            transactions.iter().filter_map(|change| Some((change.id, change.requested.as_ref()?)));
        let requested: HashMap<TransactionId, &str> =
            requested.map(|(id, requested)| (id, requested.request.offer_name.as_str())).collect();
        for change in changes {
            let offer_name = change.activated.as_ref().and_then(|begun| {
                let id = begun.period.transaction_id;
                let open = || self.open.get(&id).map(|view| view.request.offer_name.as_str());
                requested.get(&id).copied().or_else(open)
            });
            rows.subscription(change, offer_name);
        }
    }

    fn transactions(&mut self, changes: Vec<transaction::Change>) -> Result<(), Error> {
        for change in changes {
            let (id, position, is_final) = (change.id, change.progress.position, change.is_final());
            if let Some(view) = self.open.get_mut(&id) {
                view.advance(change.progress);
            } else if change.is_after_the_end() {
                self.rows.iter_mut().for_each(|rows| rows.late(id));
            } else {
                let why = "a transaction has moved that is final or was never requested";
                let view = change.into_view().ok_or(Error::Broken { position, why })?;
                self.requested += 1;
                self.open.insert(id, Box::new(view));
            }
            if is_final && let (Some(view), Some(rows)) = (self.open.remove(&id), &mut self.rows) {
                rows.end(&view);
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
}

impl<T> Held<T> {
    fn new(state: T) -> Self {
        Self { state, found: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Record, Timestamp};
    use serde_json::json;

    const AT: &str = "2026-01-01T00:00:00Z";

    fn event(position: i64, id: Uuid, event_type: &str, payload: String) -> Recorded {
        Recorded::from(Record {
            position,
            event_id: Uuid::from_u128(position.cast_unsigned().into()),
            aggregate_type: "Transaction".into(),
            aggregate_id: id.to_string(),
            sequence: 1,
            event_type: event_type.into(),
            event_version: domain::FIRST_VERSION.into(),
            recorded_at: Timestamp::new(AT.parse().unwrap()),
            payload,
            metadata: "{}".into(),
            commit_end: position,
        })
    }

    /// A page with `count` transactions that succeed.
    fn page(first: i64, count: i64) -> Vec<Recorded> {
        let mut events = Vec::new();
        for number in 0..count {
            let (at, id) = (first + number * 2, Uuid::now_v7());
            let request = domain::transaction::ActivationRequested {
                kind: domain::transaction::Kind::Activation,
                user_id: Uuid::from_u128(1).into(),
                account_id: domain::AccountId(Uuid::from_u128(1)),
                partner_id: None,
                subscription_id: None,
                offer_id: Uuid::from_u128(2).into(),
                offer_name: "TV".into(),
                duration_days: 30,
                amount: Money::from_hundredths(500),
                partner_reference: None,
                reference: None,
            };
            let requested = domain::transaction::Event::ActivationRequested(request);
            let succeeded = domain::transaction::Event::Succeeded { reference: "EXT".into() };
            events.push(event(at, id, "ActivationRequested", serde_json::to_string(&requested).unwrap()));
            events.push(event(at + 1, id, "Succeeded", serde_json::to_string(&succeeded).unwrap()));
        }
        events
    }

    #[test]
    fn what_the_activation_system_says_after_the_end_is_no_fault_of_the_log() {
        let mut fold = Fold::default();
        let events = page(1, 1);
        let id = events[0].aggregate_uuid().unwrap();
        fold.apply(&events).unwrap();
        let late =
            json!({"type": "Contradicted", "kind": "look_up", "answer": "rejected", "detail": "unknown"});
        fold.apply(&[event(3, id, "Contradicted", late.to_string())]).unwrap();
        let settled = json!({"type": "Resolved", "outcome": "succeeded"});
        fold.apply(&[event(4, id, "Resolved", settled.to_string())]).unwrap();
        let again = json!({"type": "Processing", "attempt": 2});
        assert!(fold.apply(&[event(5, id, "Processing", again.to_string())]).is_err());
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_transactions_that_are_over() {
        let mut fold = Fold::default();
        for number in 0..100 {
            fold.apply(&page(number * 200 + 1, 100)).unwrap();
            let running = fold.rows.as_ref().unwrap().running.len();
            assert_eq!((fold.open.len(), running, fold.accounts.len(), fold.offers.len()), (0, 0, 1, 0));
        }
        assert!(
            fold.summary().starts_with("20000 events, 10000 transactions (0 unfinished)"),
            "{}",
            fold.summary()
        );
    }
}
