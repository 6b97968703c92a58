//! The states of aggregates as they were last seen, with their versions.

use super::{Loaded, StreamId};
use domain::Rules;
use domain::account::Account;
use domain::offer::Offer;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

/// The most aggregates whose state is kept; about half a kilobyte each.
const CACHED_STATES: usize = 100_000;
/// The share of the cache for states that are used again and again; the rest is for those put in last. A
/// transaction is loaded twice within its short life: with the usual 97 % it was gone before its turn came
/// when 1,500 were under way, and each was folded from its stream when there was most to do.
const KEPT_FOR_FREQUENCY: f64 = 0.5;

pub(super) struct StateCache(Cache<StreamId, (i64, State)>);

/// The state of an aggregate of any type.
#[derive(Clone, Debug)]
pub enum State {
    Transaction(Transaction),
    UserOffer(UserOffer),
    Offer(Offer),
    Account(Account),
}

/// An aggregate whose state can be cached.
pub trait Cached: Rules {
    fn into_state(self) -> State;

    /// `None` if `state` is another aggregate's.
    fn from_state(state: State) -> Option<Self>;
}

impl StateCache {
    pub(super) fn new() -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(CACHED_STATES)
            .weight_capacity(CACHED_STATES as u64)
            .hot_allocation(KEPT_FOR_FREQUENCY)
            .build()
            .expect("a capacity and a weight are given");
        Self(Cache::with_options(
            options,
            UnitWeighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ))
    }

    pub(super) fn get<A: Cached>(&self, stream: &StreamId) -> Option<Loaded<A>> {
        let (version, state) = self.0.get(stream)?;
        Some(Loaded { state: A::from_state(state)?, version, may_be_stale: true })
    }

    pub(super) fn put(&self, stream: StreamId, version: i64, state: State) {
        self.0.insert(stream, (version, state));
    }

    pub(super) fn remove(&self, stream: &StreamId) {
        self.0.remove(stream);
    }

    /// Empties the cache. A server that took over may not have the events that these states come from.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

impl Cached for Transaction {
    fn into_state(self) -> State {
        State::Transaction(self)
    }

    fn from_state(state: State) -> Option<Self> {
        if let State::Transaction(state) = state { Some(state) } else { None }
    }
}

impl Cached for UserOffer {
    fn into_state(self) -> State {
        State::UserOffer(self)
    }

    fn from_state(state: State) -> Option<Self> {
        if let State::UserOffer(state) = state { Some(state) } else { None }
    }
}

impl Cached for Offer {
    fn into_state(self) -> State {
        State::Offer(self)
    }

    fn from_state(state: State) -> Option<Self> {
        if let State::Offer(state) = state { Some(state) } else { None }
    }
}

impl Cached for Account {
    fn into_state(self) -> State {
        State::Account(self)
    }

    fn from_state(state: State) -> Option<Self> {
        if let State::Account(state) = state { Some(state) } else { None }
    }
}
