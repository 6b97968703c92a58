//! Traces of one request, from the POST through the log and NATS to the call of the activation system.
//!
//! The parent of a span is not the surrounding span, but the W3C `traceparent` that came with the request or the
//! event: it survives the log, the bus and a restart. Spans are sent by OTLP (http/protobuf) if
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the other `OTEL_…` variables work too. If it is not set a span is
//! `None`, which costs one load from memory.
//!
//! These spans are not `tracing` spans with an OpenTelemetry layer (tracing-opentelemetry), because every
//! one of them would then be allocated in the subscriber's registry on the request path even while nothing
//! is exported, and because the `traceparent` of a new span is needed at once, as text, for the event.
//!
//! The `traceparent` of an event is the span in which it was written, or with tracing off the one that the
//! caller sent, if any.

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use opentelemetry_sdk::{Resource, runtime};
use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

/// `None` while tracing is off.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();
/// The variables that switch tracing on.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The limit for sending the last spans at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("{0} does not begin with http:// or https://")]
    Endpoint(&'static str),
    #[error("cannot send traces: check the variables OTEL_…")]
    Settings(#[from] ExporterBuildError),
}

/// Sends spans, if tracing is on.
#[must_use = "the last spans are sent by `finish`"]
pub struct Exporter(Option<SdkTracerProvider>);

/// Starts sending spans, if the environment has an endpoint.
pub fn export_traces() -> Result<Exporter, TraceError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoints: Vec<_> = ENDPOINTS.iter().filter_map(|name| Some((*name, set(name)?))).collect();
    if endpoints.is_empty() {
        return Ok(Exporter(None));
    }
    let is_http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    if let Some((name, _)) = endpoints.iter().find(|(_, url)| !is_http(url)) {
        return Err(TraceError::Endpoint(name));
    }
    crate::tls::use_ring();
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build()?;
    let mut resource = Resource::builder();
    if set("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("offers");
    }
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter, runtime::Tokio).build())
        .with_resource(resource.build())
        .build();
    let _second_call = TRACER.set(provider.tracer("offers"));
    Ok(Exporter(Some(provider)))
}

impl Exporter {
    /// Sends the last spans, for a bounded time.
    pub async fn finish(self) {
        let Some(provider) = self.0 else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown());
        match tokio::time::timeout(FLUSH_TIMEOUT, flushed).await {
            Ok(Ok(Ok(()))) => {}
            _ => tracing::warn!("cannot send the last traces"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A caller waits for our answer.
    Server,
    Internal,
    Consumer,
    /// We wait for the answer of another system.
    Client,
}

/// A piece of work that ends when dropped. `None` while tracing is off.
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

impl Span {
    /// Starts a span below `parent`, a W3C `traceparent`, or a new trace.
    pub fn begin(kind: Kind, name: impl Into<Cow<'static, str>>, parent: Option<&str>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let context = Context::new();
        let context = match parent.and_then(span_context) {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        let kind = match kind {
            Kind::Server => SpanKind::Server,
            Kind::Internal => SpanKind::Internal,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Client => SpanKind::Client,
        };
        Self(Some(SpanBuilder::from_name(name).with_kind(kind).start_with_context(tracer, &context)))
    }

    pub fn named(&mut self, name: String) {
        if let Some(span) = &mut self.0 {
            span.update_name(name);
        }
    }

    /// The parent of the next span; `None` while tracing is off.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        Some(format!("00-{trace}-{span}-{flags:02x}"))
    }

    /// Adds an attribute; no secrets, no personal data.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    pub fn failed(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why));
        }
    }
}

/// Parses a `traceparent`.
fn span_context(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let trace = opentelemetry::TraceId::from_hex(trace).ok()?;
    let span = opentelemetry::SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & TraceFlags::SAMPLED.to_u8());
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    (version == "00" && context.is_valid()).then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_nothing_while_tracing_is_off() {
        let mut span = Span::begin(
            Kind::Server,
            "GET /",
            Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        );
        span.note("http.route", "/");
        span.failed("nothing");
        assert_eq!(span.traceparent(), None);
    }

    #[test]
    fn a_parent_is_read_as_it_was_written() {
        let context =
            span_context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("a parent");
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        for other in ["", "00", "00-0-0-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert!(span_context(other).is_none(), "{other:?}");
        }
    }
}
