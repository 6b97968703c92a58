//! Whoever owns the database can change anything in it. Whoever kept a checkpoint finds out, and with the tree that was
//! stored as the log grew, where.

use super::{cli, files, signing_key};
use crate::support::eventually::eventually;
use crate::support::service::{Service, Setting};
use crate::support::stack::{Sandbox, Stack};
use offers::event_log::EventLog;
use offers::notary::TreeStore;
use offers::tree::{Builder, Hash, SignedCheckpoint, leaf_hash};
use offers::verify::{Batch, Checkpoints, Place, Report, Verifier};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

const EVENTS: usize = 1_000;
/// Records that are read again for each manipulation.
const CHUNK: usize = 50;
/// Where the checkpoints are that somebody has kept.
const KEPT: [usize; 3] = [300, 600, EVENTS];
/// Of which any byte is changed once.
const SAMPLED: usize = 100;

/// What an auditor has from before.
struct Auditor {
    lines: Vec<String>,
    leaves: Vec<Hash>,
    checkpoints: String,
    batches: Vec<Batch>,
}

impl Auditor {
    async fn new() -> (Sandbox, Self) {
        let sandbox = Stack::get().await.sandbox().await;
        cli(&sandbox, &["demo", "generate", "--events", "1000", "--seed", "11"]).await.code(0);
        let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
        let lines: Vec<String> =
            log.page(0, EVENTS).await.unwrap().iter().map(|event| format!("{}\n", event.line())).collect();
        (sandbox, Self::of(lines))
    }

    fn of(lines: Vec<String>) -> Self {
        let leaves: Vec<Hash> = lines.iter().map(|line| leaf_hash(line.trim_end())).collect();
        let (mut tree, mut checkpoints) = (Builder::default(), String::new());
        for leaf in &leaves {
            tree.push(*leaf);
            if KEPT.contains(&usize::try_from(tree.size()).unwrap()) {
                checkpoints
                    .push_str(&SignedCheckpoint::sign(tree.size(), tree.root(), &signing_key()).to_string());
            }
        }
        let batches = lines.chunks(CHUNK).map(|lines| Batch::of_lines(lines.concat().as_bytes())).collect();
        Self { lines, leaves, checkpoints, batches }
    }

    /// Verifies the history in which `changed` stands instead of the chunk `number`.
    fn verify(&self, number: usize, changed: &[u8], knows_the_tree: bool) -> Report {
        let mut checkpoints = Checkpoints::default();
        checkpoints.add("kept", &self.checkpoints, Some(signing_key().verifier())).unwrap();
        let mut verifier = Verifier::new(checkpoints);
        for (at, batch) in self.batches.iter().enumerate() {
            let batch = if at == number { Batch::of_lines(changed) } else { batch.clone() };
            let next = usize::try_from(verifier.next_position()).unwrap() - 1;
            let stored = if knows_the_tree { self.leaves.get(next..).unwrap_or_default() } else { &[] };
            if verifier.take(batch, stored).is_break() {
                break;
            }
        }
        verifier.finish()
    }

    /// The first position that is wrong after the lines of the chunk around `position` were changed.
    fn first_wrong(&self, position: usize, change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) -> (Place, Place) {
        let number = (position - 1) / CHUNK;
        let from = number * CHUNK;
        let lines = &self.lines[from..(from + CHUNK).min(EVENTS)];
        let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
        change(&mut lines, position - 1 - from);
        let changed = lines.concat();
        let place = |report: Report| {
            assert!(!report.is_sound(), "a change at {position} was not seen");
            report.first_wrong().or(report.unusable.map(|(place, _)| place)).unwrap()
        };
        (place(self.verify(number, &changed, true)), place(self.verify(number, &changed, false)))
    }

    /// Asserts that the change at `position` is found there with the tree, and around there with the checkpoints.
    fn assert_found(&self, what: &str, position: usize, change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) {
        let (exact, range) = self.first_wrong(position, change);
        let position = u64::try_from(position).unwrap();
        let what = format!("{what} at {position}: {exact:?}, {range:?}");
        assert_eq!((exact.first, exact.last), (position, position), "{what}");
        assert!((range.first..=range.last).contains(&position), "{what}");
    }
}

