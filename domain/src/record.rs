//! Reads a record line back. Only the one form that [`Record::line`] writes is a record: another text of the same
//! JSON would have another hash.

use crate::{Record, Timestamp};
use std::borrow::Cow;
use uuid::Uuid;

/// Why a line is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotARecord(&'static str);

impl Record {
    /// Reads a record line, without its newline. `commit_end` is not part of it: it is the position itself.
    ///
    /// # Errors
    /// `NotARecord` for any line that [`Self::line`] could not have written.
    pub fn parse(line: &str) -> Result<Self, NotARecord> {
        let mut rest = Rest(line);
        let position = rest.after(r#"{"position":"#)?.number()?;
        let event_id = rest.after(r#","event_id":"#)?.uuid()?;
        let aggregate_type = rest.after(r#","aggregate_type":"#)?.string()?;
        let aggregate_id = rest.after(r#","aggregate_id":"#)?.string()?;
        let sequence = rest.after(r#","sequence":"#)?.number()?;
        let event_type = rest.after(r#","event_type":"#)?.string()?;
        let event_version = rest.after(r#","event_version":"#)?.string()?;
        let recorded_at = rest.after(r#","recorded_at":"#)?.time()?;
        let payload = rest.after(r#","payload":"#)?.value()?.to_owned();
        let metadata = rest.after(r#","metadata":"#)?.value()?.to_owned();
        if rest.0 != "}" {
            return Err(NotARecord("it does not end with its metadata"));
        }
        Ok(Self {
            position,
            event_id,
            aggregate_type,
            aggregate_id,
            sequence,
            event_type,
            event_version,
            recorded_at,
            payload,
            metadata,
            commit_end: position,
        })
    }
}

/// What of the line is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn after(&mut self, fixed: &str) -> Result<&mut Self, NotARecord> {
        let rest = self.0.strip_prefix(fixed);
        self.0 = rest.ok_or(NotARecord("it has not the ten members of a record in their order"))?;
        Ok(self)
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// A number from 1, written without zeros in front.
    fn number(&mut self) -> Result<i64, NotARecord> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let digits = self.take(length);
        let number = digits.parse().ok().filter(|_| !digits.starts_with('0'));
        number.ok_or(NotARecord("its position or sequence is not a number from 1"))
    }

    /// A string, in the one way that it is written.
    fn string(&mut self) -> Result<String, NotARecord> {
        let no_string = NotARecord("a member is not a string as it is written");
        let bytes = self.0.as_bytes();
        if bytes.first() != Some(&b'"') {
            return Err(no_string);
        }
        let mut end = 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(no_string),
            }
        }
        let quoted = self.take(end + 1);
        let inside = &quoted[1..end];
        if inside.bytes().all(|byte| byte >= b' ' && byte != b'\\') {
            return Ok(inside.to_owned());
        }
        let text: Cow<'_, str> = serde_json::from_str(quoted).map_err(|_| no_string.clone())?;
        let rewritten = serde_json::to_string(&text).map_err(|_| no_string.clone())?;
        if rewritten == quoted { Ok(text.into_owned()) } else { Err(no_string) }
    }

    fn uuid(&mut self) -> Result<Uuid, NotARecord> {
        let text = self.string()?;
        let id = Uuid::try_parse(&text).ok().filter(|_| text.len() == 36);
        id.filter(|_| !text.bytes().any(|byte| byte.is_ascii_uppercase()))
            .ok_or(NotARecord("its event_id is not a UUID in lower case"))
    }

    fn time(&mut self) -> Result<Timestamp, NotARecord> {
        let text = self.string()?;
        let bytes = text.as_bytes();
        // The parser is more tolerant than the writer.
        let is_as_written = bytes.len() == 27
            && (bytes[10], bytes[19], bytes[26]) == (b'T', b'.', b'Z')
            && &bytes[17..19] != b"60";
        let time = text.parse().ok().filter(|_| is_as_written);
        time.ok_or(NotARecord("its recorded_at is not a time in UTC with six digits after the second"))
    }

    /// The text of a JSON object.
    fn value(&mut self) -> Result<&'a str, NotARecord> {
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for (at, byte) in self.0.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return self.object(at + 1);
                    }
                }
                _ if depth == 0 => break,
                _ => {}
            }
        }
        Err(NotARecord("its payload or metadata is not a JSON object"))
    }

    fn object(&mut self, length: usize) -> Result<&'a str, NotARecord> {
        let text = self.take(length);
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
        match is_json && text.starts_with('{') {
            true => Ok(text),
            false => Err(NotARecord("its payload or metadata is not a JSON object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(text: &str) -> Record {
        Record {
            position: 7,
            event_id: Uuid::from_u128(1),
            aggregate_type: "Offer".to_owned(),
            aggregate_id: text.to_owned(),
            sequence: 2,
            event_type: "Deactivated".to_owned(),
            event_version: "1.0".to_owned(),
            recorded_at: "2026-11-22T08:30:00.123456Z".parse().expect("a moment"),
            payload: r#"{"type":"Deactivated","more":["}\"",{"a":1}]}"#.to_owned(),
            metadata: "{}".to_owned(),
            commit_end: 7,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in any::<String>()) {
            prop_assert_eq!(Record::parse(&recorded(&text).line()), Ok(recorded(&text)));
        }

        #[test]
        fn a_changed_byte_is_no_record_or_another_one(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let line = recorded("a\u{e4}").line();
            let mut changed = line.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            if let Ok(changed) = String::from_utf8(changed)
                && let Ok(read) = Record::parse(&changed)
            {
                prop_assert_eq!(read.line(), changed);
            }
        }
    }

    #[test]
    fn another_text_of_the_same_json_is_no_record() {
        let line = recorded("x").line();
        for (as_written, otherwise) in [
            ("{\"position\":7", "{ \"position\":7"),
            ("\"position\":7", "\"position\":07"),
            ("\"position\":7", "\"position\":-7"),
            ("\"Offer\"", "\"\\u004fffer\""),
            ("\"sequence\":2,", ""),
            (".123456Z", ".12345600Z"),
            (".123456Z", ".123456+00:00"),
            ("\"metadata\":{}}", "\"metadata\":{}} "),
            ("\"metadata\":{}}", "\"metadata\":{},\"commit_end\":7}"),
            ("\"metadata\":{}}", "\"metadata\":[]}"),
            ("\"metadata\":{}}", "\"metadata\":{a}}"),
            ("\"metadata\":{}}", "\"metadata\":{}"),
            ("00000001\"", "0000000A\""),
        ] {
            let changed = line.replacen(as_written, otherwise, 1);
            assert_ne!(changed, line, "{as_written}");
            assert!(Record::parse(&changed).is_err(), "{changed}");
        }
    }
}
