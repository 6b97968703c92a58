//! A year of a hundred users who renew when they please, with mail, in seconds.
//!
//! The test moves the clock from one moment to the next at which anything happens: purchases, due
//! moments, ends. Two schedulers run at once, are replaced now and then, and are both down at times.
//! What must have been announced and recorded is computed from the log alone and compared; and everybody
//! must have got one mail of each event that they are told of.
//!
//! `OFFERS_TEST_FULL=1` (`./dev test --full`) makes it a thousand users and two years.

use super::fixture::{Fixture, PRICE, RICH, activation};
use crate::notifications::fixture::{MailFixture, events_of, send_all};
use crate::notifications::mail_server::MailServer;
use chrono::{DateTime, Duration, Utc};
use domain::user_offer::Period;
use domain::{Event, Money, SubscriptionId, TransactionId, UserId, transaction, user_offer};
use futures::future::join_all;
use offers::processors::notifications::Sender;
use offers::processors::schedules::{RunOutcome, Scheduler};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a period is, in days.
const PERIOD: u32 = 30;
/// The hour at which ends are announced.
const ANNOUNCED_AT: i64 = 8;
/// How often one run may fail.
const FAILURES: u32 = 5;
/// How near an announced end is.
const NEAR: Duration = Duration::days(3);

type Moment = DateTime<Utc>;

/// Somebody who buys.
#[derive(Clone, Copy)]
struct Buyer {
    user: UserId,
    subscription: Option<SubscriptionId>,
}

/// The year as it goes by.
struct Year {
    mail: MailFixture,
    mail_server: MailServer,
    senders: [Sender; 2],
    random: StdRng,
    buyers: Vec<Buyer>,
    /// Who buys when.
    plans: BTreeMap<Moment, Vec<usize>>,
    ends: BTreeSet<Moment>,
    schedulers: [Scheduler; 2],
    /// The second one's process.
    other: DropGuard,
    /// Nothing runs before this.
    down_until: Moment,
    /// When ends were announced, and when they were recorded.
    runs: (Vec<Moment>, Vec<Moment>),
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_random_renewals_misses_and_doubles_nothing() {
    let full = std::env::var_os("OFFERS_TEST_FULL").is_some_and(|value| value == "1");
    let (users, days) = if full { (1_000, 730) } else { (100, 365) };
    let began = std::time::Instant::now();
    let mut year = Year::begin(users).await;
    for day in 0..days {
        year.go_through(day).await;
    }
    let history = History::read(&year.mail.base).await;
    history.check(&year);
    year.check_money(&history).await;
    let mails = year.check_mails().await;
    println!(
        "{users} users, {days} days: {} events, {} announced, {} expired, {mails} mails, in {:?}",
        history.events,
        history.announced.len(),
        history.expired.len(),
        began.elapsed()
    );
}

impl Year {
    async fn begin(users: usize) -> Year {
        let start: Moment = "2026-01-01T00:00:00Z".parse().unwrap();
        let mail_server = MailServer::start().await;
        let mail = MailFixture::at(start, &mail_server.url()).await;
        let senders = [mail.open().await, mail.notifications().await.sender()];
        let fixture = &mail.base;
        let mut random = StdRng::seed_from_u64(7);
        let mut plans: BTreeMap<Moment, Vec<usize>> = BTreeMap::new();
        let mut buyers = Vec::new();
        for index in 0..users {
            let user = mail.rich(&format!("user-{index}")).await;
            buyers.push(Buyer { user, subscription: None });
            let day = Duration::days(random.random_range(0..i64::from(PERIOD)));
            plans.entry(shopping_hour(start + day)).or_default().push(index);
        }
        let (another, other) = fixture.another_scheduler().await;
        let schedulers = [fixture.scheduler(), another];
        let (ends, runs) = (BTreeSet::new(), (Vec::new(), Vec::new()));
        Year {
            mail,
            mail_server,
            senders,
            random,
            buyers,
            plans,
            ends,
            schedulers,
            other,
            down_until: start,
            runs,
        }
    }

    fn now(&self) -> Moment {
        self.mail.base.clock.now().utc()
    }

