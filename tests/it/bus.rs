//! The bus on a real nats-server: the relay, what heals, and the consumer.

mod analyst;
mod attack;
mod consumer;
mod divergence;
mod example;
mod guide;
mod relay;

use crate::support::eventually::eventually;
use crate::support::nats_server::{NatsServer, connect};
use crate::support::stack::Stack;
use async_nats::jetstream::{self, Context};
use domain::{AccountId, Metadata, Money, Recorded, account};
use offers::bus::{Bus, Options};
use offers::event_log::{AggregateCommand, EventLog, Plan, WriterOptions, follow};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// Enough for a test, little enough that many fit beside each other.
const STREAM_BYTES: u64 = 32_000_000;

/// So little that some hundred events fill it.
const WINDOW_BYTES: u64 = 300_000;

/// A log, a bus, and a client that looks at the stream from outside. Everything ends with it.
struct Fixture {
    log: EventLog,
    bus: Bus,
    options: Options,
    outside: Context,
    stop: CancellationToken,
    _ends: DropGuard,
}

impl Fixture {
    /// On the shared server, with a stream of its own.
    async fn shared() -> Fixture {
        let sandbox = Stack::get().await.sandbox().await;
        let options = Options {
            stream: sandbox.stream,
            subjects: sandbox.subjects,
            stream_bytes: STREAM_BYTES,
            ..Options::new(sandbox.nats_url)
        };
        Fixture::with(&sandbox.database_url, options).await
    }

    /// On a server of the test's own, with the real names and the mirror.
    async fn on(server: &NatsServer) -> Fixture {
        let sandbox = Stack::get().await.sandbox().await;
        let options =
            Options { analytics_url: Some(server.url("analytics_admin")), ..Options::new(server.url("app")) };
        Fixture::with(&sandbox.database_url, options).await
    }

    /// The same, with a stream that is soon full.
    async fn windowed(server: &NatsServer) -> Fixture {
        let sandbox = Stack::get().await.sandbox().await;
        let options = Options {
            analytics_url: Some(server.url("analytics_admin")),
            stream_bytes: WINDOW_BYTES,
            ..Options::new(server.url("app"))
        };
        Fixture::with(&sandbox.database_url, options).await
    }

    async fn with(database_url: &str, options: Options) -> Fixture {
        let stop = CancellationToken::new();
        let bus = Bus::open(options.clone(), &stop).await.unwrap();
        let outside = jetstream::new(connect(&options.url).await);
        let log = open_log(database_url, &stop);
        Fixture { log, bus, options, outside, _ends: stop.clone().drop_guard(), stop }
    }

    /// Publishes until the token is cancelled.
    async fn relay(&self) -> CancellationToken {
        let stop = self.stop.child_token();
        let relay = self.bus.relay(self.log.clone()).await.unwrap();
        tokio::spawn(follow(self.log.feed(), relay, stop.clone()));
        stop
    }

    /// Appends `count` events.
    async fn append(&self, count: usize) {
        append(&self.log, count).await;
    }

    /// Waits until the stream is an exact copy of the log.
    async fn until_copied(&self) {
        let log = everything(&self.log).await;
        eventually("the stream is a copy of the log", async || self.copied(&log).await).await;
    }

    async fn copied(&self, log: &[Recorded]) -> bool {
        let Ok(stream) = self.outside.get_stream(&self.options.stream).await else { return false };
        let state = &stream.cached_info().state;
        let length = log.len() as u64;
        if (state.messages, state.last_sequence) != (length, length) {
            return false;
        }
        for event in log {
            let sequence = u64::try_from(event.position).unwrap();
            let Ok(message) = stream.get_raw_message(sequence).await else { return false };
            if message.headers.get("Nats-Msg-Id").map(|id| id.as_str().to_owned())
                != Some(event.event_id.to_string())
            {
                return false;
            }
        }
        true
    }
}

fn open_log(url: &str, stop: &CancellationToken) -> EventLog {
    let options: PgConnectOptions = url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options.clone());
    EventLog::open(pool, options, WriterOptions::default(), stop)
}

async fn append(log: &EventLog, count: usize) {
    let credits = (0..count).map(|_| async {
        let (account, amount) = (AccountId(Uuid::now_v7()), Money::from_hundredths(1));
        log.commit(
            &Metadata::system("test", Uuid::now_v7()),
            Plan::new()
                .first_command(AggregateCommand::Account(account, account::Command::Credit { amount })),
        )
        .await
        .unwrap();
    });
    futures::future::join_all(credits).await;
}

async fn everything(log: &EventLog) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let page = log.page(i64::try_from(all.len()).unwrap(), 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}
