//! A log, its read tables and a clock that stands until the test moves it. Purchases happen here as
//! the service makes them, but in process.

use crate::support::config;
use crate::support::service::metrics;
use crate::support::stack::{Sandbox, Stack};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use domain::transaction::{ActivationRequested, Command, Kind};
use domain::{
    AccountId, Metadata, Money, OfferId, Recorded, SubscriptionId, TransactionId, UserId, account, user_offer,
};
use futures::{StreamExt, stream};
use offers::clock::Clock;
use offers::event_log::{AggregateCommand, EventLog, Plan, Span, StreamId, follow};
use offers::processors::schedules::Scheduler;
use offers::runtime::Parts;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// What everything costs here, in hundredths.
pub const PRICE: i64 = 999;
/// What everybody begins with, in hundredths.
pub const RICH: i64 = 10_000_000;
/// How long the read tables may take to show everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything ends with it.
pub struct Fixture {
    pub parts: Parts,
    pub sandbox: Sandbox,
    pub clock: Clock,
    pub log: EventLog,
    pub stop: CancellationToken,
    _ends: DropGuard,
}

impl Fixture {
    /// With read tables that follow the log.
    pub async fn at(moment: DateTime<Utc>) -> Fixture {
        let fixture = Fixture::unprojected(moment).await;
        fixture.project();
        fixture
    }

    /// With read tables that stay as they are until `project`.
    pub async fn unprojected(moment: DateTime<Utc>) -> Fixture {
        Fixture::with(moment, &[]).await
    }

    /// The same, with flags of `offers serve`.
    pub async fn with(moment: DateTime<Utc>, flags: &[&str]) -> Fixture {
        let sandbox = Stack::get().await.sandbox().await;
        let (clock, stop) = (Clock::standing_at(moment), CancellationToken::new());
        let parts = open(&sandbox, flags, &clock, &stop).await;
        let (log, ends) = (parts.resources.log.clone(), stop.clone().drop_guard());
        Fixture { parts, sandbox, clock, log, stop, _ends: ends }
    }

    /// Keeps the read tables up to date from now on.
    pub fn project(&self) {
        tokio::spawn(follow(self.log.feed(), self.parts.read_tables(), self.stop.clone()));
    }

    /// Waits until the read tables show everything.
    pub async fn until_shown(&self) {
        let head = self.log.head().await.unwrap();
        self.parts.resources.readers.checkpoint().wait_for(head, Instant::now() + PATIENCE).await.unwrap();
    }

    /// A scheduler of this process, as after a restart.
    pub fn scheduler(&self) -> Scheduler {
        self.parts.scheduler()
    }

    /// A scheduler as in another process: nothing is shared but the servers and the time. The process
    /// ends with the guard.
    pub async fn another_scheduler(&self) -> (Scheduler, DropGuard) {
        let stop = self.stop.child_token();
        let scheduler = open(&self.sandbox, &[], &self.clock, &stop).await.scheduler();
        (scheduler, stop.drop_guard())
    }

    /// Somebody with plenty of money.
    pub async fn rich(&self) -> UserId {
        let user = UserId(Uuid::now_v7());
        self.pay_in(user).await;
        user
    }

    pub async fn pay_in(&self, user: UserId) {
        let amount = Money::from_hundredths(RICH);
        let credit = AggregateCommand::Account(AccountId::from(user), account::Command::Credit { amount });
        self.execute(vec![credit]).await;
    }

    /// An activation that succeeds.
    pub async fn buy(&self, user: UserId, days: u32) -> (TransactionId, SubscriptionId) {
        let id = self.begin(activation(user, days)).await;
        let subscription = SubscriptionId::started_by(id);
        let at = self.clock.now();
        let activate = user_offer::Command::Activate {
            user_id: user,
            offer_id: offer(),
            transaction_id: id,
            duration_days: days,
            at,
        };
        self.succeed(id, AggregateCommand::UserOffer(subscription, activate)).await;
        (id, subscription)
    }

