//! Keeps places on the mirror free: there is a bound on consumers, and an analyst who leaves durable ones
//! behind must not keep the others out.

use super::api::find;
use super::error::Error;
use async_nats::jetstream::Context;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

/// Consumers that analysts may have on the mirror.
pub(super) const MAX_CONSUMERS: i32 = 64;
/// With so many of them, those that nobody uses are deleted.
const CROWDED: usize = 32;
/// A consumer is unused when nobody has asked it for anything, or listened to it, for so long.
const UNUSED_AFTER: TimeDelta = TimeDelta::minutes(5);

#[derive(Deserialize)]
struct Page {
    consumers: Vec<Consumer>,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    created: DateTime<Utc>,
    delivered: Delivered,
    /// Pulls that wait for messages.
    num_waiting: u64,
    /// Somebody listens to what it pushes.
    #[serde(default)]
    push_bound: bool,
}

#[derive(Deserialize)]
struct Delivered {
    last_active: Option<DateTime<Utc>>,
}

impl Consumer {
    fn is_unused(&self, now: DateTime<Utc>) -> bool {
        let last_used = self.delivered.last_active.unwrap_or(self.created);
        !self.push_bound && self.num_waiting == 0 && now - last_used > UNUSED_AFTER
    }
}

/// Deletes unused consumers of `mirror` if it has many, which `count` says.
pub(super) async fn free_places(
    context: &Context,
    mirror: &str,
    count: usize,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if count < CROWDED {
        return Ok(());
    }
    let page: Option<Page> = find(context, format!("CONSUMER.LIST.{mirror}"), &json!({})).await?;
    let consumers = page.map(|page| page.consumers).unwrap_or_default();
    for Consumer { name, .. } in consumers.into_iter().filter(|consumer| consumer.is_unused(now)) {
        tracing::info!(
            consumer = name,
            "deleting the analysts' consumer {name}: nobody uses it, and places are short"
        );
        find::<Value>(context, format!("CONSUMER.DELETE.{mirror}.{name}"), &json!({})).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_unused_when_nobody_has_asked_it_for_anything_for_a_while() {
        let now: DateTime<Utc> = "2026-11-22T08:30:00Z".parse().unwrap();
        let created = "2026-11-22T08:00:00.123456789Z";
        let unused = |more: Value| {
            let mut consumer = json!({ "name": "c", "created": created, "delivered": {}, "num_waiting": 0 });
            for (name, value) in more.as_object().unwrap() {
                consumer[name] = value.clone();
            }
            serde_json::from_value::<Consumer>(consumer).unwrap().is_unused(now)
        };
        assert!(unused(json!({})), "since it was created");
        assert!(unused(json!({ "delivered": { "last_active": "2026-11-22T08:24:00Z" } })));
        assert!(!unused(json!({ "delivered": { "last_active": "2026-11-22T08:26:00Z" } })));
        assert!(!unused(json!({ "created": "2026-11-22T08:29:00Z" })), "it is new");
        assert!(!unused(json!({ "num_waiting": 1 })));
        assert!(!unused(json!({ "push_bound": true })));
    }
}
