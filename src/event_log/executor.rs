//! Carries out plans: load, decide, submit ONE commit; on a conflict the whole plan runs again.
//!
//! States are cached by version. A stale state is harmless where a commit follows, because the commit
//! checks the version; where none follows (a refusal, a repeat) the decision is made once more from
//! the stream itself.

use super::plan::PlannedOrder;
use super::{
    AppendError, Commit, Committed, EventLog, ExecuteError, LogError, NewEvent, Order, Plan, Rejection,
    StreamId, StreamWrite,
};
use crate::telemetry::{Kind, Span};
use cqrs_es::DomainEvent;
use cqrs_es::persist::PersistedEventRepository;
use domain::{AccountId, Entry, Ledger, Metadata, Money, Rules};
use postgres_es::PostgresEventRepository;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often a plan is run before a conflict is the caller's.
const TRIES: u32 = 16;
/// The longest pause before another try, per earlier try; the real one is random.
const RETRY_PAUSE: Duration = Duration::from_millis(4);
/// The most aggregates whose state is kept; about half a kilobyte each.
const CACHED_STATES: usize = 100_000;
/// The share of the cache for what is asked for again and again; the rest is for what was put in last. A
/// purchase is asked for twice within its short life: with the usual 97 % it was gone before its turn came
/// when 1,500 were on their way, and each was folded from its stream when there was most to do.
const KEPT_FOR_FREQUENCY: f64 = 0.5;

type AnyState = Arc<dyn Any + Send + Sync>;

/// The states of aggregates as they were last seen, with their versions.
pub(super) struct StateCache(Cache<StreamId, (i64, AnyState)>);

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

    /// Forgets everything: what was seen last may not be there any more.
    pub(super) fn forget(&self) {
        self.0.clear();
    }

    fn get<A: Rules + 'static>(&self, stream: &StreamId) -> Option<Loaded<A>> {
        let (version, state) = self.0.get(stream)?;
        let state = state.downcast_ref::<A>()?.clone();
        Some(Loaded { state, version, cached: true })
    }

    fn put<A: Rules + 'static>(&self, stream: StreamId, version: i64, state: A) {
        self.0.insert(stream, (version, Arc::new(state)));
    }
}

/// An aggregate's state.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// What its events have made of it.
    pub state: A,
    /// The sequence of its last event, 0 when it has none.
    pub version: i64,
    /// True when it may be stale.
    cached: bool,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its events are in the log.
    Committed(Committed),
    /// Every order was a repeat; nothing was written.
    Unchanged,
}

impl Outcome {
    /// Where its last event stands; `None` when nothing was written.
    #[must_use]
    pub fn position(&self) -> Option<i64> {
        match self {
            Self::Committed(committed) => Some(committed.last),
            Self::Unchanged => None,
        }
    }
}

impl EventLog {
    /// Decides the commands of `plan` and commits their events together, all with `metadata`. On a
    /// conflict they are decided again, up to a bound.
    ///
    /// # Errors
    /// `Rejected` when a rule says no, `InsufficientFunds`, `Repeated`, `Conflict`, or the log's own.
    pub async fn commit(&self, metadata: &Metadata, plan: Plan) -> Result<Outcome, ExecuteError> {
        self.commit_with(metadata, |_| std::future::ready(Ok(plan.clone()))).await
    }

