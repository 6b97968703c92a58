//! Final statuses that are read from memory, as long as Redis says nothing else.

use super::hashes::{expected, fields, flush};
use super::history::History;
use super::{Fixture, TTL};
use crate::outage::tunnel::Tunnel;
use crate::support::eventually::eventually;
use domain::{TransactionId, UserId};
use futures::StreamExt;
use projections::RedisHashes;
use projections::transaction::{self, TransactionHash};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client};
use url::Url;
use uuid::Uuid;

/// A purchase that is over, and its hash in Redis.
struct Bought {
    fixture: Fixture,
    hashes: RedisHashes,
    redis: MultiplexedConnection,
    history: History,
    id: TransactionId,
    key: String,
}

impl Bought {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let (hashes, redis) = (fixture.hashes(), fixture.redis().await);
        let mut history = History::new();
        let id = history.purchases(UserId(Uuid::now_v7()), 1)[0];
        fixture.tables.apply(history.after(0)).await.unwrap();
        fixture.hash_projector().checkpoint().await.unwrap();
        Self { fixture, hashes, redis, history, id, key: format!("transaction:{id}") }
    }

    async fn get(&self) -> Option<TransactionHash> {
        self.hashes.get(self.id).await.ok().flatten().map(|hash| TransactionHash::clone(&hash))
    }

    /// Waits until the hash is read that the log has, and remembered.
    async fn remembered(&self) {
        eventually("it is read", async || self.get().await.as_ref() == Some(&self.right())).await;
        assert_eq!(self.get().await, Some(self.right()));
    }

    /// Waits until a read no longer finds a hash.
    async fn is_forgotten(&self, why: &str) {
        eventually(why, async || matches!(self.hashes.get(self.id).await, Ok(None))).await;
    }

    /// What the reader of a status does that found no hash.
    async fn repair(&mut self) {
        self.hashes.write_back(&self.right()).await.unwrap();
        assert_eq!(fields(&mut self.redis, self.id).await, expected(&self.history, self.id));
    }

    fn right(&self) -> TransactionHash {
        (&transaction::fold(&self.history.stream(self.id)).unwrap().unwrap()).into()
    }

    async fn run(&mut self, command: &str) {
        let mut words = command.split(' ').map(|word| if word == "KEY" { &self.key } else { word });
        let mut run = redis::cmd(words.next().unwrap());
        for word in words {
            run.arg(word);
        }
        run.exec_async(&mut self.redis).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_status_that_is_read_again_and_again_is_read_from_memory() {
    const READS: usize = 1_000;
    let mut bought = Bought::new().await;
    bought.remembered().await;
    let client = Client::open(bought.fixture.sandbox.redis_url.as_str()).unwrap();
    let mut monitor = client.get_async_monitor().await.unwrap();
    let mut seen = monitor.on_message::<String>();
    for _ in 0..READS {
        assert_eq!(bought.get().await, Some(bought.right()));
    }
    let end = Uuid::now_v7().to_string();
    let _: () = redis::cmd("ECHO").arg(&end).exec_async(&mut bought.redis).await.unwrap();
    let mut commands = 0;
    while let Some(line) = seen.next().await.filter(|line| !line.contains(&end)) {
        commands += usize::from(line.contains(&bought.key));
    }
    assert!(commands < READS / 10, "{commands} commands"); // one a second looks at the checkpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_is_broken_while_it_is_remembered_is_repaired_by_who_reads_it() {
    let mut bought = Bought::new().await;
    let breaks =
        ["DEL KEY", "UNLINK KEY", "HDEL KEY amount", "HSET KEY status x", "PEXPIRE KEY 1", "SET KEY x"];
    for command in breaks {
        bought.remembered().await;
        bought.run(command).await;
        bought.is_forgotten(command).await;
        bought.run("DEL KEY").await; // what is not a hash is repaired by the copy
        bought.repair().await;
    }
    bought.remembered().await;
    flush(&mut bought.redis).await;
    bought.is_forgotten("FLUSHDB").await;
    bought.fixture.hash_projector().checkpoint().await.unwrap();
    bought.remembered().await;
    bought.run("HSET KEY reference another").await;
    let is_read = async || bought.get().await.is_some_and(|hash| hash != bought.right());
    eventually("what Redis has now is read", is_read).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_from_memory_while_the_checkpoint_is_not_believed() {
    let mut bought = Bought::new().await;
    for command in ["SET offers:checkpoint x", "DEL offers:checkpoint"] {
        bought.remembered().await;
        bought.run(command).await;
        bought.is_forgotten(command).await;
        for _ in 0..10 {
            assert_eq!(bought.get().await, None, "after {command}");
        }
        bought.fixture.hash_projector().checkpoint().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_takes_with_it_what_was_remembered_and_the_next_one_tracks_too() {
    let mut bought = Bought::new().await;
    for _ in 0..3 {
        bought.remembered().await;
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut bought.redis).await.unwrap();
        let database = bought.fixture.sandbox.redis_url.rsplit('/').next().unwrap();
        let ours = clients.lines().filter(|line| {
            let has = |what: &str| line.split(' ').any(|word| word == what);
            has(&format!("db={database}")) && has("resp=3")
        });
        let ids: Vec<&str> = ours.map(|line| &line[3..line.find(' ').unwrap()]).collect();
        assert_eq!(ids.len(), 1, "{clients}");
        bought.run(&format!("CLIENT KILL ID {}", ids[0])).await;
        bought.run("DEL KEY").await; // nobody is told
        bought.is_forgotten("the connection is lost").await;
        bought.repair().await;
        bought.remembered().await;
        bought.run("DEL KEY").await;
        bought.is_forgotten("the next connection is told").await;
        bought.repair().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_takes_with_it_what_was_remembered() {
    let mut bought = Bought::new().await;
    let mut url = bought.fixture.sandbox.redis_url.clone();
    let tunnel = Tunnel::before(&mut url).await;
    bought.hashes = RedisHashes::open(&url, TTL, bought.fixture.log.clone()).unwrap();
    bought.remembered().await;
    tunnel.freeze();
    bought.run("DEL KEY").await; // nobody hears of it
    bought.is_forgotten("the connection is silent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_tracks_no_keys_is_used_without_remembering_anything() {
    let mut bought = Bought::new().await;
    let user = format!("u{}", bought.id);
    let rule = format!("ACL SETUSER {user} on >secret ~* &* +@all -client|tracking");
    bought.run(&rule).await;
    let mut url: Url = bought.fixture.sandbox.redis_url.parse().unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("secret")).unwrap();
    bought.hashes = RedisHashes::open(url.as_str(), TTL, bought.fixture.log.clone()).unwrap();
    bought.remembered().await;
    let _: () = bought.redis.del(&bought.key).await.unwrap();
    assert_eq!(bought.hashes.get(bought.id).await.unwrap(), None, "the next read finds it so");
    bought.run(&format!("ACL DELUSER {user}")).await;
}
