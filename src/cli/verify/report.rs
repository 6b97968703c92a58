//! What a verification has found, for a person and for a program.

use serde_json::json;

use crate::cli::output::{self, Outcome};
use crate::tree::VerifierKey;
use crate::verify::{Compared, Report, State};

/// What the database's own checkpoints are called.
pub(super) const DATABASE: &str = "the database";

/// What is derived from the log, compared with it.
pub(super) struct Derived {
    pub(super) summary: String,
    pub(super) differences: u64,
    pub(super) examples: Vec<String>,
}

/// Who vouches for the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Checkpoints that somebody has kept.
    Kept,
    TheDatabaseItself,
    Nothing,
}

impl Trust {
    fn warning(self, has_key: bool) -> Option<&'static str> {
        match self {
            Self::Nothing => Some(
                "no checkpoint: whether records were changed is not known, only whether they fit together",
            ),
            Self::TheDatabaseItself => Some(
                "only the database's own checkpoints: whoever owns it and the key can have made others; \
                 give one that was kept elsewhere",
            ),
            Self::Kept if !has_key => Some("no --key: the signatures of the checkpoints are not verified"),
            Self::Kept => None,
        }
    }
}

/// Tells the result. What cannot be used is an error, unless something before it is wrong already.
pub(super) fn tell(
    report: Report,
    trust: Trust,
    key: Option<&VerifierKey>,
    derived: Option<Derived>,
) -> anyhow::Result<Outcome> {
    if report.findings.is_empty()
        && let Some((place, problem)) = &report.unusable
    {
        anyhow::bail!("line {} (position {}): {problem}", place.first, place.first);
    }
    let is_sound = report.is_sound() && derived.as_ref().is_none_or(|derived| derived.differences == 0);
    if let Some(warning) = trust.warning(key.is_some()) {
        output::message(warning);
    }
    let result = json!({
        "sound": is_sound,
        "records": report.records,
        "root": report.root.to_string(),
        "first_wrong": report.first_wrong(),
        "findings": report.findings.iter().map(|finding| {
            json!({"first": finding.place.first, "last": finding.place.last, "what": finding.what})
        }).collect::<Vec<_>>(),
        "checkpoints": report.checkpoints,
        "signatures_verified": key.is_some(),
        "differences": derived.as_ref().map(|derived| derived.differences),
        "first_differences": derived.as_ref().map(|derived| &derived.examples),
    });
    Ok(Outcome::done(lines(&report, derived.as_ref(), is_sound).join("\n"), result)?.or_no(is_sound))
}

fn lines(report: &Report, derived: Option<&Derived>, is_sound: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &report.findings {
        lines.push(format!("{}: {}", finding.place, finding.what));
    }
    if let Some((place, problem)) = &report.unusable {
        lines.push(format!("{place}: {problem}"));
    }
    lines.extend(checkpoints(&report.checkpoints));
    if let Some(derived) = derived {
        lines.extend(derived.examples.iter().cloned());
        lines.push(format!("derived from the log: {}, {} differences", derived.summary, derived.differences));
    }
    lines.push(format!("{} records, root {}", report.records, report.root));
    lines.push(match report.first_wrong() {
        Some(place) => format!("first wrong: {place}"),
        None if is_sound => "sound".to_owned(),
        None => "the log is sound, what is derived from it is not".to_owned(),
    });
    lines
}

/// A line for each checkpoint; those of one source that match in one.
fn checkpoints(all: &[Compared]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut matching: Vec<(&str, usize, u64)> = Vec::new();
    for Compared { source, size, state } in all {
        match state {
            State::Matches => match matching.iter_mut().find(|(name, ..)| name == source) {
                Some((_, count, largest)) => (*count, *largest) = (*count + 1, *size),
                None => matching.push((source, 1, *size)),
            },
            State::Differs => lines.push(format!("checkpoint of {size} records ({source}): DIFFERS")),
            State::NotReached => lines.push(format!("checkpoint of {size} records ({source}): not reached")),
        }
    }
    matching.sort_by_key(|(source, ..)| *source == DATABASE);
    let matching = matching.into_iter().map(|(source, count, largest)| match count {
        1 => format!("checkpoint of {largest} records ({source}): matches"),
        _ => format!("{count} checkpoints of up to {largest} records ({source}): match"),
    });
    matching.chain(lines).collect()
}
