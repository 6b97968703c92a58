//! The two logs: ours, and stock cqrs-es over postgres-es.

use crate::stack::Sandbox;
use cqrs_es::CqrsFramework;
use cqrs_es::persist::PersistedEventStore;
use domain::{
    AccountId, Metadata, Money, OfferId, TransactionId, UserId, account, offer, transaction,
    transaction::Transaction,
};
use offers::bus::{Bus, Options};
use offers::event_log::{AggregateCommand, EventLog, ExecuteError, Plan, WriterOptions, follow};
use offers::notary::{Notary, TreeStore};
use offers::tree::SigningKey;
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Connections of the stock pool; more made it slower on four cores.
const STOCK_CONNECTIONS: u32 = 32;
/// Buyers, so that no single balance is the whole load.
const BUYERS: u64 = 1_000;
/// Every so many commands one is refused for lack of money.
const REFUSED_EVERY: u64 = 100;

/// Something that takes commands.
pub trait Contender: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    async fn open(url: &str) -> Self;
    fn execute(&self) -> impl Future<Output = ()> + Send;
}

fn requested(buyer: AccountId) -> transaction::ActivationRequested {
    transaction::ActivationRequested {
        kind: transaction::Kind::Activation,
        user_id: UserId(buyer.0),
        account_id: buyer,
        partner_id: None,
        subscription_id: None,
        offer_id: OFFER,
        offer_name: "Fibre 500 and TV".to_owned(),
        duration_days: 30,
        amount: Money::from_hundredths(1_999),
        partner_reference: None,
        reference: None,
    }
}

const OFFER: OfferId = OfferId(Uuid::from_u128(0x0ffe4));

fn buyer(number: u64) -> AccountId {
    AccountId(Uuid::from_u128(0xb0b_0000 + u128::from(number)))
}

fn metadata() -> Metadata {
    Metadata::system("bench", Uuid::now_v7())
}

#[derive(Clone)]
pub struct Ours {
    log: EventLog,
    commands: Arc<AtomicU64>,
}

impl Ours {
    /// Money for the buyers.
    pub async fn prepare(&self) {
        let amount = Money::from_hundredths(9_999_999_999);
        for number in 0..BUYERS {
            let command = AggregateCommand::Account(buyer(number), account::Command::Credit { amount });
            self.log.commit(&metadata(), Plan::new().command(command)).await.unwrap();
        }
    }

    /// Follows the log with the tree, and signs it.
    pub async fn grow_tree(&self, sandbox: &Sandbox) {
        let options = Options {
            stream: sandbox.stream.clone(),
            subjects: sandbox.subjects.clone(),
            ..Options::new(sandbox.nats_url.clone())
        };
        let stop = CancellationToken::new();
        let bus = Bus::open(options, &stop).await.unwrap();
        let key = SigningKey::from_seed("bench.example/log", [7; 32]).unwrap();
        let pool = PgPool::connect(&sandbox.database_url).await.unwrap();
        let notary = Notary::new(self.log.clone(), pool, bus, Some(key));
        tokio::spawn(follow(self.log.feed(), notary.projector(), stop));
    }

    pub async fn tree_size(&self, sandbox: &Sandbox) -> u64 {
        TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap()).size().await.unwrap()
    }

    pub async fn log_size(&self) -> i64 {
        self.log.head().await.unwrap()
    }

    async fn create_offer(&self) {
        let terms = offer::Terms {
            name: "Fibre 500 and TV".to_owned(),
            description: String::new(),
            price: Money::from_hundredths(1_999),
            duration_days: 30,
        };
        let command = AggregateCommand::Offer(OFFER, offer::Command::Create(terms));
        self.log.commit(&metadata(), Plan::new().command(command)).await.unwrap();
    }
}

impl Contender for Ours {
    const NAME: &'static str = "ours";

    async fn open(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options.clone());
        let log = EventLog::open(pool, options, WriterOptions::default(), &CancellationToken::new());
        let ours = Self { log, commands: Arc::default() };
        ours.create_offer().await;
        ours
    }

    async fn execute(&self) {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let poor = number % REFUSED_EVERY == REFUSED_EVERY - 1;
        let buyer = if poor { AccountId(Uuid::nil()) } else { buyer(number % BUYERS) };
        let id = Uuid::now_v7();
        let done = self
            .log
            .commit_with(&metadata(), |log| async {
                let offer = log.load::<offer::Offer>(OFFER.0).await?;
                let command = AggregateCommand::Transaction(
                    TransactionId(id),
                    transaction::Command::Request(requested(buyer)),
                );
                Ok(Plan::new()
                    .first_command(command)
                    .expect_version::<offer::Offer>(OFFER.0, offer.version)
                    .idempotent_on(id))
            })
            .await;
        match done {
            Ok(_) | Err(ExecuteError::InsufficientFunds { .. }) => {}
            Err(cause) => panic!("{cause}"),
        }
    }
}

#[derive(Clone)]
pub struct Stock(Arc<CqrsFramework<Transaction, PersistedEventStore<PostgresEventRepository, Transaction>>>);

/// As in postgres-es's own documentation.
const STOCK_TABLE: &str = "create schema if not exists stock; create table if not exists stock.events (
    aggregate_type text not null, aggregate_id text not null, sequence bigint check (sequence >= 0) not null,
    event_type text not null, event_version text not null, payload json not null, metadata json not null,
    timestamp timestamp with time zone default (current_timestamp),
    primary key (aggregate_type, aggregate_id, sequence))";

impl Contender for Stock {
    const NAME: &'static str = "stock";

    async fn open(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.options([("search_path", "stock")]);
        let pool: PgPool =
            PgPoolOptions::new().max_connections(STOCK_CONNECTIONS).connect_with(options).await.unwrap();
        sqlx::raw_sql(STOCK_TABLE).execute(&pool).await.unwrap();
        let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(pool));
        Self(Arc::new(CqrsFramework::new(store, vec![], ())))
    }

    async fn execute(&self) {
        let id = Uuid::now_v7();
        let number = id.as_u128() as u64 % BUYERS;
        let metadata = metadata();
        let metadata = [
            ("correlation_id".to_owned(), metadata.correlation_id.to_string()),
            ("actor".to_owned(), metadata.actor.unwrap_or_default()),
        ];
        let command = transaction::Command::Request(requested(buyer(number)));
        self.0.execute_with_metadata(&id.to_string(), command, metadata.into()).await.unwrap();
    }
}
