//! What one round has left behind, collected once from outside.

use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the rules are checked against.
#[derive(Clone, Default)]
pub struct Recording {
    /// The log, by position.
    pub events: Vec<Event>,
    /// Every 201 and 202, repeats too.
    pub answers: Vec<Answer>,
    /// The activation system's log.
    pub effects: Vec<Effect>,
    /// Account to what the database says it has.
    pub balances: BTreeMap<String, Decimal>,
    /// Account to what the API told its owner.
    pub told: BTreeMap<String, Decimal>,
    /// Statuses that were read while faults were at work, in order.
    pub seen: Vec<Seen>,
    /// Transaction to its hash in Redis.
    pub hashes: BTreeMap<String, BTreeMap<String, String>>,
    /// The stream, in its order.
    pub messages: Vec<Message>,
    /// What the partner has taken, in its order.
    pub callbacks: Vec<Callback>,
    /// Transactions that are listed as contradicted.
    pub contradicted: BTreeSet<String>,
    /// What `offers check --redis` found.
    pub differences: Vec<String>,
}

#[derive(Clone)]
pub struct Event {
    pub position: i64,
    pub id: String,
    pub aggregate: String,
    pub aggregate_id: String,
    pub sequence: i64,
    pub name: String,
    pub payload: Value,
    /// The last position of its commit.
    pub commit_end: i64,
    pub recorded_at_us: i64,
}

#[derive(Clone)]
pub struct Answer {
    /// The idempotency key, or the partner's reference.
    pub key: String,
    pub transaction: String,
}

#[derive(Clone)]
pub struct Effect {
    /// `activated` or `cancelled`.
    pub name: String,
    pub transaction: String,
    /// Unknown if it was cancelled before it came.
    pub amount: Option<String>,
    pub at_us: i64,
}

#[derive(Clone)]
pub struct Seen {
    /// `HTTP` or `Redis`.
    pub channel: &'static str,
    pub transaction: String,
    pub status: String,
    /// Of the hash; the API does not tell it.
    pub position: Option<i64>,
}

#[derive(Clone)]
pub struct Message {
    pub sequence: i64,
    pub event_id: String,
    pub data: Value,
}

#[derive(Clone)]
pub struct Callback {
    pub event_id: String,
    pub transaction: String,
    pub status: String,
}

impl Event {
    pub fn text(&self, member: &str) -> &str {
        self.payload[member].as_str().unwrap_or_default()
    }

    pub fn amount(&self) -> Decimal {
        self.text("amount").parse().unwrap_or_default()
    }

    /// The status that a transaction has with it, if it is final.
    pub fn final_status(&self) -> Option<&'static str> {
        match self.name.as_str() {
            "Succeeded" => Some("SUCCESS"),
            "Failed" => Some("FAILED"),
            _ => None,
        }
    }

    /// The account that it moves money of, and how much comes in.
    pub fn entry(&self) -> Option<(&str, Decimal)> {
        match self.name.as_str() {
            "Credited" => Some((&self.aggregate_id, self.amount())),
            "Debited" => Some((&self.aggregate_id, -self.amount())),
            "ActivationRequested" => Some((self.text("account_id"), -self.amount())),
            "Refunded" => Some((self.text("account_id"), self.amount())),
            _ => None,
        }
    }
}

impl Recording {
    /// The events of each transaction, in order.
    pub fn transactions(&self) -> BTreeMap<&str, Vec<&Event>> {
        let mut all: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.aggregate == "Transaction") {
            all.entry(&event.aggregate_id).or_default().push(event);
        }
        all
    }
}
