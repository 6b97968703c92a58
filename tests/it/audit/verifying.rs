//! `offers verify`: an export, the database, receipts, and what cannot be used.

use super::{cli, cli_with, files, signing_key};
use crate::support::languages::python_with_packages;
use crate::support::stack::{Sandbox, Stack};
use offers::tree::{Builder, Plan, Receipt, SignedCheckpoint, SigningKey, Tile, leaf_hash};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::path::{Path, PathBuf};

/// A log, its export, and a checkpoint of its first part that was kept elsewhere.
struct Kept {
    sandbox: Sandbox,
    dir: PathBuf,
    lines: Vec<String>,
}

impl Kept {
    async fn new() -> Self {
        let sandbox = Stack::get().await.sandbox().await;
        let dir = files(&sandbox);
        cli(&sandbox, &["demo", "generate", "--events", "200"]).await.code(0);
        let text = cli(&sandbox, &["export"]).await.code(0).stdout();
        let kept = Self { sandbox, dir, lines: text.lines().map(str::to_owned).collect() };
        kept.write("export.ndjson", &text);
        kept.write("checkpoint", &kept.checkpoint(150, &signing_key()));
        kept
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn checkpoint(&self, size: usize, key: &SigningKey) -> String {
        let mut tree = Builder::default();
        self.lines[..size].iter().for_each(|line| drop(tree.push(leaf_hash(line))));
        SignedCheckpoint::sign(tree.size(), tree.root(), key).to_string()
    }

    async fn owner(&self, statements: &[&str]) {
        let mut owner = PgConnection::connect(&self.sandbox.database_owner_url).await.unwrap();
        for statement in statements {
            sqlx::raw_sql(statement).execute(&mut owner).await.unwrap();
        }
    }
}

fn key() -> String {
    signing_key().verifier().to_string()
}

#[tokio::test]
async fn a_sound_history_is_sound_wherever_it_is_read_from() {
    let kept = Kept::new().await;
    let (export, checkpoint, key) = (kept.path("export.ndjson"), kept.path("checkpoint"), key());
    let of_export = ["verify", "--export", &export, "--checkpoint", &checkpoint, "--key", &key];
    cli(&kept.sandbox, &of_export).await.code(0).prints("200 records").prints("150 records").prints("sound");
    let of_database = ["verify", "--checkpoint", &checkpoint, "--key", &key, "--json"];
    let told: Value = serde_json::from_str(&cli(&kept.sandbox, &of_database).await.code(0).stdout()).unwrap();
    let json = [&of_export[..], &["--json"]].concat();
    let same: Value = serde_json::from_str(&cli(&kept.sandbox, &json).await.code(0).stdout()).unwrap();
    assert_eq!((&told["root"], &told["sound"]), (&same["root"], &true.into()));
    assert_eq!(told["differences"], 0);
    let piped = cli_with(&kept.sandbox, &["verify", "--export", "-"], &kept.lines[..60].join("\n")).await;
    piped.code(2).says("line 60 (position 60): the last line is cut off");
    cli(&kept.sandbox, &["verify", "--export", &export]).await.code(0).says("no checkpoint");
}

#[tokio::test]
async fn what_was_changed_in_the_database_is_named() {
    let kept = Kept::new().await;
    kept.write(
        "both",
        &format!("{}{}", kept.checkpoint(100, &signing_key()), kept.checkpoint(200, &signing_key())),
    );
    let (both, key) = (kept.path("both"), key());
    let verify = ["verify", "--checkpoint", &both, "--key", &key];
    kept.owner(&["alter table events disable trigger user", "create table kept as select * from events"])
        .await;
    let restore = "truncate events; insert into events select * from kept order by position";
    for (wrong, says) in [
        (
            "update events set metadata = replace(metadata::text, 'actor', 'agent')::json where position = 120",
            "first wrong: between the positions 101 and 200",
        ),
        ("delete from events where position = 120", "first wrong: position 120"),
        ("delete from events where position > 120", "first wrong: between the positions 101 and 121"),
        ("delete from events where position <= 3", "first wrong: position 1"),
        (
            "update events set recorded_at = recorded_at + interval '1 year' where position = 120",
            "first wrong: between the positions 120 and 121",
        ),
        (
            "update events set sequence = sequence + 1000 where position = 120",
            "first wrong: between the positions 101 and 120",
        ),
        ("update events set event_type = 'Vanished' where position = 120", "first wrong: position 120"),
        ("update accounts set balance = balance + 1", "is not, what is derived"),
    ] {
        kept.owner(&[wrong]).await;
        let ran = cli(&kept.sandbox, &verify).await;
        if wrong.contains("accounts") {
            ran.code(1).prints("its events say").prints("the log is sound, what is derived from it is not");
        } else {
            ran.code(1).prints(says);
        }
        kept.owner(&[restore]).await;
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_exit_code_2_with_its_place() {
    let kept = Kept::new().await;
    let other = SigningKey::from_seed("other.example", [9; 32]).unwrap();
    let forger = SigningKey::from_seed("log.example", [9; 32]).unwrap();
    kept.write("foreign", &kept.checkpoint(150, &other));
    kept.write("forged", &kept.checkpoint(150, &forger));
    kept.write("cut", &kept.checkpoint(150, &signing_key())[..60]);
    let line = |position: usize, text: &str| {
        let mut lines = kept.lines.clone();
        lines[position - 1] = text.to_owned();
        format!("{}\n", lines.join("\n"))
    };
    kept.write("garbage", &line(17, "garbage"));
    kept.write("binary", "\u{0}\u{1}\n");
    let (export, key) = (kept.path("export.ndjson"), key());
    let unusable = async |args: &[&str], says: &str| {
        let ran = cli(&kept.sandbox, &[&["verify"], args].concat()).await;
        ran.code(2).says(says);
        assert_eq!(ran.stdout(), "", "{args:?}");
    };
    for (file, says) in [
        ("foreign", "the checkpoint is of the origin other.example, the key of log.example"),
        ("forged", "is not signed by the key"),
        ("cut", "cut: line 3:"),
        ("missing", "cannot read"),
    ] {
        unusable(&["--export", &export, "--checkpoint", &kept.path(file), "--key", &key], says).await;
    }
    let two_logs = [&export[..], &kept.path("checkpoint"), &kept.path("foreign")];
    let [export_of, one, other] = two_logs;
    let args = ["--export", export_of, "--checkpoint", one, "--checkpoint", other];
    unusable(&args, "foreign: it is of the origin other.example, another checkpoint of log.example").await;
    unusable(&["--export", &kept.path("garbage")], "line 17 (position 17): the line is no record").await;
    unusable(&["--export", &kept.path("binary")], "line 1 (position 1)").await;
    unusable(&["--export", &kept.path("nowhere")], "cannot read").await;
    unusable(&["--export", &export, "--key", "nonsense"], "a verifier key is").await;
    unusable(&["receipt", &export, "--key", &key], "line 1: a receipt begins with").await;
}

impl Kept {
    /// Of the record at `position`, by the checkpoint that was kept.
    fn receipt(&self, position: usize) -> Receipt {
        let (mut tree, index) = (Builder::default(), position as u64 - 1);
        let lines = self.lines[..150].iter();
        let mut tiles: Vec<Tile> = lines.flat_map(|line| tree.push(leaf_hash(line))).collect();
        tiles.extend(tree.growing_tiles());
        Receipt {
            line: self.lines[position - 1].clone(),
            index,
            proof: Plan::inclusion(index, 150).unwrap().hashes(&tiles.into_iter().collect()).unwrap(),
            checkpoint: self.checkpoint(150, &signing_key()).parse().unwrap(),
        }
    }
}

#[tokio::test]
async fn a_receipt_is_verified_alone() {
    let kept = Kept::new().await;
    kept.write("receipts", &format!("{}{}", kept.receipt(17), kept.receipt(150)));
    let mut wrong = kept.receipt(17);
    wrong.line = wrong.line.replace("correlation_id", "correlation_ID");
    kept.write("wrong", &wrong.to_string());
    let key = key();
    let verify =
        async |file: &str| cli(&kept.sandbox, &["verify", "receipt", &kept.path(file), "--key", &key]).await;
    verify("receipts")
        .await
        .code(0)
        .prints("position 17: in the log log.example of 150 records")
        .prints("position 150");
    verify("wrong").await.code(1).prints("position 17: INVALID: the record at position 17 is not in");
}

/// docs/examples/verify.py, which shares no code with the service.
async fn run_script(python: &Path, args: &[&str]) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/verify.py");
    let run = tokio::process::Command::new(python).arg(script).args(args).output().await.unwrap();
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_script_without_any_code_of_ours_finds_the_same() {
    let Some(python) = python_with_packages().await else { return };
    let script = async |args: &[&str]| run_script(&python, args).await;
    let kept = Kept::new().await;
    let (export, checkpoint, key) = (kept.path("export.ndjson"), kept.path("checkpoint"), key());
    let (sound, said) = script(&[&key, &export, &checkpoint]).await;
    let ours: Value =
        serde_json::from_str(&cli(&kept.sandbox, &["verify", "--json"]).await.code(0).stdout()).unwrap();
    assert!(sound && said.contains("the first 150 records are those of"), "{said}");
    assert!(said.ends_with(&format!("200 records, root {}\n", ours["root"].as_str().unwrap())), "{said}");
    kept.write("receipts", &format!("{}{}", kept.receipt(17), kept.receipt(150)));
    let (sound, said) = script(&[&key, &kept.path("receipts")]).await;
    assert!(sound && said.contains(&kept.lines[16]) && said.contains(&kept.lines[149]), "{said}");

    let mut lines = kept.lines.clone();
    lines[41] = lines[41].replace("correlation_id", "correlation_ID");
    kept.write("edited", &format!("{}\n", lines.join("\n")));
    kept.write("shorter", &format!("{}\n", kept.lines[..149].join("\n")));
    lines.remove(3);
    kept.write("deleted", &format!("{}\n", lines.join("\n")));
    let forger = SigningKey::from_seed("log.example", [9; 32]).unwrap();
    kept.write("forged", &kept.checkpoint(150, &forger));
    let mut receipt = kept.receipt(17);
    receipt.line = lines[20].clone();
    kept.write("receipt", &receipt.to_string());
    for (args, says) in [
        (vec!["edited", "checkpoint"], "a record up to position 150 is not the one"),
        (vec!["shorter", "checkpoint"], "the export ends at position 149"),
        (vec!["deleted", "checkpoint"], "the record at position 4 is not in its place"),
        (vec!["export.ndjson", "forged"], "the checkpoint is not signed by this key"),
        (vec!["receipt"], "the record at position 17 is not in the log"),
    ] {
        let paths: Vec<String> = args.iter().map(|file| kept.path(file)).collect();
        let (sound, said) = script(&[vec![&*key], paths.iter().map(|path| &**path).collect()].concat()).await;
        assert!(!sound && said.contains(&format!("WRONG: {says}")), "{args:?}: {said}");
    }
}
