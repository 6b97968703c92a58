//! Whoever owns the database can change anything in it. Whoever kept a checkpoint finds out, and with the tree that was
//! stored as the log grew, where.

use super::{cli, signing_key};
use crate::support::eventually::eventually;
use crate::support::service::{Service, Setting};
use crate::support::stack::{Sandbox, Stack};
use domain::Recorded;
use offers::event_log::EventLog;
use offers::notary::{LoggedHistory, TreeStore};
use offers::tree::{Builder, SignedCheckpoint, SigningKey, leaf_hash};
use offers::verify::{Batch, Checkpoints, Place, Report, Verifier};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use std::ops::RangeInclusive;
use tokio_util::sync::CancellationToken;

const EVENTS: usize = 1_000;
/// Where the checkpoints are that somebody has kept.
const KEPT: [usize; 3] = [300, 600, EVENTS];
/// Records of which each member is changed.
const SAMPLED: usize = 100;

/// The owner makes a table of the events that any statement may change, and keeps the events as they were.
const TAKE_OVER: &str = "alter table events rename to kept; \
     create table events as select position, event_id, aggregate_type, aggregate_id, sequence, event_type, \
         event_version, recorded_at, payload::text, metadata::text, commit_end from kept; \
     create index on events (position); \
     grant select on events to offers_app; \
     alter table tree_tiles disable trigger user; \
     create table kept_tiles as table tree_tiles";
const RESTORE: &str = "truncate events; insert into events select position, event_id, aggregate_type, aggregate_id, \
         sequence, event_type, event_version, recorded_at, payload, metadata, commit_end from kept; ";
const RESTORE_TREE: &str = "truncate tree_tiles; insert into tree_tiles table kept_tiles";

/// A database in the hands of its owner, and what an auditor has kept.
struct Tampered {
    sandbox: Sandbox,
    owner: PgConnection,
    events: Vec<Recorded>,
    log: EventLog,
    tree: TreeStore,
    checkpoints: String,
}

/// Statements, and where the history is wrong first after them.
struct Change {
    what: &'static str,
    sql: String,
    place: RangeInclusive<u64>,
}

impl Tampered {
    async fn new(events: usize, checkpoints: &[usize]) -> Self {
        let sandbox = Stack::get().await.sandbox().await;
        cli(&sandbox, &["demo", "generate", "--events", &events.to_string(), "--seed", "12"]).await.code(0);
        if !checkpoints.is_empty() {
            signed_tree(&sandbox, events).await;
        }
        let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
        sqlx::raw_sql(TAKE_OVER).execute(&mut owner).await.unwrap();
        let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
        let tree = TreeStore::at(sandbox.database_url.parse().unwrap());
        let events = log.page(0, events).await.unwrap();
        let checkpoints = signed(&events, checkpoints);
        Self { sandbox, owner, events, log, tree, checkpoints }
    }

    async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(sql).execute(&mut self.owner).await.unwrap_or_else(|cause| panic!("{sql}: {cause}"));
    }

    /// What `offers verify` finds in the database.
    async fn verify(&self) -> Report {
        let verifier = Verifier::new(believed(&self.checkpoints));
        let history = LoggedHistory::open(&self.log, Some(self.tree.clone())).await.unwrap();
        tokio::task::spawn_blocking(move || history.verify(verifier, 1, drop)).await.unwrap().unwrap()
    }

    /// Makes a change, verifies, and takes the change back.
    async fn place_of(&mut self, change: &Change) -> Place {
        self.run(&change.sql).await;
        let report = self.verify().await;
        self.run(RESTORE).await;
        let Change { what, sql, .. } = change;
        report.first_wrong().unwrap_or_else(|| panic!("{what} was not seen: {sql}; {report:?}"))
    }
}

impl Change {
    fn is_at(&self, place: Place) -> bool {
        self.place.contains(&place.first) && self.place.contains(&place.last)
    }

    fn is_within(&self, place: Place) -> bool {
        place.first <= *self.place.end() && *self.place.start() <= place.last
    }
}

