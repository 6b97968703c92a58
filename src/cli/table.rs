//! Answers of the API as lines for a person: aligned columns, or a line for each member.
//!
//! Numbers and amounts stand at the right, times are short (UTC), and no character of an answer moves the cursor of a
//! terminal.

use serde_json::Value;

/// Between two columns.
const GAP: &str = "  ";
/// For null and for what is missing.
const NOTHING: &str = "-";
/// Of `2026-11-22T08:30:00.123456Z`, the characters until the seconds.
const TO_THE_SECOND: usize = 19;

/// A heading, and a line for each of `rows`. A column is a member, such as `username` or `offer.name`.
pub(super) fn rows(rows: &[Value], columns: &[&str]) -> String {
    let headings = columns.iter().map(|column| column.to_uppercase().replace(['_', '.'], " ")).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|column| cell(member(row, column))).collect());
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(cells).collect();
    let columns = (0..columns.len()).map(|index| Column::of(&lines, index)).collect::<Vec<_>>();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&columns).map(|(cell, column)| column.pad(cell));
        padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A line for each member; lists of objects follow as tables.
pub(super) fn members(value: &Value) -> String {
    let (mut plain, mut tables) = (Vec::new(), Vec::new());
    collect("", value, &mut plain, &mut tables);
    let width = plain.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut lines: Vec<String> =
        plain.iter().map(|(name, text)| format!("{name:<width$}{GAP}{text}")).collect();
    for (name, list) in tables {
        let columns: Vec<&str> =
            list[0].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        lines.extend([String::new(), format!("{name}:"), rows(list, &columns)]);
    }
    lines.join("\n")
}

fn collect<'a>(
    prefix: &str,
    value: &'a Value,
    plain: &mut Vec<(String, String)>,
    tables: &mut Vec<(String, &'a [Value])>,
) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(_) => collect(&format!("{name}."), value, plain, tables),
            Value::Array(list) if list.first().is_some_and(Value::is_object) => tables.push((name, list)),
            value => plain.push((name, cell(value))),
        }
    }
}

fn member<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) if is_time(text) => text[..TO_THE_SECOND].replace('T', " "),
        Value::String(text) => text.chars().map(shown).collect(),
        Value::Array(list) if list.is_empty() => NOTHING.to_owned(),
        Value::Array(list) if list.iter().any(Value::is_object) => list.len().to_string(),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

fn shown(c: char) -> String {
    if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
}

fn is_time(text: &str) -> bool {
    text.is_ascii() && text.len() > TO_THE_SECOND && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

struct Column {
    width: usize,
    /// At the right.
    is_number: bool,
}

impl Column {
    /// The first of `lines` is the headings.
    fn of(lines: &[Vec<String>], index: usize) -> Self {
        let width = lines.iter().map(|line| line[index].chars().count()).max().unwrap_or_default();
        let mut cells = lines.iter().skip(1).map(|line| line[index].as_str()).filter(|cell| *cell != NOTHING);
        let is_number = lines.len() > 1 && cells.all(|cell| cell.parse::<f64>().is_ok());
        Self { width, is_number }
    }

    fn pad(&self, cell: &str) -> String {
        let width = self.width;
        if self.is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_stand_at_the_right_and_times_are_short() {
        let offers = [
            json!({"name": "TV", "price": "5.00", "is_active": true, "created_at": "2026-11-22T08:30:00.123456Z"}),
            json!({"name": "Internet", "price": "50.00", "is_active": false, "created_at": null}),
        ];
        let text = rows(&offers, &["name", "price", "is_active", "created_at"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME      PRICE  IS ACTIVE  CREATED AT");
        assert_eq!(lines[1], "TV         5.00  yes        2026-11-22 08:30:00");
        assert_eq!(lines[2], "Internet  50.00  no         -");
        assert_eq!(rows(&[], &["name"]), "NAME");
    }

    #[test]
    fn members_of_members_are_named_and_lists_are_tables() {
        let text = members(&json!({
            "id": "x", "offer": {"name": "TV"}, "roles": ["user", "admin"],
            "attempts": [{"kind": "activate", "number": 1}, {"kind": "cancel", "number": 12}],
        }));
        let wanted = "id          x\noffer.name  TV\nroles       user,admin\n\nattempts:\n\
                      KIND      NUMBER\nactivate       1\ncancel        12";
        assert_eq!(text, wanted);
    }

    #[test]
    fn an_answer_cannot_move_the_cursor() {
        assert_eq!(members(&json!({"a": "\u{1b}[2Jx\ny"})), "a  \\u{1b}[2Jx\\ny");
    }
}
