//! Reads history against the rules: each event must be one that its aggregate could have decided in its state then.
//!
//! The rules decide here too: for every event there is a command that may have led to it, and the decision on that command
//! must begin with the event. So there is no second description of what is allowed.

use crate::account::{self, Account};
use crate::offer::{self, Offer};
use crate::transaction::{self, Transaction};
use crate::user_offer::{self, UserOffer};
use crate::{Entry, Event, Rules, Timestamp};
use std::collections::HashMap;
use uuid::Uuid;

/// Why an event cannot have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// It is not the next one of its aggregate.
    #[error("its sequence is {found}, but {expected} events of its aggregate are before it")]
    Sequence {
        /// The sequence that it has.
        found: i64,
        /// The number of earlier events.
        expected: i64,
    },
    /// The aggregate's state forbids it.
    #[error("no rule allows {0} in the state that the events before it lead to")]
    Rule(&'static str),
}

/// An aggregate whose events can be traced back to a command.
trait Traced: Rules {
    /// The commands that may have led to `event`.
    fn commands(event: &Self::Event) -> Vec<Self::Command>;

    /// What the event is called, for people.
    fn name(event: &Self::Event) -> &'static str;

    /// Whether a decision for `expected` may have been `event`: a text that nobody can derive may differ.
    fn agrees(expected: &Self::Event, event: &Self::Event) -> bool {
        expected == event
    }

    /// Whether it may stand there twice: it only notes something.
    fn is_note(_event: &Self::Event) -> bool {
        false
    }
}

/// All aggregates as their events have left them.
#[derive(Debug, Default)]
pub struct Replay {
    transactions: HashMap<Uuid, Slot>,
    subscriptions: HashMap<Uuid, Stream<UserOffer>>,
    offers: HashMap<Uuid, Stream<Offer>>,
    accounts: HashMap<Uuid, Stream<Account>>,
}

/// Of a finished transaction only what a late answer needs is kept: there are many.
#[derive(Debug)]
enum Slot {
    Open(Box<Stream<Transaction>>),
    Ended { sequence: i64, is_contradicted: bool },
}

/// One aggregate.
#[derive(Debug)]
struct Stream<A: Rules> {
    state: A,
    sequence: i64,
    /// What must follow: the rest of a decision.
    rest: Vec<A::Event>,
}

impl Replay {
    /// Takes the next event of the aggregate `id`; returns how it moves money.
    ///
    /// # Errors
    /// The `Contradiction`, after which the history is not to be trusted; the event is not applied.
    pub fn apply(&mut self, id: Uuid, sequence: i64, event: Event) -> Result<Vec<Entry>, Contradiction> {
        match event {
            Event::Transaction(event) => self.transaction(id, sequence, event),
            Event::UserOffer(event) => self.subscriptions.entry(id).or_default().apply(id, sequence, event),
            Event::Offer(event) => self.offers.entry(id).or_default().apply(id, sequence, event),
            Event::Account(event) => self.accounts.entry(id).or_default().apply(id, sequence, event),
        }
    }

    fn transaction(
        &mut self,
        id: Uuid,
        sequence: i64,
        event: transaction::Event,
    ) -> Result<Vec<Entry>, Contradiction> {
        let slot = self.transactions.entry(id).or_insert_with(|| Slot::Open(Box::default()));
        match slot {
            Slot::Open(stream) => {
                let entries = stream.apply(id, sequence, event)?;
                if stream.state.is_final() && stream.rest.is_empty() {
                    *slot = Slot::Ended { sequence, is_contradicted: false };
                }
                Ok(entries)
            }
            Slot::Ended { sequence: last, is_contradicted } => {
                check_sequence(sequence, *last)?;
                *is_contradicted = match event {
                    transaction::Event::Contradicted { .. } => true,
                    transaction::Event::Resolved { .. } if *is_contradicted => false,
                    _ => return Err(Contradiction::Rule(Transaction::name(&event))),
                };
                *last = sequence;
                Ok(Vec::new())
            }
        }
    }
}

