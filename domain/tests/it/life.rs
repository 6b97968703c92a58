//! What became of an aggregate that was given a sequence of commands.

use domain::{Entry, Ledger, Money, Rules};
use std::fmt::Debug;
use uuid::Uuid;

/// An aggregate whose life can be looked at.
pub(crate) trait Subject: Rules<Command: Clone + Debug, Error: PartialEq> + PartialEq + Debug {}

impl<A: Rules<Command: Clone + Debug, Error: PartialEq> + PartialEq + Debug> Subject for A {}

/// One command and what it led to.
pub(crate) struct Step<A: Subject> {
    pub(crate) before: A,
    pub(crate) command: A::Command,
    pub(crate) outcome: Result<Vec<A::Event>, A::Error>,
    pub(crate) after: A,
}

impl<A: Subject> Step<A> {
    fn take(before: A, command: A::Command) -> Self {
        let outcome = before.decide(command.clone());
        let mut after = before.clone();
        outcome.iter().flatten().for_each(|event| after.apply(event.clone()));
        Self { before, command, outcome, after }
    }

    /// What happened; nothing when the command was refused.
    pub(crate) fn events(&self) -> &[A::Event] {
        self.outcome.as_deref().unwrap_or_default()
    }
}

/// An aggregate from its first command to its last.
pub(crate) struct Life<A: Subject> {
    pub(crate) steps: Vec<Step<A>>,
    pub(crate) now: A,
}

impl<A: Subject> Life<A> {
    pub(crate) fn of(commands: Vec<A::Command>) -> Self {
        let mut now = A::default();
        let mut steps = Vec::with_capacity(commands.len());
        for command in commands {
            let step = Step::take(now, command);
            now = step.after.clone();
            steps.push(step);
        }
        Self { steps, now }
    }

    pub(crate) fn history(&self) -> Vec<A::Event> {
        self.steps.iter().flat_map(|step| step.events().to_vec()).collect()
    }

    /// Every entry that the events made, each judged in the state that it happened to.
    pub(crate) fn entries(&self, id: Uuid) -> Vec<Entry> {
        let mut state = A::default();
        let mut entries = Vec::new();
        for event in self.history() {
            entries.extend(state.postings(id, &event));
            state.apply(event);
        }
        entries
    }
}

/// The state that `history` leads to.
pub(crate) fn replay<A: Subject>(history: impl IntoIterator<Item = A::Event>) -> A {
    let mut state = A::default();
    history.into_iter().for_each(|event| state.apply(event));
    state
}

/// What stands in `ledger` after `entries`.
pub(crate) fn standing(entries: &[Entry], ledger: Ledger) -> Money {
    entries.iter().filter(|entry| entry.ledger == ledger).map(|entry| entry.amount).sum()
}