    /// A renewal that succeeds.
    pub async fn renew(&self, user: UserId, subscription: SubscriptionId, days: u32) -> TransactionId {
        let renewal = ActivationRequested {
            kind: Kind::Renewal,
            subscription_id: Some(subscription),
            ..activation(user, days)
        };
        let id = self.begin(renewal).await;
        let renew =
            user_offer::Command::Renew { transaction_id: id, duration_days: days, at: self.clock.now() };
        self.succeed(id, AggregateCommand::UserOffer(subscription, renew)).await;
        id
    }

    /// A purchase that fails and is refunded.
    pub async fn fail(&self, request: ActivationRequested) -> TransactionId {
        let id = self.begin(request).await;
        let fail = Command::Fail { code: "no_capacity".into(), message: "there is no capacity".into() };
        self.execute(vec![AggregateCommand::Transaction(id, fail)]).await;
        id
    }

    /// `count` subscriptions of one user, out of the blue: nobody has paid for them.
    pub async fn activate_many(&self, user: UserId, count: usize, days: u32) -> Vec<SubscriptionId> {
        let at = self.clock.now();
        let activations = stream::iter(0..count).map(|_| async move {
            let id = self.begin(ActivationRequested { amount: Money::ZERO, ..activation(user, days) }).await;
            let subscription = SubscriptionId::started_by(id);
            let activate = user_offer::Command::Activate {
                user_id: user,
                offer_id: offer(),
                transaction_id: id,
                duration_days: days,
                at,
            };
            self.succeed(id, AggregateCommand::UserOffer(subscription, activate)).await;
            subscription
        });
        // More would wait for one of eight connections longer than the pool lets them.
        activations.buffer_unordered(32).collect().await
    }

    async fn begin(&self, request: ActivationRequested) -> TransactionId {
        let id = TransactionId(Uuid::now_v7());
        let plan = Plan::new().first_command(AggregateCommand::Transaction(id, Command::Request(request)));
        self.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
        self.execute(vec![AggregateCommand::Transaction(id, Command::BeginAttempt { attempt: 1 })]).await;
        id
    }

    async fn succeed(&self, id: TransactionId, subscription: AggregateCommand) {
        let succeed = Command::Succeed { reference: "ext-1".into() };
        self.execute(vec![AggregateCommand::Transaction(id, succeed), subscription]).await;
    }

    /// One commit.
    pub async fn execute(&self, commands: Vec<AggregateCommand>) {
        let plan = commands.into_iter().fold(Plan::new(), Plan::command);
        self.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
    }

    pub async fn balance(&self, user: UserId) -> Money {
        self.log.balance(AccountId::from(user)).await.unwrap().balance
    }

    /// The names of an aggregate's events, in order.
    pub async fn names<A: Aggregate>(&self, id: Uuid) -> Vec<String> {
        let events = self.log.stream(StreamId::of::<A>(id)).await.unwrap();
        events.into_iter().map(|event| event.event_type.clone()).collect()
    }

    /// How many events of this name there are.
    pub async fn count(&self, event_type: &str) -> usize {
        let of_type = offers::event_log::Filter {
            event_type: Some(event_type.to_owned()),
            ..offers::event_log::Filter::default()
        };
        self.log.search(&of_type, Span::ALL, i64::MAX).await.unwrap().len()
    }

    pub async fn everything(&self) -> Vec<Recorded> {
        let mut all: Vec<Recorded> = Vec::new();
        loop {
            let page = self.log.page(i64::try_from(all.len()).unwrap(), 10_000).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
}

/// What is bought here.
pub fn activation(user: UserId, days: u32) -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Activation,
        user_id: user,
        account_id: AccountId::from(user),
        partner_id: None,
        subscription_id: None,
        offer_id: offer(),
        offer_name: "TV".into(),
        duration_days: days,
        amount: Money::from_hundredths(PRICE),
        partner_reference: None,
        reference: None,
    }
}

fn offer() -> OfferId {
    OfferId(Uuid::from_u128(7))
}

async fn open(sandbox: &Sandbox, flags: &[&str], clock: &Clock, stop: &CancellationToken) -> Parts {
    let config = config::serve(sandbox, flags);
    Parts::open(&config, clock.clone(), metrics(), stop, stop).await.unwrap()
}