impl<A: Rules> Default for Stream<A> {
    fn default() -> Self {
        Self { state: A::default(), sequence: 0, rest: Vec::new() }
    }
}

impl<A: Traced> Stream<A> {
    fn apply(&mut self, id: Uuid, sequence: i64, event: A::Event) -> Result<Vec<Entry>, Contradiction> {
        check_sequence(sequence, self.sequence)?;
        self.rest = self.rest_after(&event).ok_or(Contradiction::Rule(A::name(&event)))?;
        self.sequence = sequence;
        let entries = self.state.postings(id, &event);
        self.state.apply(event);
        Ok(entries)
    }

    /// What must follow `event`; `None` if it could not happen.
    fn rest_after(&self, event: &A::Event) -> Option<Vec<A::Event>> {
        if let [expected, rest @ ..] = self.rest.as_slice() {
            return A::agrees(expected, event).then(|| rest.to_vec());
        }
        A::commands(event).into_iter().find_map(|command| match self.state.decide(command).ok()?.as_slice() {
            [] => A::is_note(event).then(Vec::new),
            [first, rest @ ..] => A::agrees(first, event).then(|| rest.to_vec()),
        })
    }
}

fn check_sequence(found: i64, expected: i64) -> Result<(), Contradiction> {
    match found == expected + 1 {
        true => Ok(()),
        false => Err(Contradiction::Sequence { found, expected }),
    }
}

impl Traced for Transaction {
    fn commands(event: &transaction::Event) -> Vec<transaction::Command> {
        use transaction::{Command, Event as E, Outcome};
        match event.clone() {
            E::ActivationRequested(request) => vec![Command::Request(request)],
            E::Processing { attempt } => vec![Command::BeginAttempt { attempt }],
            E::AttemptFailed { attempt, kind, evidence, detail } => {
                vec![Command::RecordFailedAttempt { attempt, kind, evidence, detail }]
            }
            E::CancelRequested {} => vec![Command::BeginCancellation],
            E::RetryRequested {} => vec![Command::RequestRetry],
            E::Resolved { outcome: Outcome::Succeeded } => {
                vec![Command::Resolve { done_as: Some(String::new()) }]
            }
            E::Resolved { outcome: Outcome::Failed } => vec![Command::Resolve { done_as: None }],
            E::Contradicted { kind, answer, detail } => {
                vec![Command::RecordLateAnswer { kind, answer, detail }]
            }
            E::Succeeded { reference } => vec![Command::Succeed { reference }],
            E::Failed { code, message } => vec![Command::Fail { code, message }, Command::GiveUp],
            E::Refunded { .. } => vec![], // only as the rest of a failure
        }
    }

    fn name(event: &transaction::Event) -> &'static str {
        use transaction::Event as E;
        match event {
            E::ActivationRequested(_) => "ActivationRequested",
            E::Processing { .. } => "Processing",
            E::AttemptFailed { .. } => "AttemptFailed",
            E::CancelRequested {} => "CancelRequested",
            E::RetryRequested {} => "RetryRequested",
            E::Resolved { .. } => "Resolved",
            E::Contradicted { .. } => "Contradicted",
            E::Succeeded { .. } => "Succeeded",
            E::Failed { .. } => "Failed",
            E::Refunded { .. } => "Refunded",
        }
    }

    fn agrees(expected: &transaction::Event, event: &transaction::Event) -> bool {
        use transaction::Event as E;
        match (expected, event) {
            (E::Succeeded { .. }, E::Succeeded { .. }) => true,
            (E::Failed { code, .. }, E::Failed { code: found, .. }) => code == found,
            _ => expected == event,
        }
    }

    fn is_note(event: &transaction::Event) -> bool {
        use transaction::Event as E;
        matches!(event, E::AttemptFailed { .. } | E::CancelRequested {} | E::Contradicted { .. })
    }
}

