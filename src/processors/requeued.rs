//! Handles requeued messages, until they are parked again or handled.
//!
//! A message counts as handled once it is: if this process died in between, it is handled again. So what is done for a
//! message may be repeated.

use super::{Parked, ParkedMessage};
use crate::event_log::EventLog;
use crate::telemetry::chain;
use domain::Recorded;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(1);
/// Messages that are handled at a time.
const BATCH: u32 = 64;

/// The reason if a message cannot be handled.
pub(super) type Handled = Result<(), String>;

/// Polls for the requeued messages of some consumers.
pub(super) struct Requeued {
    pub(super) parked: Parked,
    pub(super) log: EventLog,
    pub(super) consumers: Vec<&'static str>,
}

impl Requeued {
    /// Polls until `stop`, and finishes the messages that are being handled. `handle` gets each with the event at its
    /// position in the log, whatever the message says.
    pub(super) async fn run<F: Future<Output = Handled>>(
        self,
        stop: CancellationToken,
        handle: impl Fn(ParkedMessage, Option<Recorded>) -> F,
    ) {
        while !stop.is_cancelled() {
            match self.parked.requeued(&self.consumers, BATCH).await {
                Ok(messages) => {
                    let each = futures::stream::iter(messages);
                    each.for_each_concurrent(None, |message| self.take(message, &handle)).await;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot read requeued messages; retrying");
                }
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    async fn take<F: Future<Output = Handled>>(
        &self,
        message: ParkedMessage,
        handle: impl Fn(ParkedMessage, Option<Recorded>) -> F,
    ) {
        let id = message.id;
        let handled = match self.log.event_at(message.position).await {
            Ok(event) => handle(message, event).await,
            Err(error) => Err(chain(&error)),
        };
        let noted = match &handled {
            Ok(()) => self.parked.handled(id).await,
            Err(reason) => self.parked.park_again(id, reason).await,
        };
        if let Err(error) = noted {
            let reason = handled.err();
            tracing::error!(error = %chain(&error), parked_id = %id, reason, "cannot note what became of {id}; retrying");
        }
    }
}
