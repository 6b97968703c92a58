//! What must be true of every recording, each rule by its name. Nothing here asks a server.

use super::recording::{Effect, Event, Recording};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// A broken rule.
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
}

type Rule = fn(&Recording) -> Vec<String>;

/// By name, with what it says in one sentence.
pub const RULES: &[(&str, Rule)] = &[
    ("positions", positions),
    ("sequences", sequences),
    ("money", money),
    ("balances", balances),
    ("accepted", accepted),
    ("repeats", repeats),
    ("one end", one_end),
    ("refunds", refunds),
    ("effects", effects),
    ("intent", intent),
    ("subscriptions", subscriptions),
    ("forward", forward),
    ("hashes", hashes),
    ("stream", stream),
    ("callbacks", callbacks),
    ("derived", derived),
];

/// Every rule that the recording breaks.
pub fn violations(recording: &Recording) -> Vec<Violation> {
    let broken = |(rule, check): &(&'static str, Rule)| {
        let rule = *rule;
        check(recording).into_iter().map(move |what| Violation { rule, what })
    };
    RULES.iter().flat_map(broken).collect()
}

/// Positions are 1..N, no time goes back, and no commit is torn.
fn positions(recording: &Recording) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last_us = i64::MIN;
    for (expected, event) in (1..).zip(&recording.events) {
        if event.position != expected {
            wrong.push(format!("position {} stands where {expected} belongs", event.position));
        }
        if event.recorded_at_us < last_us {
            wrong.push(format!("time goes back at position {}", event.position));
        }
        last_us = event.recorded_at_us;
    }
    let head = recording.events.len() as i64;
    let torn =
        recording.events.iter().filter(|event| event.commit_end < event.position || event.commit_end > head);
    wrong.extend(torn.map(|event| format!("the commit of position {} is torn", event.position)));
    wrong
}

/// The events of an aggregate are 1..n in the order of the log.
fn sequences(recording: &Recording) -> Vec<String> {
    let mut next: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for event in &recording.events {
        let expected = next.entry((&event.aggregate, &event.aggregate_id)).or_insert(1);
        if event.sequence != *expected {
            wrong.push(format!(
                "{} {} has {} for {expected}",
                event.aggregate, event.aggregate_id, event.sequence
            ));
        }
        *expected = event.sequence + 1;
    }
    wrong
}

/// No account is below zero at any position; what came in is what is there, spent, or held.
fn money(recording: &Recording) -> Vec<String> {
    let mut funds: BTreeMap<&str, Decimal> = BTreeMap::new();
    let mut wrong = Vec::new();
    for event in &recording.events {
        let Some((account, amount)) = event.entry() else { continue };
        let balance = funds.entry(account).or_default();
        *balance += amount;
        if *balance < Decimal::ZERO {
            wrong.push(format!("{account} has {balance} at position {}", event.position));
        }
    }
    let paid_in: Decimal = recording
        .events
        .iter()
        .filter(|event| event.aggregate == "Account")
        .filter_map(Event::entry)
        .map(|(_, amount)| amount)
        .sum();
    let spent: Decimal = recording.transactions().values().map(|events| spent(events)).sum();
    let there: Decimal = recording.balances.values().sum();
    if paid_in != spent + there {
        wrong.push(format!("{paid_in} came in, {spent} was spent, {there} is there"));
    }
    wrong
}

/// What a transaction has cost or holds.
fn spent(events: &[&Event]) -> Decimal {
    let of = |name: &str| {
        events.iter().filter(|event| event.name == name).map(|event| event.amount()).sum::<Decimal>()
    };
    if events.iter().any(|event| event.name == "Failed") { Decimal::ZERO } else { of("ActivationRequested") }
}

/// Each account's balance, in the database and by the API, is the fold of its events.
fn balances(recording: &Recording) -> Vec<String> {
    let mut folded: BTreeMap<&str, Decimal> = BTreeMap::new();
    for (account, amount) in recording.events.iter().filter_map(Event::entry) {
        *folded.entry(account).or_default() += amount;
    }
    let fold = |account: &str| folded.get(account).copied().unwrap_or_default();
    let unlike = |place: &'static str, balances: &BTreeMap<String, Decimal>| {
        let unlike = balances.iter().filter(|(account, balance)| fold(account) != **balance);
        let said = unlike
            .map(|(account, balance)| format!("{place} {balance} for {account}, not {}", fold(account)));
        said.collect::<Vec<_>>()
    };
    [unlike("the database has", &recording.balances), unlike("the API says", &recording.told)].concat()
}

/// What was answered 201 or 202 is in the log.
fn accepted(recording: &Recording) -> Vec<String> {
    let known = recording.transactions();
    let lost = recording.answers.iter().filter(|answer| !known.contains_key(answer.transaction.as_str()));
    lost.map(|answer| format!("{} was accepted and is not in the log", answer.transaction)).collect()
}

