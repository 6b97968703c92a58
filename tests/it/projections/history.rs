//! Histories for projections, written by hand: events with positions, as the log would give them.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, DomainEvent};
use domain::transaction::{self, ActivationRequested, Kind};
use domain::{
    AccountId, Checkpoint, HistoryAnswer, Metadata, Money, OfferId, PartnerId, Record, Recorded,
    SubscriptionId, TransactionId, UserId, account, offer, user_offer,
};
use offers::event_log::{AggregateCommand, EventLog, Plan};
use serde::Serialize;
use uuid::Uuid;

/// Days that every offer here runs.
pub const DAYS: u32 = 30;

/// A log in memory.
pub struct History {
    pub events: Vec<Recorded>,
    pub offer: OfferId,
    now: DateTime<Utc>,
}

impl History {
    /// With one offer on sale, at 5.00.
    pub fn new() -> Self {
        let now = Utc::now() - TimeDelta::hours(1);
        let mut history = Self { events: Vec::new(), offer: OfferId(Uuid::now_v7()), now };
        let terms = Self::terms("TV", 500);
        history.commit(vec![(history.offer.0, Any::Offer(offer::Event::Created(terms)))], "{}");
        history
    }

    pub fn terms(name: &str, hundredths: i64) -> offer::Terms {
        let price = Money::from_hundredths(hundredths);
        offer::Terms { name: name.into(), description: String::new(), price, duration_days: DAYS }
    }

    pub fn head(&self) -> i64 {
        self.events.len() as i64
    }

    /// The events after `position`, as one page.
    pub fn after(&self, position: i64) -> &[Recorded] {
        &self.events[usize::try_from(position).unwrap()..]
    }

    /// One transaction's own stream.
    pub fn stream(&self, id: TransactionId) -> Vec<Recorded> {
        let id = id.to_string();
        self.events.iter().filter(|event| event.aggregate_id == id).cloned().collect()
    }

    pub fn offer(&mut self, event: offer::Event) {
        self.commit(vec![(self.offer.0, Any::Offer(event))], "{}");
    }

    pub fn credit(&mut self, owner: Uuid, hundredths: i64) {
        let amount = Money::from_hundredths(hundredths);
        self.commit(vec![(owner, Any::Account(account::Event::Credited { amount }))], "{}");
    }

    /// A user asks for the offer.
    pub fn request(&mut self, user: UserId) -> TransactionId {
        let request = self.wish(user);
        self.ask(request, "{}")
    }

