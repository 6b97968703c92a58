//! The servers beside PostgreSQL: whether they answer, how fast, and which version.

use super::Finding;
use crate::bus::{self, Bus};
use crate::config::Serve;
use crate::event_log::{EventLog, WriterOptions};
use crate::external::LookUp;
use crate::postgres::{connect_options, pool_options};
use crate::processors::notifications;
use crate::runtime::parts::{activation_system as client, bus_options};
use crate::telemetry::chain;
use projections::RedisHashes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a server may take until it is said not to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at the connection to NATS.
const POLL: Duration = Duration::from_millis(20);
/// The oldest Redis that says when a hash changes.
const LEAST_REDIS: u32 = 6;
const REDIS: &str = "Redis";
const NATS: &str = "NATS";

pub(super) async fn redis(config: &Serve) -> Option<Finding> {
    let url = config.servers.redis_url().ok()?;
    let database = connect_options(config.servers.database_url().ok()?.expose()).ok()?;
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let pool = pool_options().connect_lazy_with(database.clone());
    let history = Arc::new(EventLog::open(pool, database, WriterOptions::default(), &stop));
    let hashes = RedisHashes::open(url.expose(), config.status_ttl, history).ok()?;
    let connected = timeout(PATIENCE, hashes.ping()).await;
    let began = Instant::now();
    let answered = match connected {
        Ok(Ok(())) => timeout(PATIENCE, hashes.ping()).await, // how fast it is once it is connected
        failed => failed,
    };
    let took = began.elapsed();
    let remedy = "start it or correct OFFERS_REDIS_URL; until then statuses are read from PostgreSQL";
    Some(match answered {
        Ok(Ok(())) => match hashes.server_version().await {
            Some(version)
                if version.split('.').next().and_then(|text| text.parse().ok()) < Some(LEAST_REDIS) =>
            {
                let remedy = "use Redis 6.0 or newer: then final statuses are read from memory";
                Finding::note(REDIS, format!("{version} answers"), remedy)
            }
            version => Finding::ok(REDIS, format!("{} answers", version.as_deref().unwrap_or("a server"))),
        }
        .took(took),
        Ok(Err(cause)) => Finding::wrong(REDIS, chain(&cause), remedy),
        Err(_) => Finding::wrong(REDIS, format!("no answer within {} s", PATIENCE.as_secs()), remedy),
    })
}

pub(super) async fn nats(config: &Serve) -> Option<Finding> {
    let options = bus_options(config).ok()?;
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let began = Instant::now();
    let remedy = "start it or correct OFFERS_NATS_URL; until then accepted purchases wait";
    let bus = match Bus::open(options, &stop).await {
        Ok(bus) => bus,
        Err(cause) => return Some(Finding::wrong(NATS, chain(&cause), remedy)),
    };
    let connected = async {
        while bus.state() != bus::State::Connected {
            sleep(POLL).await;
        }
    };
    let is_there = timeout(PATIENCE, connected).await.is_ok();
    let took = began.elapsed();
    let version = bus.server().filter(|_| is_there);
    Some(match (version, bus.state()) {
        (None, bus::State::Degraded(why)) => Finding::wrong(NATS, why, remedy),
        (None, bus::State::Connected) => Finding::wrong(NATS, "no answer", remedy),
        (Some(server), _) if !server.has_jetstream => {
            let found = format!("nats-server {} has no JetStream", server.version);
            Finding::wrong(NATS, found, "switch JetStream on (nats.conf)")
        }
        (Some(server), _) => match bus.unfit_for_analysts() {
            Some(why) => Finding::note(NATS, why, "use a newer nats-server, or let no analyst in"),
            None => Finding::ok(NATS, format!("nats-server {} answers", server.version)),
        }
        .took(took),
    })
}

/// Asks for an activation that nobody has asked for.
pub(super) async fn activation_system(config: &Serve) -> Option<Finding> {
    const ABOUT: &str = "activation";
    let client = client(config).ok()?;
    let began = Instant::now();
    let found = client.look_up(Uuid::now_v7(), None).await;
    let took = began.elapsed();
    Some(match found {
        LookUp::NotSeen => Finding::ok(ABOUT, "the activation system answers").took(took),
        LookUp::Inconclusive(why) => {
            let remedy = "start it or correct OFFERS_EXTERNAL_URL; until then accepted purchases wait";
            Finding::wrong(ABOUT, format!("the activation system gives no answer: {}", why.detail), remedy)
        }
        LookUp::Activated { .. } | LookUp::Pending | LookUp::Rejected(_) => {
            let remedy = "an unknown id must be 404: else nothing is ever sent again";
            Finding::wrong(ABOUT, "the activation system knows an id that nobody has sent", remedy).took(took)
        }
    })
}

pub(super) async fn mail(config: &Serve) -> Option<Finding> {
    const ABOUT: &str = "mail";
    let Some(settings) = notifications::Settings::read(&config.mail).ok()? else {
        return Some(Finding::note(ABOUT, "no mail is sent", "set OFFERS_SMTP_URL if users are to be told"));
    };
    let began = Instant::now();
    let reached = timeout(PATIENCE, settings.reach()).await;
    let took = began.elapsed();
    let remedy = "start the mail server or correct OFFERS_SMTP_URL; until then mail waits";
    Some(match reached {
        Ok(Ok(place)) => Finding::ok(ABOUT, place).took(took),
        Ok(Err(why)) => Finding::wrong(ABOUT, why, remedy),
        Err(_) => Finding::wrong(ABOUT, format!("no answer within {} s", PATIENCE.as_secs()), remedy),
    })
}
