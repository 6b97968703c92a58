//! As much of PromQL as is needed to see what a query asks for.

/// A series that is asked for, with what its labels must be.
#[derive(Debug, PartialEq)]
pub struct Selector {
    pub series: String,
    pub matchers: Vec<(String, String)>,
}

/// What a query asks for.
#[derive(Debug, Default)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// Labels that it groups or joins by.
    pub groupings: Vec<String>,
}

/// Words that are no series.
const JOINS: [&str; 3] = ["and", "or", "unless"];
/// Words that a list of labels follows.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Reads from left to right: a word before a `(` is a function, others are series.
pub fn read(expression: &str) -> Query {
    let (mut query, mut rest) = (Query::default(), expression);
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || "[0123456789\"".contains(c)) {
        let first = rest.as_bytes()[start];
        rest = &rest[start..];
        match first {
            b'[' => rest = after(rest, ']'), // a window
            b'"' => rest = after(&rest[1..], '"'),
            b'0'..=b'9' => rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
            _ => rest = word(rest, &mut query),
        }
    }
    query
}

fn word<'a>(text: &'a str, query: &mut Query) -> &'a str {
    let (name, rest) = text.split_at(text.find(|c: char| !is_part(c)).unwrap_or(text.len()));
    let next = rest.trim_start();
    if GROUPINGS.contains(&name) {
        let (labels, rest) = next.strip_prefix('(').and_then(|list| list.split_once(')')).unwrap();
        query.groupings.extend(labels.split(',').map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned));
        return rest;
    }
    if name == "offset" {
        return next.trim_start_matches(is_part);
    }
    if JOINS.contains(&name) || next.starts_with('(') || aggregates(next) {
        return rest;
    }
    let (matchers, rest) = match next.strip_prefix('{') {
        Some(list) => matchers(list),
        None => (Vec::new(), rest),
    };
    query.selectors.push(Selector { series: name.to_owned(), matchers });
    rest
}

/// `sum by (…)`: what comes before is a function too.
fn aggregates(next: &str) -> bool {
    ["by", "without"]
        .iter()
        .any(|word| next.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '('])))
}

/// What stands in the braces, up to those that close them; a value may hold braces of its own.
fn matchers(mut list: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        list = list.trim_start_matches([' ', ',', '\n']);
        if let Some(rest) = list.strip_prefix('}') {
            return (found, rest);
        }
        let (label, value) = list.split_at(list.find(|c| !is_part(c)).unwrap());
        let (value, rest) =
            value.trim_start_matches(['=', '!', '~']).strip_prefix('"').unwrap().split_once('"').unwrap();
        found.push((label.to_owned(), value.to_owned()));
        list = rest;
    }
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).expect("what is opened is closed").1
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}
