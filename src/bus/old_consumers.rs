//! Deletes durable consumers that nothing of ours reads any more: the server would keep their state for ever.

use super::api::find;
use super::{Bus, context};
use crate::backoff::Backoff;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

impl Bus {
    /// Deletes the consumers called `durables` where they exist. Retries until NATS answers or the bus stops.
    pub async fn delete_consumers(&self, durables: &[&str]) {
        for durable in durables {
            let mut delays = RETRY.delays();
            while let Some(false) = self.0.stop.run_until_cancelled(self.delete_consumer(durable)).await {
                self.0.stop.run_until_cancelled(sleep(delays.next_delay())).await;
            }
        }
    }

    /// False if NATS did not answer.
    async fn delete_consumer(&self, durable: &str) -> bool {
        let (context, stream) = (context(self.0.link.client.clone()), &self.0.options.stream);
        let deleted = format!("CONSUMER.DELETE.{stream}.{durable}");
        match find::<serde_json::Value>(&context, deleted, &json!({})).await {
            Ok(None) => true,
            Ok(Some(_)) => {
                tracing::info!(durable, "deleted the consumer {durable}, which nothing reads any more");
                true
            }
            Err(_) => false,
        }
    }
}
