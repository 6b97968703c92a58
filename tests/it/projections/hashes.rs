//! Events in, fields out.

use super::history::History;
use super::{Fixture, TTL};
use crate::support::eventually::DEADLINE;
use domain::{PartnerId, TransactionId, UserId, offer};
use projections::transaction::{self, TransactionHash};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

pub(super) type Fields = BTreeMap<String, String>;

pub(super) async fn fields(redis: &mut MultiplexedConnection, id: TransactionId) -> Fields {
    redis.hgetall(format!("transaction:{id}")).await.unwrap()
}

/// What the stream says, as a whole hash.
pub(super) fn expected(history: &History, id: TransactionId) -> Fields {
    let view = transaction::fold(&history.stream(id)).unwrap().unwrap();
    let hash = TransactionHash::from(&view);
    let mut fields: Fields = hash.shown().map(|(name, value)| (name.into(), value.into())).collect();
    fields.insert("position".into(), hash.position().to_string());
    fields
}

pub(super) async fn flush(redis: &mut MultiplexedConnection) {
    let _: () = redis::cmd("FLUSHDB").query_async(redis).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_follows_its_transaction_and_expires_when_it_is_final() {
    let fixture = Fixture::new().await;
    let (hashes, mut redis) = (fixture.hash_projector(), fixture.redis().await);
    let (user, partner) = (UserId(Uuid::now_v7()), PartnerId(Uuid::now_v7()));
    let mut history = History::new();
    assert_eq!(hashes.checkpoint().await.unwrap(), 0);
    let id = history.request_by(partner, user, ("order-1", "REF-ABCDEF123456"));
    let lost = history.request(user);
    let mut at = 0;
    for step in 0..3 {
        match step {
            0 => {}
            1 => {
                history.attempt(id, 1);
                history.attempt(lost, 1);
            }
            _ => {
                history.succeed(id, user);
                history.fail(lost, user.into());
            }
        }
        fixture.tables.apply(history.after(at)).await.unwrap();
        hashes.apply(history.after(at)).await.unwrap();
        at = history.head();
        for id in [id, lost] {
            assert_eq!(fields(&mut redis, id).await, expected(&history, id));
            let ttl: i64 = redis.ttl(format!("transaction:{id}")).await.unwrap();
            assert_eq!(ttl > 0, step == 2, "step {step}: {ttl}");
            assert!(ttl <= TTL.as_secs() as i64);
        }
    }
    let won = fields(&mut redis, id).await;
    assert_eq!(won["partner_id"], partner.to_string());
    assert_eq!(won["reference"], format!("EXT-{id}"));
    let lost = fields(&mut redis, lost).await;
    assert_eq!((lost["status"].as_str(), lost["error_message"].as_str()), ("FAILED", "not today"));
    assert!(lost.contains_key("refunded_at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_the_process_that_writes_the_hashes_is_told_how_far_they_are() {
    let fixture = Fixture::new().await;
    let hashes = fixture.hashes();
    let (projector, mut written) = (fixture.hash_projector().telling(&hashes), hashes.written());
    let mut history = History::new();
    history.request(UserId(Uuid::now_v7()));
    projector.checkpoint().await.unwrap();
    fixture.tables.apply(history.after(0)).await.unwrap();
    let told = timeout(DEADLINE, written.wait_for(|written| *written == history.head()));
    let (told, applied) = tokio::join!(told, projector.apply(history.after(0)));
    applied.unwrap();
    told.expect("it is told").unwrap();
    flush(&mut fixture.redis().await).await;
    let (tables, head) = (fixture.tables.checkpoint().await.unwrap(), history.head());
    assert_eq!((projector.checkpoint().await.unwrap(), tables), (head, head), "copied anew");
    drop(projector);
    assert_eq!(*hashes.written().borrow(), 0, "another process may go on: Redis must be asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_a_hash_of_its_members() {
    let fixture = Fixture::new().await;
    let (hashes, mut redis) = (fixture.hash_projector(), fixture.redis().await);
    let mut history = History::new();
    hashes.checkpoint().await.unwrap();
    fixture.tables.apply(history.after(0)).await.unwrap();
    hashes.apply(history.after(0)).await.unwrap();
    history.offer(offer::Event::Deactivated {});
    fixture.tables.apply(history.after(1)).await.unwrap();
    hashes.apply(history.after(1)).await.unwrap();
    let followed: Fields = redis.hgetall(format!("offer:{}", history.offer)).await.unwrap();
    let value = |name: &str| followed[name].as_str();
    assert_eq!((value("name"), value("price"), value("is_active")), ("TV", "5.00", "false"));
    assert_eq!((value("duration_days"), value("position"), value("description")), ("30", "2", ""));
    flush(&mut redis).await;
    hashes.checkpoint().await.unwrap();
    let copied: Fields = redis.hgetall(format!("offer:{}", history.offer)).await.unwrap();
    assert_eq!(copied, followed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_onto_a_missing_hash_writes_nothing_and_a_reader_brings_it_back_whole() {
    let fixture = Fixture::new().await;
    let (projector, hashes, mut redis) = (fixture.hash_projector(), fixture.hashes(), fixture.redis().await);
    let user = UserId(Uuid::now_v7());
    let mut history = History::new();
    projector.checkpoint().await.unwrap();
    let id = history.request(user);
    fixture.tables.apply(history.after(0)).await.unwrap();
    projector.apply(history.after(0)).await.unwrap();
    let _: () = redis.del(format!("transaction:{id}")).await.unwrap(); // as an eviction does
    let requested = history.head();
    history.attempt(id, 1);
    fixture.tables.apply(history.after(requested)).await.unwrap();
    projector.apply(history.after(requested)).await.unwrap();
    assert!(fields(&mut redis, id).await.is_empty());
    assert_eq!(hashes.get(id).await.unwrap(), None);

    let old = TransactionHash::from(&transaction::fold(&history.stream(id)[..1]).unwrap().unwrap());
    let new = TransactionHash::from(&transaction::fold(&history.stream(id)).unwrap().unwrap());
    for hash in [&new, &old, &new] {
        hashes.write_back(hash).await.unwrap();
        assert_eq!(hashes.get(id).await.unwrap().as_deref(), Some(&new), "nothing older overwrites newer");
    }
    assert_eq!(fields(&mut redis, id).await, expected(&history, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hashes_never_run_ahead_of_the_read_tables() {
    let fixture = Fixture::new().await;
    let (projector, mut redis) = (fixture.hash_projector(), fixture.redis().await);
    let mut history = History::new();
    projector.checkpoint().await.unwrap();
    let id = history.request(UserId(Uuid::now_v7()));
    let ahead = tokio::time::timeout(Duration::from_millis(200), projector.apply(history.after(0))).await;
    assert!(ahead.is_err(), "it waits");
    assert!(fields(&mut redis, id).await.is_empty());
    let (hashes, tables) =
        tokio::join!(projector.apply(history.after(0)), fixture.tables.apply(history.after(0)));
    tables.unwrap();
    hashes.unwrap();
    assert_eq!(fields(&mut redis, id).await, expected(&history, id));
}