/// The parts of a record: from where its value begins to where the next member begins.
fn members(line: &str) -> Vec<(usize, usize)> {
    const NAMES: [&str; 10] = [
        "position",
        "event_id",
        "aggregate_type",
        "aggregate_id",
        "sequence",
        "event_type",
        "event_version",
        "recorded_at",
        "payload",
        "metadata",
    ];
    let mut starts: Vec<usize> =
        NAMES.iter().map(|name| line.find(&format!("\"{name}\":")).unwrap() + name.len() + 3).collect();
    starts.push(line.len() - 1);
    starts
        .windows(2)
        .zip(NAMES.iter().skip(1).map(|name| name.len() + 4).chain([1]))
        .map(|(pair, gap)| (pair[0], pair[1] - gap))
        .collect()
}

#[tokio::test]
async fn every_manipulation_of_a_history_is_found_at_its_place() {
    let (_, auditor) = Auditor::new().await;
    assert!(auditor.verify(usize::MAX, &[], true).is_sound(), "as it was written");
    let auditor = std::sync::Arc::new(auditor);
    let half = |remainder: usize| {
        let auditor = auditor.clone();
        tokio::task::spawn_blocking(move || manipulate(&auditor, remainder))
    };
    let (one, other) = tokio::join!(half(0), half(1));
    assert!(one.unwrap() + other.unwrap() > 1_350);
}

/// Half of all manipulations; how many these were.
fn manipulate(auditor: &Auditor, remainder: usize) -> usize {
    let mut rng = StdRng::seed_from_u64(remainder as u64);
    let mut count = 0;
    for sample in (0..SAMPLED).filter(|sample| sample % 2 == remainder) {
        let position = 1 + sample * (EVENTS / SAMPLED) + rng.random_range(0..EVENTS / SAMPLED);
        for (start, end) in members(&auditor.lines[position - 1]) {
            let (at, bit) = (rng.random_range(start..end), 1 << rng.random_range(0..7));
            auditor.assert_found("a flipped bit", position, |lines, index| lines[index][at] ^= bit);
            count += 1;
        }
    }
    for position in (10..EVENTS).step_by(10).filter(|position| position / 10 % 2 == remainder) {
        auditor.assert_found("a deleted record", position, |lines, index| drop(lines.remove(index)));
        if position % CHUNK != 0 {
            auditor.assert_found("swapped records", position, |lines, index| lines.swap(index, index + 1));
        }
        let forged = auditor.lines[position - 1].replace("\"metadata\":{", "\"metadata\":{\"reason\":\"x\",");
        auditor.assert_found("an inserted record", position, |lines, index| {
            lines.insert(index, forged.into_bytes());
        });
        truncate(auditor, position);
        count += 4;
    }
    count
}

/// The log ends with `position`.
fn truncate(auditor: &Auditor, position: usize) {
    let mut checkpoints = Checkpoints::default();
    checkpoints.add("kept", &auditor.checkpoints, None).unwrap();
    let mut verifier = Verifier::new(checkpoints);
    let whole = position / CHUNK;
    for batch in &auditor.batches[..whole] {
        assert!(verifier.take(batch.clone(), &[]).is_continue());
    }
    let rest = auditor.lines[whole * CHUNK..position].concat();
    assert!(verifier.take(Batch::of_lines(rest.as_bytes()), &[]).is_continue());
    let place = verifier.finish().first_wrong().unwrap();
    let next = u64::try_from(position).unwrap() + 1;
    assert_eq!((place.first, place.last), (next, next), "truncated after {position}");
}

/// Lets a service store and sign the tree of the whole log; returns the file with the checkpoint that was kept.
async fn signed_tree(sandbox: &Sandbox) -> String {
    let setting = Setting { checkpoint_key: Some(signing_key()), ..Setting::default() };
    let service = Service::start_in(sandbox, setting).await;
    let store = TreeStore::at(sandbox.database_url.parse().unwrap());
    let signed = async || store.newest().await.unwrap().is_some_and(|newest| newest.size == EVENTS as u64);
    eventually("the whole log is signed", signed).await;
    let note = store.newest().await.unwrap().unwrap().note;
    service.stop().await;
    let kept = files(sandbox).join("kept");
    std::fs::write(&kept, note).unwrap();
    kept.to_str().unwrap().to_owned()
}

