//! The tree over the log, its signed checkpoints, and what they prove.

use crate::support::eventually::eventually;
use crate::support::service::{Person, Reply, Service, Setting, send};
use crate::support::stack::{Sandbox, Stack};
use domain::{AccountId, Metadata, Recorded, account};
use futures::{StreamExt, stream};
use offers::bus::{Bus, Options};
use offers::event_log::{AggregateCommand, EventLog, Plan, Sink};
use offers::notary::{Notary, StoredCheckpoint, TreeStore};
use offers::tree::{
    Builder, Hash, Receipt, SignedCheckpoint, SigningKey, VerifierKey, leaf_hash, verify_consistency,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const ORIGIN: &str = "test.example/log";

/// A service that signs.
async fn signing() -> (Service, Person, Sandbox) {
    let sandbox = Stack::get().await.sandbox().await;
    let service = start(&sandbox, ORIGIN).await;
    let auditor = service.person("auditor", &["auditor"]).await;
    (service, auditor, sandbox)
}

/// One more service, which signs with the key of `origin`.
async fn start(sandbox: &Sandbox, origin: &str) -> Service {
    let setting = Setting { checkpoint_key: Some(key(origin)), ..Setting::default() };
    Service::start_in(sandbox, setting).await
}

fn key(origin: &str) -> SigningKey {
    SigningKey::from_seed(origin, [7; 32]).unwrap()
}

async fn credit(service: &Service, events: usize) {
    let credits = stream::iter(0..events).map(|_| service.pay_in(AccountId(Uuid::now_v7()), 1));
    credits.buffer_unordered(64).count().await;
}

async fn public(service: &Service, path: &str) -> Reply {
    send(service.anonymous(Method::GET, &format!("/api/v1{path}"))).await
}

fn text(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
    &reply.text
}

async fn verifier_key(service: &Service) -> VerifierKey {
    text(&public(service, "/audit/key/").await).parse().unwrap()
}

/// The newest checkpoint once it has the whole log: its size and root.
async fn newest(service: &Service) -> (u64, Hash) {
    let head = service.resources.log.head().await.unwrap().unsigned_abs();
    let key = verifier_key(service).await;
    let mut found = None;
    eventually("a checkpoint has the whole log", async || {
        let reply = public(service, "/audit/checkpoint/").await;
        if reply.status == 404 {
            return false;
        }
        let signed: SignedCheckpoint = text(&reply).parse().unwrap();
        let checkpoint = signed.verify(&key).unwrap();
        found = Some((checkpoint.size, checkpoint.root));
        checkpoint.size >= head
    })
    .await;
    found.unwrap()
}

async fn everything(service: &Service) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let page = service.resources.log.page(i64::try_from(all.len()).unwrap(), 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn root_of(events: &[Recorded]) -> Hash {
    let mut tree = Builder::default();
    for event in events {
        tree.push(leaf_hash(event.line()));
    }
    tree.root()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_checkpoint_has_the_root_of_the_records_and_every_record_a_receipt() {
    let (service, auditor, _) = signing().await;
    credit(&service, 700).await;
    let (older_size, older_root) = newest(&service).await;
    credit(&service, 40).await;
    let (size, root) = newest(&service).await;
    let events = everything(&service).await;
    assert_eq!((size, root), (events.len() as u64, root_of(&events)));
    assert_eq!(older_root, root_of(&events[..usize::try_from(older_size).unwrap()]));

    let key = verifier_key(&service).await;
    assert_eq!((key.name(), key.to_string()), (ORIGIN, self::key(ORIGIN).verifier().to_string()));
    for event in events.iter().step_by(37).chain(events.last()) {
        let reply = service.get(&auditor, &format!("/audit/receipts/{}/", event.position)).await;
        let receipts = Receipt::parse_all(text(&reply)).unwrap();
        assert_eq!((receipts.len(), receipts[0].line.clone()), (1, event.line()));
        assert_eq!(receipts[0].verify(&key).unwrap().root, root);
    }
    let path = format!("/audit/consistency/?from={older_size}&to={size}");
    let reply = service.get(&auditor, &path).await;
    let proof: Vec<Hash> = text(&reply).lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(verify_consistency(older_size, older_root, size, root, &proof), Ok(()));
    let newest = service.get(&auditor, &format!("/audit/consistency/?from={older_size}")).await;
    assert_eq!(text(&newest), reply.text);
    assert_eq!(text(&service.get(&auditor, &format!("/audit/consistency/?from={size}")).await), "");
    let older = public(&service, &format!("/audit/checkpoint/?size={older_size}")).await;
    let older: SignedCheckpoint = text(&older).parse().unwrap();
    assert_eq!(older.verify(&key).unwrap().root, older_root);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_or_never_is_told_apart() {
    let (service, auditor, _) = signing().await;
    let (size, _) = newest(&service).await;
    let get = async |path: &str| service.get(&auditor, path).await;
    get(&format!("/audit/receipts/{}/", size + 1)).await.is(404, "record_not_found");
    get(&format!("/audit/receipts/{}/", i64::MAX)).await.is(404, "record_not_found");
    get(&format!("/audit/consistency/?from=1&to={}", size + 1)).await.is(404, "checkpoint_not_found");
    get(&format!("/audit/consistency/?from={}", size + 1)).await.is(404, "checkpoint_not_found");
    public(&service, &format!("/audit/checkpoint/?size={}", size + 1)).await.is(404, "checkpoint_not_found");
    for (path, field) in [
        ("/audit/receipts/0/", "position"),
        ("/audit/receipts/-1/", "position"),
        ("/audit/receipts/x/", "position"),
        ("/audit/receipts/%ff/", "position"),
        ("/audit/receipts/9223372036854775808/", "position"),
        ("/audit/consistency/?from=2&to=1", "from"),
        ("/audit/consistency/?from=-1", "from"),
        ("/audit/consistency/?to=x", "to"),
        ("/audit/consistency/?size=1", "size"),
        ("/audit/checkpoint/?size=0", "size"),
        ("/audit/checkpoint/?newest=true", "newest"),
        ("/audit/key/?x=1", "x"),
        ("/audit/receipts/1/?x=1", "x"),
    ] {
        let reply = get(path).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), [field], "{path}");
    }
    let alice = service.person("alice", &["user"]).await;
    for path in ["/audit/receipts/1/", "/audit/consistency/"] {
        service.get(&alice, path).await.is(403, "forbidden");
        public(&service, path).await.is(401, "not_authenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_tree_grows_and_nothing_is_signed() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let auditor = service.person("auditor", &["auditor"]).await;
    let store = TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap());
    let head = service.resources.log.head().await.unwrap().unsigned_abs();
    eventually("the tree has the log", async || store.size().await.unwrap() == head).await;
    assert_eq!(store.newest().await.unwrap(), None);
    for path in ["/audit/checkpoint/", "/audit/key/"] {
        let reply = public(&service, path).await;
        reply.is(404, "checkpoint_not_found");
        assert!(reply.text.contains("No checkpoint has been signed"), "{}", reply.text);
    }
    for path in ["/audit/receipts/1/", "/audit/consistency/"] {
        service.get(&auditor, path).await.is(404, "checkpoint_not_found");
    }
    // One that is given a key signs what is there.
    service.stop().await;
    let service = start(&sandbox, ORIGIN).await;
    eventually("it is signed", async || public(&service, "/audit/checkpoint/").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_and_partner_get_the_receipts_of_what_is_theirs() {
    let (service, _, _) = signing().await;
    let alice = service.rich("alice").await;
    let shop = service.shop("shop", 100_000).await;
    let offer = service.offer("TV", 1_000).await;
    let bought = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    let id = bought.id("transaction_id");
    service.succeed(id.into(), &alice, offer).await;
    let sale = json!({"user_id": alice.id, "offer_id": offer, "amount": "10.00"});
    let sold = send(service.request_by(&shop, Method::POST, "/partner/activate/").json(&sale)).await.json();
    service.all_listed().await;

    let types = |receipts: &[Receipt]| -> Vec<String> {
        let record = |receipt: &Receipt| serde_json::from_str::<Value>(&receipt.line).unwrap();
        receipts.iter().map(|one| record(one)["event_type"].as_str().unwrap().to_owned()).collect()
    };
    // At once: whoever asks waits until the newest event is signed.
    let reply = service.get(&alice, &format!("/account/transactions/{id}/receipt/")).await;
    let receipts = Receipt::parse_all(text(&reply)).unwrap();
    assert_eq!(types(&receipts), ["ActivationRequested", "Processing", "Succeeded"]);
    let key = verifier_key(&service).await;
    assert!(receipts.iter().all(|receipt| receipt.verify(&key).is_ok()));

    let reference = sold["reference"].as_str().unwrap();
    let path = format!("/partner/receipts/{reference}/");
    let reply = send(service.request_by(&shop, Method::GET, &path)).await;
    let receipts = Receipt::parse_all(text(&reply)).unwrap();
    assert_eq!(types(&receipts), ["ActivationRequested"]);
    assert!(receipts[0].line.contains(reference) && receipts[0].verify(&key).is_ok());
    let of_the_sale = format!("/account/transactions/{}/receipt/", sold["transaction_id"].as_str().unwrap());
    service.get(&alice, &of_the_sale).await.is(404, "transaction_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_another_process_leads_goes_on_where_it_was() {
    let (service, _, sandbox) = signing().await;
    credit(&service, 300).await;
    newest(&service).await;
    let other = start(&sandbox, ORIGIN).await;
    service.stop().await;
    credit(&other, 300).await;
    let (_, root) = newest(&other).await;
    assert_eq!(root, root_of(&everything(&other).await));
    are_all_of_one_history(&sandbox, &everything(&other).await, &key(ORIGIN).expose()).await;
}

/// Every stored and every published checkpoint has the root of the log's records.
pub async fn are_all_of_one_history(sandbox: &Sandbox, events: &[Recorded], key: &str) {
    let key: SigningKey = key.parse().unwrap();
    let mut roots = vec![Hash::of_nothing()];
    let mut tree = Builder::default();
    for event in events {
        tree.push(leaf_hash(event.line()));
        roots.push(tree.root());
    }
    let store = TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap());
    let stored = store.after(0, i64::MAX).await.unwrap();
    let published = published(sandbox).await;
    assert!(!stored.is_empty() && !published.is_empty());
    for note in stored.iter().map(|checkpoint| checkpoint.note.clone()).chain(published) {
        let signed: SignedCheckpoint = note.parse().unwrap();
        let checkpoint = signed.verify(key.verifier()).unwrap();
        assert_eq!(checkpoint.root, roots[usize::try_from(checkpoint.size).unwrap()], "{note}");
    }
}

fn bus_options(sandbox: &Sandbox) -> Options {
    Options {
        stream: sandbox.stream.clone(),
        subjects: sandbox.subjects.clone(),
        ..Options::new(sandbox.nats_url.clone())
    }
}

/// All checkpoints that NATS keeps.
async fn published(sandbox: &Sandbox) -> Vec<String> {
    let client = crate::support::nats_server::connect(&sandbox.nats_url).await;
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream(format!("{}_CHECKPOINTS", sandbox.stream)).await.unwrap();
    let mut notes = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        notes.push(String::from_utf8(message.payload.to_vec()).unwrap());
    }
    notes
}

/// Publishes a checkpoint as a service with the key of `origin` would have done.
async fn publish(sandbox: &Sandbox, origin: &str, size: u64) {
    let stop = CancellationToken::new();
    let bus = Bus::open(bus_options(sandbox), &stop).await.unwrap();
    let checkpoints = bus.checkpoints();
    let note = SignedCheckpoint::sign(size, leaf_hash("another history"), &key(origin)).to_string();
    checkpoints.publish(note.clone());
    eventually("it is published", async || checkpoints.newest().await.unwrap() == Some(note.clone())).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_restored_from_an_older_copy_is_not_signed_until_there_is_a_new_key() {
    for signed_size in [2, 1_000_000] {
        let sandbox = Stack::get().await.sandbox().await;
        publish(&sandbox, ORIGIN, signed_size).await;
        let service = start(&sandbox, ORIGIN).await;
        credit(&service, 5).await;
        eventually("readyz says why", async || {
            let ready = send(service.anonymous(Method::GET, "/readyz")).await.json();
            let why =
                format!("no checkpoint is signed: the newest published checkpoint, of {signed_size} records");
            ready["status"] == "degraded" && ready["notes"].to_string().contains(&why)
        })
        .await;
        let metrics = send(service.anonymous(Method::GET, "/metrics")).await.text;
        assert!(metrics.contains("offers_checkpoints_contradict"), "{metrics}");
        let store = TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap());
        eventually("the tree grows", async || store.size().await.unwrap() == 5).await;
        assert_eq!(store.newest().await.unwrap(), None);
        service.stop().await;

        let service = start(&sandbox, "test.example/log-2").await;
        eventually("it signs", async || public(&service, "/audit/checkpoint/").await.status == 200).await;
        let ready = send(service.anonymous(Method::GET, "/readyz")).await.json();
        assert!(!ready["notes"].to_string().contains("no checkpoint is signed"), "{ready}");
    }
}

/// Opens so many accounts.
async fn open_accounts(sandbox: &Sandbox, count: usize) -> EventLog {
    let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
    for _ in 0..count {
        let open = account::Command::Open { kind: account::Kind::User };
        let plan = Plan::new().command(AggregateCommand::Account(AccountId(Uuid::now_v7()), open));
        log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_replaced_by_an_older_copy_under_a_process_that_signs_is_compared_again() {
    let sandbox = Stack::get().await.sandbox().await;
    let stop = CancellationToken::new();
    let bus = Bus::open(bus_options(&sandbox), &stop).await.unwrap();
    let log = open_accounts(&sandbox, 5).await;
    let pool = PgPool::connect(&sandbox.database_url).await.unwrap();
    let notary = Notary::new(log.clone(), pool, bus.clone(), Some(key(ORIGIN)));
    let mut tree = notary.projector();
    assert_eq!(tree.checkpoint().await.unwrap(), 0);
    tree.apply(&log.page(0, 5).await.unwrap()).await.unwrap();
    let signed = notary.checkpoint(None).await.unwrap();
    assert_eq!(signed.size, 5);
    let published = bus.checkpoints();
    eventually("it is published", async || published.newest().await.unwrap().as_ref() == Some(&signed.note))
        .await;

    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let tables = ["events", "tree_tiles", "checkpoints"];
    let empty = tables.map(|table| format!("alter table {table} disable trigger user; truncate {table}"));
    sqlx::raw_sql(&empty.join("; ")).execute(&mut owner).await.unwrap();
    let other = open_accounts(&sandbox, 5).await;
    assert_eq!(tree.checkpoint().await.unwrap(), 0, "as after an error");
    tree.apply(&other.page(0, 5).await.unwrap()).await.unwrap();
    assert!(notary.checkpoint(None).await.is_err(), "nothing is signed");
    let why = notary.refusal().unwrap();
    assert!(
        why.contains("the newest published checkpoint, of 5 records: the log has other records"),
        "{why}"
    );
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_contradicts_a_stored_checkpoint_is_not_signed() {
    let sandbox = Stack::get().await.sandbox().await;
    let mut app = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let forged = SignedCheckpoint::sign(3, leaf_hash("another history"), &key(ORIGIN));
    let insert = sqlx::query("insert into checkpoints (size, key, root, note) values (3, $1, $2, $3)");
    let insert = insert.bind(key(ORIGIN).verifier().to_string());
    let insert = insert.bind(forged.unverified().root.0.as_slice()).bind(forged.to_string());
    insert.execute(&mut app).await.unwrap();
    let service = start(&sandbox, ORIGIN).await;
    credit(&service, 5).await;
    eventually("readyz says why", async || {
        let ready = send(service.anonymous(Method::GET, "/readyz")).await.json();
        ready["notes"].to_string().contains("the newest stored checkpoint, of 3 records")
    })
    .await;
    let store = TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap());
    assert_eq!(store.newest().await.unwrap().map(|newest| newest.size), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_signs_the_same_size_once_more_and_the_old_checkpoint_stays() {
    let (service, _, sandbox) = signing().await;
    let (size, root) = newest(&service).await;
    service.stop().await;
    let service = start(&sandbox, "test.example/log-2").await;
    eventually("the key is the new one", async || {
        verifier_key(&service).await.name() == "test.example/log-2"
    })
    .await;
    assert_eq!(newest(&service).await, (size, root));
    let store = TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap());
    let stored = store.after(size - 1, 10).await.unwrap();
    let keys: Vec<VerifierKey> =
        stored.iter().map(|StoredCheckpoint { key, .. }| key.parse().unwrap()).collect();
    assert_eq!(keys.iter().map(VerifierKey::name).collect::<Vec<_>>(), [ORIGIN, "test.example/log-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_is_not_the_logs_stops_and_is_named() {
    let (service, _, sandbox) = signing().await;
    let (size, _) = newest(&service).await;
    service.stop().await;
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    for statement in [
        "alter table events disable trigger user".to_owned(),
        format!("update events set metadata = '{{}}' where position = {size}"),
        "alter table events enable trigger user".to_owned(),
    ] {
        sqlx::query(&statement).execute(&mut owner).await.unwrap();
    }
    let service = start(&sandbox, ORIGIN).await;
    eventually("readyz names it", async || {
        let ready = send(service.anonymous(Method::GET, "/readyz")).await.json();
        let why = format!("the tree contradicts the log at position {size}");
        ready["status"] == "degraded" && ready["notes"].to_string().contains(&why)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_hash_nor_a_checkpoint_can_be_changed() {
    let (service, _, sandbox) = signing().await;
    credit(&service, 5).await;
    newest(&service).await;
    service.stop().await;
    let mut app = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    for statement in [
        "update tree_tiles set hashes = substring(hashes from 1 for 32) where octet_length(hashes) > 32",
        "update tree_tiles set hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1)",
        "update tree_tiles set index = index + 1",
        "delete from tree_tiles",
        "truncate tree_tiles",
        "update checkpoints set note = ''",
        "delete from checkpoints",
        "truncate checkpoints",
    ] {
        for connection in [&mut app, &mut owner] {
            assert!(sqlx::query(statement).execute(connection).await.is_err(), "{statement}");
        }
    }
    let more = "update tree_tiles set hashes = hashes || decode(repeat('00', 32), 'hex') where level = 0";
    sqlx::query(more).execute(&mut app).await.unwrap();
}
