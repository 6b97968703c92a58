//! Metrics: the one place that says what each is, in which unit, with which labels.
//!
//! `docs/metrics.md` is written from this table, `/metrics` explains itself by it, and tests compare it
//! with every place in the source that counts something, with the dashboard and with the alerts.

use self::Values::{Others, These};
use metrics::{Key, Label, Level, Metadata, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt::{self, Write};

/// Buckets of durations, in seconds: from a hash read to a slow external system.
const SECONDS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Buckets of sizes, in pieces.
const PIECES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution: `_bucket`, `_sum`, `_count`.
    Histogram,
}

/// What a label may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// One of these.
    These(&'static [&'static str]),
    /// Bounded, but not known here; in words.
    Others(&'static str),
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            These(values) => f.write_str(&values.join(", ")),
            Others(words) => f.write_str(words),
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// As `/metrics` shows it.
    pub name: &'static str,
    /// What it does.
    pub shape: Shape,
    /// What one of it is.
    pub unit: Unit,
    /// Its labels, with the values of each.
    pub labels: Labels,
    /// What it tells.
    pub about: &'static str,
}

type Labels = &'static [(&'static str, Values)];

/// Every metric there is, in the order of docs/metrics.md.
pub const METRICS: &[Described] = &[
    counter(
        "activation_requests_total",
        &[("status", These(&["accepted", "rejected"]))],
        "Answers to POST /activation/",
    ),
    seconds(
        "activation_processing_seconds",
        &[("status", These(&["SUCCESS", "FAILED"]))],
        "From the request of a purchase to its final status",
    ),
    // --- HTTP
    counter(
        "offers_http_requests_total",
        &[("route", ROUTE), ("method", METHOD), ("status", STATUS)],
        "HTTP requests that were answered",
    ),
    seconds(
        "offers_http_request_seconds",
        &[("route", ROUTE), ("method", METHOD)],
        "From a request's head to the head of its answer; a long poll takes as long as it was asked to",
    ),
    gauge("offers_http_requests_in_flight", Unit::Count, &[], "HTTP requests whose answer has not begun"),
    gauge(
        "offers_waiting_requests",
        Unit::Count,
        &[],
        "Status requests that wait for news, held back or as streams",
    ),
    counter(
        "offers_rate_limited_total",
        &[("policy", These(&["user", "partner", "address", "login"]))],
        "Requests refused because a budget was spent",
    ),
    counter(
        "offers_logins_total",
        &[("outcome", These(&["succeeded", "refused", "throttled", "failed"]))],
        "Logins; throttled ones cost no hash",
    ),
    // --- the log
    counter(
        "offers_commands_total",
        &[(
            "outcome",
            These(&[
                "accepted",
                "unchanged",
                "repeated",
                "rejected",
                "insufficient_funds",
                "conflict",
                "overloaded",
                "timeout",
                "unavailable",
                "outcome_unknown",
                "broken",
            ]),
        )],
        "Plans that were carried out, or not",
    ),
    seconds("offers_commit_seconds", &[], "From handing a commit to the writer to its verdict"),
    histogram("offers_commit_batch_size", &[], "Commits in one SQL transaction of the writer"),
    gauge("offers_commits_waiting", Unit::Count, &[], "Commits in the writer's queue"),
    gauge("offers_log_head", Unit::Count, &[], "Position of the last event in the log"),
    gauge(
        "offers_sink_position",
        Unit::Count,
        &[("sink", SINK)],
        "Position of the last event that is in something derived from the log; on the instance that leads",
    ),
    gauge(
        "offers_sink_lag",
        Unit::Count,
        &[("sink", SINK)],
        "Events in the log that are not in it yet; on the instance that leads",
    ),
    counter(
        "offers_sink_errors_total",
        &[("sink", SINK)],
        "Times that it stopped with an error and started again",
    ),
    gauge(
        "offers_leader",
        Unit::Count,
        &[("role", These(&["relay", "read_tables", "hashes", "scheduler", "callbacks"]))],
        "1 on the instance that leads the role, 0 where it stands by",
    ),
    // --- the parts outside of the process
    gauge(
        "offers_part_up",
        Unit::Count,
        &[("part", These(&["postgresql", "redis", "nats"]))],
        "1 while it answers",
    ),
    gauge(
        "offers_database_connections",
        Unit::Count,
        &[("state", These(&["busy", "idle"]))],
        "Connections of the reading pool",
    ),
    gauge("offers_database_connections_max", Unit::Count, &[], "The most connections of the reading pool"),
    gauge("offers_database_bytes", Unit::Bytes, &[], "Size of the database on disk"),
    gauge("offers_bus_degraded", Unit::Count, &[], "1 while something about NATS does not work"),
    counter("offers_relay_published_total", &[], "Events published to JetStream"),
    counter(
        "offers_stream_rebuilds_total",
        &[],
        "Times that the stream was no copy of the log and was made anew",
    ),
    counter("offers_mirror_rebuilds_total", &[], "The same of the analysts' mirror"),
    gauge(
        "offers_stream_bytes",
        Unit::Bytes,
        &[],
        "What the stream holds; on the instance that leads the relay",
    ),
    gauge("offers_stream_bytes_max", Unit::Bytes, &[], "What the stream may hold"),
    // --- activations
    gauge(
        "offers_activation_calls_in_flight",
        Unit::Count,
        &[],
        "Calls to the activation system that are under way",
    ),
    counter(
        "offers_activation_attempts_total",
        &[("answer", These(&["activated", "pending", "rejected", "retry_after", "not_sent", "unknown"]))],
        "Calls to the activation system by what is known after them",
    ),
    seconds(
        "offers_external_call_seconds",
        &[("call", These(&["activate", "look_up", "cancel"]))],
        "One call to the activation system",
    ),
    gauge("offers_sweeper_due", Unit::Count, &[], "Purchases that the sweeper found due when it looked last"),
    gauge("offers_transactions_unfinished", Unit::Count, &[], "Purchases without a final status"),
    gauge("offers_transactions_oldest_unfinished_seconds", Unit::Seconds, &[], "Age of the oldest of them"),
    gauge(
        "offers_transactions_in_doubt",
        Unit::Count,
        &[],
        "Purchases of whose outcome nothing certain is known",
    ),
    counter("offers_parked_total", &[], "Messages that could not be handled and were parked"),
    gauge("offers_parked_messages", Unit::Count, &[], "Parked messages that nobody has sent back to work"),
    // --- callbacks and schedules
    counter(
        "offers_callbacks_total",
        &[("outcome", These(&["delivered", "failed", "parked", "disabled"]))],
        "Tries to tell a partner",
    ),
    gauge("offers_callbacks_pending", Unit::Count, &[], "Callbacks that wait for their next try"),
    gauge("offers_callbacks_parked", Unit::Count, &[], "Callbacks that were given up"),
    counter(
        "offers_mails_total",
        &[
            ("mail", These(&["succeeded", "failed", "expiry_soon"])),
            ("outcome", These(&["sent", "retried", "skipped", "parked"])),
        ],
        "Tries to send a mail",
    ),
    gauge("offers_mails_pending", Unit::Count, &[], "Mails that wait for their next try"),
    counter(
        "offers_schedule_runs_total",
        &[("schedule", SCHEDULE), ("outcome", These(&["done", "failed", "interrupted"]))],
        "Runs of what is due",
    ),
    gauge(
        "offers_schedule_lag_seconds",
        Unit::Seconds,
        &[("schedule", SCHEDULE)],
        "How late its last run began",
    ),
    seconds("offers_schedule_run_seconds", &[("schedule", SCHEDULE)], "How long a run took"),
    counter(
        "offers_schedule_orders_total",
        &[("schedule", SCHEDULE), ("outcome", These(&["changed", "unchanged", "failed"]))],
        "What its runs did",
    ),
];

