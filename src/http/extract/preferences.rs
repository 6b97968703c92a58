//! How a client wants a status answered: when (`Prefer: wait=N`, RFC 7240) and as what (`Accept`).

use super::idempotency::unquote;
use crate::http::headers::PREFER;
use axum::http::{HeaderMap, header};
use std::time::Duration;

/// The media type of a stream of events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// The longest wait, in seconds; a longer one is cut to this.
const MAX_WAIT_S: u64 = 30;

/// How long the client wants the answer held back at most; `None` when it does not say, or not soundly.
/// Of several waits only the first counts (RFC 7240 2).
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let mut waits = lines.flat_map(|line| split(line, b',')).filter_map(|preference| {
        let preference = split(preference, b';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("wait").then_some(value.trim())
    });
    seconds(waits.next()?).map(Duration::from_secs)
}

/// Digits, quoted or bare. However many there are, they are not more than the longest wait.
fn seconds(word: &str) -> Option<u64> {
    let text = if word.starts_with('"') { unquote(word)? } else { word.to_owned() };
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| text.parse().unwrap_or(u64::MAX).min(MAX_WAIT_S))
}

/// Whether the client wants a stream of type `name` rather than one JSON document: it names the stream,
/// and does not like JSON better.
pub(crate) fn wants(name: &str, headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<_> = lines.flat_map(|line| split(line, b',')).map(media_range).collect();
    let liking = |name: &str| ranges.iter().find(|(known, _)| known == name).map_or(0, |(_, liking)| *liking);
    let stream = liking(name);
    stream > 0 && stream >= liking("application/json")
}

/// A media range and how much it is liked, in thousandths (RFC 9110 12.4.2).
fn media_range(text: &str) -> (String, u32) {
    let mut parts = split(text, b';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, weight.map_or(1000, thousandths))
}

/// Parses a q-value (RFC 9110 §12.4.2) in thousandths; invalid values count as 0.
fn thousandths(weight: &str) -> u32 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => 1000,
        "0" if digits(fraction) && fraction.len() <= 3 => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// Splits at a separator that does not stand in quotes.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !quoted && c == char::from(separator)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: axum::http::HeaderName, lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| HeaderValue::from_str(line).expect("a header's value");
        lines.iter().map(|line| (name.clone(), value(line))).collect()
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for (lines, expected) in [
            (vec!["wait=10"], Some(10)),
            (vec!["Wait = \"10\""], Some(10)),
            (vec!["respond-async, wait=10"], Some(10)),
            (vec!["respond-async; foo=bar; x, wait=7; y=\"a,b\", handling=lenient"], Some(7)),
            (vec!["foo=\"a, wait=5\\\", wait=6\", wait=3"], Some(3)),
            (vec!["return=minimal", "wait=4"], Some(4)),
            (vec!["wait=4, wait=9"], Some(4)),
            (vec!["wait=30"], Some(30)),
            (vec!["wait=31"], Some(30)),
            (vec!["wait=99999999999999999999999"], Some(30)),
            (vec!["wait=0"], Some(0)),
            (vec![], None),
        ] {
            let found = wait(&headers(PREFER, &lines)).map(|wait| wait.as_secs());
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn an_unsound_wait_is_none() {
        for line in [
            "wait",
            "wait=",
            "wait=\"\"",
            "wait=-1",
            "wait=+1",
            "wait=1.5",
            "wait=x",
            "waits=1",
            "",
            "wait=\"1",
            ",",
        ] {
            assert_eq!(wait(&headers(PREFER, &[line])), None, "{line}");
        }
        assert_eq!(wait(&headers(PREFER, &["wait=x, wait=5"])), None, "only the first counts");
    }

    #[test]
    fn a_stream_is_for_those_who_name_it_and_do_not_like_json_better() {
        for (line, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event-stream, application/json;q=0.9", true),
            ("application/json, text/event-stream", true),
            ("text/event-stream;q=0.5, */*;q=0.1", true),
            ("text/event-stream;q=0.5, application/json", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=x", false),
            ("application/json", false),
            ("*/*", false),
            ("text/*", false),
            ("", false),
        ] {
            assert_eq!(wants(EVENT_STREAM, &headers(header::ACCEPT, &[line])), expected, "{line}");
        }
        assert!(!wants(EVENT_STREAM, &HeaderMap::new()));
    }
}
