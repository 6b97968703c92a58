//! Mail around a `World`: the bus, the users with their addresses, and what sends.

use super::mail_server::{MailServer, Received};
use crate::schedules::world::World;
use crate::support::config;
use crate::support::eventually::eventually;
use async_nats::jetstream::{self, Context};
use chrono::{DateTime, Utc};
use domain::UserId;
use offers::bus::Bus;
use offers::config::Mail;
use offers::event_log::follow;
use offers::identity::{Actor, Identity, NewUser, Roles};
use offers::processors::notifications::{Notifications, Sender, Settings};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Enough for a test, little enough that many fit beside each other.
pub const STREAM_BYTES: u64 = 32_000_000;
/// Everybody's password.
const PASSWORD: &str = "correct horse battery";

/// Everything ends with it.
pub struct Office {
    pub world: World,
    pub identity: Arc<Identity>,
    pub bus: Bus,
    pub stream: String,
    /// NATS as seen from outside.
    pub outside: Context,
    url: String,
}

impl Office {
    /// With read tables and a stream that follow the log, and mail that goes to `url`.
    pub async fn at(moment: DateTime<Utc>, url: &str) -> Office {
        let office = Office::unprojected(moment, url, STREAM_BYTES).await;
        office.world.project();
        office
    }

    /// With read tables that stay as they are until `world.project()`.
    pub async fn unprojected(moment: DateTime<Utc>, url: &str, stream_bytes: u64) -> Office {
        let world = World::with(moment, &["--nats-stream-bytes", &stream_bytes.to_string()]).await;
        let outside = jetstream::new(crate::support::nats_server::connect(&world.corner.nats_url).await);
        let (identity, bus) = (world.parts.resources.identity.clone(), world.parts.resources.bus.clone());
        Office { identity, bus, stream: world.corner.stream.clone(), outside, url: url.to_owned(), world }
    }

    /// Publishes the log from now on.
    pub async fn relay(&self) -> CancellationToken {
        let stop = self.world.stop.child_token();
        let relay = self.bus.relay(self.world.log.clone()).await.unwrap();
        tokio::spawn(follow(self.world.log.feed(), relay, stop.clone()));
        stop
    }

    /// Mail as in one process. The first one says where mail begins.
    pub async fn notifications(&self) -> Notifications {
        self.world.parts.notifications(settings(&self.url)).await.unwrap()
    }

    /// Publishes, hears, and gives what sends.
    pub async fn open(&self) -> Sender {
        let notifications = self.notifications().await;
        self.relay().await;
        self.hear(&notifications);
        notifications.sender()
    }

    pub fn hear(&self, notifications: &Notifications) {
        let (notifications, bus) = (notifications.clone(), self.bus.clone());
        tokio::spawn(async move { notifications.receive(bus).await });
    }

    /// Somebody with plenty of money and an address.
    pub async fn rich(&self, name: &str) -> UserId {
        let new = NewUser {
            username: name.to_owned(),
            password: PASSWORD.into(),
            email: format!("{name}@example.com"),
            first_name: String::new(),
            last_name: String::new(),
            roles: Roles::default(),
        };
        let now = self.world.clock.now().utc();
        let user = self.identity.create_user(&new, &Actor::system("test"), now).await.unwrap();
        self.world.pay_in(user.id).await;
        user.id
    }

    /// Waits until `count` mails are noted.
    pub async fn until_noted(&self, count: usize) {
        eventually("the events are noted", async || self.states().await.values().sum::<usize>() >= count)
            .await;
    }

    /// How many mails are in which state.
    pub async fn states(&self) -> BTreeMap<String, usize> {
        let rows = sqlx::query("select state, count(*) as mails from sent_mail group by state");
        let rows = rows.fetch_all(&self.world.parts.pool).await.unwrap();
        let counted = |row: &sqlx::postgres::PgRow| {
            (row.get("state"), usize::try_from(row.get::<i64, _>("mails")).unwrap())
        };
        rows.iter().map(counted).collect()
    }

    /// Waits until nothing is left on the way from the stream.
    pub async fn until_heard(&self) {
        for durable in ["mail-succeeded", "mail-failed", "mail-expiry-soon"] {
            eventually("every message is acknowledged", async || {
                let Ok(stream) = self.outside.get_stream(&self.stream).await else { return false };
                let head = self.world.log.head().await.unwrap();
                let copied = i64::try_from(stream.cached_info().state.last_sequence) == Ok(head);
                let consumer = stream.consumer_info(durable).await;
                copied && consumer.is_ok_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
            })
            .await;
        }
    }

    /// The ids of the events that users are told of, sorted.
    pub async fn told_events(&self) -> Vec<Uuid> {
        let told = ["Succeeded", "Failed", "ExpirySoon"];
        let events = self.world.everything().await.into_iter();
        let mut ids: Vec<Uuid> = events
            .filter(|event| told.contains(&event.event_type.as_str()))
            .map(|event| event.event_id)
            .collect();
        ids.sort();
        ids
    }
}

/// The events that these mails are about, by their Message-IDs, sorted.
pub fn events_of(mails: &[Received]) -> Vec<Uuid> {
    let id = |mail: &Received| {
        let id = mail.header("Message-ID").trim_start_matches('<').split('@').next().unwrap().to_owned();
        id.parse().unwrap()
    };
    let mut ids: Vec<Uuid> = mails.iter().map(id).collect();
    ids.sort();
    ids
}

/// Sends until nothing is due, with as many senders as there are.
pub async fn send_all(senders: &[&Sender]) -> u32 {
    let sent = senders.iter().map(|sender| sender.send_due());
    futures::future::join_all(sent).await.into_iter().map(Result::unwrap).sum()
}

fn settings(url: &str) -> Settings {
    let from = "Offers <offers@shop.example>";
    let mail = config::settings::<Mail>(&["--smtp-url", url, "--mail-from", from, "--mail-rate", "100000"]);
    Settings::read(&mail).unwrap().unwrap()
}

/// A mail server, and an office that sends to it, at nine in the morning.
pub async fn office() -> (Office, MailServer) {
    let server = MailServer::start().await;
    let office = Office::at("2026-03-01T09:00:00Z".parse().unwrap(), &server.url()).await;
    (office, server)
}