const ROUTE: Values = Others("the route's template, like /api/v1/offers/{id}, or unmatched");
const METHOD: Values = Others("GET, POST …, or other");
const STATUS: Values = Others("200 …");
const SINK: Values = Others("read_tables, redis_hashes, relay, callbacks …");
const SCHEDULE: Values = These(&["announce_expiry", "expire"]);

const fn counter(name: &'static str, labels: Labels, about: &'static str) -> Described {
    Described { name, shape: Shape::Counter, unit: Unit::Count, labels, about }
}

const fn gauge(name: &'static str, unit: Unit, labels: Labels, about: &'static str) -> Described {
    Described { name, shape: Shape::Gauge, unit, labels, about }
}

const fn seconds(name: &'static str, labels: Labels, about: &'static str) -> Described {
    Described { name, shape: Shape::Histogram, unit: Unit::Seconds, labels, about }
}

const fn histogram(name: &'static str, labels: Labels, about: &'static str) -> Described {
    Described { name, shape: Shape::Histogram, unit: Unit::Count, labels, about }
}

/// Collects metrics from now on; the handle renders them in Prometheus's text format.
///
/// # Errors
/// Called twice in one process.
pub fn collect_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &PIECES)?
        .install_recorder()?;
    METRICS.iter().for_each(describe);
    METRICS.iter().for_each(begin);
    Ok(handle)
}

/// Shows what is counted before the first of it, where all that its labels may say is known. Otherwise
/// nobody could tell "never" from "not measured", and the rate of the first failure would be none.
///
/// Not the gauges: 0 before one has looked would be a lie.
fn begin(metric: &Described) {
    let metadata = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    for labels in combinations(metric.labels) {
        let key = Key::from_parts(metric.name, labels);
        metrics::with_recorder(|recorder| match metric.shape {
            Shape::Counter => recorder.register_counter(&key, &metadata).increment(0),
            Shape::Histogram => drop(recorder.register_histogram(&key, &metadata)),
            Shape::Gauge => {}
        });
    }
}

/// Everything that `labels` may say; nothing when that is not known.
fn combinations(labels: Labels) -> Vec<Vec<Label>> {
    let mut all = vec![Vec::new()];
    for (name, values) in labels {
        let These(values) = values else { return Vec::new() };
        let longer = |known: Vec<Label>| {
            values.iter().map(move |value| [known.clone(), vec![Label::new(*name, *value)]].concat())
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

fn describe(metric: &Described) {
    let Described { name, unit, about, .. } = *metric;
    match metric.shape {
        Shape::Counter => metrics::describe_counter!(name, unit, about),
        Shape::Gauge => metrics::describe_gauge!(name, unit, about),
        Shape::Histogram => metrics::describe_histogram!(name, unit, about),
    }
}

/// docs/metrics.md.
#[must_use]
pub fn manual() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `GET /metrics`, in Prometheus's text format; an instance without the role `api` serves it on\n\
         `OFFERS_METRICS_LISTEN`. Written from `src/telemetry/metrics.rs` by\n\
         `OFFERS_WRITE_DOCS=1 cargo test --test it metrics`; a test keeps it so.\n\n\
         A label's value always comes from a bounded list: never a raw path, an id or a name.\n\n\
         | metric | | unit | labels | what it tells |\n| --- | --- | --- | --- | --- |\n",
    );
    for Described { name, shape, unit, labels, about } in METRICS {
        let shape = format!("{shape:?}").to_lowercase();
        let labels: Vec<String> =
            labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
        let labels = labels.join("; ");
        writeln!(text, "| `{name}` | {shape} | {} | {labels} | {about} |", unit.as_str())
            .expect("a String takes every write");
    }
    text
}
