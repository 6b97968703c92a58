//! The table of all metrics, with their units and labels.
//!
//! `docs/metrics.md` and the descriptions in `/metrics` are made from it, and tests compare it with every place
//! in the source that uses a metric, with the dashboard and with the alerts.

use self::Values::{Others, These};
use metrics::{Key, Label, Level, Metadata, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt::{self, Write};

/// Buckets of durations, in seconds: from a hash read to a slow external system.
const SECONDS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const PIECES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    /// A distribution: `_bucket`, `_sum`, `_count`.
    Histogram,
}

/// The values of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    These(&'static [&'static str]),
    /// Bounded, but not listed here; in words.
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

#[derive(Clone, Copy, Debug)]
pub struct Described {
    pub name: &'static str,
    pub kind: MetricKind,
    pub unit: Unit,
    pub labels: Labels,
    pub about: &'static str,
}

type Labels = &'static [(&'static str, Values)];

/// The commit that the program was built from; `./dev release` and the image's build set it.
const COMMIT: &str = match option_env!("OFFERS_BUILD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// All metrics, in the order of docs/metrics.md.
pub const METRICS: &[Described] = &[
    counter(
        "activation_requests_total",
        &[("status", These(&["accepted", "rejected"]))],
        "Answers to POST /activation/",
    ),
    seconds(
        "activation_processing_seconds",
        &[("status", These(&["SUCCESS", "FAILED"]))],
        "From the request of a transaction to its final status",
    ),
    // --- HTTP
    counter(
        "offers_http_requests_total",
        &[("route", ROUTE), ("method", METHOD), ("status", STATUS)],
        "Answered HTTP requests",
    ),
    seconds(
        "offers_http_request_seconds",
        &[("route", ROUTE), ("method", METHOD)],
        "From the head of a request to the head of its answer; includes the wait of long polls",
    ),
    gauge("offers_http_requests_in_flight", Unit::Count, &[], "HTTP requests without an answer yet"),
    gauge(
        "offers_waiting_requests",
        Unit::Count,
        &[],
        "Status requests that wait for a change, as long polls or as streams",
    ),
    counter(
        "offers_rate_limited_total",
        &[("policy", These(&["user", "partner", "address", "login"]))],
        "Requests refused by a rate limit",
    ),
    counter(
        "offers_logins_total",
        &[("outcome", These(&["succeeded", "refused", "throttled", "failed"]))],
        "Logins; throttled ones hash no password",
    ),
    counter(
        "offers_audit_rows_lost_total",
        &[],
        "Logins and refusals that are not in the audit log, because too many waited to be written",
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
        "Executed commands",
    ),
    seconds("offers_commit_seconds", &[], "From queueing a commit to its result"),
    histogram("offers_commit_batch_size", &[], "Commits in one SQL transaction of the writer"),
    gauge("offers_commits_waiting", Unit::Count, &[], "Commits in the writer's queue"),
    gauge("offers_log_head", Unit::Count, &[], "Position of the last event in the log"),
    gauge(
        "offers_sink_position",
        Unit::Count,
        &[("sink", SINK)],
        "Position of the last event in a derived sink; on the leading instance",
    ),
    gauge(
        "offers_sink_lag",
        Unit::Count,
        &[("sink", SINK)],
        "Events in the log that are not in the sink yet; on the leading instance",
    ),
    counter("offers_sink_errors_total", &[("sink", SINK)], "Errors after which the sink restarted"),
    gauge(
        "offers_leader",
        Unit::Count,
        &[("role", These(&["relay", "read_tables", "hashes", "scheduler", "callbacks", "tree"]))],
        "1 on the leading instance of the role, 0 on the others",
    ),
    gauge(
        "offers_checkpoint_size",
        Unit::Count,
        &[],
        "Records in the newest signed checkpoint of the Merkle tree; on the leading instance, if it has a key",
    ),
    gauge(
        "offers_checkpoints_contradict",
        Unit::Count,
        &[],
        "1 while nothing is signed because the log contradicts an earlier checkpoint; on the leading instance",
    ),
    // --- the program and its process
    gauge(
        "offers_build_info",
        Unit::Count,
        &[("version", Others("of the program")), ("commit", Others("of the source, or unknown"))],
        "Always 1",
    ),
    counter("process_cpu_seconds_total", &[], "CPU time of the process, in seconds"),
    gauge("process_resident_memory_bytes", Unit::Bytes, &[], "Memory of the process in RAM"),
    gauge("process_virtual_memory_bytes", Unit::Bytes, &[], "Address space of the process"),
    gauge("process_virtual_memory_max_bytes", Unit::Bytes, &[], "Limit of the address space"),
    gauge("process_threads", Unit::Count, &[], "Threads of the process"),
    gauge("process_open_fds", Unit::Count, &[], "Open files and connections"),
    gauge("process_max_fds", Unit::Count, &[], "Limit of open files and connections"),
    gauge("process_start_time_seconds", Unit::Seconds, &[], "Start of the process, in seconds since 1970"),
    // --- the parts outside of the process
    gauge(
        "offers_part_up",
        Unit::Count,
        &[("part", These(&["postgresql", "redis", "nats"]))],
        "1 while the server answers",
    ),
    gauge(
        "offers_database_connections",
        Unit::Count,
        &[("state", These(&["busy", "idle"]))],
        "Connections of the reading pool",
    ),
    gauge("offers_database_connections_max", Unit::Count, &[], "Limit of the reading pool"),
    gauge("offers_database_bytes", Unit::Bytes, &[], "Size of the database on disk"),
    gauge("offers_bus_degraded", Unit::Count, &[], "1 while a part of the connection to NATS does not work"),
    counter("offers_relay_published_total", &[], "Events published to JetStream"),
    counter(
        "offers_stream_rebuilds_total",
        &[],
        "Times that the stream was not a copy of the log and was recreated",
    ),
    counter("offers_mirror_rebuilds_total", &[], "Times that the analysts' mirror was recreated"),
    gauge(
        "offers_stream_bytes",
        Unit::Bytes,
        &[],
        "Size of the stream; on the leading instance of the relay",
    ),
    gauge("offers_stream_bytes_max", Unit::Bytes, &[], "Limit of the stream"),
    // --- activations
    gauge("offers_activation_calls_in_flight", Unit::Count, &[], "Running calls to the activation system"),
    counter(
        "offers_activation_attempts_total",
        &[("answer", These(&["activated", "pending", "rejected", "retry_after", "not_sent", "unknown"]))],
        "Calls to the activation system, by answer",
    ),
    seconds(
        "offers_external_call_seconds",
        &[("call", These(&["activate", "look_up", "cancel"]))],
        "One call to the activation system",
    ),
    gauge("offers_sweeper_due", Unit::Count, &[], "Transactions that were due in the last sweep"),
    gauge("offers_transactions_unfinished", Unit::Count, &[], "Transactions without a final status"),
    gauge(
        "offers_transactions_oldest_unfinished_seconds",
        Unit::Seconds,
        &[],
        "Age of the oldest unfinished transaction",
    ),
    gauge(
        "offers_transactions_in_doubt",
        Unit::Count,
        &[],
        "Transactions with an unknown outcome, or one that was contradicted",
    ),
    gauge(
        "offers_transactions_oldest_in_doubt_seconds",
        Unit::Seconds,
        &[],
        "Age of the oldest transaction in doubt",
    ),
    gauge(
        "offers_backlog_seconds",
        Unit::Seconds,
        &[],
        "How long the oldest purchase has waited for its first attempt while others succeed, or a new one would wait at the present pace",
    ),
    counter("offers_parked_total", &[], "Parked messages"),
    gauge("offers_parked_messages", Unit::Count, &[], "Parked messages that wait for an operator"),
    // --- callbacks and schedules
    counter(
        "offers_callbacks_total",
        &[("outcome", These(&["delivered", "failed", "parked", "disabled"]))],
        "Attempts to send a callback",
    ),
    gauge("offers_callbacks_pending", Unit::Count, &[], "Callbacks that wait for their next attempt"),
    gauge("offers_callbacks_parked", Unit::Count, &[], "Parked callbacks"),
    counter(
        "offers_mails_total",
        &[
            ("mail", These(&["succeeded", "failed", "expiry_soon"])),
            ("outcome", These(&["sent", "retried", "skipped", "parked"])),
        ],
        "Attempts to send a mail",
    ),
    gauge("offers_mails_pending", Unit::Count, &[], "Mails that wait for their next attempt"),
    counter(
        "offers_schedule_runs_total",
        &[("schedule", SCHEDULE), ("outcome", These(&["done", "failed", "interrupted"]))],
        "Runs of the scheduler",
    ),
    gauge(
        "offers_schedule_lag_seconds",
        Unit::Seconds,
        &[("schedule", SCHEDULE)],
        "Delay of the start of the last run",
    ),
    seconds("offers_schedule_run_seconds", &[("schedule", SCHEDULE)], "Duration of a run"),
    counter(
        "offers_schedule_orders_total",
        &[("schedule", SCHEDULE), ("outcome", These(&["changed", "unchanged", "failed"]))],
        "Commands of the runs",
    ),
];

const ROUTE: Values = Others("the route's template, like /api/v1/offers/{id}, or unmatched");
const METHOD: Values = Others("GET, POST …, or other");
const STATUS: Values = Others("200 …");
const SINK: Values = Others("read_tables, redis_hashes, relay, callbacks, tree …");
const SCHEDULE: Values = These(&["announce_expiry", "expire"]);

const fn counter(name: &'static str, labels: Labels, about: &'static str) -> Described {
    Described { name, kind: MetricKind::Counter, unit: Unit::Count, labels, about }
}

const fn gauge(name: &'static str, unit: Unit, labels: Labels, about: &'static str) -> Described {
    Described { name, kind: MetricKind::Gauge, unit, labels, about }
}

const fn seconds(name: &'static str, labels: Labels, about: &'static str) -> Described {
    Described { name, kind: MetricKind::Histogram, unit: Unit::Seconds, labels, about }
}

const fn histogram(name: &'static str, labels: Labels, about: &'static str) -> Described {
    Described { name, kind: MetricKind::Histogram, unit: Unit::Count, labels, about }
}

/// Starts collecting metrics, once in a process. The handle renders them in Prometheus's text format.
pub fn collect_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &PIECES)?
        .install_recorder()?;
    METRICS.iter().for_each(describe);
    METRICS.iter().for_each(register);
    metrics::gauge!("offers_build_info", "version" => env!("CARGO_PKG_VERSION"), "commit" => COMMIT).set(1);
    Ok(handle)
}

