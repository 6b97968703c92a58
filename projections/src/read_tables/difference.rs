//! Compares two sets of read tables, field by field.

use crate::Error;
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row};
use std::fmt;

/// The tables and their keys.
const KEYS: [(&str, &str); 5] = [
    ("transactions", "transaction_id"),
    ("unfinished", "transaction_id"),
    ("subscriptions", "subscription_id"),
    ("offers", "offer_id"),
    ("statement", "account_id, position"),
];

/// Rows of a table that are described; the others are only counted.
const MAX_EXAMPLES: i64 = 50;

/// How a table differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which table.
    pub table: &'static str,
    /// How many of its rows differ, are missing or should not be there.
    pub rows: i64,
    /// The first ones: a sentence each, with the names and values of the fields.
    pub examples: Vec<String>,
}

/// What is other in the tables of `live` than in those of `rebuilt`.
pub(super) async fn between(
    sql: &mut PgConnection,
    live: &str,
    rebuilt: &str,
) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    for (table, key) in KEYS {
        let query = format!(
            "select {} as live, {} as rebuilt, count(*) over () as rows \
             from {live}.{table} live full join {rebuilt}.{table} rebuilt using ({key}) \
             where live is distinct from rebuilt order by {key} limit {MAX_EXAMPLES}",
            texts("live"),
            texts("rebuilt"),
        );
        let found = sqlx::query(&query).fetch_all(&mut *sql).await?;
        let Some(first) = found.first() else { continue };
        let rows = first.try_get("rows")?;
        let mut examples = Vec::with_capacity(found.len());
        for row in &found {
            examples.push(describe(table, key, row.try_get("live")?, row.try_get("rebuilt")?));
        }
        differences.push(Difference { table, rows, examples });
    }
    Ok(differences)
}

/// A row as an object of texts, because a number has its places.
fn texts(row: &str) -> String {
    format!("(select jsonb_object_agg(key, value) from jsonb_each_text(to_jsonb({row})))")
}

fn describe(table: &str, key: &str, live: Option<Value>, rebuilt: Option<Value>) -> String {
    let whole = live.as_ref().or(rebuilt.as_ref()).and_then(Value::as_object);
    let key = key.split(", ").map(|name| Shown(whole.and_then(|row| row.get(name))).to_string());
    let name = format!("{table} {}", key.collect::<Vec<_>>().join(" "));
    match (live, rebuilt) {
        (Some(Value::Object(live)), Some(Value::Object(rebuilt))) => {
            format!("{name}: {}", fields(&live, &rebuilt).join(", "))
        }
        (Some(_), _) => format!("{name} is in the live table only"),
        _ => format!("{name} is missing in the live table"),
    }
}

fn fields(live: &Map<String, Value>, rebuilt: &Map<String, Value>) -> Vec<String> {
    let names = live.keys().filter(|name| live.get(*name) != rebuilt.get(*name));
    names
        .map(|name| format!("{name} is {}, not {}", Shown(live.get(name)), Shown(rebuilt.get(name))))
        .collect()
}

/// A value, text without quotes.
struct Shown<'a>(Option<&'a Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Value::String(text)) => f.write_str(text),
            Some(value) => write!(f, "{value}"),
            None => f.write_str("null"),
        }
    }
}
