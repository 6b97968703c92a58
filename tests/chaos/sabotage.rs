//! The rules are tested too: a recording that is sound is spoilt in one place, and the rule that it breaks must say
//! so by its name.

use crate::recording::{Answer, Callback, Effect, Event, Recording, Seen};
use crate::rules::violations;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

/// Spoils the recording at a place that is drawn; `None` when it has no such place.
type Spoil = fn(&mut Recording, &mut StdRng) -> Option<()>;

/// What is spoilt, the rule that must say so, and how.
pub const SABOTAGES: &[(&str, &str, Spoil)] = &[
    ("an event is lost", "positions", |all, random| {
        let at = random.random_range(0..all.events.len() - 1);
        all.events.remove(at);
        Some(())
    }),
    ("the last event is lost", "stream", |all, _| all.events.pop().map(drop)),
    ("two events are swapped", "positions", |all, random| {
        let at = random.random_range(1..all.events.len());
        all.events.swap(at - 1, at);
        Some(())
    }),
    ("two positions are exchanged, with their commits", "sequences", |all, random| {
        let of = |event: &&Event| event.name == "Processing";
        let at = all.events.iter().filter(of).choose(random)?.position;
        let id = all.event(at)?.aggregate_id.clone();
        let earlier = all.events.iter().find(|event| event.aggregate_id == id)?.position;
        let (one, other) = (all.event(earlier)?.clone(), all.event(at)?.clone());
        put_at(all, earlier, other);
        put_at(all, at, one);
        Some(())
    }),
    ("time goes back", "positions", |all, random| {
        let at = random.random_range(1..all.events.len());
        all.events[at].recorded_at_us = all.events[at - 1].recorded_at_us - 1;
        Some(())
    }),
    ("a commit is torn at the end", "positions", |all, _| {
        all.events.last_mut()?.commit_end += 1;
        Some(())
    }),
    ("a refund is doubled", "refunds", |all, random| {
        let refund = named(all, "Refunded", random)?;
        append(all, refund);
        Some(())
    }),
    ("a refund is left out", "refunds", |all, random| {
        let at = named(all, "Refunded", random)?.position;
        let event = all.event_mut(at)?;
        event.call("Processing");
        Some(())
    }),
    ("a refund comes in another commit", "refunds", |all, random| {
        let at = named(all, "Refunded", random)?.position;
        all.event_mut(at)?.commit_end += 1;
        Some(())
    }),
    ("a refund goes to another account", "refunds", |all, random| {
        let at = named(all, "Refunded", random)?.position;
        all.event_mut(at)?.payload["account_id"] = json!(Uuid::nil().to_string());
        Some(())
    }),
    ("a refund is rounded", "refunds", |all, random| {
        let at = named(all, "Refunded", random)?.position;
        let event = all.event_mut(at)?;
        event.payload["amount"] = json!((event.amount() - Decimal::new(1, 2)).to_string());
        Some(())
    }),
    ("a price is rounded", "money", |all, random| {
        let at = named(all, "Succeeded", random)?.aggregate_id;
        let event = all.events.iter_mut().find(|event| event.aggregate_id == at)?;
        event.payload["amount"] = json!((event.amount() + Decimal::new(1, 2)).to_string());
        Some(())
    }),
    ("an account pays what it has not", "money", |all, _| {
        let mut event = all.events.iter().find(|event| event.name == "Credited")?.clone();
        event.call("Debited");
        event.payload["amount"] = json!("999999999.00");
        append(all, event);
        Some(())
    }),
    ("a balance in the database is a cent too high", "balances", |all, random| {
        *all.balances.values_mut().choose(random)? += Decimal::new(1, 2);
        Some(())
    }),
    ("the API tells a balance that is a cent too low", "balances", |all, random| {
        *all.told.values_mut().choose(random)? -= Decimal::new(1, 2);
        Some(())
    }),
    ("an accepted purchase is not in the log", "accepted", |all, random| {
        all.answers.iter_mut().choose(random)?.transaction = Uuid::nil().to_string();
        Some(())
    }),
    ("a repeat is answered with another transaction", "repeats", |all, random| {
        let [one, other] = two(&all.answers, random)?;
        all.answers.push(Answer { key: one.key, transaction: other.transaction });
        Some(())
    }),
    ("two keys have one transaction", "repeats", |all, random| {
        let one = all.answers.iter().choose(random)?.clone();
        all.answers.push(Answer { key: "another".to_owned(), ..one });
        Some(())
    }),
    ("a transaction has no end", "one end", |all, random| {
        let at = named(all, "Succeeded", random)?.position;
        all.event_mut(at)?.call("Processing");
        Some(())
    }),
    ("a transaction ends twice", "one end", |all, random| {
        let end = named(all, "Succeeded", random)?;
        append(all, end);
        Some(())
    }),
    ("an effect is doubled", "effects", |all, random| {
        let effect = all.effects.iter().filter(|effect| effect.name == "activated").choose(random)?.clone();
        all.effects.push(effect);
        Some(())
    }),
    ("a success has no effect", "effects", |all, random| {
        let id = named(all, "Succeeded", random)?.aggregate_id;
        all.effects.retain(|effect| effect.transaction != id);
        Some(())
    }),
    ("a refunded purchase is done", "effects", |all, random| {
        let failed = named(all, "Failed", random)?;
        all.effects.push(Effect::of("activated", &failed));
        Some(())
    }),
    ("an effect is of another amount", "effects", |all, random| {
        all.effects.iter_mut().filter(|effect| effect.name == "activated").choose(random)?.amount =
            Some("0.01".to_owned());
        Some(())
    }),
    ("a contradiction is not listed", "effects", |all, random| {
        let mut failed = named(all, "Failed", random)?;
        all.effects.push(Effect::of("activated", &failed));
        failed.call("Contradicted");
        append(all, failed);
        Some(())
    }),
    ("an effect came before its intent was in the log", "intent", |all, random| {
        let id = named(all, "Succeeded", random)?.aggregate_id;
        let intents =
            all.events.iter_mut().filter(|event| event.aggregate_id == id && event.name == "Processing");
        intents.for_each(|event| event.call("Forgotten"));
        Some(())
    }),
    ("an effect came a moment before its intent", "intent", |all, random| {
        let intent = named(all, "Processing", random)?;
        all.effects.push(Effect { at_us: intent.recorded_at_us - 1, ..Effect::of("activated", &intent) });
        Some(())
    }),
    ("a cancellation has no intent in the log", "intent", |all, random| {
        let failed = named(all, "Failed", random)?;
        let of_it = all.events.iter_mut().filter(|event| event.aggregate_id == failed.aggregate_id);
        of_it.filter(|event| event.name == "CancelRequested").for_each(|event| event.call("Forgotten"));
        all.effects.push(Effect::of("cancelled", &failed));
        Some(())
    }),
    ("a success gives no subscription", "subscriptions", |all, random| {
        let at = named(all, "Activated", random)?.position;
        all.event_mut(at)?.call("ExpirySoon");
        Some(())
    }),
    ("a subscription is given twice", "subscriptions", |all, random| {
        let given = named(all, "Activated", random)?;
        append(all, given);
        Some(())
    }),
    ("a status is seen to go back", "forward", |all, random| {
        let seen = all.seen.iter().filter(|seen| seen.status == "SUCCESS").choose(random)?.clone();
        all.seen.push(Seen { status: "PROCESSING".to_owned(), ..seen });
        Some(())
    }),
    ("a hash is moved back to an older position", "forward", |all, random| {
        let seen = all.seen.iter().filter(|seen| seen.position.is_some()).choose(random)?.clone();
        all.seen.push(Seen { position: seen.position.map(|position| position - 1), ..seen });
        Some(())
    }),
    ("an end is seen that the log has not", "forward", |all, random| {
        let transaction = named(all, "Failed", random)?.aggregate_id;
        all.seen.push(Seen { channel: "HTTP", transaction, status: "SUCCESS".to_owned(), position: None });
        Some(())
    }),
    ("a hash has another status", "hashes", |all, random| {
        let hash = all.hashes.values_mut().choose(random)?;
        hash.insert("status".to_owned(), "PROCESSING".to_owned());
        Some(())
    }),
    ("a hash is of an older position", "hashes", |all, random| {
        let hash = all.hashes.values_mut().choose(random)?;
        hash.insert("position".to_owned(), "1".to_owned());
        Some(())
    }),
    ("a hash is missing", "hashes", |all, random| {
        let id = all.hashes.keys().choose(random)?.clone();
        all.hashes.remove(&id).map(drop)
    }),
    ("the stream has lost a message", "stream", |all, random| {
        let at = random.random_range(1..all.messages.len());
        all.messages.remove(at);
        Some(())
    }),
    ("the stream has a message twice", "stream", |all, random| {
        let at = random.random_range(0..all.messages.len());
        all.messages.insert(at, all.messages[at].clone());
        Some(())
    }),
    ("the stream has an event that is not in the log", "stream", |all, random| {
        all.messages.iter_mut().choose(random)?.event_id = Uuid::nil().to_string();
        Some(())
    }),
    ("a message says something else than its event", "stream", |all, random| {
        all.messages.iter_mut().choose(random)?.data["type"] = json!("Else");
        Some(())
    }),
    ("a partner is not told", "callbacks", |all, random| {
        let transaction = all.callbacks.iter().choose(random)?.transaction.clone();
        all.callbacks.retain(|callback| callback.transaction != transaction);
        Some(())
    }),
    ("a partner is told the other end", "callbacks", |all, random| {
        let callback = all.callbacks.iter_mut().choose(random)?;
        let other = if callback.status == "FAILED" { "SUCCESS" } else { "FAILED" };
        other.clone_into(&mut callback.status);
        Some(())
    }),
    ("a partner is told something else first", "callbacks", |all, random| {
        let callback = all.callbacks.iter().choose(random)?.clone();
        all.callbacks.insert(0, Callback { event_id: Uuid::nil().to_string(), ..callback });
        Some(())
    }),
    ("a read table differs from the log", "derived", |all, _| {
        all.differences.push("offers check: a difference".to_owned());
        Some(())
    }),
];

