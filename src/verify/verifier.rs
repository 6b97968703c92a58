//! Takes a history in order.

use super::batch::Record;
use super::checkpoints::Known;
use super::report::{Compared, Finding, Place, Report, State};
use super::{Batch, Checkpoints, Problem};
use crate::tree::{Builder, Hash};
use domain::{AccountId, Ledger, Money, Replay, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

/// A verification under way. Its memory grows with the aggregates, not with the records.
#[derive(Debug, Default)]
pub struct Verifier {
    tree: Builder,
    last: Option<(Timestamp, Hash)>,
    replay: Replay,
    balances: HashMap<AccountId, Money>,
    /// Accounts that the commit under way has left with less than nothing.
    overdrawn: Option<AccountId>,
    /// Those that are not reached.
    checkpoints: VecDeque<Known>,
    compared: Vec<Compared>,
    findings: Vec<Finding>,
    /// The size of the largest checkpoint that matches.
    vouched: u64,
    /// Records that were compared with the stored tree.
    stored: u64,
    fork: Option<Fork>,
    /// The stored tree beyond the last record.
    beyond: Option<Builder>,
    /// A checkpoint beyond the last record vouches for the stored tree: then the place where the log is wrong is known.
    has_vouched_tree: bool,
    /// The first record that no rule allows. The tree goes on, so that the checkpoints say whether it is the first wrong
    /// one.
    contradiction: Option<(u64, Problem)>,
    unusable: Option<(Place, Problem)>,
}

/// The tree as it was stored while the log grew, from the first leaf on that differs.
#[derive(Debug)]
struct Fork {
    position: u64,
    tree: Builder,
    /// A checkpoint vouches for it, or shows that it is wrong too: then the place is told with the checkpoint.
    is_judged: bool,
}

impl Verifier {
    #[must_use]
    pub fn new(checkpoints: Checkpoints) -> Self {
        let mut verifier = Self { checkpoints: checkpoints.all.into(), ..Self::default() };
        verifier.contradictions();
        verifier.compare_checkpoints(); // of an empty tree
        verifier
    }

    /// The position that the next record must have.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.tree.size() + 1
    }

    /// Takes the next records. `stored` are the leaves of the stored tree for them; there may be fewer, and none if
    /// there is no such tree. `Break` if a record is wrong by itself.
    pub fn take(&mut self, batch: Batch, stored: &[Hash]) -> ControlFlow<()> {
        let mut stored = stored.iter();
        for record in batch.records {
            if let Err(problem) = self.check(&record) {
                self.stop(problem);
                return ControlFlow::Break(());
            }
            let position = self.next_position();
            self.append(&record, stored.next().copied());
            if self.contradiction.is_none()
                && let Err(problem) = self.apply(record)
            {
                self.contradiction = Some((position, problem));
            }
        }
        match batch.problem {
            None => ControlFlow::Continue(()),
            Some(problem) => {
                self.stop(problem);
                ControlFlow::Break(())
            }
        }
    }

    /// How many records are missing at the end, by the checkpoints.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let is_wrong_before = self.unusable.is_some() || !self.findings.is_empty();
        let largest = self.checkpoints.back().filter(|_| !is_wrong_before).map_or(0, |known| known.size);
        largest.saturating_sub(self.tree.size())
    }

    /// Takes the next leaves that the stored tree has for records that are missing at the end.
    pub fn take_missing(&mut self, stored: &[Hash]) {
        let begun = self.fork.as_ref().map_or(&self.tree, |fork| &fork.tree);
        let beyond = self.beyond.get_or_insert_with(|| begun.clone());
        for leaf in stored {
            beyond.push(*leaf);
            let known = self.checkpoints.iter().find(|known| known.size == beyond.size());
            self.has_vouched_tree |= known.is_some_and(|known| known.root == beyond.root());
        }
    }

    /// The history has ended.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let records = self.tree.size();
        let is_whole = self.findings.is_empty() && self.unusable.is_none();
        for known in std::mem::take(&mut self.checkpoints) {
            if is_whole && self.findings.is_empty() {
                let place = match (&self.fork, self.has_vouched_tree) {
                    (Some(fork), true) => Place::at(fork.position),
                    (None, true) => Place::at(records + 1),
                    (_, false) => Place { first: self.vouched + 1, last: records + 1 },
                };
                let what = format!(
                    "the log ends at position {records}, but there were {} records ({})",
                    known.size, known.source_name
                );
                self.findings.push(Finding { place, what });
            }
            self.note(&known, State::NotReached);
        }
        self.tell_contradiction();
        self.tell_fork();
        self.findings.sort_by_key(|finding| finding.place);
        Report {
            records,
            root: self.tree.root(),
            findings: self.findings,
            checkpoints: self.compared,
            unusable: self.unusable,
        }
    }

    /// The record's place among the others.
    fn check(&self, record: &Record) -> Result<(), Problem> {
        let expected = i64::try_from(self.next_position()).unwrap_or(i64::MAX);
        let found = record.position;
        if found != expected {
            let is_copy = self.last.is_some_and(|(_, leaf)| leaf == record.leaf);
            return Err(match found {
                _ if found > expected => Problem::Missing(found),
                _ if found == expected - 1 && !is_copy => Problem::Twice,
                _ => Problem::Position(found),
            });
        }
        match self.last {
            Some((before, _)) if record.recorded_at < before => Err(Problem::Time),
            _ => Ok(()),
        }
    }

    fn append(&mut self, record: &Record, stored: Option<Hash>) {
        let position = self.next_position();
        if let Some(leaf) = stored {
            self.stored += 1;
            if self.fork.is_none() && leaf != record.leaf {
                let tree = self.tree.clone();
                self.fork = Some(Fork { position, tree, is_judged: false });
            }
            if let Some(fork) = &mut self.fork {
                fork.tree.push(leaf);
            }
        }
        self.tree.push(record.leaf);
        self.last = Some((record.recorded_at, record.leaf));
        self.compare_checkpoints();
    }

    /// What the event means.
    fn apply(&mut self, record: Record) -> Result<(), Problem> {
        let entries = self.replay.apply(record.aggregate_id, record.sequence, record.event)?;
        for entry in entries {
            let Ledger::Owner(account) = entry.ledger else { continue };
            let balance = self.balances.entry(account).or_default();
            *balance = balance.checked_add(entry.amount).ok_or(Problem::Overdrawn(account))?;
            if balance.is_negative() {
                self.overdrawn = Some(account);
            }
        }
        if record.position >= record.commit_end
            && let Some(account) = self.overdrawn.take()
            && self.balances.get(&account).is_some_and(|balance| balance.is_negative())
        {
            return Err(Problem::Overdrawn(account));
        }
        Ok(())
    }

    /// Compares those whose size the tree has now.
    fn compare_checkpoints(&mut self) {
        while self.checkpoints.front().is_some_and(|known| known.size == self.tree.size()) {
            let Some(known) = self.checkpoints.pop_front() else { return };
            let fork_has_root = self.fork.as_ref().is_some_and(|fork| fork.tree.root() == known.root);
            if self.tree.root() == known.root {
                self.vouched = known.size;
                self.note(&known, State::Matches);
                continue;
            }
            if !self.compared.iter().any(|other| other.state == State::Differs) {
                let range = Place { first: self.vouched + 1, last: known.size.max(1) };
                let (place, and) = match &mut self.fork {
                    None => (range, ""),
                    Some(fork) => {
                        fork.is_judged = true;
                        match fork_has_root {
                            true => (Place::at(fork.position), ""),
                            false => (range, "; the stored tree was changed too"),
                        }
                    }
                };
                let what = format!(
                    "the records up to position {} are not those that the checkpoint vouches for ({}){and}",
                    known.size, known.source_name
                );
                self.findings.push(Finding { place, what });
            }
            self.note(&known, State::Differs);
        }
    }

    /// Two roots of one size cannot both be of one log.
    fn contradictions(&mut self) {
        let all: Vec<&Known> = self.checkpoints.iter().collect();
        for pair in all.windows(2) {
            if pair[0].size == pair[1].size && pair[0].root != pair[1].root {
                let what = format!(
                    "two checkpoints of {} records contradict each other ({} and {})",
                    pair[0].size, pair[0].source_name, pair[1].source_name
                );
                let place = Place { first: 1, last: pair[0].size.max(1) };
                self.findings.push(Finding { place, what });
            }
        }
    }

    /// What the stored tree says where no checkpoint has said it.
    fn tell_fork(&mut self) {
        let Some(fork) = &self.fork else { return };
        if fork.is_judged {
            return;
        }
        let what = match fork.position <= self.vouched {
            true => "the stored tree has another hash for this record; the checkpoints agree with the record",
            false => "the record is not the one that the stored tree was made of",
        };
        self.findings.push(Finding { place: Place::at(fork.position), what: what.to_owned() });
    }

    fn note(&mut self, known: &Known, state: State) {
        let Known { source_name, size, .. } = known;
        self.compared.push(Compared { source: source_name.clone(), size: *size, state });
    }

    /// Something up to the contradiction is wrong: where only a checkpoint is known to differ, it is no later.
    fn tell_contradiction(&mut self) {
        let Some((position, problem)) = self.contradiction.take() else { return };
        for finding in &mut self.findings {
            if (finding.place.first..finding.place.last).contains(&position) {
                finding.place.last = position;
            }
        }
        self.findings.push(Finding { place: Place::at(position), what: problem.to_string() });
    }

    /// The record is wrong by itself: nothing after it is looked at.
    fn stop(&mut self, problem: Problem) {
        let last = self.next_position();
        let are_all_before_known = self.fork.is_none() && self.stored == self.tree.size();
        let place = match problem {
            _ if are_all_before_known => Place::at(last),
            Problem::Twice | Problem::Time => Place { first: last - 1, last }, // either may have been changed
            _ => Place::at(last),
        };
        if problem.is_unusable() {
            self.unusable = Some((place, problem));
        } else {
            self.findings.push(Finding { place, what: problem.to_string() });
        }
    }
}
