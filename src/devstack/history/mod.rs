//! A believable history for demonstrations and measurements: accounts are opened and paid into, offers are bought,
//! activated, refused and refunded, subscriptions are renewed and end. The aggregates decide every event.

mod commit;

use chrono::Duration;
use commit::{Commit, Log, Stream};
use domain::account::{self, Account};
use domain::offer::{self, Offer, Terms};
use domain::transaction::{self, ActivationRequested, AttemptKind, Evidence, Transaction};
use domain::user_offer::{self, UserOffer};
use domain::{AccountId, Money, PartnerId, Recorded, SubscriptionId, Timestamp, TransactionId, UserId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{HashMap, VecDeque};

/// Name, price in hundredths, days.
const OFFERS: [(&str, i64, u32); 8] = [
    ("Mobile Day Pass 1 GB", 150, 1),
    ("Mobile Week 5 GB", 500, 7),
    ("Mobile Month 20 GB", 1_500, 30),
    ("TV Basic", 990, 30),
    ("TV Sports", 1_990, 30),
    ("Internet 100", 2_490, 30),
    ("Internet 500", 3_990, 30),
    ("Internet 1000 + TV Sports", 9_900, 90),
];
/// Accounts that belong to partners.
const PARTNERS: usize = 3;
/// Purchases that they make, in per cent.
const PARTNERS_SHARE: f64 = 10.0;
/// Events for each user.
const EVENTS_PER_USER: usize = 100;
/// Transactions that are under way at once.
const UNDER_WAY: usize = 64;
/// Subscriptions that may be renewed or end; older ones are forgotten.
const SUBSCRIPTIONS: usize = 5_000;
/// The time that an event stands for.
const TIME_PER_EVENT: Duration = Duration::seconds(1);
/// The most events that a commit has.
const COMMIT_EVENTS: usize = 2;
/// The longest time between two commits, in microseconds.
const GAP_US: i64 = 1_800_000;

/// The commits of a history, oldest first.
pub struct DemoHistory {
    log: Log,
    events: usize,
    until: Timestamp,
    owners: Vec<Owner>,
    offers: Vec<Stream<Offer>>,
    open: Vec<Purchase>,
    /// The one that began first is in front.
    subscriptions: VecDeque<(ActivationRequested, Stream<UserOffer>)>,
}

/// Whoever pays.
struct Owner {
    account: Stream<Account>,
    kind: account::Kind,
}

struct Purchase {
    transaction: Stream<Transaction>,
    request: ActivationRequested,
    attempts: u32,
    has_failed: bool,
    /// What a renewal extends.
    subscription: Option<Stream<UserOffer>>,
}

impl DemoHistory {
    /// A history of exactly `events` events that ends at about `until`; the same `seed` gives the same history.
    #[must_use]
    pub fn new(events: usize, seed: u64, until: Timestamp) -> Self {
        let length = TIME_PER_EVENT.checked_mul(i32::try_from(events).unwrap_or(i32::MAX));
        let began = length.and_then(|length| until.utc().checked_sub_signed(length));
        let log = Log {
            rng: StdRng::seed_from_u64(seed),
            now: began.map_or(until, Timestamp::new),
            position: 0,
            balances: HashMap::default(),
        };
        Self {
            log,
            events,
            until,
            owners: Vec::new(),
            offers: Vec::new(),
            open: Vec::new(),
            subscriptions: VecDeque::new(),
        }
    }

    /// What is on the owners' accounts after the last commit.
    #[must_use]
    pub fn balances(&self) -> Vec<(AccountId, Money)> {
        self.log.balances.iter().map(|(account, balance)| (*account, *balance)).collect()
    }

    /// Up to when it has come.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.log.now
    }

    fn left(&self) -> usize {
        self.events.saturating_sub(usize::try_from(self.log.position).unwrap_or(usize::MAX))
    }

    fn pick(&mut self, count: usize) -> usize {
        self.log.rng.random_range(0..count)
    }

    fn chance(&mut self, percent: f64) -> bool {
        self.log.rng.random_bool(percent / 100.0)
    }

    fn pass_time(&mut self) {
        let gap = Duration::microseconds(self.log.rng.random_range(0..GAP_US));
        let later = self.log.now.utc().checked_add_signed(gap).map_or(self.until, Timestamp::new);
        self.log.now = later.min(self.until).max(self.log.now);
    }

    fn step(&mut self) -> Vec<Recorded> {
        if self.owners.is_empty() || (self.owners.len() < self.wanted_owners() && self.chance(5.0)) {
            return self.open_account();
        }
        if self.left() < COMMIT_EVENTS {
            let owner = self.pick(self.owners.len());
            return self.pay_in(owner, 1_000);
        }
        if self.offers.len() < OFFERS.len() {
            return self.create_offer();
        }
        if self.chance(0.02) {
            return self.change_offer();
        }
        if let Some(ended) = self.expire() {
            return ended;
        }
        match self.open.is_empty() || (self.open.len() < UNDER_WAY && self.chance(35.0)) {
            true => self.buy(),
            false => self.go_on(),
        }
    }

    fn wanted_owners(&self) -> usize {
        PARTNERS + self.events / EVENTS_PER_USER
    }

    fn open_account(&mut self) -> Vec<Recorded> {
        let kind = if self.owners.len() < PARTNERS { account::Kind::Partner } else { account::Kind::User };
        let (mut account, mut commit) = (Stream::new(self.log.id()), Commit::default());
        account.handle(account::Command::Open { kind }, &mut commit);
        self.owners.push(Owner { account, kind });
        self.log.append(commit, "system:registration".to_owned())
    }

    fn pay_in(&mut self, owner: usize, hundredths: i64) -> Vec<Recorded> {
        let amount = Money::from_hundredths(hundredths);
        let mut commit = Commit::default();
        self.owners[owner].account.handle(account::Command::Credit { amount }, &mut commit);
        self.log.append(commit, "system:cli".to_owned())
    }

    fn create_offer(&mut self) -> Vec<Recorded> {
        let (name, price, duration_days) = OFFERS[self.offers.len()];
        let (mut offer, mut commit) = (Stream::new(self.log.id()), Commit::default());
        let price = Money::from_hundredths(price);
        let terms = Terms { name: name.to_owned(), description: String::new(), price, duration_days };
        offer.handle(offer::Command::Create(terms), &mut commit);
        self.offers.push(offer);
        self.log.append(commit, "system:cli".to_owned())
    }

    fn change_offer(&mut self) -> Vec<Recorded> {
        let (number, rise) = (self.pick(OFFERS.len()), self.log.rng.random_range(1..100));
        let mut commit = Commit::default();
        let offer = &mut self.offers[number];
        let mut terms = offer.state.terms().expect("every offer was created").clone();
        terms.price = Money::from_hundredths(OFFERS[number].1 + rise);
        offer.handle(offer::Command::Change(terms), &mut commit);
        self.log.append(commit, "system:cli".to_owned())
    }

    /// The end of the oldest subscription, if it has come.
    fn expire(&mut self) -> Option<Vec<Recorded>> {
        let (_, oldest) = self.subscriptions.front()?;
        let UserOffer::Subscribed(subscribed) = &oldest.state else { return None };
        let is_over = subscribed.expires_at <= self.log.now;
        if !is_over && self.subscriptions.len() <= SUBSCRIPTIONS {
            return None;
        }
        let (_, mut subscription) = self.subscriptions.pop_front()?;
        let mut commit = Commit::default();
        subscription.handle(user_offer::Command::Expire { at: self.log.now }, &mut commit);
        is_over.then(|| self.log.append(commit, "system:scheduler".to_owned()))
    }

    /// A purchase or a renewal; before that its payer pays in, if need be.
    fn buy(&mut self) -> Vec<Recorded> {
        let payer = match self.chance(PARTNERS_SHARE) {
            true => self.pick(self.owners.len().min(PARTNERS)),
            false => self.pick(self.owners.len()),
        };
        if !self.subscriptions.is_empty() && self.chance(5.0) {
            return self.renew();
        }
        let (offer, owner) = (self.pick(OFFERS.len()), &self.owners[payer]);
        let account_id = AccountId(owner.account.id);
        let by_partner = owner.kind == account::Kind::Partner;
        let offer = &self.offers[offer];
        let terms = offer.state.terms().expect("every offer was created").clone();
        if self.log.balances.get(&account_id).copied().unwrap_or_default() < terms.price {
            let most = if by_partner { 5_000_000 } else { 20_000 };
            let hundredths = self.log.rng.random_range(10_000..=most);
            return self.pay_in(payer, hundredths);
        }
        let offer_id = offer.id.into();
        let id = self.log.id();
        let user_id = if by_partner { UserId(self.log.id()) } else { UserId(account_id.0) };
        let request = ActivationRequested {
            kind: if by_partner { transaction::Kind::Partner } else { transaction::Kind::Activation },
            user_id,
            account_id,
            partner_id: by_partner.then_some(PartnerId(account_id.0)),
            subscription_id: None,
            offer_id,
            offer_name: terms.name,
            duration_days: terms.duration_days,
            amount: terms.price,
            partner_reference: by_partner.then(|| format!("order-{}", self.log.position)),
            reference: by_partner.then(|| self.reference()),
        };
        self.request(request, Stream::new(id), None)
    }

    fn renew(&mut self) -> Vec<Recorded> {
        let chosen = self.pick(self.subscriptions.len());
        let (earlier, subscription) = self.subscriptions.remove(chosen).expect("it was picked among them");
        let is_affordable =
            self.log.balances.get(&earlier.account_id).is_some_and(|balance| *balance >= earlier.amount);
        if !is_affordable || earlier.partner_id.is_some() {
            return self.go_on_or_buy();
        }
        let subscription_id = Some(SubscriptionId(subscription.id));
        let request = ActivationRequested { kind: transaction::Kind::Renewal, subscription_id, ..earlier };
        let transaction = Stream::new(self.log.id());
        self.request(request, transaction, Some(subscription))
    }

    fn go_on_or_buy(&mut self) -> Vec<Recorded> {
        if self.open.is_empty() { self.buy() } else { self.go_on() }
    }

    fn request(
        &mut self,
        request: ActivationRequested,
        mut transaction: Stream<Transaction>,
        subscription: Option<Stream<UserOffer>>,
    ) -> Vec<Recorded> {
        let mut commit = Commit::default();
        transaction.handle(transaction::Command::Request(request.clone()), &mut commit);
        let actor = match request.partner_id {
            Some(partner) => format!("partner:{partner}"),
            None => format!("user:{}", request.user_id),
        };
        self.open.push(Purchase { transaction, request, attempts: 0, has_failed: true, subscription });
        self.log.append(commit, actor)
    }

    /// Moves one of the open transactions.
    fn go_on(&mut self) -> Vec<Recorded> {
        let chosen = self.pick(self.open.len());
        let mut purchase = self.open.swap_remove(chosen);
        let mut commit = Commit::default();
        if purchase.has_failed {
            purchase.attempts += 1;
            purchase.has_failed = false;
            let attempt = purchase.attempts;
            purchase.transaction.handle(transaction::Command::BeginAttempt { attempt }, &mut commit);
        } else if self.chance(3.0) {
            purchase.has_failed = true;
            let failed = transaction::Command::RecordFailedAttempt {
                attempt: purchase.attempts,
                kind: AttemptKind::Activate,
                evidence: Evidence::NotTaken,
                detail: format!("429, try {}", purchase.attempts),
            };
            purchase.transaction.handle(failed, &mut commit);
        } else if self.chance(5.0) {
            let (code, message) = ("out_of_stock".to_owned(), "No capacity is left".to_owned());
            purchase.transaction.handle(transaction::Command::Fail { code, message }, &mut commit);
            return self.log.append(commit, "system:activation".to_owned());
        } else {
            let reference = format!("EXT-{:010}", self.log.rng.random_range(0..10_000_000_000_u64));
            purchase.transaction.handle(transaction::Command::Succeed { reference }, &mut commit);
            self.subscribe(purchase, &mut commit);
            return self.log.append(commit, "system:activation".to_owned());
        }
        self.open.push(purchase);
        match commit.is_empty() {
            true => self.go_on(), // the same failure again is no event
            false => self.log.append(commit, "system:activation".to_owned()),
        }
    }

    fn subscribe(&mut self, purchase: Purchase, commit: &mut Commit) {
        let Purchase { transaction, request, subscription, .. } = purchase;
        let (transaction_id, at) = (TransactionId(transaction.id), self.log.now);
        let duration_days = request.duration_days;
        let subscription = match subscription {
            Some(mut renewed) => {
                let renew = user_offer::Command::Renew { transaction_id, duration_days, at };
                renewed.handle(renew, commit);
                renewed
            }
            None => {
                let mut begun = Stream::new(SubscriptionId::started_by(transaction_id).0);
                let (user_id, offer_id) = (request.user_id, request.offer_id);
                let activate =
                    user_offer::Command::Activate { user_id, offer_id, transaction_id, duration_days, at };
                begun.handle(activate, commit);
                begun
            }
        };
        self.subscriptions.push_back((request, subscription));
    }

    fn reference(&mut self) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let letters = (0..12).map(|_| char::from(LETTERS[self.log.rng.random_range(0..LETTERS.len())]));
        format!("REF-{}", letters.collect::<String>())
    }
}

impl Iterator for DemoHistory {
    type Item = Vec<Recorded>;

    fn next(&mut self) -> Option<Vec<Recorded>> {
        if self.left() == 0 {
            return None;
        }
        self.pass_time();
        Some(self.step())
    }
}