/// Lets a service store and sign the tree of the whole log.
async fn signed_tree(sandbox: &Sandbox, events: usize) {
    let setting = Setting { checkpoint_key: Some(signing_key()), ..Setting::default() };
    let service = Service::start_in(sandbox, setting).await;
    let store = TreeStore::at(sandbox.database_url.parse().unwrap());
    let signed = async || store.newest().await.unwrap().is_some_and(|newest| newest.size == events as u64);
    eventually("the whole log is signed", signed).await;
    service.stop().await;
}

/// Checkpoints of these sizes.
fn signed(events: &[Recorded], sizes: &[usize]) -> String {
    let (mut tree, mut checkpoints) = (Builder::default(), String::new());
    for event in events {
        tree.push(leaf_hash(event.line()));
        if sizes.contains(&usize::try_from(tree.size()).unwrap()) {
            checkpoints += &SignedCheckpoint::sign(tree.size(), tree.root(), &signing_key()).to_string();
        }
    }
    checkpoints
}

fn believed(checkpoints: &str) -> Checkpoints {
    let mut all = Checkpoints::default();
    if !checkpoints.is_empty() {
        all.add("kept", checkpoints, Some(signing_key().verifier())).unwrap();
    }
    all
}

/// One bit of each member of the record, in turn.
fn flips(event: &Recorded, rng: &mut StdRng) -> Vec<Change> {
    let position = event.position;
    let at = position.unsigned_abs();
    let set = |what: &'static str, value: String| Change {
        what,
        sql: format!("update events set {what} = {value} where position = {position}"),
        place: at..=at,
    };
    let number = |rng: &mut StdRng, number: i64, bits: u32| number ^ (1 << rng.random_range(0..bits));
    let moved = number(rng, position, i64::BITS);
    let place = match moved.unsigned_abs() {
        to if moved > position => at..=at.min(to), // it is missing
        to if moved > 0 => to..=to + 1,            // there are two
        _ => 1..=1,
    };
    let time = number(rng, event.recorded_at.utc().timestamp_micros(), 54);
    let id = event.event_id.as_u128() ^ (1 << rng.random_range(0..128));
    vec![
        Change { place, ..set("position", format!("'{moved}'")) },
        set("event_id", format!("'{}'", uuid::Uuid::from_u128(id))),
        set("aggregate_type", flipped(&event.aggregate_type, rng)),
        set("aggregate_id", flipped(&event.aggregate_id, rng)),
        set("sequence", format!("'{}'", number(rng, event.sequence, i64::BITS))),
        set("event_type", flipped(&event.event_type, rng)),
        set("event_version", flipped(&event.event_version, rng)),
        set("recorded_at", format!("timestamptz 'epoch' + interval '1 microsecond' * {time}")),
        set("payload", flipped(&event.payload, rng)),
        set("metadata", flipped(&event.metadata, rng)),
    ]
}

/// `text` with one bit changed, as an SQL literal: PostgreSQL takes what is UTF-8 and has no NUL.
fn flipped(text: &str, rng: &mut StdRng) -> String {
    loop {
        let mut bytes = text.as_bytes().to_vec();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => return format!("'{}'", text.replace('\'', "''")),
            _ => {}
        }
    }
}

/// Deletes, swaps, inserts and truncates at `position`; each leaves the positions without a gap if it can.
fn moves(position: usize) -> Vec<Change> {
    let at = position as u64;
    let shift = |from: usize, by: &str| {
        format!(
            "update events set position = position {by}, commit_end = commit_end {by} where position >= {from}"
        )
    };
    let copy = |to: usize, of: usize| {
        format!(
            "insert into events select {to}, gen_random_uuid(), aggregate_type, aggregate_id, sequence, event_type, \
             event_version, recorded_at, payload, metadata, {to} from events where position = {of}"
        )
    };
    let change = |what, sql, place| Change { what, sql, place };
    let delete = format!("delete from events where position = {position}");
    let next = position + 1;
    vec![
        change("a deleted event", delete.clone(), at..=at),
        change("a deleted event without a gap", format!("{delete}; {}", shift(next, "- 1")), at..=at),
        change(
            "swapped events",
            format!(
                "update events set position = {position} + {next} - position where position in ({position}, {next})"
            ),
            at..=at,
        ),
        change("an inserted event", format!("{}; {}", shift(position, "+ 1"), copy(position, next)), at..=at),
        change("a second event of a position", copy(position, position), at..=at + 1),
        change("an event in front of all", copy(0, position), 1..=1),
        change("a truncated log", format!("delete from events where position >= {position}"), at..=at),
    ]
}

