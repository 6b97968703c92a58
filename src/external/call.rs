//! One call, watched: its span and how long it took.

use super::Inconclusive;
use super::answer::Reply;
use crate::telemetry::{Kind, Span};
use std::time::Instant;
use uuid::Uuid;

pub(super) struct Call {
    name: &'static str,
    begun: Instant,
    span: Span,
    /// What is sent along: our span; when tracing is off, the caller's or else a trace of the transaction.
    traceparent: String,
}

impl Call {
    pub(super) fn begin(name: &'static str, id: Uuid, parent: Option<&str>) -> Self {
        let mut span = Span::begin(Kind::Client, name, parent);
        let traceparent = span.traceparent();
        if traceparent.is_some() {
            span.note("offers.transaction_id", id.to_string());
        }
        let traceparent =
            traceparent.or_else(|| parent.map(str::to_owned)).unwrap_or_else(|| one_of_trace(id));
        Self { name, begun: Instant::now(), span, traceparent }
    }

    pub(super) fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Ends the call with `outcome`.
    pub(super) fn ended(mut self, outcome: Result<Reply, Inconclusive>) -> Result<Reply, Inconclusive> {
        metrics::histogram!("offers_external_call_seconds", "call" => self.name).record(self.begun.elapsed());
        match &outcome {
            Ok(reply) => self.span.note("http.response.status_code", i64::from(reply.status)),
            Err(failure) => self.span.failed(failure.detail.clone()),
        }
        outcome
    }
}

/// A new span of the trace that all calls about the transaction `id` have in common; this process does not record it:
/// so the other side can tell its calls apart and together even when no request brought a trace.
fn one_of_trace(id: Uuid) -> String {
    let (_, span) = Uuid::now_v7().as_u64_pair();
    format!("00-{}-{span:016x}-00", id.simple())
}