const COPY: &str = "alter table events disable trigger user; \
                    alter table events drop constraint events_check, drop constraint events_position_check; alter table tree_tiles disable trigger user; \
                    create table kept_events as select * from events; create table kept_tiles as select * from tree_tiles";
const RESTORE: &str = "truncate events, tree_tiles; insert into events select * from kept_events; \
                       insert into tree_tiles select * from kept_tiles";

#[tokio::test]
async fn what_the_owner_of_the_database_changes_is_found_at_its_place_by_who_kept_a_checkpoint() {
    let sandbox = Stack::get().await.sandbox().await;
    cli(&sandbox, &["demo", "generate", "--events", "1000", "--seed", "12"]).await.code(0);
    let kept = signed_tree(&sandbox).await;
    let key = signing_key().verifier().to_string();
    let verify = ["verify", "--checkpoint", &kept, "--key", &key];
    cli(&sandbox, &verify).await.code(0).prints("checkpoint of 1000 records").prints("sound");
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    sqlx::raw_sql(COPY).execute(&mut owner).await.unwrap();
    let members = [
        "position = 5000",
        "event_id = gen_random_uuid()",
        "aggregate_type = 'Offers'",
        "aggregate_id = gen_random_uuid()::text",
        "sequence = sequence + 100",
        "event_type = event_type || 'd'",
        "event_version = '1.1'",
        "recorded_at = recorded_at + interval '1 microsecond'",
        "payload = replace(payload::text, '\"type\"', ' \"type\"')::json",
        "metadata = (metadata::text || ' ')::json",
    ];
    let shift = |by: &str| {
        format!(
            "update events set position = -position where position >= 451; \
             update events set position = -position {by} where position < 0"
        )
    };
    let edits = members.iter().enumerate().map(|(at, member)| {
        let position = 37 + 97 * at;
        (format!("update events set {member} where position = {position}"), format!("position {position}"))
    });
    let others = [
        ("delete from events where position = 450".to_owned(), "position 450"),
        (format!("delete from events where position = 450; {}", shift("- 1")), "position 450"),
        ("delete from events where position > 990".to_owned(), "position 991"),
        (
            format!(
                "{}; insert into events select 451, gen_random_uuid(), aggregate_type, aggregate_id, 9999, event_type, \
                 event_version, payload, metadata, recorded_at, 451 from events where position = 450",
                shift("+ 1")
            ),
            "position 451",
        ),
        (
            "update events set position = -position where position in (450, 451); \
             update events set position = 901 + position where position < 0"
                .to_owned(),
            "position 450",
        ),
        (
            "update events set metadata = (metadata::text || ' ')::json where position = 450; \
             update tree_tiles set hashes = overlay(hashes placing '\\x00'::bytea from 1) where (level, index) = (0, 0)"
                .to_owned(),
            "between the positions 1 and 1000",
        ),
        (
            "update tree_tiles set hashes = overlay(hashes placing '\\x00'::bytea from 1) where (level, index) = (0, 1)"
                .to_owned(),
            "position 257",
        ),
    ];
    for (statement, place) in edits.chain(others.map(|(statement, place)| (statement, place.to_owned()))) {
        sqlx::raw_sql(&statement).execute(&mut owner).await.unwrap();
        let ran = cli(&sandbox, &[&verify[..], &["--log-only"]].concat()).await;
        ran.code(1).prints(&format!("first wrong: {place}\n"));
        sqlx::raw_sql(RESTORE).execute(&mut owner).await.unwrap();
    }
    let stranger =
        offers::tree::SigningKey::from_seed("log.example", [9; 32]).unwrap().verifier().to_string();
    cli(&sandbox, &["verify", "--key", &stranger])
        .await
        .code(2)
        .says("the database has no checkpoint of the key");
}