#[tokio::test]
async fn whatever_the_owner_of_the_database_changes_is_found_at_its_place_by_who_kept_checkpoints() {
    let mut database = Tampered::new(EVENTS, &KEPT).await;
    assert!(database.verify().await.is_sound(), "as it was written");
    let (mut rng, step) = (StdRng::seed_from_u64(1), EVENTS / SAMPLED);
    let sampled = (0..SAMPLED).map(|sample| sample * step + rng.random_range(0..step)).collect::<Vec<_>>();
    let flips =
        sampled.iter().flat_map(|index| flips(&database.events[*index], &mut rng)).collect::<Vec<_>>();
    let changes: Vec<Change> = flips.into_iter().chain((5..EVENTS).step_by(step).flat_map(moves)).collect();
    assert_eq!(changes.len(), SAMPLED * 17);
    for change in &changes {
        let place = database.place_of(change).await;
        assert!(change.is_at(place), "{} at {:?}, found {place}: {}", change.what, change.place, change.sql);
    }
    // Without the tree they are between two of the checkpoints.
    database.run("truncate tree_tiles").await;
    for change in changes.iter().step_by(13) {
        let place = database.place_of(change).await;
        assert!(
            change.is_within(place),
            "{} at {:?}, found {place}: {}",
            change.what,
            change.place,
            change.sql
        );
    }
}

#[tokio::test]
async fn what_the_owner_of_the_database_changes_in_the_stored_tree_is_told_from_a_changed_event() {
    let mut database = Tampered::new(EVENTS, &KEPT).await;
    for position in (3..EVENTS).step_by(50) {
        let (tile, byte) = ((position - 1) / 256, (position - 1) % 256 * 32 + position % 32);
        let spoil = format!(
            "update tree_tiles set hashes = set_byte(hashes, {byte}, get_byte(hashes, {byte}) # 1) \
             where (level, index) = (0, {tile})"
        );
        database.run(&spoil).await;
        let report = database.verify().await;
        let finding = &report.findings[0];
        assert_eq!((finding.place.first, finding.place.last), (position as u64, position as u64));
        assert!(finding.what.contains("the checkpoints agree with the record"), "{}", finding.what);
        let edit = format!(
            "update events set metadata = metadata || ' ' where position = {position}; {RESTORE_TREE}"
        );
        let both = Change {
            what: "a changed event and another hash",
            sql: format!("{edit}; {}", spoil.replace("# 1", "# 2")),
            place: position as u64..=position as u64,
        };
        let place = database.place_of(&both).await;
        assert!(both.is_within(place) && place.last - place.first >= 299, "{place}");
        database.run(RESTORE_TREE).await;
    }
    let stranger = SigningKey::from_seed("log.example", [9; 32]).unwrap().verifier().to_string();
    cli(&database.sandbox, &["verify", "--key", &stranger])
        .await
        .code(2)
        .says("the database has no checkpoint of the key");
}