/// A key always has the same answer, and no transaction has two keys.
fn repeats(recording: &Recording) -> Vec<String> {
    let mut by_key: BTreeMap<&str, &str> = BTreeMap::new();
    let mut by_transaction: BTreeMap<&str, &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for answer in &recording.answers {
        if *by_key.entry(&answer.key).or_insert(&answer.transaction) != answer.transaction {
            wrong.push(format!("key {} has two answers", answer.key));
        }
        if *by_transaction.entry(&answer.transaction).or_insert(&answer.key) != answer.key {
            wrong.push(format!("{} is the answer to two keys", answer.transaction));
        }
    }
    wrong
}

/// Every transaction ends, once.
fn one_end(recording: &Recording) -> Vec<String> {
    let ends = |events: &[&Event]| events.iter().filter(|event| event.final_status().is_some()).count();
    let all = recording.transactions().into_iter().map(|(id, events)| (id, ends(&events)));
    all.filter(|(_, ends)| *ends != 1).map(|(id, ends)| format!("{id} ended {ends} times")).collect()
}

/// A failure has one refund, of the whole amount to its payer, in the same commit; a success has none.
fn refunds(recording: &Recording) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, events) in recording.transactions() {
        let named =
            |name: &str| events.iter().filter(|event| event.name == name).copied().collect::<Vec<_>>();
        let requests = named("ActivationRequested");
        match (named("Failed").as_slice(), named("Refunded").as_slice()) {
            ([], []) => {}
            ([failed], [refunded]) if failed.commit_end == refunded.commit_end => {
                let paid =
                    |event: &Event| (event.text("account_id").to_owned(), event.text("amount").to_owned());
                if requests.first().map(|request| paid(request)) != Some(paid(refunded)) {
                    wrong.push(format!("{id} was not refunded as it was paid"));
                }
            }
            (failed, refunded) => {
                wrong.push(format!(
                    "{id} failed {} times and was refunded {} times",
                    failed.len(),
                    refunded.len()
                ));
            }
        }
    }
    wrong
}

/// One effect for a success, of its amount; none for a failure, unless it is listed as contradicted.
fn effects(recording: &Recording) -> Vec<String> {
    let mut done: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::new();
    for effect in recording.effects.iter().filter(|effect| effect.name == "activated") {
        done.entry(&effect.transaction).or_default().push(effect.amount.as_deref());
    }
    let mut wrong = Vec::new();
    let transactions = recording.transactions();
    for (id, events) in &transactions {
        let effects = done.remove(id).unwrap_or_default();
        let said = |name: &str| events.iter().any(|event| event.name == name);
        let contradicted = said("Contradicted");
        let expected = usize::from(said("Succeeded") || contradicted);
        if effects.len() != expected {
            wrong.push(format!("{id} has {} effects, not {expected}", effects.len()));
        }
        let amount = events.first().map(|event| event.text("amount"));
        if effects.iter().any(|effect| effect.is_some() && *effect != amount) {
            wrong.push(format!("{id} was done for another amount"));
        }
        if contradicted != recording.contradicted.contains(*id) {
            wrong.push(format!("{id} is contradicted: {contradicted}, and listed: {}", !contradicted));
        }
    }
    wrong.extend(done.keys().map(|id| format!("an effect for {id}, which is not in the log")));
    wrong
}