    /// The same for a plan that depends on what is in the log: `plan` looks it up, once more after each
    /// conflict.
    ///
    /// # Errors
    /// As `commit`, and those of `plan`.
    pub async fn commit_with<'a, P, F>(
        &'a self,
        metadata: &Metadata,
        plan: P,
    ) -> Result<Outcome, ExecuteError>
    where
        P: FnMut(&'a Self) -> F,
        F: Future<Output = Result<Plan, ExecuteError>> + Send,
    {
        let mut span = Span::begin(Kind::Internal, "commit", metadata.traceparent.as_deref());
        let outcome = self.decide_and_append(metadata, plan).await;
        let word = word(&outcome);
        span.note("offers.outcome", word);
        metrics::counter!("offers_commands_total", "outcome" => word).increment(1);
        outcome
    }

    async fn decide_and_append<'a, P, F>(
        &'a self,
        metadata: &Metadata,
        mut plan: P,
    ) -> Result<Outcome, ExecuteError>
    where
        P: FnMut(&'a Self) -> F,
        F: Future<Output = Result<Plan, ExecuteError>> + Send,
    {
        for earlier in 0..TRIES {
            let plan = plan(self).await?;
            let unchanged = plan.unchanged.clone();
            let decided = self.decide(plan, earlier == 0).await?;
            let Some(commit) = decided.commit(metadata) else { return Ok(Outcome::Unchanged) };
            let handed_over = Instant::now();
            let verdict = self.0.writer.append(commit).await;
            metrics::histogram!("offers_commit_seconds").record(handed_over.elapsed());
            match verdict {
                Ok(committed) => {
                    decided.remember(&self.0.states);
                    return Ok(Outcome::Committed(committed));
                }
                Err(AppendError::Conflict(_)) => {
                    decided.forget(&self.0.states);
                    unchanged.iter().for_each(|(stream, _)| drop(self.0.states.0.remove(stream)));
                    let pause = (RETRY_PAUSE * earlier).mul_f64(rand::random::<f64>());
                    tokio::time::sleep(pause).await;
                }
                Err(AppendError::InsufficientFunds(account)) => {
                    return Err(ExecuteError::InsufficientFunds { account });
                }
                Err(AppendError::BalanceTooLarge(account)) => {
                    return Err(ExecuteError::BalanceTooLarge { account });
                }
                Err(AppendError::Repeated(event_id)) => return Err(ExecuteError::Repeated { event_id }),
                Err(AppendError::Log(cause)) => return Err(cause.into()),
            }
        }
        Err(ExecuteError::Conflict)
    }

    /// The aggregate's state, maybe from the cache and then maybe stale: commit with its version, or
    /// `reload` before saying no.
    ///
    /// # Errors
    /// `Unavailable` when PostgreSQL is.
    pub async fn load<A: Rules + 'static>(&self, id: Uuid) -> Result<Loaded<A>, LogError> {
        match self.0.states.get(&StreamId::of::<A>(id)) {
            Some(cached) => Ok(cached),
            None => self.reload(id).await,
        }
    }

    /// The aggregate's state, folded from its stream.
    ///
    /// # Errors
    /// `Unavailable` when PostgreSQL is.
    pub async fn reload<A: Rules + 'static>(&self, id: Uuid) -> Result<Loaded<A>, LogError> {
        let repository = PostgresEventRepository::new(self.0.pool.clone());
        let stream = repository.get_events::<A>(&id.to_string()).await.map_err(LogError::unavailable)?;
        let version = i64::try_from(stream.len()).expect("a stream fits in memory");
        let mut state = A::default();
        for event in stream {
            state.apply(serde_json::from_value(event.payload).map_err(|cause| LogError::Broken {
                position: 0,
                why: format!("{} {id}, event {}: {cause}", A::TYPE, event.sequence),
            })?);
        }
        if version > 0 {
            self.0.states.put(StreamId::of::<A>(id), version, state.clone());
        }
        Ok(Loaded { state, version, cached: false })
    }

    async fn decide(&self, plan: Plan, first_try: bool) -> Result<Decided, ExecuteError> {
        let mut decided =
            Decided { unchanged: plan.unchanged, first_event_id: plan.first_event_id, steps: Vec::new() };
        for PlannedOrder { order, new } in plan.orders {
            let new = new && first_try; // a conflict may mean that it exists after all
            let step = match order {
                Order::Transaction(id, command) => {
                    self.step::<domain::transaction::Transaction>(id.0, command, new).await?
                }
                Order::UserOffer(id, command) => {
                    self.step::<domain::user_offer::UserOffer>(id.0, command, new).await?
                }
                Order::Offer(id, command) => self.step::<domain::offer::Offer>(id.0, command, new).await?,
                Order::Account(id, command) => {
                    self.step::<domain::account::Account>(id.0, command, new).await?
                }
            };
            decided.steps.push(step);
        }
        Ok(decided)
    }

    /// Decides one order. What a maybe stale state forbids or calls a repeat is decided once more from
    /// the stream.
    async fn step<A>(&self, id: Uuid, command: A::Command, new: bool) -> Result<Step, ExecuteError>
    where
        A: Rules + 'static,
        A::Command: Clone,
        Rejection: From<A::Error>,
    {
        let loaded = match new {
            true => Loaded { state: A::default(), version: 0, cached: false },
            false => self.load::<A>(id).await?,
        };
        let events = match loaded.state.decide(command.clone()) {
            Ok(events) if !events.is_empty() => events,
            decision if !loaded.cached => decision.map_err(Rejection::from)?,
            _ => {
                let fresh = self.reload::<A>(id).await?;
                let events = fresh.state.decide(command).map_err(Rejection::from)?;
                return Ok(Step::new::<A>(id, fresh, events));
            }
        };
        Ok(Step::new::<A>(id, loaded, events))
    }
}