#[tokio::test]
async fn a_tile_or_checkpoint_that_is_not_the_logs_is_named_and_the_service_makes_lost_tiles_again() {
    let sandbox = Stack::get().await.sandbox().await;
    cli(&sandbox, &["demo", "generate", "--events", &EVENTS.to_string(), "--seed", "12"]).await.code(0);
    signed_tree(&sandbox, EVENTS).await;
    let check = async || cli(&sandbox, &["replay", "tree", "--check"]).await;
    check().await.code(0).prints("all equal");
    cli(&sandbox, &["replay", "tree"]).await.code(2).says("never replaced");
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let mut run = async |sql: &str| {
        sqlx::raw_sql(sql).execute(&mut owner).await.unwrap();
    };
    run("alter table events disable trigger user; alter table tree_tiles disable trigger user; \
         alter table checkpoints disable trigger user; create table kept_tiles as table tree_tiles")
    .await;
    for (wrong, right, says) in [
        (
            "update tree_tiles set hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 4) where level = 1",
            RESTORE_TREE,
            "the tile 0 of level 1 is not as the log says",
        ),
        (
            "delete from tree_tiles where (level, index) = (0, 2)",
            RESTORE_TREE,
            "the tile 2 of level 0 is missing",
        ),
        (
            "delete from tree_tiles where (level, index) = (0, 3)",
            RESTORE_TREE,
            "the newest checkpoint is of 1000 records, the tree has 768",
        ),
        (
            "update checkpoints set root = set_byte(root, 9, get_byte(root, 9) # 1)",
            "update checkpoints set root = set_byte(root, 9, get_byte(root, 9) # 1)",
            "the checkpoint of 1000 records is of other records than the log's",
        ),
        (
            "update events set sequence = sequence + 1000 where position = 300",
            "update events set sequence = sequence - 1000 where position = 300",
            "the tile 1 of level 0 is not as the log says",
        ),
        (
            "create table end_of_log as select * from events where position = 1000; \
             delete from events where position = 1000",
            "insert into events table end_of_log",
            "the log has 999 records, the tree 1000",
        ),
    ] {
        run(wrong).await;
        check().await.code(1).prints(says);
        run(right).await;
    }
    check().await.code(0);
    run("truncate tree_tiles; alter table tree_tiles enable trigger user").await;
    let setting = Setting { checkpoint_key: Some(signing_key()), ..Setting::default() };
    let service = Service::start_in(&sandbox, setting).await;
    let tree = TreeStore::at(sandbox.database_url.parse().unwrap());
    let is_whole = async || tree.size().await.unwrap() == EVENTS as u64;
    eventually("the tree is made again", is_whole).await;
    service.stop().await;
    check().await.code(0).prints("all equal");
}

#[tokio::test]
async fn a_second_event_of_a_position_is_found_where_a_page_of_the_reading_ends_too() {
    let mut database = Tampered::new(5_020, &[]).await;
    database.run("update events set commit_end = position").await;
    for position in [4_999, 5_000, 5_001] {
        let twin = moves(position).into_iter().find(|change| change.what == "a second event of a position");
        let twin = twin.unwrap();
        let place = database.place_of(&twin).await;
        assert!(twin.is_within(place), "{place}");
        database.run("update events set commit_end = position").await;
    }
}

/// A history that is carried elsewhere has nothing but its checkpoints.
#[tokio::test]
async fn any_bit_that_is_changed_in_an_export_is_found_between_its_checkpoints() {
    let database = Tampered::new(200, &[]).await;
    let checkpoints = signed(&database.events, &[100, 200]);
    let lines: Vec<String> = database.events.iter().map(|event| format!("{}\n", event.line())).collect();
    let (text, mut rng) = (lines.concat(), StdRng::seed_from_u64(2));
    for _ in 0..200 {
        let (at, mut changed) = (rng.random_range(0..text.len()), text.clone().into_bytes());
        changed[at] ^= 1 << rng.random_range(0..8);
        let position = text[..at].matches('\n').count() as u64 + 1;
        let mut verifier = Verifier::new(believed(&checkpoints));
        let _it_may_break = verifier.take(Batch::of_lines(&changed), &[]);
        let report = verifier.finish();
        let place = report.first_wrong().or(report.unusable.map(|(place, _)| place)).unwrap();
        assert!((place.first..=place.last).contains(&position), "{at} in {position}: {place}");
    }
}
