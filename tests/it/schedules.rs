//! The scheduler on a real PostgreSQL, with a clock that the test moves.

pub mod fixture;
mod year;

use crate::support::eventually::eventually;
use chrono::Duration;
use domain::user_offer::UserOffer;
use domain::{SubscriptionId, Timestamp};
use fixture::Fixture;
use offers::event_log::{Leadership, Role};
use offers::processors::schedules::{Run, RunOutcome, Scheduler, Tally};
use sqlx::Row;
use tokio_util::sync::CancellationToken;

/// A day before the subscriptions of these tests begin, at the hour at which ends are announced.
const BEGIN: &str = "2026-03-01T08:00:00Z";

async fn fixture() -> Fixture {
    Fixture::at(BEGIN.parse().unwrap()).await
}

async fn run_due(scheduler: &Scheduler, now: Timestamp) -> Vec<Run> {
    scheduler.run_due(now, &CancellationToken::new()).await.unwrap()
}

/// Runs what is due now, on tables that show everything.
async fn run_now(fixture: &Fixture, scheduler: &Scheduler) -> Vec<(&'static str, u64)> {
    fixture.until_shown().await;
    let ran = run_due(scheduler, fixture.clock.now()).await;
    fixture.until_shown().await;
    assert!(ran.iter().all(|run| run.outcome == RunOutcome::Done), "{ran:?}");
    ran.into_iter().map(|run| (run.schedule, run.tally.changed)).collect()
}

