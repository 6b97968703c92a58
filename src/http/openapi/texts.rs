//! What characters a text may have: written beside a schema as its `format`, spelled out as a `pattern`.
//!
//! `line` and `password` have no control characters, `prose` has no other than newline and tab; of a line
//! or prose that may not be empty, something must be visible.

use serde_json::Value;

/// Control characters, as the parsers of requests know them.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
/// The same without newline and tab.
const CONTROL_IN_PROSE: &str = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f";

/// `document` with the pattern of every text that has one of the formats above.
pub(crate) fn spelled_out(mut document: Value) -> Value {
    visit(&mut document);
    document
}

fn visit(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(visit);
            let pattern = members.get("format").and_then(Value::as_str).and_then(|format| {
                let visible = members.get("minLength").is_some();
                pattern(format, visible)
            });
            if let Some(pattern) = pattern {
                members.entry("pattern").or_insert(pattern.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(visit),
        _ => {}
    }
}

fn pattern(format: &str, visible: bool) -> Option<String> {
    let control = match format {
        "line" | "password" => CONTROL,
        "prose" => CONTROL_IN_PROSE,
        _ => return None,
    };
    Some(if visible && format != "password" {
        format!(r"^[^{control}]*[^\s{CONTROL}][^{control}]*$")
    } else {
        format!("^[^{control}]*$")
    })
}
