//! The activation processor between the real log and the simulated activation system, with NATS and
//! without.

mod alone;
mod outcomes;
mod through_nats;

use crate::support::config;
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::service::metrics;
use crate::support::stack::{Sandbox, Stack};
use domain::transaction::{ActivationRequested, Command, Kind, Transaction};
use domain::{AccountId, Metadata, Money, OfferId, Recorded, SubscriptionId, TransactionId, UserId, account};
use offers::clock::Clock;
use offers::event_log::{AggregateCommand, EventLog, Plan, StreamId, follow};
use offers::processors::ActivationProcessor;
use offers::runtime::Parts;
use offers::simulator::{self, Behaviour, Running};
use projections::Readers;
use std::collections::HashMap;
use std::path::PathBuf;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// The correlation id of what the tests buy.
const THE_REQUEST: Uuid = Uuid::from_u128(0x4e9);

/// A log, the simulated system, and processors between them. Everything ends with it.
struct Fixture {
    parts: Parts,
    log: EventLog,
    sandbox: Sandbox,
    simulator: Running,
    effects: PathBuf,
    clock: Clock,
    stop: CancellationToken,
    _ends: DropGuard,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.effects);
    }
}

impl Fixture {
    async fn new(behaviour: Behaviour) -> Fixture {
        Fixture::at(Clock::system(), behaviour).await
    }

    async fn at(clock: Clock, behaviour: Behaviour) -> Fixture {
        let sandbox = Stack::get().await.sandbox().await;
        let stop = CancellationToken::new();
        let effects = std::env::temp_dir().join(format!("offers-effects-{}.ndjson", Uuid::now_v7()));
        let settings =
            simulator::Settings { log: Some(effects.clone()), behaviour, ..simulator::Settings::default() };
        let simulator = simulator::start(settings).await.unwrap();
        let parts = open(&sandbox, &simulator.url(), &clock, &stop).await;
        let (log, ends) = (parts.resources.log.clone(), stop.clone().drop_guard());
        Fixture { parts, log, sandbox, simulator, effects, clock, stop, _ends: ends }
    }

    fn processor(&self) -> ActivationProcessor {
        self.parts.activation_processor().unwrap()
    }

    /// A processor as in another process.
    async fn another(&self) -> ActivationProcessor {
        let parts = open(&self.sandbox, &self.simulator.url(), &self.clock, &self.stop).await;
        parts.activation_processor().unwrap()
    }

    /// The read tables, as they are.
    fn readers(&self) -> Readers {
        self.parts.resources.readers.clone()
    }

    /// Keeps the read tables up to date from now on.
    fn project(&self) {
        tokio::spawn(follow(self.log.feed(), self.parts.read_tables(), self.stop.clone()));
    }

    async fn control(&self, changes: serde_json::Value) {
        let url = format!("{}/_control", self.simulator.url());
        http().put(url).json(&changes).send().await.unwrap().error_for_status().unwrap();
    }

    /// A user with 1000.00.
    async fn user(&self) -> UserId {
        let user = UserId(Uuid::now_v7());
        let amount = Money::from_hundredths(100_000);
        let credit = AggregateCommand::Account(AccountId::from(user), account::Command::Credit { amount });
        let plan = Plan::new().first_command(credit);
        self.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
        user
    }

    async fn balance(&self, user: UserId) -> Money {
        self.log.balance(AccountId::from(user)).await.unwrap().balance
    }

    /// Accepts a purchase for 10.00.
    async fn buy(&self, user: UserId) -> TransactionId {
        self.accept(purchase(user)).await
    }

    async fn accept(&self, request: ActivationRequested) -> TransactionId {
        let id = TransactionId(Uuid::now_v7());
        let metadata = Metadata {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..Metadata::system("test", THE_REQUEST)
        };
        let plan = Plan::new().first_command(AggregateCommand::Transaction(id, Command::Request(request)));
        self.log.commit(&metadata, plan).await.unwrap();
        id
    }

    async fn events(&self, id: TransactionId) -> Vec<Recorded> {
        self.log.stream(StreamId::of::<Transaction>(id.0)).await.unwrap()
    }

    async fn names(&self, id: TransactionId) -> Vec<String> {
        self.events(id).await.into_iter().map(|event| event.event_type.clone()).collect()
    }

    async fn until_succeeded(&self, ids: &[TransactionId]) {
        eventually("every purchase succeeds", async || {
            for id in ids {
                if !matches!(
                    self.log.reload::<Transaction>(id.0).await.unwrap().state,
                    Transaction::Succeeded { .. }
                ) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// How often the outside world was changed for each transaction.
    fn activations(&self) -> HashMap<String, u32> {
        let mut times = HashMap::new();
        for line in std::fs::read_to_string(&self.effects).unwrap_or_default().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            if line["effect"] == "activated" {
                *times.entry(line["transaction_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        times
    }
}

fn purchase(user: UserId) -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Activation,
        user_id: user,
        account_id: AccountId::from(user),
        partner_id: None,
        subscription_id: None,
        offer_id: OfferId(Uuid::from_u128(7)),
        offer_name: "TV".into(),
        duration_days: 30,
        amount: Money::from_hundredths(1_000),
        partner_reference: None,
        reference: None,
    }
}

fn renewal(user: UserId, subscription: SubscriptionId) -> ActivationRequested {
    ActivationRequested { kind: Kind::Renewal, subscription_id: Some(subscription), ..purchase(user) }
}

async fn open(sandbox: &Sandbox, system: &str, clock: &Clock, stop: &CancellationToken) -> Parts {
    let flags = ["--external-url", system, "--external-timeout", "1s", "--external-calls", "64"];
    let config = config::serve(sandbox, &flags);
    Parts::open(&config, clock.clone(), metrics(), stop, stop).await.unwrap()
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
