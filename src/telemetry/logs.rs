//! Logs: one line for each event on stderr, as JSON or for people.
//!
//! The fields of a JSON line are `timestamp`, `level`, `target`, `message`, those of the event, and
//! under `span` those of the request: `request_id`, `trace_id`, `method`, `path`.
//!
//! The request is not a `tracing` span, which is made and formatted for every request: few of them write a line.

use clap::ValueEnum;
use serde_json::{Map, Value};
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Unless `RUST_LOG` is set.
const DEFAULT_FILTER: &str = "info,async_nats=warn,sqlx=warn";

tokio::task_local! {
    static REQUEST: Arc<dyn RequestFields>;
}

/// What a line says of the request in which it is written.
pub trait RequestFields: Send + Sync {
    /// Their names and values; no secrets.
    fn fields(&self) -> Vec<(&'static str, &str)>;
}

/// Does `work`, whose lines are those of `request`.
pub fn within_request<F: Future>(
    request: Arc<dyn RequestFields>,
    work: F,
) -> impl Future<Output = F::Output> {
    REQUEST.scope(request, work)
}

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
            let logs = logs.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(logs.map_event_format(|inner| WithRequest { inner, add: add_to_json }).finish())
        }
        LogFormat::Text => {
            let inner = |inner: Format| inner.with_ansi(std::io::stderr().is_terminal());
            let logs = logs.map_event_format(|format| WithRequest { inner: inner(format), add: add_to_text });
            Box::new(logs.finish())
        }
    }
}

/// Adds the request to the lines of another format.
struct WithRequest<F> {
    inner: F,
    /// Adds them to a line without its end.
    add: fn(&mut String, Vec<(&'static str, &str)>),
}

impl<F, S, N> FormatEvent<S, N> for WithRequest<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Ok(request) = REQUEST.try_with(Clone::clone) else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        line.truncate(line.trim_end().len());
        (self.add)(&mut line, request.fields());
        writeln!(writer, "{line}")
    }
}

fn add_to_json(line: &mut String, fields: Vec<(&'static str, &str)>) {
    let mut span = Map::from_iter([("name".to_owned(), Value::from("request"))]);
    span.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
    line.truncate(line.len() - 1); // the bracket that closes the object
    line.push_str(",\"span\":");
    line.push_str(&Value::from(span).to_string());
    line.push('}');
}

fn add_to_text(line: &mut String, fields: Vec<(&'static str, &str)>) {
    for (name, value) in fields {
        line.push_str(&format!(" {name}={value:?}"));
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

    struct Asked;

    impl RequestFields for Asked {
        fn fields(&self) -> Vec<(&'static str, &str)> {
            vec![("request_id", "mine-1"), ("path", "/a\"b")]
        }
    }

    #[tokio::test]
    async fn a_line_says_in_which_request_it_was_written() {
        for (format, added) in [
            (LogFormat::Json, r#","span":{"name":"request","request_id":"mine-1","path":"/a\"b"}}"#),
            (LogFormat::Text, r#" request_id="mine-1" path="/a\"b""#),
        ] {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = logs(format, EnvFilter::new("info"), move || writer.clone());
            let _default = tracing::subscriber::set_default(subscriber);
            within_request(Arc::new(Asked), async { tracing::info!("within") }).await;
            tracing::info!("outside");
            let text = String::from_utf8(lines.0.lock().clone()).unwrap();
            let (within, outside) = text.trim_end().split_once('\n').unwrap();
            assert!(within.contains("within") && within.ends_with(added), "{within}");
            assert!(outside.contains("outside") && !outside.contains("mine-1"), "{outside}");
        }
    }
}
