//! Logs: one line for each event on stderr, as JSON or for people.
//!
//! The fields of a JSON line are `timestamp`, `level`, `target`, `message`, those of the event, and
//! under `span` those of the request: `request_id`, `trace_id`, `method`, `path`, `status`.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Unless `RUST_LOG` is set.
const DEFAULT_FILTER: &str = "info,async_nats=warn,sqlx=warn";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object on each line, for machines.
    Json,
    /// For people.
    Text,
}

/// Starts logging to stderr; a second call changes nothing.
pub fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _second_call = match format {
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}