/// The sabotages that were not caught by their rule, out of all. A recording may lack what one needs.
pub fn missed(sound: &Recording, seed: u64) -> Vec<String> {
    let mut missed = Vec::new();
    for (number, (what, rule, spoil)) in (0_u64..).zip(SABOTAGES) {
        let mut spoilt = sound.clone();
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        if spoil(&mut spoilt, &mut random).is_none() {
            missed.push(format!("{what}: the recording has no place for it"));
        } else if !violations(&spoilt).iter().any(|violation| violation.rule == *rule) {
            missed.push(format!("{what}: not caught by the rule of {rule}"));
        }
    }
    missed
}

impl Recording {
    fn event(&self, position: i64) -> Option<&Event> {
        self.events.iter().find(|event| event.position == position)
    }

    fn event_mut(&mut self, position: i64) -> Option<&mut Event> {
        self.events.iter_mut().find(|event| event.position == position)
    }
}

impl Effect {
    /// At the time of `event`, on its transaction.
    fn of(name: &str, event: &Event) -> Self {
        let (transaction, at_us) = (event.aggregate_id.clone(), event.recorded_at_us);
        Self { name: name.to_owned(), transaction, amount: None, at_us }
    }
}

impl Event {
    fn call(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

fn named(all: &Recording, name: &str, random: &mut StdRng) -> Option<Event> {
    all.events.iter().filter(|event| event.name == name).choose(random).cloned()
}

/// Adds it as the newest event, so that only what it says is wrong.
fn append(all: &mut Recording, mut event: Event) {
    let last = &all.events[all.events.len() - 1];
    let position = last.position + 1;
    let of_same = all.events.iter().filter(|other| other.aggregate_id == event.aggregate_id);
    event.sequence = of_same.map(|other| other.sequence).max().unwrap_or_default() + 1;
    event.recorded_at_us = last.recorded_at_us;
    (event.position, event.commit_end) = (position, position);
    all.events.push(event);
}

/// Puts what `event` says to `position`, whose place and commit stay.
fn put_at(all: &mut Recording, position: i64, event: Event) {
    if let Some(place) = all.event_mut(position) {
        let Event { commit_end, recorded_at_us, .. } = *place;
        *place = Event { position, commit_end, recorded_at_us, ..event };
    }
}

fn two(answers: &[Answer], random: &mut StdRng) -> Option<[Answer; 2]> {
    let one = answers.iter().choose(random)?.clone();
    let other = answers.iter().filter(|other| other.key != one.key).choose(random)?.clone();
    Some([one, other])
}
