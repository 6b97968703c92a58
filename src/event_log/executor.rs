//! Executes plans: load, decide, submit ONE commit; on a conflict the whole plan is decided again.
//!
//! States are cached by version. A stale state is harmless where a commit follows, because the commit
//! checks the version. Where no commit follows (a rejection, a repeat) the decision is made once more
//! from the stream itself.

use super::plan::PlannedCommand;
use super::{
    AggregateCommand, AppendError, Cached, Commit, Committed, EventLog, ExecuteError, LogError, NewEvent,
    Plan, Rejection, State, StreamId, StreamWrite,
};
use crate::telemetry::{Kind, Span};
use cqrs_es::DomainEvent;
use cqrs_es::persist::PersistedEventRepository;
use domain::account::Account;
use domain::offer::Offer;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use domain::{AccountId, Entry, Ledger, Metadata, Money};
use postgres_es::PostgresEventRepository;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use uuid::Uuid;

/// How often a plan is decided before its caller gets the conflict.
const TRIES: u32 = 16;
/// How long PostgreSQL may take to read a stream. Longer than its `statement_timeout`, so that it speaks first.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause before another try, per earlier try; the real one is random.
const RETRY_PAUSE: Duration = Duration::from_millis(4);

#[derive(Clone, Debug)]
pub struct Loaded<A> {
    pub state: A,
    /// The sequence of its last event, 0 when it has none.
    pub version: i64,
    /// It comes from the cache, and another process may have moved the aggregate since.
    pub(super) may_be_stale: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its events are in the log.
    Committed(Committed),
    /// Every command was a repeat; nothing was written.
    Unchanged,
}

