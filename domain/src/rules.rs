//! What every aggregate here has beyond cqrs-es's `Aggregate`: a pure decision, and the money that
//! its events move.

use crate::Entry;
use cqrs_es::{Aggregate, event_sink::EventSink};
use uuid::Uuid;

/// An aggregate whose rule is a pure function.
pub trait Rules: Aggregate<Services = ()> + Clone {
    /// The new events that `command` leads to in this state: an empty list if it repeats what has already
    /// happened, or why it cannot be.
    ///
    /// # Errors
    /// The aggregate's own error: the state forbids the command.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// The entries of `event`, which is about to happen to the aggregate `id` in this state. They sum
    /// to zero.
    fn postings(&self, _id: Uuid, _event: &Self::Event) -> Vec<Entry> {
        Vec::new()
    }
}

/// cqrs-es's `handle`: only forwards to the rule.
pub(crate) async fn handle<A: Rules>(
    aggregate: &mut A,
    command: A::Command,
    sink: &EventSink<A>,
) -> Result<(), A::Error> {
    for event in aggregate.decide(command)? {
        sink.write(event, aggregate).await;
    }
    Ok(())
}
