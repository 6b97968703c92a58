//! What a verification has found, for a person and for a program.

use serde_json::json;

use crate::cli::output::{self, Outcome};
use crate::tree::VerifierKey;
use crate::verify::{Report, State};

/// What is derived from the log, compared with it.
pub(super) struct Derived {
    pub(super) summary: String,
    pub(super) differences: u64,
    pub(super) examples: Vec<String>,
}

/// Tells the result. What cannot be used is an error, unless something before it is wrong already.
pub(super) fn tell(
    report: Report,
    is_vouched: bool,
    key: Option<&VerifierKey>,
    derived: Option<Derived>,
) -> anyhow::Result<Outcome> {
    if report.findings.is_empty()
        && let Some((place, problem)) = &report.unusable
    {
        anyhow::bail!("line {} (position {}): {problem}", place.first, place.first);
    }
    let is_sound = report.is_sound() && derived.as_ref().is_none_or(|derived| derived.differences == 0);
    if !is_vouched {
        output::message(
            "no checkpoint: whether records were changed is not known, only whether they fit together",
        );
    } else if key.is_none() {
        output::message("no --key: the signatures of the checkpoints are not verified");
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
    for checkpoint in &report.checkpoints {
        let state = match checkpoint.state {
            State::Matches => "matches",
            State::Differs => "DIFFERS",
            State::NotReached => "not reached",
        };
        lines.push(format!("checkpoint of {} records ({}): {state}", checkpoint.size, checkpoint.source));
    }
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