    /// A partner asks for it, for `user`.
    pub fn request_by(
        &mut self,
        partner: PartnerId,
        user: UserId,
        references: (&str, &str),
    ) -> TransactionId {
        let mut request = self.wish(user);
        request.kind = Kind::Partner;
        request.account_id = partner.into();
        request.partner_id = Some(partner);
        request.partner_reference = Some(references.0.into());
        request.reference = Some(references.1.into());
        self.ask(request, r#"{"callback_url":"https://partner.example/hook"}"#)
    }

    fn wish(&self, user: UserId) -> ActivationRequested {
        ActivationRequested {
            kind: Kind::Activation,
            user_id: user,
            account_id: AccountId::from(user),
            partner_id: None,
            subscription_id: None,
            offer_id: self.offer,
            offer_name: "TV".into(),
            duration_days: DAYS,
            amount: Money::from_hundredths(500),
            partner_reference: None,
            reference: None,
        }
    }

    fn ask(&mut self, request: ActivationRequested, metadata: &str) -> TransactionId {
        let id = TransactionId(Uuid::now_v7());
        let event = transaction::Event::ActivationRequested(request);
        self.commit(vec![(id.0, Any::Transaction(event))], metadata);
        id
    }

    pub fn attempt(&mut self, id: TransactionId, attempt: u32) {
        self.commit(vec![(id.0, Any::Transaction(transaction::Event::Processing { attempt }))], "{}");
    }

    /// Success, and the subscription that comes with it.
    pub fn succeed(&mut self, id: TransactionId, user: UserId) -> SubscriptionId {
        let subscription = SubscriptionId::started_by(id);
        let at = self.now.into();
        let period = user_offer::Period {
            user_id: user,
            offer_id: self.offer,
            transaction_id: id,
            starts_at: at,
            expires_at: at.plus_days(DAYS),
        };
        let success = transaction::Event::Succeeded { reference: format!("EXT-{id}") };
        self.commit(
            vec![
                (id.0, Any::Transaction(success)),
                (subscription.0, Any::UserOffer(user_offer::Event::Activated(period))),
            ],
            "{}",
        );
        subscription
    }

    /// Failure, and the refund that comes with it.
    pub fn fail(&mut self, id: TransactionId, payer: AccountId) {
        let refund = transaction::Event::Refunded { account_id: payer, amount: Money::from_hundredths(500) };
        let failure = transaction::Event::Failed { code: "rejected".into(), message: "not today".into() };
        self.commit(vec![(id.0, Any::Transaction(failure)), (id.0, Any::Transaction(refund))], "{}");
    }

    pub fn subscription(&mut self, id: SubscriptionId, event: user_offer::Event) {
        self.commit(vec![(id.0, Any::UserOffer(event))], "{}");
    }

    /// `count` purchases of `user`, all through to success.
    pub fn purchases(&mut self, user: UserId, count: usize) -> Vec<TransactionId> {
        let ids: Vec<_> = (0..count).map(|_| self.request(user)).collect();
        for id in &ids {
            self.attempt(*id, 1);
        }
        for id in &ids {
            self.succeed(*id, user);
        }
        ids
    }

    fn commit(&mut self, events: Vec<(Uuid, Any)>, metadata: &str) {
        self.now += TimeDelta::milliseconds(1);
        let commit_end = self.head() + events.len() as i64;
        for (id, event) in events {
            let (aggregate_type, event_type, payload) = event.parts();
            self.events.push(Recorded::from(Record {
                position: self.head() + 1,
                event_id: event_id_at(self.head() + 1),
                aggregate_type: aggregate_type.into(),
                aggregate_id: id.to_string(),
                sequence: 1, // no projection looks at it
                event_type,
                event_version: domain::FIRST_VERSION.into(),
                recorded_at: self.now.into(),
                payload,
                metadata: metadata.into(),
                commit_end,
            }));
        }
    }
}

fn event_id_at(position: i64) -> Uuid {
    Uuid::from_u128(position.cast_unsigned().into())
}

/// The checkpoint at `position` of any of these histories.
pub fn checkpoint(position: i64) -> Checkpoint {
    Checkpoint { position, event_id: event_id_at(position) }
}

/// Any of these histories, without an end.
#[derive(Debug)]
pub struct EndlessLog;

impl domain::History for EndlessLog {
    fn head(&self) -> HistoryAnswer<'_, i64> {
        Box::pin(async { Ok(i64::MAX) })
    }

    fn event_id_at(&self, position: i64) -> HistoryAnswer<'_, Option<Uuid>> {
        Box::pin(async move { Ok(Some(event_id_at(position))) })
    }
}

enum Any {
    Transaction(transaction::Event),
    UserOffer(user_offer::Event),
    Offer(offer::Event),
    Account(account::Event),
}

impl Any {
    fn parts(&self) -> (&'static str, String, String) {
        fn parts<E: DomainEvent + Serialize>(
            aggregate: &'static str,
            event: &E,
        ) -> (&'static str, String, String) {
            (aggregate, event.event_type(), serde_json::to_string(event).unwrap())
        }
        match self {
            Self::Transaction(event) => parts(transaction::Transaction::TYPE, event),
            Self::UserOffer(event) => parts(user_offer::UserOffer::TYPE, event),
            Self::Offer(event) => parts(offer::Offer::TYPE, event),
            Self::Account(event) => parts(account::Account::TYPE, event),
        }
    }
}

/// Credits `account` until the head of `log` is at `position`.
pub async fn credit_until(log: &EventLog, account: AccountId, position: i64) {
    let amount = Money::from_hundredths(1);
    while log.head().await.unwrap() < position {
        let credit = AggregateCommand::Account(account, account::Command::Credit { amount });
        log.commit(&Metadata::system("test", Uuid::now_v7()), Plan::new().command(credit)).await.unwrap();
    }
}
