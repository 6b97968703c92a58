//! Callbacks on a real PostgreSQL, to receivers written by hand. Time stands still unless a test moves
//! it, and the sender is stepped until it has nothing to do.

mod bad_receivers;
mod deliveries;
mod enqueuer;
mod order;
pub mod receiver;
mod tries;

use crate::support::config;
use crate::support::service::metrics;
use crate::support::stack::Stack;
use chrono::Utc;
use domain::transaction::{ActivationRequested, Command, Kind};
use domain::{AccountId, Metadata, Money, OfferId, PartnerId, TransactionId, UserId, account};
use offers::app::Dependencies;
use offers::clock::Clock;
use offers::event_log::{AggregateCommand, EventLog, Plan, Sink, SinkError};
use offers::identity::{Actor, CallbackUrl, Identity};
use offers::processors::Announcer;
use offers::processors::callbacks::{Callbacks, Delivery, Sender, Settings};
use offers::runtime::Parts;
use projections::{ReadTables, Readers};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// How long a receiver may take here.
const TIMEOUT: Duration = Duration::from_millis(1_500);

struct Fixture {
    parts: Parts,
    log: EventLog,
    tables: ReadTables,
    readers: Readers,
    redis_url: String,
    identity: Arc<Identity>,
    callbacks: Callbacks,
    clock: Clock,
    /// As the service's role.
    pool: PgPool,
    owner_url: String,
    _ends: DropGuard,
}

/// A partner, where it listens, and its secret.
struct Known {
    id: PartnerId,
    secret: SecretString,
}

impl Fixture {
    async fn new() -> Fixture {
        let sandbox = Stack::get().await.sandbox().await;
        let (clock, stop) = (Clock::standing_at(Utc::now()), CancellationToken::new());
        let config = config::serve(&sandbox, &["--database-connections", "12"]);
        let parts = Parts::open(&config, clock.clone(), metrics(), &stop, &stop).await.unwrap();
        let Dependencies { log, readers, callbacks, identity, .. } = parts.resources.clone();
        Fixture {
            log,
            tables: ReadTables::live(&sandbox.database_url.parse().unwrap(), readers.checkpoint().clone()),
            readers,
            redis_url: sandbox.redis_url,
            owner_url: sandbox.database_owner_url,
            callbacks,
            identity,
            clock,
            pool: parts.pool.clone(),
            parts,
            _ends: stop.drop_guard(),
        }
    }

    fn sender(&self) -> Sender {
        self.sender_with(&settings())
    }

    fn sender_with(&self, settings: &Settings) -> Sender {
        self.callbacks.sender(settings).unwrap()
    }

    fn announcer(&self) -> Announcer {
        self.parts.announcer(None)
    }

    async fn partner(&self, url: &str) -> Known {
        let by = Actor::system("test");
        let url = CallbackUrl::parse(url).unwrap();
        let new = self.identity.create_partner("P", Some(&url), &by, self.clock.now().utc()).await.unwrap();
        let amount = Money::from_hundredths(1_000_000);
        let credit = AggregateCommand::Account(new.partner.id.into(), account::Command::Credit { amount });
        self.execute(&Metadata::system("test", Uuid::now_v7()), credit).await;
        Known { id: new.partner.id, secret: new.webhook_secret }
    }

    async fn execute(&self, metadata: &Metadata, command: AggregateCommand) {
        let plan = Plan::new().command(command);
        self.log.commit(metadata, plan).await.unwrap();
    }

    /// A partner's purchase, up to its final event.
    async fn sell(&self, partner: PartnerId, callback_url: Option<&str>, last: Command) -> TransactionId {
        self.finish(purchase(partner), callback_url, last).await
    }

    async fn finish(&self, request: ActivationRequested, url: Option<&str>, last: Command) -> TransactionId {
        let id = TransactionId(Uuid::now_v7());
        let metadata =
            Metadata { callback_url: url.map(str::to_owned), ..Metadata::system("test", Uuid::now_v7()) };
        self.execute(&metadata, AggregateCommand::Transaction(id, Command::Request(request))).await;
        for command in [Command::BeginAttempt { attempt: 1 }, last] {
            self.execute(
                &Metadata::system("test", Uuid::now_v7()),
                AggregateCommand::Transaction(id, command),
            )
            .await;
        }
        id
    }

