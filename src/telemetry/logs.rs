//! Logs: one line for each event on stderr, as JSON or for people.
//!
//! The fields of a JSON line are `timestamp`, `level`, `target`, `message`, those of the event, and
//! under `span` those of the request: `request_id`, `trace_id`, `method`, `path`, `status`.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

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
    let _second_call = logs(format, filter, std::io::stderr).try_init();
}

fn logs<W>(format: LogFormat, filter: EnvFilter, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Json => {
            Box::new(logs.json().flatten_event(true).with_current_span(true).with_span_list(false).finish())
        }
        LogFormat::Text => Box::new(logs.with_ansi(std::io::stderr().is_terminal()).finish()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::chain;
    use parking_lot::Mutex;
    use std::io::{self, Write};
    use std::sync::Arc;

    #[derive(Debug, thiserror::Error)]
    #[error("the identity store is not available")]
    struct Failure(#[source] io::Error);

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_failure_is_logged_with_its_causes_in_either_format() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = logs(format, EnvFilter::new("info"), move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(error = %chain(&Failure(io::Error::other("No space left on device"))), "a request was refused");
            });
            let line = String::from_utf8(lines.0.lock().clone()).unwrap();
            let causes = "the identity store is not available: No space left on device";
            assert!(line.contains(causes), "{format:?}: {line}");
        }
    }
}
