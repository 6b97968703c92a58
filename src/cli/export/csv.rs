//! Records as comma-separated values (RFC 4180, with newlines), payload and metadata as JSON text.

use super::Writer;
use super::file::Target;
use domain::Recorded;
use std::fmt::Write as _;
use std::io::{self, Write};

const HEADER: &str = "position,event_id,aggregate_type,aggregate_id,sequence,event_type,event_version,recorded_at,\
                      payload,metadata\n";

pub(super) struct Csv<'a>(&'a mut Target);

impl<'a> Csv<'a> {
    pub(super) fn begin(target: &'a mut Target) -> io::Result<Self> {
        target.write_all(HEADER.as_bytes())?;
        Ok(Self(target))
    }
}

impl Writer for Csv<'_> {
    fn write(&mut self, page: &[Recorded]) -> io::Result<()> {
        let mut lines = String::with_capacity(page.len() * 800);
        for event in page {
            push_line(&mut lines, event);
        }
        self.0.write_all(lines.as_bytes())
    }

    fn end(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn push_line(lines: &mut String, event: &Recorded) {
    write!(lines, "{},{},", event.position, event.event_id).expect("a String takes every write");
    push_text(lines, &event.aggregate_type, ',');
    push_text(lines, &event.aggregate_id, ',');
    write!(lines, "{},", event.sequence).expect("a String takes every write");
    push_text(lines, &event.event_type, ',');
    push_text(lines, &event.event_version, ',');
    write!(lines, "{},", event.recorded_at).expect("a String takes every write");
    push_text(lines, &event.payload, ',');
    push_text(lines, &event.metadata, '\n');
}

fn push_text(lines: &mut String, text: &str, end: char) {
    if text.contains(['"', ',', '\n', '\r']) {
        lines.push('"');
        lines.push_str(&text.replace('"', "\"\""));
        lines.push('"');
    } else {
        lines.push_str(text);
    }
    lines.push(end);
}
