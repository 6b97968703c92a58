//! Who may import whom, in tables; and the check of one file against them.

use super::source::Source;

/// The rooms by floor, from the top down. A room may import from the floors below its own, and from no other.
pub const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["devstack", "simulator"],
    &["runtime"],
    &["http"],
    &["app"],
    &["processors"],
    &["notary"],
    &["bus", "external"],
    &["event_log", "verify"],
    &["projections", "identity"],
    &["config"],
    &["telemetry", "postgres"],
    &["backoff", "clock", "failpoint", "tls", "tree"],
    &["domain"],
];

/// Imports that go up or sideways, until they are removed. A test requires that each of them is still needed.
pub const UPWARD: &[(&str, &str, &str)] = &[];

/// Downward imports that are forbidden all the same.
const NEVER: &[(&str, &[&str], &str)] = &[
    ("cli", &["bus", "external"], "the verbs use what `runtime` and `app` have put together"),
    ("http", &["bus", "external"], "the edge reads and commands; what happens next is the processors' work"),
    (
        "event_log",
        &["projections", "identity", "tree"],
        "the log is the source; it knows nothing that is derived from it",
    ),
    ("bus", &["projections", "identity"], "the bus carries events; it does not ask what they mean"),
    ("verify", &["projections", "identity"], "a history is checked in the same way wherever it comes from"),
    ("external", &["event_log", "projections", "identity"], "a client of another system, and nothing else"),
    (
        "simulator",
        &["runtime", "http", "app", "processors", "bus", "external", "event_log"],
        "another system",
    ),
    ("simulator", &["projections", "identity"], "another system"),
    ("config", &["domain"], "settings are plain values; the rooms say what they mean"),
];

/// Crates and functions that only some files may name (prefixes of paths).
pub const KEPT: &[(&str, &[&str])] = &[
    ("postgres_es", &["src/event_log/"]),
    ("async_nats", &["src/bus/"]),
    ("redis", &["projections/"]),
    (
        "reqwest",
        &["src/cli/api/", "src/cli/listen.rs", "src/cli/witness/", "src/processors/callbacks/", "src/tls.rs"],
    ),
    ("hyper_rustls", &["src/external/"]),
    (
        "sqlx",
        &[
            "src/event_log/",
            "src/notary/",
            "projections/",
            "src/processors/",
            "src/identity/",
            "src/runtime/",
            "src/devstack/",
            "src/postgres.rs",
        ],
    ),
    ("axum", &["src/http/", "src/simulator/"]),
    ("clap", &["src/cli/", "src/config/", "src/telemetry/logs.rs"]),
];

/// What the domain may not name: the world, which its callers bring.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "rand",
    "getrandom",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
];

/// The room of a file or of a name, by its crate and first module. `main.rs` and `lib.rs` are in no room.
pub fn room_of(name: &[String]) -> Option<&str> {
    match name.first()?.as_str() {
        "offers" => name.get(1).map(String::as_str),
        other => Some(other).filter(|other| ["domain", "projections"].contains(other)),
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// True when `from` may not import `to`, because of the floors.
pub fn is_upward(from: &str, to: &str) -> bool {
    match (floor(from), floor(to)) {
        (Some(from), Some(to)) => to <= from,
        _ => true,
    }
}

/// The rooms that a file imports, its own left out.
pub fn imports(source: &Source) -> impl Iterator<Item = (&str, &str)> {
    let from = room_of(&source.module);
    let to = source.names.iter().filter_map(|name| room_of(name));
    to.filter_map(move |to| Some((from?, to))).filter(|(from, to)| from != to)
}

/// Everything that `source` may not say.
pub fn violations(source: &Source) -> Vec<String> {
    let mut wrong: Vec<String> = imports(source)
        .filter(|(from, to)| !UPWARD.iter().any(|(up, down, _)| up == from && down == to))
        .filter_map(|(from, to)| why_not(from, to))
        .collect();
    if source.module == ["offers"]
        && source.names.iter().any(|name| ![None, Some("cli")].contains(&room_of(name)))
    {
        wrong.push("the program's root imports more than `cli`".to_owned());
    }
    for (kept, rooms) in KEPT {
        if !rooms.iter().any(|room| source.path.starts_with(room)) && names(source, kept) {
            wrong.push(format!("{kept} belongs to {}", rooms.join(", ")));
        }
    }
    if source.path.starts_with("domain/") {
        wrong.extend(
            NOT_IN_DOMAIN
                .iter()
                .filter(|name| names(source, name))
                .map(|name| format!("{name} in the domain")),
        );
    }
    if !source.path.starts_with("src/event_log/")
        && source.texts.iter().any(|text| asks_the_event_table(text))
    {
        wrong.push("the table `events` belongs to src/event_log/".to_owned());
    }
    wrong.sort();
    wrong.dedup();
    wrong.iter().map(|why| format!("{}: {why}", source.path)).collect()
}

fn why_not(from: &str, to: &str) -> Option<String> {
    if let Some((_, _, why)) = NEVER.iter().find(|(room, never, _)| *room == from && never.contains(&to)) {
        return Some(format!("{from} imports {to}: {why}"));
    }
    is_upward(from, to).then(|| format!("{from} imports {to}, which is on no floor below it"))
}

/// True when a name is `wanted`, or begins with it, or (with a capital letter) has it as a part.
pub fn names(source: &Source, wanted: &str) -> bool {
    let wanted: Vec<&str> = wanted.split("::").collect();
    let is_type = wanted[0].starts_with(char::is_uppercase);
    source.names.iter().any(|name| match is_type {
        true => name.iter().any(|part| part == wanted[0]),
        false => name.len() >= wanted.len() && name.iter().zip(&wanted).all(|(part, wanted)| part == wanted),
    })
}

fn asks_the_event_table(text: &str) -> bool {
    const ASKS: &[&str] = &["from", "into", "update", "join", "table", "only"];
    let folded = text.to_lowercase();
    let words: Vec<&str> =
        folded.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| ASKS.contains(&pair[0]) && pair[1] == "events")
}
