//! What happens to the hashes when Redis is not what it was: flushed, restored, foreign, down.

use super::hashes::{expected, fields, flush};
use super::history::{History, checkpoint};
use super::{Fixture, TTL};
use crate::support::eventually::{DEADLINE, eventually};
use domain::transaction::Status;
use domain::{TransactionId, UserId};
use projections::transaction::{self, TransactionHash};
use projections::{Error, RedisHashes};
use redis::AsyncCommands;
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_is_followed_by_a_copy_of_the_rows_and_not_by_history() {
    let fixture = Fixture::new().await;
    let (projector, hashes, mut redis) = (fixture.hash_projector(), fixture.hashes(), fixture.redis().await);
    let user = UserId(Uuid::now_v7());
    let mut history = History::new();
    let done = history.purchases(user, 30);
    let open = history.request(user);
    fixture.tables.apply(history.after(0)).await.unwrap();
    assert_eq!(projector.checkpoint().await.unwrap(), history.head(), "an empty Redis is filled first");
    for id in done.iter().chain([&open]) {
        assert_eq!(fields(&mut redis, *id).await, expected(&history, *id));
    }
    assert_eq!(hashes.get(done[0]).await.unwrap().unwrap().status(), Status::Success);

    projector.still_at(history.head()).await.unwrap();
    flush(&mut redis).await;
    let noticed = projector.still_at(history.head()).await;
    assert!(matches!(noticed, Err(Error::Overtaken { .. })), "{noticed:?}");
    let flushed = history.head();
    history.attempt(open, 1);
    fixture.tables.apply(history.after(flushed)).await.unwrap();
    let lost = projector.apply(history.after(flushed)).await;
    assert!(matches!(lost, Err(Error::Overtaken { .. })), "{lost:?}");
    assert!(fields(&mut redis, open).await.is_empty(), "no half of a hash");
    eventually("the flush is heard of", async || hashes.get(done[0]).await.unwrap().is_none()).await;
    assert_eq!(projector.checkpoint().await.unwrap(), history.head());
    for id in done.iter().chain([&open]) {
        assert_eq!(fields(&mut redis, *id).await, expected(&history, *id));
    }
}

/// How far a purchase here is: none of them fails.
fn rank(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Processing => 1,
        Status::Success => 2,
        Status::Failed => unreachable!("nothing fails here"),
    }
}

