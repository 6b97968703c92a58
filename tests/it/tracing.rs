//! One trace, from the POST through the log and NATS to the call outside.

use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::http;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use domain::Metadata;
use futures::StreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// What a collector of OpenTelemetry does, in memory.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts one and says where it is.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (collector, url)
    }

    /// The span `name` of the trace, if it has come.
    fn span(&self, trace: &str, name: &str) -> Option<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().find(|span| hex(&span.trace_id) == trace && span.name == name).cloned()
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    collector.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn activate(system: &System, traceparent: Option<&str>) -> String {
    let token = system.log_in("alice").await;
    let request = http().post(format!("{}/api/v1/activation/", system.url)).bearer_auth(token);
    let request = traceparent.iter().fold(request, |request, value| request.header("traceparent", *value));
    let answer = request.json(&json!({"offer_id": system.members.offers[0]})).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["transaction_id"].as_str().unwrap().to_owned()
}

/// The metadata of the transaction's events, in order.
async fn metadata(system: &System, transaction: &str) -> Vec<Metadata> {
    let id = offers::event_log::StreamId {
        aggregate_type: "Transaction",
        aggregate_id: transaction.parse().unwrap(),
    };
    let finished = async || system.log.stream(id).await.unwrap().len() == 3;
    eventually("the purchase is finished", finished).await;
    let events = system.log.stream(id).await.unwrap();
    events.iter().map(|event| serde_json::from_str(&event.metadata).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_and_all_it_leads_to_are_one_trace() {
    let (collector, url) = Collector::start().await;
    let environment =
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned())];
    let system = System::start_with(&[], Serving { environment, log: None }).await;
    let transaction = activate(&system, Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    let names = ["POST /api/v1/activation", "commit", "activation", "activate"];
    let all_came = async || names.iter().all(|name| collector.span(TRACE, name).is_some());
    eventually("every span has come", all_came).await;

    let [posted, committed, handled, called] = names.map(|name| collector.span(TRACE, name).unwrap());
    assert_eq!(hex(&posted.parent_span_id), CALLER);
    assert_eq!(committed.parent_span_id, posted.span_id);
    assert_eq!(handled.parent_span_id, posted.span_id, "through the log and NATS");
    assert_eq!(called.parent_span_id, handled.span_id);

    let within = |span: &Span| Some(format!("00-{TRACE}-{}-01", hex(&span.span_id)));
    let metadata = metadata(&system, &transaction).await;
    assert_eq!(metadata[0].traceparent, within(&posted));
    assert_eq!(metadata[1].traceparent, within(&handled));
    assert_eq!(metadata[2].traceparent, within(&handled));
    assert_eq!(nats_header(&system, &transaction).await, within(&posted));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_callers_trace_is_passed_on_and_none_is_made_up() {
    let system = System::start(&[]).await;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let traced = activate(&system, Some(&traceparent)).await;
    let untraced = activate(&system, None).await;
    for metadata in metadata(&system, &traced).await {
        assert_eq!(metadata.traceparent.as_ref(), Some(&traceparent));
    }
    for metadata in metadata(&system, &untraced).await {
        assert_eq!(metadata.traceparent, None);
    }
    assert_eq!(nats_header(&system, &traced).await, Some(traceparent));
    assert_eq!(nats_header(&system, &untraced).await, None);
}

/// The `traceparent` of the message that announced the request of `transaction`.
async fn nats_header(system: &System, transaction: &str) -> Option<String> {
    let stream = system.jetstream().await.get_stream(&system.sandbox.stream).await.unwrap();
    let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        if body["subject"] == transaction && message.subject.ends_with("activation_requested") {
            let headers = message.headers.as_ref();
            return headers.and_then(|headers| headers.get("traceparent")).map(ToString::to_string);
        }
    }
    panic!("the stream has no such event");
}
