//! Who may import whom (see docs/ARCHITECTURE.md): kept by reading every source file.

use std::fs;
use std::path::{Path, PathBuf};

/// Names libraries only to quieten their logs.
const LOG_FILTER: &str = "src/telemetry/";

/// A name that only some rooms may speak, and which those are (prefixes of paths).
const KEPT: &[(&str, &[&str])] = &[
    ("postgres_es", &["src/event_log/"]),
    ("async_nats", &["src/bus/", LOG_FILTER]),
    ("redis::", &["projections/", "src/app/", "src/devstack/"]),
    ("reqwest", &["src/external/", "src/processors/callbacks/", "src/tls.rs"]),
    (
        "sqlx",
        &[
            "src/event_log/",
            "projections/",
            "src/processors/",
            "src/identity/",
            "src/app/",
            "src/runtime/",
            "src/devstack/",
            LOG_FILTER,
        ],
    ),
    ("axum", &["src/http/", "src/simulator/", "src/external/tests.rs"]),
    ("SystemTime::now", &["src/devstack/"]),
    ("Utc::now", &["src/clock.rs", "src/simulator/", "src/external/answer.rs"]),
];

/// A room and what it may not know.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("domain/src/", &["tokio", "rand", "Instant::now", "std::fs", "std::net", "std::env"]),
    ("projections/src/", &["offers::", "axum"]),
    ("src/http/", &["crate::cli", "crate::devstack", "crate::bus", "crate::external"]),
    (
        "src/event_log/",
        &["crate::http", "crate::bus", "crate::identity", "projections::", "crate::processors"],
    ),
    ("src/bus/", &["crate::http", "crate::identity", "projections::", "crate::processors"]),
    ("src/identity/", &["crate::http", "crate::event_log", "crate::bus", "projections::"]),
    ("src/external/", &["crate::http", "crate::event_log", "crate::bus", "crate::identity", "projections::"]),
];

/// The source files of the product, without tests: (path from the root, text without comments and tests).
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for room in ["src", "domain/src", "projections/src"] {
        collect(&root.join(room), &mut paths);
    }
    assert!(paths.len() > 50, "the sources are not where this test looks for them");
    let relative = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    paths.iter().map(|path| (relative(path), code(&fs::read_to_string(path).unwrap()))).collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(&path, paths);
        } else if (name.ends_with(".rs") && !name.ends_with("tests.rs")) || name.ends_with(".sql") {
            paths.push(path);
        }
    }
}

/// What is compiled into the product: up to the tests, without comments.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    product.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// True when `code` speaks `name` as a word of its own.
fn speaks(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !word(before) && (name.ends_with("::") || !word(after))
    })
}

#[test]
fn drivers_are_named_only_in_their_rooms() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        for (name, rooms) in KEPT {
            if speaks(&code, name) && !rooms.iter().any(|room| path.starts_with(room)) {
                wrong.push(format!("{path} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_knows_what_it_must_not() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        for (room, names) in FORBIDDEN {
            for name in *names {
                if path.starts_with(room) && speaks(&code, name) {
                    wrong.push(format!("{path} names {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_log_names_the_event_table() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let folded = code.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        for verb in
            ["from events", "into events", "update events", "join events", "table events", "only events"]
        {
            if speaks(&folded, verb) && !path.starts_with("src/event_log/") {
                wrong.push(format!("{path} says {verb:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