/// Reads as the status resource does: the hash, or else the stream as far as the read tables are.
async fn read_status(hashes: &RedisHashes, history: &History, id: TransactionId, tables: i64) -> Status {
    if let Some(hash) = hashes.get(id).await.unwrap() {
        assert_eq!(hash.shown().count(), if hash.is_final() { 10 } else { 8 }, "half a hash: {hash:?}");
        return hash.status();
    }
    let mut stream = history.stream(id);
    stream.retain(|event| event.position <= tables);
    let hash = TransactionHash::from(&transaction::fold(&stream).unwrap().unwrap());
    hashes.write_back(&hash).await.unwrap();
    hash.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_under_load_never_show_a_status_going_back_nor_half_a_hash() {
    let fixture = Fixture::new().await;
    let (projector, hashes, mut redis) = (fixture.hash_projector(), fixture.hashes(), fixture.redis().await);
    let user = UserId(Uuid::now_v7());
    let mut history = History::new();
    let ids: Vec<_> = (0..200).map(|_| history.request(user)).collect();
    let requested = history.head();
    for id in &ids {
        history.attempt(*id, 1);
    }
    for id in &ids {
        history.succeed(*id, user);
    }
    fixture.tables.apply(&history.events[..usize::try_from(requested).unwrap()]).await.unwrap();
    let page = |after: i64| {
        let rest = history.after(after);
        let end = usize::from(rest[0].commit_end > rest[0].position) + 1;
        &rest[..end] // one commit
    };
    let turns = Semaphore::new(0); // one for each read: otherwise all may be written before anything is read
    let project = async {
        let mut at = requested;
        while at < history.head() {
            turns.acquire().await.unwrap().forget();
            fixture.tables.apply(page(at)).await.unwrap();
            at = page(at).last().unwrap().position;
        }
    };
    let follow = async {
        let mut at = None;
        while at != Some(history.head()) {
            let done = match at {
                Some(after) => {
                    projector.apply(page(after)).await.map(|()| page(after).last().unwrap().position)
                }
                None => projector.checkpoint().await,
            };
            at = match done {
                Ok(position) => Some(position),
                Err(Error::Overtaken { .. }) => None, // flushed, maybe in the middle of a copy
                Err(cause) => panic!("{cause}"),
            };
        }
    };
    let (mut reads, mut told) = (0, BTreeMap::new());
    let read = async {
        loop {
            for id in &ids {
                let tables = fixture.readers.checkpoint().known();
                let status = read_status(&hashes, &history, *id, tables).await;
                let before = told.insert(*id, status);
                assert!(
                    before.is_none_or(|before| rank(before) <= rank(status)),
                    "{before:?}, then {status:?}"
                );
                reads += 1;
                turns.add_permits(1);
            }
        }
    };
    let flushing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(35)).await;
            flush(&mut redis).await;
        }
    };
    let all = async { tokio::join!(project, follow) };
    tokio::select! {
        () = read => {}
        () = flushing => {}
        done = timeout(Duration::from_secs(30), all) => { done.unwrap(); }
    }
    assert!(reads > ids.len(), "only {reads} were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_flush_has_interrupted_writes_nothing_more() {
    let fixture = Fixture::new().await;
    let (projector, mut redis) = (fixture.hash_projector(), fixture.redis().await);
    let mut history = History::new();
    let id = history.request(UserId(Uuid::now_v7()));
    let requested = history.head();
    history.attempt(id, 1);
    fixture.tables.apply(&history.events[..usize::try_from(requested).unwrap()]).await.unwrap();

    // The copy has taken its snapshot, in which the purchase is pending, and comes no further than here.
    let mut owner = PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
    sqlx::raw_sql("begin; lock table read.unfinished").execute(&mut owner).await.unwrap();
    let copy = tokio::spawn(async move { projector.checkpoint().await });
    let offer = format!("offer:{}", history.offer);
    eventually("the copy has begun", async || redis.exists::<_, bool>(&offer).await.unwrap()).await;
    // Somebody hears of the attempt, from the stream, and Redis forgets it again.
    flush(&mut redis).await;
    sqlx::raw_sql("commit").execute(&mut owner).await.unwrap();
    fixture.tables.apply(history.after(requested)).await.unwrap();

    let interrupted = copy.await.unwrap();
    assert!(matches!(interrupted, Err(Error::Overtaken { .. })), "{interrupted:?}");
    assert!(fields(&mut redis, id).await.is_empty(), "an old status came back");
    fixture.hash_projector().checkpoint().await.unwrap();
    assert_eq!(fields(&mut redis, id).await, expected(&history, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_has_gone_back_is_not_believed_until_it_has_caught_up() {
    let fixture = Fixture::new().await;
    let (projector, hashes, mut redis) = (fixture.hash_projector(), fixture.hashes(), fixture.redis().await);
    let mut history = History::new();
    let user = UserId(Uuid::now_v7());
    let id = history.request(user);
    let requested = history.head();
    fixture.tables.apply(history.after(0)).await.unwrap();
    projector.checkpoint().await.unwrap();
    history.attempt(id, 1);
    fixture.tables.apply(history.after(requested)).await.unwrap();
    let saved = fields(&mut redis, id).await;
    projector.apply(history.after(requested)).await.unwrap();
    assert_eq!(hashes.get(id).await.unwrap().unwrap().status(), Status::Processing);

    // As a restart from an older file does.
    let _: () = redis.del(format!("transaction:{id}")).await.unwrap();
    let saved: Vec<_> = saved.into_iter().collect();
    let _: () = redis.hset_multiple(format!("transaction:{id}"), &saved).await.unwrap();
    let _: () = redis.set("offers:checkpoint", checkpoint(requested).to_string()).await.unwrap();
    assert_eq!(hashes.get(id).await.unwrap(), None);
    projector.apply(history.after(requested)).await.unwrap();
    assert_eq!(hashes.get(id).await.unwrap().unwrap().status(), Status::Processing);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_no_hash_is_believed_even_by_a_process_that_never_saw_one() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    let id = history.request(UserId(Uuid::now_v7()));
    let pending = transaction::fold(&history.stream(id)).unwrap().unwrap();
    let hashes = fixture.hashes();
    assert_eq!(hashes.get(id).await.unwrap(), None);
    hashes.write_back(&TransactionHash::from(&pending)).await.unwrap();
    // Nobody follows the log into this Redis: the hash stays as it is, whatever happens.
    assert_eq!(hashes.get(id).await.unwrap(), None);
    assert_eq!(fixture.hashes().get(id).await.unwrap(), None, "nor does one that has just started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_of_another_history_is_emptied_first() {
    let fixture = Fixture::new().await;
    let (projector, mut redis) = (fixture.hash_projector(), fixture.redis().await);
    let mut history = History::new();
    let id = history.purchases(UserId(Uuid::now_v7()), 1)[0];
    fixture.tables.apply(history.after(0)).await.unwrap();
    let _: () = redis.set("offers:checkpoint", checkpoint(4_000).to_string()).await.unwrap();
    let key = format!("transaction:{id}");
    let foreign = [("status", "FAILED"), ("position", "3999")];
    let _: () = redis.hset_multiple(&key, &foreign).await.unwrap();
    assert_eq!(projector.checkpoint().await.unwrap(), history.head());
    assert_eq!(fields(&mut redis, id).await, expected(&history, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_read_counts_as_none_and_heals_by_itself() {
    let fixture = Fixture::new().await;
    let (projector, hashes, mut redis) = (fixture.hash_projector(), fixture.hashes(), fixture.redis().await);
    let mut history = History::new();
    let id = history.purchases(UserId(Uuid::now_v7()), 1)[0];
    fixture.tables.apply(history.after(0)).await.unwrap();
    for wrong in ["abc", "", "-5", "3", "4000", "999999999999999999999", "a list"] {
        let _: () = redis.del("offers:checkpoint").await.unwrap();
        let _: () = match wrong {
            "a list" => redis.rpush("offers:checkpoint", wrong).await.unwrap(),
            text => redis.set("offers:checkpoint", text).await.unwrap(),
        };
        let is_unbelieved = async || hashes.get(id).await.unwrap().is_none();
        eventually(&format!("{wrong:?} is not believed"), is_unbelieved).await;
        let noticed = projector.still_at(history.head()).await;
        assert!(matches!(noticed, Err(Error::Overtaken { .. })), "{wrong:?}: {noticed:?}");
        assert_eq!(projector.checkpoint().await.unwrap(), history.head(), "{wrong:?}");
        assert!(hashes.get(id).await.unwrap().is_some(), "after {wrong:?} Redis is not used any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_a_lost_history_is_none_also_when_the_new_history_is_longer() {
    let fixture = Fixture::new().await;
    let mut redis = fixture.redis().await;
    let mut history = History::new();
    let id = history.purchases(UserId(Uuid::now_v7()), 1)[0];
    fixture.tables.apply(history.after(0)).await.unwrap();
    let lost = domain::Checkpoint { position: history.head() - 1, event_id: Uuid::now_v7() };
    let _: () = redis.set("offers:checkpoint", lost.to_string()).await.unwrap();
    let gone = TransactionId(Uuid::now_v7());
    let mut hash = fields(&mut redis, id).await;
    hash.extend(expected(&history, id));
    hash.insert("transaction_id".into(), gone.to_string());
    let hash: Vec<_> = hash.into_iter().collect();
    let _: () = redis.hset_multiple(format!("transaction:{gone}"), &hash).await.unwrap();

    let hashes = fixture.hashes();
    assert_eq!(hashes.get(gone).await.unwrap(), None, "a transaction of the lost history is told");
    assert_eq!(fixture.hash_projector().checkpoint().await.unwrap(), history.head());
    assert!(fields(&mut redis, gone).await.is_empty());
    assert!(hashes.get(id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_has_lost_a_field_is_repaired_by_who_reads_it() {
    let fixture = Fixture::new().await;
    let (hashes, mut redis) = (fixture.hashes(), fixture.redis().await);
    let mut history = History::new();
    let id = history.purchases(UserId(Uuid::now_v7()), 1)[0];
    fixture.tables.apply(history.after(0)).await.unwrap();
    fixture.hash_projector().checkpoint().await.unwrap();
    for field in ["status", "amount", "position", "created_at"] {
        let _: () = redis.hdel(format!("transaction:{id}"), field).await.unwrap();
        eventually(&format!("the hash without {field} is repaired"), async || {
            assert_eq!(read_status(&hashes, &history, id, history.head()).await, Status::Success);
            fields(&mut redis, id).await == expected(&history, id)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_down_is_an_error_at_once() {
    let fixture = Fixture::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // accepts and never answers
    for url in [nobody, silent.local_addr().unwrap()] {
        let hashes =
            projections::RedisHashes::open(&format!("redis://{url}"), TTL, fixture.log.clone()).unwrap();
        // After a failure it rests: if each read waited 250 ms for the silent one, they would take twice
        // the deadline.
        let reads = async {
            for _ in 0..480 {
                let answer = hashes.get(TransactionId(Uuid::now_v7())).await;
                assert!(matches!(answer, Err(Error::Redis(_))));
            }
        };
        timeout(DEADLINE, reads).await.expect("it rests after a failure");
    }
    drop(fixture);
}