    async fn go_through(&mut self, day: i64) {
        let midnight: Moment = "2026-01-01T00:00:00Z".parse::<Moment>().unwrap() + Duration::days(day);
        if self.random.random_bool(0.04) {
            self.down_until = midnight + Duration::hours(self.random.random_range(1..60));
        }
        if self.random.random_bool(0.1) {
            let (another, process) = self.mail.base.another_scheduler().await;
            self.schedulers = [self.mail.base.scheduler(), another];
            self.other = process;
        }
        if day % i64::from(PERIOD) == 0 {
            self.send_mail().await;
        }
        let (from, to) = (midnight, midnight + Duration::days(1));
        let mut moments: BTreeSet<Moment> = self.ends.range(from..to).map(|end| next_minute(*end)).collect();
        moments.extend(self.plans.range(from..to).map(|(moment, _)| *moment));
        moments.insert(midnight + Duration::hours(ANNOUNCED_AT));
        for moment in moments {
            self.mail.base.clock.advance((moment - self.now()).max(Duration::zero()));
            match self.plans.remove(&moment) {
                Some(buyers) => self.shop(buyers).await,
                None => self.run_schedulers().await,
            }
        }
    }

    /// Both at once, as if the lead had been lost unnoticed. A busy machine may make a run fail; it is
    /// repeated a minute later.
    async fn run_schedulers(&mut self) {
        if self.now() < self.down_until {
            return;
        }
        for _ in 0..FAILURES {
            self.mail.base.until_shown().await;
            let (now, stop) = (self.mail.base.clock.now(), CancellationToken::new());
            let [one, two] = &self.schedulers;
            let (one, two) = tokio::join!(one.run_due(now, &stop), two.run_due(now, &stop));
            let mut all_done = true;
            for run in one.unwrap().into_iter().chain(two.unwrap()) {
                let runs = if run.schedule == "expire" { &mut self.runs.1 } else { &mut self.runs.0 };
                runs.push(now.utc());
                if run.outcome != RunOutcome::Done {
                    println!("{run:?}");
                    all_done = false;
                }
            }
            if all_done {
                return;
            }
            self.mail.base.clock.advance(Duration::minutes(1));
        }
        panic!("runs fail again and again");
    }

    async fn shop(&mut self, who: Vec<usize>) {
        let fails: Vec<bool> = who.iter().map(|_| self.random.random_bool(0.1)).collect();
        let (fixture, buyers) = (&self.mail.base, &self.buyers);
        let bought = join_all(who.iter().zip(fails).map(async |(index, fails)| {
            let Buyer { user, subscription } = buyers[*index];
            if fails {
                fixture.fail(activation(user, PERIOD)).await;
                return subscription;
            }
            match subscription {
                None => Some(fixture.buy(user, PERIOD).await.1),
                Some(subscription) => {
                    fixture.renew(user, subscription, PERIOD).await;
                    Some(subscription)
                }
            }
        }))
        .await;
        for (index, subscription) in who.into_iter().zip(bought) {
            self.buyers[index].subscription = subscription;
            self.plan_next(index).await;
        }
    }

    /// When this buyer comes again: from ten days before the end to six days after it.
    async fn plan_next(&mut self, index: usize) {
        let end = match self.buyers[index].subscription {
            None => self.now(),
            Some(id) => match self.mail.base.log.load::<user_offer::UserOffer>(id.0).await.unwrap().state {
                user_offer::UserOffer::Subscribed(subscribed) => subscribed.expires_at.utc(),
                user_offer::UserOffer::None => panic!("{id} was bought"),
            },
        };
        self.ends.insert(end);
        let days = self.random.random_range(-10..=6);
        let wanted = shopping_hour(end + Duration::days(days));
        let tomorrow = shopping_hour(self.now() + Duration::days(1));
        self.plans.entry(wanted.max(tomorrow)).or_default().push(index);
    }

    async fn send_mail(&self) {
        let [one, two] = &self.senders;
        send_all(&[one, two]).await;
    }

    /// One mail for each event that somebody is told of; how many.
    async fn check_mails(&self) -> usize {
        self.mail.until_heard().await;
        self.send_mail().await;
        let mails = self.mail_server.received();
        assert_eq!(events_of(&mails), self.mail.mailed_events().await);
        mails.len()
    }

