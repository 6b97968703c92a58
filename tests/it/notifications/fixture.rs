//! Mail around a `Fixture`: the users with their addresses, and what sends.

use super::mail_server::{MailServer, Received};
use crate::schedules::fixture::Fixture;
use crate::support::config;
use crate::support::eventually::eventually;
use chrono::{DateTime, Utc};
use domain::UserId;
use offers::config::Mail;
use offers::event_log::follow;
use offers::identity::{Actor, Identity, NewUser, Roles};
use offers::processors::Announcer;
use offers::processors::notifications::{Notifications, Sender, Settings};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Everybody's password.
const PASSWORD: &str = "correct horse battery";

/// Everything ends with it.
pub struct MailFixture {
    pub base: Fixture,
    pub identity: Arc<Identity>,
    url: String,
}

impl MailFixture {
    /// With read tables that follow the log, and mail that goes to `url`.
    pub async fn at(moment: DateTime<Utc>, url: &str) -> MailFixture {
        let fixture = MailFixture::unprojected(moment, url).await;
        fixture.base.project();
        fixture
    }

    /// With read tables that stay as they are until `base.project()`.
    pub async fn unprojected(moment: DateTime<Utc>, url: &str) -> MailFixture {
        let base = Fixture::unprojected(moment).await;
        MailFixture { identity: base.parts.resources.identity.clone(), url: url.to_owned(), base }
    }

    /// Mail as in one process. The first one says where mail begins.
    pub async fn notifications(&self) -> Notifications {
        self.base.parts.notifications(settings(&self.url)).await.unwrap()
    }

    /// Follows the log for mail, and gives what sends.
    pub async fn open(&self) -> Sender {
        let notifications = self.notifications().await;
        self.hear(&notifications);
        notifications.sender()
    }

    /// Follows the log for mail.
    pub fn hear(&self, notifications: &Notifications) {
        let announcer = self.announcer(notifications);
        tokio::spawn(follow(self.base.log.feed(), announcer, self.base.stop.clone()));
    }

    pub fn announcer(&self, notifications: &Notifications) -> Announcer {
        self.base.parts.announcer(Some(notifications))
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
        let now = self.base.clock.now().utc();
        let user = self.identity.create_user(&new, &Actor::system("test"), now).await.unwrap();
        self.base.pay_in(user.id).await;
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
        let rows = rows.fetch_all(&self.base.parts.pool).await.unwrap();
        let counted = |row: &sqlx::postgres::PgRow| {
            (row.get("state"), usize::try_from(row.get::<i64, _>("mails")).unwrap())
        };
        rows.iter().map(counted).collect()
    }

    /// Waits until the log has been read for mail up to its head.
    pub async fn until_heard(&self) {
        let head = self.base.log.head().await.unwrap();
        eventually("the log has been read for mail", async || {
            let position =
                sqlx::query("select position from mail_checkpoint").fetch_one(&self.base.parts.pool).await;
            position.unwrap().get::<i64, _>("position") == head
        })
        .await;
    }

    /// The ids of the events that users are mailed of, sorted.
    pub async fn mailed_events(&self) -> Vec<Uuid> {
        let mailed = ["Succeeded", "Failed", "ExpirySoon"];
        let events = self.base.everything().await.into_iter();
        let mut ids: Vec<Uuid> = events
            .filter(|event| mailed.contains(&event.event_type.as_str()))
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

/// A mail server, and a fixture that sends to it, at nine in the morning.
pub async fn mail_fixture() -> (MailFixture, MailServer) {
    let server = MailServer::start().await;
    let fixture = MailFixture::at("2026-03-01T09:00:00Z".parse().unwrap(), &server.url()).await;
    (fixture, server)
}
