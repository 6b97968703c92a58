//! Observability: `logs`, `metrics` and `trace`.

mod error_chain;
mod logs;
mod metrics;
mod trace;

pub use error_chain::chain;
pub use logs::{LogFormat, RequestFields, log_to_stderr, within_request};
pub use metrics::{Described, METRICS, MetricKind, Values, collect_metrics, manual};
pub use trace::{Exporter, Kind, Span, TraceError, export_traces};