/// What became of a plan, as metrics name it.
fn word(outcome: &Result<Outcome, ExecuteError>) -> &'static str {
    match outcome {
        Ok(Outcome::Committed(_)) => "accepted",
        Ok(Outcome::Unchanged) => "unchanged",
        Err(ExecuteError::Repeated { .. }) => "repeated",
        Err(ExecuteError::Rejected(_) | ExecuteError::BalanceTooLarge { .. }) => "rejected",
        Err(ExecuteError::InsufficientFunds { .. }) => "insufficient_funds",
        Err(ExecuteError::Conflict) => "conflict",
        Err(ExecuteError::Log(LogError::Unavailable(_))) => "unavailable",
        Err(ExecuteError::Log(LogError::Overloaded)) => "overloaded",
        Err(ExecuteError::Log(LogError::Timeout)) => "timeout",
        Err(ExecuteError::Log(LogError::OutcomeUnknown)) => "outcome_unknown",
        Err(ExecuteError::Log(LogError::Broken { .. } | LogError::Unreadable(_))) => "broken",
    }
}

/// All orders of a plan, decided.
struct Decided {
    steps: Vec<Step>,
    unchanged: Vec<(StreamId, i64)>,
    first_event_id: Option<Uuid>,
}

/// One order, decided.
struct Step {
    stream: StreamId,
    version: i64,
    events: Vec<NewEvent>,
    entries: Vec<Entry>,
    /// Puts the state after the events into the cache.
    remember: Box<dyn Fn(&StateCache) + Send + Sync>,
}

impl Step {
    fn new<A: Rules + 'static>(id: Uuid, loaded: Loaded<A>, events: Vec<A::Event>) -> Self {
        let stream = StreamId::of::<A>(id);
        let mut state = loaded.state;
        let mut entries = Vec::new();
        let mut new_events = Vec::with_capacity(events.len());
        for event in events {
            entries.extend(state.postings(id, &event));
            new_events.push(NewEvent {
                event_id: Uuid::now_v7(),
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_string(&event).expect("an event is plain data"),
            });
            state.apply(event);
        }
        let version = loaded.version + i64::try_from(new_events.len()).expect("a decision has a few events");
        Self {
            stream,
            version: loaded.version,
            events: new_events,
            entries,
            remember: Box::new(move |cache| cache.put(stream, version, state.clone())),
        }
    }
}

impl Decided {
    /// The one commit of all orders; `None` when there is nothing to write. An order that repeats what
    /// has happened still asks that its aggregate does not move meanwhile.
    fn commit(&self, metadata: &Metadata) -> Option<Commit> {
        let (idle, active): (Vec<&Step>, Vec<&Step>) =
            self.steps.iter().partition(|step| step.events.is_empty());
        let mut writes: Vec<StreamWrite> = active.iter().map(|step| step.write()).collect();
        let first = writes.first_mut()?.events.first_mut()?;
        first.event_id = self.first_event_id.unwrap_or(first.event_id);
        let idle = idle.iter().map(|step| (step.stream, step.version));
        Some(Commit {
            writes,
            unchanged: self.unchanged.iter().copied().chain(idle).collect(),
            entries: guarded(self.steps.iter().flat_map(|step| &step.entries)),
            repeatable: self.first_event_id.is_some(),
            metadata: serde_json::to_string(metadata).expect("metadata is an object of strings"),
        })
    }

    fn remember(&self, cache: &StateCache) {
        self.steps.iter().filter(|step| !step.events.is_empty()).for_each(|step| (step.remember)(cache));
    }

    fn forget(&self, cache: &StateCache) {
        self.steps.iter().for_each(|step| drop(cache.0.remove(&step.stream)));
    }
}

impl Step {
    fn write(&self) -> StreamWrite {
        StreamWrite { stream: self.stream, expected_version: self.version, events: self.events.clone() }
    }
}

/// What the entries sum to on each owner's account: the ones that must never fall below zero.
fn guarded<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<(AccountId, Money)> {
    let mut sums: Vec<(AccountId, Money)> = Vec::new();
    for entry in entries {
        let Ledger::Owner(account) = entry.ledger else { continue };
        match sums.iter_mut().find(|(seen, _)| *seen == account) {
            Some((_, sum)) => *sum = [*sum, entry.amount].into_iter().sum(),
            None => sums.push((account, entry.amount)),
        }
    }
    sums
}
