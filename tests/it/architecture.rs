//! The layout of docs/ARCHITECTURE.md, kept by reading every line of every source file; and what the program is
//! made of.

mod figures;
mod rooms;
mod source;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use figures::count;
use rooms::{FLOORS, KEPT, UPWARD, is_upward, names, room_of, violations};
use source::{Source, Tree};

/// Found at run time, so that the same binary can count another tree.
static TREE: LazyLock<Tree> =
    LazyLock::new(|| Tree::read(Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())));

#[test]
fn every_room_imports_only_what_is_below_it_and_drivers_stay_in_their_rooms() {
    let wrong: Vec<String> = TREE.sources.iter().flat_map(violations).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_name_what_is_there_and_nothing_else() {
    let there: BTreeSet<&str> = TREE.sources.iter().filter_map(|one| room_of(&one.module)).collect();
    let listed: BTreeSet<&str> = FLOORS.iter().flat_map(|rooms| rooms.iter().copied()).collect();
    assert_eq!(there, listed, "every room has a floor");
    for (kept, rooms) in KEPT {
        for room in *rooms {
            let used = TREE.sources.iter().any(|one| one.path.starts_with(room) && names(one, kept));
            assert!(used, "{room} names {kept} no more: take it off the list");
        }
    }
}

#[test]
fn the_list_of_upward_imports_is_exact_and_there_is_no_circle_between_rooms() {
    let figures = count(&TREE);
    println!("rooms {}, import arrows {}", figures.rooms, figures.arrows.len());
    println!("upward arrows {}: {:?}", figures.upward.len(), figures.upward);
    println!("circles between rooms {}: {:?}", figures.circles_between.len(), figures.circles_between);
    println!("circles within rooms {}: {:#?}", figures.circles_within.len(), figures.circles_within);
    let listed = UPWARD.iter().map(|(from, to, _)| ((*from).to_owned(), (*to).to_owned())).collect();
    assert_eq!(figures.upward, listed);
    assert!(figures.circles_between.is_empty());
}

/// The test of the test: lines that must be caught, in files that must be read to their end.
#[test]
fn a_forbidden_line_is_caught_wherever_it_stands() {
    let aggregates = ["account", "offer", "transaction", "user_offer"];
    for aggregate in aggregates {
        let file = format!("domain/src/{aggregate}/mod.rs");
        for line in [
            "use tokio::time::sleep;",
            "fn now() -> std::time::Instant { std::time::Instant::now() }",
            "fn draw() -> u8 { rand::random() }",
            "use std::{fmt::Debug, fs as files};",
        ] {
            assert_caught(&file, line);
        }
    }
    for line in [
        "use crate::bus::Bus;",
        "use crate::{clock, cli::Cli};",
        "use super::external;",
        "pub use super::super::cli as verbs;",
        "use super::*;",
        "use crate as house; fn main() { house::cli::main(); }",
        "fn wait() { tokio::select! { () = crate::runtime::stop() => {} } }",
        "fn read() { let _ = /* not */ sqlx :: query(\"select 1\"); }",
        "#[serde(default = \"crate::cli::main\")] struct Body;",
        "#[cfg(not(test))] use crate::cli::Cli;",
        "#[cfg(any(test, unix))] use crate::cli::Cli;",
        "const ALL: &str = \"SELECT *\\nFROM  events\";",
    ] {
        assert_caught("src/http/mod.rs", line);
    }
}

#[test]
fn a_forbidden_import_is_caught_in_every_room() {
    for room in FLOORS.concat() {
        let file = TREE.sources.iter().find(|one| room_of(&one.module) == Some(room)).unwrap();
        for other in FLOORS.concat() {
            let library = ["domain", "projections"].contains(&other);
            if other != room && is_upward(room, other) {
                let krate = if library {
                    ""
                } else if file.module[0] == "offers" {
                    "crate::"
                } else {
                    "offers::"
                };
                assert_caught(&file.path, &format!("use {krate}{other}::Thing;"));
            }
        }
    }
}

#[test]
fn what_is_only_for_tests_may_name_anything() {
    let text = "#[cfg(test)] use crate::{cli, bus};
        #[cfg(test)] #[path = \"x.rs\"] mod x;
        #[cfg(all(test, unix))] pub const fn f() -> [u8; 1] { crate::cli::f() }
        struct S { #[cfg(test)] field: crate::cli::Cli, other: u8 }
        #[cfg(test)] mod tests { use crate::cli::Cli; }
        /// [`crate::cli::Cli`] // \"from events\"
        fn product() {}";
    assert_eq!(violations(&TREE.source("src/http/mod.rs", text)), Vec::<String>::new());
    assert_caught("src/http/mod.rs", &format!("{text} use crate::cli::Cli;"));
}

/// Both below the file's documentation and at its end.
fn assert_caught(file: &str, line: &str) {
    let text = &TREE.files[file];
    let docs: usize =
        text.split_inclusive('\n').take_while(|line| line.starts_with("//!")).map(str::len).sum();
    let (docs, rest) = text.split_at(docs);
    for changed in [format!("{docs}{line}\n{rest}"), format!("{text}\n{line}")] {
        let source: Source = TREE.source(file, &changed);
        assert!(!violations(&source).is_empty(), "not caught in {file}: {line}");
    }
}

/// What `cargo tree` says of the crates that are compiled into the program, a line each.
fn compiled_in(format: &str) -> String {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", format]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Two providers of TLS in one process panic.
#[test]
fn there_is_one_tls_and_one_sqlx() {
    let tree = compiled_in("{p}");
    let crates: BTreeSet<_> = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>()).collect();
    let versions = |name: &str| crates.iter().filter(|one| one[0] == name).count();
    for once in ["rustls", "ring", "sqlx", "sqlx-core", "sqlx-postgres", "hyper", "tokio"] {
        assert_eq!(versions(once), 1, "{once}: {crates:?}");
    }
    for never in ["aws-lc-rs", "openssl", "openssl-sys", "native-tls", "sqlx-mysql", "sqlx-sqlite"] {
        assert_eq!(versions(never), 0, "{never}");
    }
}

/// An activation makes some ten ids.
#[test]
fn the_bits_of_an_id_do_not_come_from_a_call_of_the_system() {
    let tree = compiled_in("{p} {f}");
    let ids = tree.lines().find(|line| line.starts_with("uuid ")).expect("ids are UUIDs");
    assert!(ids.split([' ', ',']).any(|feature| feature == "fast-rng"), "{ids}");
}
