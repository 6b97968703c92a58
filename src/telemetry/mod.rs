//! How the service is watched: `logs` for what happened, `metrics` for how much and how fast, `trace`
//! for what one request led to.

mod error_chain;
mod logs;
mod metrics;
mod trace;

pub use error_chain::chain;
pub use logs::{LogFormat, log_to_stderr};
pub use metrics::{Described, METRICS, Shape, Values, collect_metrics, manual};
pub use trace::{Exporter, Kind, Span, TraceError, export_traces};
