//! One call, watched: its span and how long it took.

use super::answer::Reply;
use super::transport::Failure;
use crate::telemetry::{Kind, Span};
use std::time::Instant;
use uuid::Uuid;

pub(super) struct Call {
    name: &'static str,
    begun: Instant,
    span: Span,
    /// What is sent along: our span, or the caller's when tracing is off.
    traceparent: Option<String>,
}

impl Call {
    pub(super) fn begin(name: &'static str, id: Uuid, parent: Option<&str>) -> Self {
        let mut span = Span::begin(Kind::Client, name, parent);
        let traceparent = span.traceparent();
        if traceparent.is_some() {
            span.note("offers.transaction_id", id.to_string());
        }
        let traceparent = traceparent.or_else(|| parent.map(str::to_owned));
        Self { name, begun: Instant::now(), span, traceparent }
    }

    pub(super) fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// Ends the call with `outcome`.
    pub(super) fn ended(mut self, outcome: Result<Reply, Failure>) -> Result<Reply, Failure> {
        metrics::histogram!("offers_external_call_seconds", "call" => self.name).record(self.begun.elapsed());
        match &outcome {
            Ok(reply) => self.span.note("http.response.status_code", i64::from(reply.status)),
            Err(failure) => self.span.failed(failure.detail.clone()),
        }
        outcome
    }
}