impl Traced for UserOffer {
    fn commands(event: &user_offer::Event) -> Vec<user_offer::Command> {
        use user_offer::{Command, Event as E};
        match event {
            E::Activated(period) => days(period.starts_at, period.expires_at)
                .map(|duration_days| Command::Activate {
                    user_id: period.user_id,
                    offer_id: period.offer_id,
                    transaction_id: period.transaction_id,
                    duration_days,
                    at: period.starts_at,
                })
                .to_vec(),
            E::Renewed(period) => days(period.starts_at, period.expires_at)
                .map(|duration_days| Command::Renew {
                    transaction_id: period.transaction_id,
                    duration_days,
                    at: period.starts_at,
                })
                .to_vec(),
            E::ExpirySoon { expires_at, .. } => vec![Command::AnnounceExpiry { expires_at: *expires_at }],
            E::Expired { expires_at, .. } => vec![Command::Expire { at: *expires_at }],
        }
    }

    fn name(event: &user_offer::Event) -> &'static str {
        use user_offer::Event as E;
        match event {
            E::Activated(_) => "Activated",
            E::Renewed(_) => "Renewed",
            E::ExpirySoon { .. } => "ExpirySoon",
            E::Expired { .. } => "Expired",
        }
    }
}

impl Traced for Offer {
    fn commands(event: &offer::Event) -> Vec<offer::Command> {
        use offer::{Command, Event as E};
        match event.clone() {
            E::Created(terms) => vec![Command::Create(terms)],
            E::Changed(terms) => vec![Command::Change(terms)],
            E::Deactivated {} => vec![Command::Deactivate],
            E::Reactivated {} => vec![Command::Reactivate],
        }
    }

    fn name(event: &offer::Event) -> &'static str {
        use offer::Event as E;
        match event {
            E::Created(_) => "Created",
            E::Changed(_) => "Changed",
            E::Deactivated {} => "Deactivated",
            E::Reactivated {} => "Reactivated",
        }
    }
}

impl Traced for Account {
    fn commands(event: &account::Event) -> Vec<account::Command> {
        use account::{Command, Event as E};
        match *event {
            E::Opened { kind } => vec![Command::Open { kind }],
            E::Credited { amount } => vec![Command::Credit { amount }],
            E::Debited { amount } => vec![Command::Debit { amount }],
        }
    }

    fn name(event: &account::Event) -> &'static str {
        use account::Event as E;
        match event {
            E::Opened { .. } => "Opened",
            E::Credited { .. } => "Credited",
            E::Debited { .. } => "Debited",
        }
    }
}

