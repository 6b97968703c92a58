//! What a verb tells: one result on stdout, as lines for a person or as JSON for a program.
//!
//! Messages go to stderr. Exit codes: 0 done, 1 no, 2 cannot.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::table;

const DONE: u8 = 0;
/// The answer is no: the check found differences, the service refused, nothing runs.
const NO: u8 = 1;
/// It could not be found out or done.
const CANNOT: u8 = 2;
/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What a verb found out or did.
pub(super) struct Outcome {
    code: u8,
    /// Text and JSON of the same result; `None` if the verb has told all while it ran.
    result: Option<(String, Value)>,
}

impl Outcome {
    /// Done, with nothing more to tell.
    pub(super) const SILENT: Self = Self { code: DONE, result: None };
    pub(super) const INTERRUPTED: Self = Self { code: INTERRUPTED, result: None };

    pub(super) fn done(text: impl Display, result: impl Serialize) -> anyhow::Result<Self> {
        let result = serde_json::to_value(result)?;
        Ok(Self { code: DONE, result: Some((text.to_string(), result)) })
    }

    /// Done; the text has a line for each member of `result`.
    pub(super) fn members(result: Value) -> Self {
        Self { code: DONE, result: Some((table::members(&result), result)) }
    }

    /// The same result, but the answer is no unless `is_yes`.
    pub(super) fn or_no(self, is_yes: bool) -> Self {
        Self { code: if is_yes { self.code } else { NO }, ..self }
    }
}

/// The request was understood and refused.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Refused(#[from] pub(super) anyhow::Error);

/// Tells the person or the program that asked, and says how the process ends.
pub(super) fn tell(outcome: anyhow::Result<Outcome>, as_json: bool) -> ExitCode {
    let told = outcome.map(|outcome| {
        let text = outcome.result.map(|(text, json)| if as_json { json.to_string() } else { text });
        (outcome.code, text.map_or(Ok(()), |text| print(&text)))
    });
    match told {
        Ok((code, Ok(()))) => ExitCode::from(code),
        Ok((_, Err(cause))) => complain(&anyhow::Error::from(cause).context("cannot write to stdout")),
        Err(error) => complain(&error),
    }
}

/// Prints a line at once. A reader that has gone away has read all that it wants.
pub(super) fn print(line: &str) -> io::Result<()> {
    print_to_reader(line).map(|_| ())
}

/// The same; false if the reader has gone away.
pub(super) fn print_to_reader(line: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush()) {
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// A message for the person at the terminal.
pub(super) fn message(line: impl Display) {
    let _stderr_may_be_closed = writeln!(io::stderr(), "{line}");
}

/// The whole chain of causes, and no backtrace.
fn complain(error: &anyhow::Error) -> ExitCode {
    message(format_args!("error: {error:#}"));
    ExitCode::from(if error.is::<Refused>() { NO } else { CANNOT })
}
