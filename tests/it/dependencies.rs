//! What the program is made of: one way to do TLS, one sqlx. Two providers of TLS in one process panic.

use std::collections::BTreeSet;
use std::process::Command;

/// The crates that are compiled into the program: `name v1.2.3`.
fn compiled_in() -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    String::from_utf8(output.stdout).unwrap().lines().map(words).collect()
}

#[test]
fn there_is_one_tls_and_one_sqlx() {
    let crates = compiled_in();
    let versions = |name: &str| crates.iter().filter(|one| one.split(' ').next() == Some(name)).count();
    for once in ["rustls", "ring", "sqlx", "sqlx-core", "sqlx-postgres", "hyper", "tokio"] {
        assert_eq!(versions(once), 1, "{once}: {crates:?}");
    }
    for never in ["aws-lc-rs", "openssl", "openssl-sys", "native-tls", "sqlx-mysql", "sqlx-sqlite"] {
        assert_eq!(versions(never), 0, "{never}");
    }
}