/// Nothing was asked of the activation system before its intent was in the log: neither an activation nor a cancellation.
fn intent(recording: &Recording) -> Vec<String> {
    let mut first_us: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for event in &recording.events {
        first_us.entry((&event.aggregate_id, &event.name)).or_insert(event.recorded_at_us);
    }
    let mut wrong = Vec::new();
    for Effect { name, transaction, at_us, .. } in &recording.effects {
        let intent = if name == "cancelled" { "CancelRequested" } else { "Processing" };
        match first_us.get(&(transaction, intent)) {
            None => wrong.push(format!("{transaction} was {name} without an intent")),
            Some(intended_us) if intended_us > at_us => {
                wrong.push(format!("{transaction} was {name} before its intent was in the log"));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// A success has one subscription event in its commit, and no failure has any.
fn subscriptions(recording: &Recording) -> Vec<String> {
    let mut given: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in
        recording.events.iter().filter(|event| ["Activated", "Renewed"].contains(&event.name.as_str()))
    {
        given.entry(event.text("transaction_id")).or_default().push(event);
    }
    let mut wrong = Vec::new();
    for (id, events) in recording.transactions() {
        let commits: Vec<i64> =
            given.remove(id).unwrap_or_default().iter().map(|event| event.commit_end).collect();
        let expected: Vec<i64> =
            events.iter().filter(|event| event.name == "Succeeded").map(|event| event.commit_end).collect();
        if commits != expected {
            wrong.push(format!(
                "{id} succeeded {} times and gave {} subscriptions",
                expected.len(),
                commits.len()
            ));
        }
    }
    wrong
}

/// What was seen of a status on a channel only moves forward, and its end is the log's.
fn forward(recording: &Recording) -> Vec<String> {
    let ends: BTreeMap<&str, &str> = recording
        .events
        .iter()
        .filter_map(|event| Some((event.aggregate_id.as_str(), event.final_status()?)))
        .collect();
    let mut last: BTreeMap<(&str, &str), (usize, Option<i64>)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seen in &recording.seen {
        let Some(rank) = rank(&seen.status) else {
            wrong.push(format!("{} says {} of {}", seen.channel, seen.status, seen.transaction));
            continue;
        };
        let now = (rank, seen.position);
        let before = last.entry((seen.channel, &seen.transaction)).or_insert(now);
        if before.0 > rank || before.1 > seen.position {
            wrong.push(format!("{} went back to {} of {}", seen.channel, seen.status, seen.transaction));
        }
        *before = now;
        if rank == FINAL && ends.get(seen.transaction.as_str()) != Some(&seen.status.as_str()) {
            wrong.push(format!(
                "{} said {} of {}, the log does not",
                seen.channel, seen.status, seen.transaction
            ));
        }
    }
    wrong
}

const FINAL: usize = 2;

fn rank(status: &str) -> Option<usize> {
    match status {
        "PENDING" => Some(0),
        "PROCESSING" => Some(1),
        "SUCCESS" | "FAILED" => Some(FINAL),
        _ => None,
    }
}

/// Every hash has the end and the amount of the log, and the position of its last event.
fn hashes(recording: &Recording) -> Vec<String> {
    let mut wrong = Vec::new();
    let transactions = recording.transactions();
    for (id, events) in &transactions {
        let Some(hash) = recording.hashes.get(*id) else {
            wrong.push(format!("{id} has no hash"));
            continue;
        };
        let has = |field: &str, expected: &str| hash.get(field).is_some_and(|value| value == expected);
        let end = events.iter().find_map(|event| event.final_status()).unwrap_or_default();
        let amount = events.first().map(|event| event.text("amount")).unwrap_or_default();
        let position = events.last().map(|event| event.position.to_string()).unwrap_or_default();
        for (field, expected) in [("status", end), ("amount", amount), ("position", &position)] {
            if !has(field, expected) {
                wrong.push(format!("the hash of {id} has {:?} as {field}, not {expected}", hash.get(field)));
            }
        }
    }
    let phantoms = recording.hashes.keys().filter(|id| !transactions.contains_key(id.as_str()));
    wrong.extend(phantoms.map(|id| format!("a hash for {id}, which is not in the log")));
    wrong
}

/// The stream is the log's rest from some position on: each event once, in order, as it was recorded.
fn stream(recording: &Recording) -> Vec<String> {
    let (Some(first), Some(head)) = (recording.messages.first(), recording.events.last()) else {
        return vec!["the stream is empty".to_owned()];
    };
    let mut wrong = Vec::new();
    for (expected, message) in (first.sequence..).zip(&recording.messages) {
        let event = recording.events.get(usize::try_from(expected - 1).unwrap_or(usize::MAX));
        let what = match event {
            _ if message.sequence != expected => "stands in another's place",
            None => "is not in the log",
            Some(event) if event.id != message.event_id => "is another event",
            Some(event) if event.payload != message.data => "says something else",
            Some(_) => continue,
        };
        wrong.push(format!("message {} {what}", message.sequence));
    }
    if recording.messages.last().map(|message| message.sequence) != Some(head.position) {
        wrong.push("the stream does not end with the log".to_owned());
    }
    wrong
}

/// Each end of a partner's transaction was told to the partner, with the right status, and nothing else was.
fn callbacks(recording: &Recording) -> Vec<String> {
    let mut told: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for callback in &recording.callbacks {
        told.entry(&callback.transaction).or_default().push((&callback.event_id, &callback.status));
    }
    let mut wrong = Vec::new();
    for (id, events) in recording.transactions() {
        let by_partner = events.first().is_some_and(|event| !event.text("partner_id").is_empty());
        let mut told = told.remove(id).unwrap_or_default();
        told.dedup(); // a repeat of the last is allowed
        let ends = events.iter().filter_map(|event| Some((event.id.as_str(), event.final_status()?)));
        let expected: Vec<_> = ends.filter(|_| by_partner).collect();
        if told != expected {
            wrong.push(format!("the partner was told {told:?} of {id}, not {expected:?}"));
        }
    }
    wrong.extend(told.keys().map(|id| format!("the partner was told of {id}, which is not in the log")));
    wrong
}

/// Read tables, balances and hashes equal a rebuild from nothing.
fn derived(recording: &Recording) -> Vec<String> {
    recording.differences.clone()
}