/// How many days a period may have been meant to have: one that would go beyond the last moment that there is was cut.
fn days(starts_at: Timestamp, expires_at: Timestamp) -> [u32; 2] {
    let days = (expires_at.utc() - starts_at.utc()).num_days();
    let days = u32::try_from(days).unwrap_or(0);
    [days, days.saturating_add(1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{ActivationRequested, Command, Kind};
    use crate::{AccountId, Money, UserId};

    fn purchase() -> ActivationRequested {
        let buyer = Uuid::from_u128(1);
        ActivationRequested {
            kind: Kind::Activation,
            user_id: UserId(buyer),
            account_id: AccountId(buyer),
            partner_id: None,
            subscription_id: None,
            offer_id: Uuid::from_u128(2).into(),
            offer_name: "TV".to_owned(),
            duration_days: 30,
            amount: Money::from_hundredths(500),
            partner_reference: None,
            reference: None,
        }
    }

    /// The events that these commands lead to, one after the other.
    fn history(commands: &[Command]) -> Vec<transaction::Event> {
        let mut state = Transaction::default();
        let mut events = Vec::new();
        for command in commands {
            for event in state.decide(command.clone()).expect("a rule allows it") {
                cqrs_es::Aggregate::apply(&mut state, event.clone());
                events.push(event);
            }
        }
        events
    }

    fn replay(events: &[transaction::Event]) -> Result<(), (usize, Contradiction)> {
        let (mut replay, id) = (Replay::default(), Uuid::from_u128(7));
        for (at, event) in events.iter().enumerate() {
            let sequence = i64::try_from(at).expect("a few") + 1;
            replay.apply(id, sequence, Event::Transaction(event.clone())).map_err(|why| (at, why))?;
        }
        Ok(())
    }

    fn endings() -> Vec<Vec<Command>> {
        let (reference, code) = ("EXT-1".to_owned(), "no_stock".to_owned());
        let failed = Command::RecordFailedAttempt {
            attempt: 1,
            kind: transaction::AttemptKind::Activate,
            evidence: transaction::Evidence::NotSent,
            detail: "refused".to_owned(),
        };
        let late = Command::RecordLateAnswer {
            kind: transaction::AttemptKind::LookUp,
            answer: transaction::Answer::Activated,
            detail: "EXT-2".to_owned(),
        };
        let begin = [Command::Request(purchase()), Command::BeginAttempt { attempt: 1 }];
        let and = |more: &[Command]| [&begin[..], more].concat();
        vec![
            vec![begin[0].clone(), Command::GiveUp],
            and(&[Command::Succeed { reference: reference.clone() }]),
            and(&[
                failed,
                Command::BeginAttempt { attempt: 2 },
                Command::Fail { code, message: "x".into() },
                late,
            ]),
            and(&[Command::BeginCancellation, Command::Resolve { done_as: Some(reference) }]),
            and(&[Command::RequestRetry, Command::Resolve { done_as: None }]),
        ]
    }

    #[test]
    fn what_the_rules_decide_is_accepted() {
        for commands in endings() {
            assert_eq!(replay(&history(&commands)), Ok(()), "{commands:?}");
        }
    }

    #[test]
    fn an_event_that_is_left_out_doubled_or_moved_contradicts_the_rules() {
        for commands in endings() {
            let events = history(&commands);
            let is_harmless = |event: &transaction::Event| {
                Transaction::is_note(event) || matches!(event, transaction::Event::RetryRequested {})
            };
            for at in 0..events.len() {
                let mut doubled = events.clone();
                doubled.insert(at, events[at].clone());
                assert!(is_harmless(&events[at]) || replay(&doubled).is_err(), "{at} twice in {events:?}");
                let Some(next) = events.get(at + 1) else { continue };
                let mut swapped = events.clone();
                swapped.swap(at, at + 1);
                let may_be_swapped = is_harmless(&events[at]) || is_harmless(next);
                assert!(may_be_swapped || replay(&swapped).is_err(), "{at} swapped in {events:?}");
            }
        }
    }

    #[test]
    fn a_sequence_that_is_not_the_next_is_named() {
        let mut replay = Replay::default();
        let opened = Event::Account(account::Event::Opened { kind: account::Kind::User });
        let refused = replay.apply(Uuid::nil(), 2, opened.clone());
        assert_eq!(refused, Err(Contradiction::Sequence { found: 2, expected: 0 }));
        assert_eq!(replay.apply(Uuid::nil(), 1, opened), Ok(vec![]));
    }

    #[test]
    fn a_refund_of_another_amount_is_not_accepted() {
        let mut events = history(&endings()[0]);
        let Some(transaction::Event::Refunded { amount, .. }) = events.last_mut() else { panic!("refunded") };
        *amount = Money::from_hundredths(501);
        assert_eq!(replay(&events), Err((2, Contradiction::Rule("Refunded"))));
    }

    #[test]
    fn a_subscription_that_was_cut_at_the_last_moment_is_accepted() {
        let at: Timestamp = "9999-12-20T00:00:00.000000Z".parse().expect("a moment");
        let activate = user_offer::Command::Activate {
            user_id: Uuid::nil().into(),
            offer_id: Uuid::nil().into(),
            transaction_id: Uuid::nil().into(),
            duration_days: 90,
            at,
        };
        let events = UserOffer::default().decide(activate).expect("it begins");
        let mut replay = Replay::default();
        assert!(replay.apply(Uuid::nil(), 1, Event::UserOffer(events[0].clone())).is_ok());
    }
}