impl Outcome {
    /// The position of its last event; `None` when nothing was written.
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
        let label = outcome_label(&outcome);
        span.note("offers.outcome", label);
        metrics::counter!("offers_commands_total", "outcome" => label).increment(1);
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
        for earlier_tries in 0..TRIES {
            let mut decided = self.decide(plan(self).await?, earlier_tries == 0).await?;
            let Some(commit) = decided.take_commit(metadata) else { return Ok(Outcome::Unchanged) };
            let submitted = Instant::now();
            let verdict = self.0.writer.append(commit).await;
            metrics::histogram!("offers_commit_seconds").record(submitted.elapsed());
            match verdict {
                Ok(committed) => {
                    self.remember(decided);
                    return Ok(Outcome::Committed(committed));
                }
                Err(AppendError::Conflict(_)) => {
                    self.forget(&decided);
                    let pause = (RETRY_PAUSE * earlier_tries).mul_f64(rand::random::<f64>());
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

    /// The aggregate's state. It may come from the cache and then be stale: commit with its version, or
    /// `reload` before refusing anything.
    pub async fn load<A: Cached>(&self, id: Uuid) -> Result<Loaded<A>, LogError> {
        match self.0.states.get(&StreamId::of::<A>(id)) {
            Some(cached) => Ok(cached),
            None => self.reload(id).await,
        }
    }

    /// The aggregate's state, folded from its stream.
    pub async fn reload<A: Cached>(&self, id: Uuid) -> Result<Loaded<A>, LogError> {
        let repository = PostgresEventRepository::new(self.0.pool.clone());
        let name = id.to_string();
        let stream = timeout(READ_TIMEOUT, repository.get_events::<A>(&name)).await;
        let stream = stream.map_err(|_| LogError::unavailable("PostgreSQL does not answer"))?;
        let stream = stream.map_err(LogError::unavailable)?;
        let version = i64::try_from(stream.len()).expect("a stream fits in memory");
        let mut state = A::default();
        for event in stream {
            state.apply(serde_json::from_value(event.payload).map_err(|cause| LogError::Broken {
                position: 0,
                why: format!("{} {id}, event {}: {cause}", A::TYPE, event.sequence),
            })?);
        }
        if version > 0 {
            self.0.states.put(StreamId::of::<A>(id), version, state.clone().into_state());
        }
        Ok(Loaded { state, version, may_be_stale: false })
    }

    async fn decide(&self, plan: Plan, first_try: bool) -> Result<Decided, ExecuteError> {
        let mut steps = Vec::with_capacity(plan.commands.len());
        for PlannedCommand { command, is_first } in plan.commands {
            let new = is_first && first_try; // a conflict may mean that it exists after all
            steps.push(match command {
                AggregateCommand::Transaction(id, command) => {
                    self.step::<Transaction>(id.0, command, new).await?
                }
                AggregateCommand::UserOffer(id, command) => {
                    self.step::<UserOffer>(id.0, command, new).await?
                }
                AggregateCommand::Offer(id, command) => self.step::<Offer>(id.0, command, new).await?,
                AggregateCommand::Account(id, command) => self.step::<Account>(id.0, command, new).await?,
            });
        }
        let Plan { expected_versions, first_event_id, .. } = plan;
        Ok(Decided { steps, expected_versions, first_event_id })
    }

    /// Decides one command. If a state that may be stale rejects it or calls it a repeat, the decision is
    /// made once more from the stream.
    async fn step<A>(&self, id: Uuid, command: A::Command, new: bool) -> Result<Step, ExecuteError>
    where
        A: Cached,
        A::Command: Clone,
        Rejection: From<A::Error>,
    {
        let loaded = match new {
            true => Loaded { state: A::default(), version: 0, may_be_stale: false },
            false => self.load::<A>(id).await?,
        };
        let events = match loaded.state.decide(command.clone()) {
            Ok(events) if !events.is_empty() => events,
            decision if !loaded.may_be_stale => decision.map_err(Rejection::from)?,
            _ => {
                let fresh = self.reload::<A>(id).await?;
                let events = fresh.state.decide(command).map_err(Rejection::from)?;
                return Ok(Step::new(id, fresh, events));
            }
        };
        Ok(Step::new(id, loaded, events))
    }

    /// Caches the states after a commit.
    fn remember(&self, decided: Decided) {
        for step in decided.steps.into_iter().filter(|step| step.version_after > step.version) {
            self.0.states.put(step.stream, step.version_after, step.state);
        }
    }

    /// Removes every state that the decision was made on from the cache.
    fn forget(&self, decided: &Decided) {
        decided.steps.iter().for_each(|step| self.0.states.remove(&step.stream));
        decided.expected_versions.iter().for_each(|(stream, _)| self.0.states.remove(stream));
    }
}

/// How a plan ended, as metrics and traces name it.
fn outcome_label(outcome: &Result<Outcome, ExecuteError>) -> &'static str {
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

struct Decided {
    steps: Vec<Step>,
    expected_versions: Vec<(StreamId, i64)>,
    first_event_id: Option<Uuid>,
}

struct Step {
    stream: StreamId,
    /// Before the events.
    version: i64,
    version_after: i64,
    /// Until the commit takes them.
    events: Vec<NewEvent>,
    entries: Vec<Entry>,
    /// After the events.
    state: State,
}

impl Step {
    fn new<A: Cached>(id: Uuid, loaded: Loaded<A>, decided: Vec<A::Event>) -> Self {
        let mut state = loaded.state;
        let mut entries = Vec::new();
        let mut events = Vec::with_capacity(decided.len());
        for event in decided {
            entries.extend(state.postings(id, &event));
            events.push(NewEvent {
                event_id: Uuid::now_v7(),
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_string(&event).expect("an event is plain data"),
            });
            state.apply(event);
        }
        let (stream, version) = (StreamId::of::<A>(id), loaded.version);
        let version_after = version + i64::try_from(events.len()).expect("a decision has a few events");
        Self { stream, version, version_after, events, entries, state: state.into_state() }
    }

    fn take_write(&mut self) -> StreamWrite {
        let events = std::mem::take(&mut self.events);
        StreamWrite { stream: self.stream, expected_version: self.version, events }
    }
}

impl Decided {
    /// The one commit of all commands; `None` when there is nothing to write. A command that repeats an
    /// earlier one still expects that its aggregate does not move meanwhile.
    fn take_commit(&mut self, metadata: &Metadata) -> Option<Commit> {
        let (repeats, active): (Vec<&mut Step>, Vec<&mut Step>) =
            self.steps.iter_mut().partition(|step| step.events.is_empty());
        let mut writes: Vec<StreamWrite> = active.into_iter().map(Step::take_write).collect();
        let first = writes.first_mut()?.events.first_mut()?;
        first.event_id = self.first_event_id.unwrap_or(first.event_id);
        let repeats = repeats.iter().map(|step| (step.stream, step.version));
        Some(Commit {
            writes,
            expected_versions: self.expected_versions.iter().copied().chain(repeats).collect(),
            entries: guarded(self.steps.iter().flat_map(|step| &step.entries)),
            is_idempotent: self.first_event_id.is_some(),
            metadata: serde_json::to_string(metadata).expect("metadata is an object of strings"),
        })
    }
}

/// The sum of the entries on each owner's account: those are the accounts that must never fall below zero.
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