    /// Everybody has what was paid in and not spent.
    async fn check_money(&self, history: &History) {
        for Buyer { user, .. } in &self.buyers {
            let bought = history.succeeded.get(user).copied().unwrap_or(0);
            let expected = Money::from_hundredths(RICH - PRICE * bought);
            assert_eq!(self.mail.base.balance(*user).await, expected);
        }
    }
}

/// One shopping minute for each day, somewhere in it.
fn shopping_hour(moment: Moment) -> Moment {
    let midnight = moment.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    let day = midnight.timestamp() / 86_400;
    midnight + Duration::seconds(day * 7_919 % 86_400 / 60 * 60 + 30)
}

fn next_minute(end: Moment) -> Moment {
    let seconds = end.timestamp();
    DateTime::from_timestamp(seconds + (60 - seconds % 60), 0).unwrap()
}

/// What the log says.
#[derive(Default)]
struct History {
    events: usize,
    /// Each end with the time in which it stood: from its purchase to the next one.
    ends: Vec<(SubscriptionId, Moment, Moment, Option<Moment>)>,
    announced: Vec<(SubscriptionId, Moment)>,
    expired: Vec<(SubscriptionId, Moment)>,
    buyers: HashMap<TransactionId, UserId>,
    succeeded: HashMap<UserId, i64>,
}

impl History {
    async fn read(fixture: &Fixture) -> History {
        let mut history = History::default();
        for recorded in fixture.everything().await {
            history.events += 1;
            let id = recorded.aggregate_id.parse().unwrap();
            match recorded.event().unwrap().clone() {
                Event::UserOffer(event) => history.add(SubscriptionId(id), event, recorded.recorded_at.utc()),
                Event::Transaction(transaction::Event::ActivationRequested(request)) => {
                    history.buyers.insert(TransactionId(id), request.user_id);
                }
                Event::Transaction(transaction::Event::Succeeded { .. }) => {
                    let buyer = history.buyers[&TransactionId(id)];
                    *history.succeeded.entry(buyer).or_default() += 1;
                }
                _ => {}
            }
        }
        history
    }

    fn add(&mut self, id: SubscriptionId, event: user_offer::Event, at: Moment) {
        match event {
            user_offer::Event::Activated(Period { expires_at, .. })
            | user_offer::Event::Renewed(Period { expires_at, .. }) => {
                if let Some(last) = self.ends.iter_mut().rev().find(|(of, ..)| *of == id) {
                    last.3 = Some(at);
                }
                self.ends.push((id, expires_at.utc(), at, None));
            }
            user_offer::Event::ExpirySoon { expires_at, .. } => self.announced.push((id, expires_at.utc())),
            user_offer::Event::Expired { expires_at, .. } => self.expired.push((id, expires_at.utc())),
        }
    }

    /// Exactly what had to be announced and recorded was, each once.
    fn check(&self, year: &Year) {
        let stood = |from: &Moment, until: &Option<Moment>, run: &Moment| {
            *from <= *run && until.is_none_or(|until| *run < until)
        };
        let (mut announced, mut expired) = (Vec::new(), Vec::new());
        for (id, end, from, until) in &self.ends {
            let near = |run: &&Moment| **run < *end && *end <= **run + NEAR;
            if year.runs.0.iter().filter(near).any(|run| stood(from, until, run)) {
                announced.push((*id, *end));
            }
            if year.runs.1.iter().filter(|run| *end <= **run).any(|run| stood(from, until, run)) {
                expired.push((*id, *end));
            }
        }
        assert_same("announced", announced, self.announced.clone());
        assert_same("expired", expired, self.expired.clone());
    }
}

fn assert_same(
    what: &str,
    mut expected: Vec<(SubscriptionId, Moment)>,
    mut actual: Vec<(SubscriptionId, Moment)>,
) {
    expected.sort();
    actual.sort();
    assert!(!expected.is_empty(), "nothing had to be {what}");
    let missed: Vec<_> = expected.iter().filter(|end| !actual.contains(end)).collect();
    assert!(missed.is_empty(), "not {what}: {missed:?}");
    assert_eq!(actual, expected, "{what} twice, or without need");
}