/// Registers counters and histograms at 0, if all values of their labels are known: otherwise "never" would look
/// like "not measured", and the first failure would have no rate.
///
/// Not gauges: their value is unknown until the first measurement.
fn register(metric: &Described) {
    let metadata = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    for labels in combinations(metric.labels) {
        let key = Key::from_parts(metric.name, labels);
        metrics::with_recorder(|recorder| match metric.kind {
            MetricKind::Counter => recorder.register_counter(&key, &metadata).increment(0),
            MetricKind::Histogram => drop(recorder.register_histogram(&key, &metadata)),
            MetricKind::Gauge => {}
        });
    }
}

/// All combinations of label values; empty if they are not known.
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
    match metric.kind {
        MetricKind::Counter => metrics::describe_counter!(name, unit, about),
        MetricKind::Gauge => metrics::describe_gauge!(name, unit, about),
        MetricKind::Histogram => metrics::describe_histogram!(name, unit, about),
    }
}

#[must_use]
pub fn manual() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `GET /metrics`, in Prometheus's text format; an instance without the role `api` serves it on\n\
         `OFFERS_METRICS_LISTEN`. Written from `src/telemetry/metrics.rs` by\n\
         `OFFERS_WRITE_DOCS=1 cargo test --test it metrics`; a test keeps it so.\n\n\
         A label's value always comes from a bounded list: never a raw path, an id or a name.\n\n\
         | metric | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for Described { name, kind, unit, labels, about } in METRICS {
        let kind = format!("{kind:?}").to_lowercase();
        let labels: Vec<String> =
            labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
        let labels = labels.join("; ");
        writeln!(text, "| `{name}` | {kind} | {} | {labels} | {about} |", unit.as_str())
            .expect("a String takes every write");
    }
    text
}