/// What happened to a subscription, by name.
async fn story(fixture: &Fixture, subscription: SubscriptionId) -> Vec<String> {
    fixture.names::<UserOffer>(subscription.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_within_three_days_is_announced_once_and_recorded_when_it_comes() {
    let fixture = fixture().await;
    let scheduler = fixture.scheduler();
    let user = fixture.rich().await;
    let (_, five) = fixture.buy(user, 5).await; // ends at 08:00 in five days
    assert_eq!(run_now(&fixture, &scheduler).await, [("expire", 0), ("announce_expiry", 0)]);
    assert_eq!(run_now(&fixture, &scheduler).await, [], "both were run for this moment");
    for (day, expected) in [(1, 0), (2, 1), (3, 0), (4, 0)] {
        fixture.clock.advance(Duration::days(1));
        let ran = run_now(&fixture, &scheduler).await;
        assert_eq!(ran, [("expire", 0), ("announce_expiry", expected)], "day {day}");
    }
    fixture.clock.advance(Duration::days(1) - Duration::minutes(1));
    assert_eq!(run_now(&fixture, &scheduler).await, [("expire", 0)]);
    fixture.clock.advance(Duration::minutes(1));
    assert_eq!(run_now(&fixture, &scheduler).await, [("expire", 1), ("announce_expiry", 0)]);
    assert_eq!(story(&fixture, five).await, ["Activated", "ExpirySoon", "Expired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_begins_a_new_period_with_its_own_announcement() {
    let fixture = fixture().await;
    let scheduler = fixture.scheduler();
    let user = fixture.rich().await;
    let (_, subscription) = fixture.buy(user, 2).await;
    run_now(&fixture, &scheduler).await;
    fixture.clock.advance(Duration::hours(1));
    fixture.renew(user, subscription, 7).await;
    for _ in 0..9 {
        fixture.clock.advance(Duration::days(1));
        run_now(&fixture, &scheduler).await;
    }
    let expected = ["Activated", "ExpirySoon", "Renewed", "ExpirySoon", "Expired"];
    assert_eq!(story(&fixture, subscription).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downtime_is_caught_up_by_one_run_and_what_has_ended_meanwhile_is_not_announced() {
    let fixture = fixture().await;
    let user = fixture.rich().await;
    let (_, ended) = fixture.buy(user, 4).await;
    let (_, near) = fixture.buy(user, 12).await;
    run_now(&fixture, &fixture.scheduler()).await;
    fixture.clock.advance(Duration::days(10) + Duration::hours(3));
    let ran = run_now(&fixture, &fixture.scheduler()).await;
    assert_eq!(ran, [("expire", 1), ("announce_expiry", 1)]);
    assert_eq!(run_now(&fixture, &fixture.scheduler()).await, []);
    assert_eq!(story(&fixture, ended).await, ["Activated", "Expired"]);
    assert_eq!(story(&fixture, near).await, ["Activated", "ExpirySoon"]);
    let runs = sqlx::query("select count(*) as runs from schedule_runs where outcome = 'done'");
    assert_eq!(runs.fetch_one(&fixture.parts.pool).await.unwrap().get::<i64, _>("runs"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_due_ends_are_taken_page_by_page_by_two_schedulers_at_once() {
    let fixture = fixture().await;
    let user = fixture.rich().await;
    let many = fixture.activate_many(user, 2_500, 1).await;
    fixture.clock.advance(Duration::days(1));
    fixture.until_shown().await;
    let (first, (second, _process)) = (fixture.scheduler(), fixture.another_scheduler().await);
    let now = fixture.clock.now();
    let (first, second) = tokio::join!(run_due(&first, now), run_due(&second, now));
    let changed = |ran: &[Run]| ran.iter().map(|run| run.tally.changed).sum::<u64>();
    assert_eq!(changed(&first) + changed(&second), 2_500);
    assert!(first.iter().chain(&second).all(|run| run.outcome == RunOutcome::Done), "{first:?} {second:?}");
    fixture.until_shown().await;
    for subscription in many {
        assert_eq!(story(&fixture, subscription).await, ["Activated", "Expired"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_broken_off_is_finished_by_the_next_one() {
    let fixture = fixture().await;
    let user = fixture.rich().await;
    fixture.activate_many(user, 1_500, 1).await;
    fixture.clock.advance(Duration::days(1));
    fixture.until_shown().await;
    let stop = CancellationToken::new();
    let (scheduler, now) = (fixture.scheduler(), fixture.clock.now());
    let broken = tokio::spawn({
        let stop = stop.clone();
        async move { scheduler.run_due(now, &stop).await.unwrap() }
    });
    eventually("some are done", async || fixture.count("Expired").await > 0).await;
    stop.cancel();
    let broken = broken.await.unwrap();
    let (first, done) = (broken[0].outcome, broken[0].tally.changed);
    assert_eq!(first, RunOutcome::Interrupted);
    assert!((1..1_500).contains(&done), "{done}");
    fixture.until_shown().await;
    let ran = run_due(&fixture.scheduler(), now).await;
    assert_eq!(ran[0].tally, Tally { found: 1_500 - done, changed: 1_500 - done, ..Tally::default() });
    assert_eq!(fixture.count("Expired").await, 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_tables_that_are_behind_is_repeated_until_nobody_can_be_missing() {
    let fixture = Fixture::unprojected(BEGIN.parse().unwrap()).await;
    let user = fixture.rich().await;
    let (_, subscription) = fixture.buy(user, 2).await;
    let (scheduler, now) = (fixture.scheduler(), fixture.clock.now());
    let ran = run_due(&scheduler, now).await;
    assert_eq!((ran[1].schedule, ran[1].outcome), ("announce_expiry", RunOutcome::Failed));
    assert_eq!(run_due(&scheduler, now).await, [], "it rests");
    fixture.project();
    fixture.clock.advance(Duration::minutes(1));
    assert_eq!(run_now(&fixture, &scheduler).await, [("expire", 0), ("announce_expiry", 1)]);
    assert_eq!(story(&fixture, subscription).await, ["Activated", "ExpirySoon"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_runs_and_another_takes_over() {
    let fixture = fixture().await;
    let user = fixture.rich().await;
    let (_, first) = fixture.buy(user, 1).await;
    let (_, second) = fixture.buy(user, 2).await;
    fixture.until_shown().await;
    let mut instances = Vec::new();
    for _ in 0..2 {
        let (stop, (scheduler, process)) = (fixture.stop.child_token(), fixture.another_scheduler().await);
        let leadership = Leadership::new(fixture.sandbox.database_url.parse().unwrap(), Role::Scheduler);
        let running = tokio::spawn(leadership.run(stop.clone(), move |term| scheduler.clone().run(term)));
        instances.push((stop, running, process));
    }
    eventually("both ends are announced", async || fixture.count("ExpirySoon").await == 2).await;
    fixture.clock.advance(Duration::days(1));
    eventually("the first end is recorded", async || story(&fixture, first).await.len() == 3).await;
    let (stop, running, _process) = instances.remove(0);
    stop.cancel();
    running.await.unwrap();
    fixture.clock.advance(Duration::days(1));
    eventually("the second end is recorded", async || story(&fixture, second).await.len() == 3).await;
    for subscription in [first, second] {
        assert_eq!(story(&fixture, subscription).await, ["Activated", "ExpirySoon", "Expired"]);
    }
}