    /// Brings the read tables to the head.
    async fn project(&self) {
        loop {
            let page = self.log.page(self.tables.checkpoint().await.unwrap(), 100).await.unwrap();
            if page.is_empty() {
                return;
            }
            self.tables.apply(&page).await.unwrap();
        }
    }

    /// Takes the log's pages from where it stands, as `follow` does.
    async fn enqueue(&self) -> Result<(), SinkError> {
        let mut announcer = self.announcer();
        loop {
            let page = self.log.page(announcer.checkpoint().await?, 100).await.unwrap();
            if page.is_empty() {
                return Ok(());
            }
            announcer.apply(&page).await?;
        }
    }

    async fn project_and_enqueue(&self) {
        self.project().await;
        self.enqueue().await.unwrap();
    }

    /// Deliveries to `url`, as if events had been enqueued: each is (transaction, position).
    async fn waiting(&self, partner: PartnerId, url: &str, events: &[(Uuid, i64)]) {
        let (transactions, positions): (Vec<Uuid>, Vec<i64>) = events.iter().copied().unzip();
        let ids: Vec<Uuid> = events.iter().map(|_| Uuid::now_v7()).collect();
        sqlx::query(
            "insert into callback_deliveries (id, partner_id, event_id, type, transaction_id, position, url,
                                              body, status, next_attempt_at, created_at)
             select id, $1, id, 'transaction.succeeded', transaction, position, $2,
                    json_build_object('transaction', transaction, 'position', position)::text,
                    'pending', $3, $3
             from unnest($4::uuid[], $5::uuid[], $6::bigint[]) as new (id, transaction, position)",
        )
        .bind(partner.0)
        .bind(url)
        .bind(self.clock.now().utc())
        .bind(ids)
        .bind(transactions)
        .bind(positions)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Steps until nothing is due; returns how many tries that took.
    async fn drain(&self, sender: &mut Sender) -> usize {
        let mut tried = 0;
        loop {
            match sender.step().await.unwrap() {
                0 => return tried,
                some => tried += some,
            }
        }
    }

    /// Lets all leases end in `rest` from now, unless they are renewed.
    async fn end_claims_in(&self, rest: Duration) {
        let end = "update callback_deliveries set claimed_until = now() + make_interval(secs => $1)
                   where claimed_until is not null";
        sqlx::query(end).bind(rest.as_secs_f64()).execute(&self.pool).await.unwrap();
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        self.callbacks.list(None, None, 200).await.unwrap().items
    }

    /// The only one there is.
    async fn delivery(&self) -> Delivery {
        let mut all = self.deliveries().await;
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

/// Receivers are on this machine.
fn settings() -> Settings {
    Settings { allow_private: true, timeout: TIMEOUT, ..Settings::default() }
}

fn purchase(partner: PartnerId) -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Partner,
        user_id: UserId(Uuid::from_u128(5)),
        account_id: AccountId::from(partner),
        partner_id: Some(partner),
        subscription_id: None,
        offer_id: OfferId(Uuid::from_u128(7)),
        offer_name: "TV".into(),
        duration_days: 30,
        amount: Money::from_hundredths(1_999),
        partner_reference: Some("order 7".into()),
        reference: Some(fresh_reference()),
    }
}

/// Nobody else's: references are unique in a log.
fn fresh_reference() -> String {
    let random = Uuid::now_v7().simple().to_string().to_uppercase();
    format!("REF-{}", &random[20..])
}

fn succeeded() -> Command {
    Command::Succeed { reference: "EXT-1".into() }
}

fn failed() -> Command {
    Command::Fail { code: "no".into(), message: "No.".into() }
}

fn text(secret: &SecretString) -> &str {
    secret.expose_secret()
}
