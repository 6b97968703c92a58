//! The scheduler on a real PostgreSQL, with a clock that the test moves.

pub mod world;
mod year;

use crate::support::eventually::eventually;
use chrono::Duration;
use domain::user_offer::UserOffer;
use domain::{SubscriptionId, Timestamp};
use offers::event_log::{Leadership, Role};
use offers::processors::schedules::{Run, RunOutcome, Scheduler, Tally};
use sqlx::Row;
use tokio_util::sync::CancellationToken;
use world::World;

/// A day before the subscriptions of these tests begin, at the hour at which ends are announced.
const BEGIN: &str = "2026-03-01T08:00:00Z";

async fn world() -> World {
    World::at(BEGIN.parse().unwrap()).await
}

async fn run_due(scheduler: &Scheduler, now: Timestamp) -> Vec<Run> {
    scheduler.run_due(now, &CancellationToken::new()).await.unwrap()
}

/// Runs what is due now, on tables that show everything.
async fn run_now(world: &World, scheduler: &Scheduler) -> Vec<(&'static str, u64)> {
    world.until_shown().await;
    let ran = run_due(scheduler, world.clock.now()).await;
    world.until_shown().await;
    assert!(ran.iter().all(|run| run.outcome == RunOutcome::Done), "{ran:?}");
    ran.into_iter().map(|run| (run.schedule, run.tally.changed)).collect()
}

/// What happened to a subscription, by name.
async fn story(world: &World, subscription: SubscriptionId) -> Vec<String> {
    world.names::<UserOffer>(subscription.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_within_three_days_is_announced_once_and_recorded_when_it_comes() {
    let world = world().await;
    let scheduler = world.scheduler();
    let user = world.rich().await;
    let (_, five) = world.buy(user, 5).await; // ends at 08:00 in five days
    assert_eq!(run_now(&world, &scheduler).await, [("expire", 0), ("announce_expiry", 0)]);
    assert_eq!(run_now(&world, &scheduler).await, [], "both were run for this moment");
    for (day, expected) in [(1, 0), (2, 1), (3, 0), (4, 0)] {
        world.clock.advance(Duration::days(1));
        let ran = run_now(&world, &scheduler).await;
        assert_eq!(ran, [("expire", 0), ("announce_expiry", expected)], "day {day}");
    }
    world.clock.advance(Duration::days(1) - Duration::minutes(1));
    assert_eq!(run_now(&world, &scheduler).await, [("expire", 0)]);
    world.clock.advance(Duration::minutes(1));
    assert_eq!(run_now(&world, &scheduler).await, [("expire", 1), ("announce_expiry", 0)]);
    assert_eq!(story(&world, five).await, ["Activated", "ExpirySoon", "Expired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_begins_a_new_period_with_its_own_announcement() {
    let world = world().await;
    let scheduler = world.scheduler();
    let user = world.rich().await;
    let (_, subscription) = world.buy(user, 2).await;
    run_now(&world, &scheduler).await;
    world.clock.advance(Duration::hours(1));
    world.renew(user, subscription, 7).await;
    for _ in 0..9 {
        world.clock.advance(Duration::days(1));
        run_now(&world, &scheduler).await;
    }
    let expected = ["Activated", "ExpirySoon", "Renewed", "ExpirySoon", "Expired"];
    assert_eq!(story(&world, subscription).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downtime_is_caught_up_by_one_run_and_what_has_ended_meanwhile_is_not_announced() {
    let world = world().await;
    let user = world.rich().await;
    let (_, ended) = world.buy(user, 4).await;
    let (_, near) = world.buy(user, 12).await;
    run_now(&world, &world.scheduler()).await;
    world.clock.advance(Duration::days(10) + Duration::hours(3));
    let ran = run_now(&world, &world.scheduler()).await;
    assert_eq!(ran, [("expire", 1), ("announce_expiry", 1)]);
    assert_eq!(run_now(&world, &world.scheduler()).await, []);
    assert_eq!(story(&world, ended).await, ["Activated", "Expired"]);
    assert_eq!(story(&world, near).await, ["Activated", "ExpirySoon"]);
    let runs = sqlx::query("select count(*) as runs from schedule_runs where outcome = 'done'");
    assert_eq!(runs.fetch_one(&world.parts.pool).await.unwrap().get::<i64, _>("runs"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_due_ends_are_taken_page_by_page_by_two_schedulers_at_once() {
    let world = world().await;
    let user = world.rich().await;
    let many = world.activate_many(user, 2_500, 1).await;
    world.clock.advance(Duration::days(1));
    world.until_shown().await;
    let (first, (second, _process)) = (world.scheduler(), world.another_scheduler().await);
    let now = world.clock.now();
    let (first, second) = tokio::join!(run_due(&first, now), run_due(&second, now));
    let changed = |ran: &[Run]| ran.iter().map(|run| run.tally.changed).sum::<u64>();
    assert_eq!(changed(&first) + changed(&second), 2_500);
    assert!(first.iter().chain(&second).all(|run| run.outcome == RunOutcome::Done), "{first:?} {second:?}");
    world.until_shown().await;
    for subscription in many {
        assert_eq!(story(&world, subscription).await, ["Activated", "Expired"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_broken_off_is_finished_by_the_next_one() {
    let world = world().await;
    let user = world.rich().await;
    world.activate_many(user, 1_500, 1).await;
    world.clock.advance(Duration::days(1));
    world.until_shown().await;
    let stop = CancellationToken::new();
    let (scheduler, now) = (world.scheduler(), world.clock.now());
    let broken = tokio::spawn({
        let stop = stop.clone();
        async move { scheduler.run_due(now, &stop).await.unwrap() }
    });
    eventually("some are done", async || world.count("Expired").await > 0).await;
    stop.cancel();
    let broken = broken.await.unwrap();
    let (first, done) = (broken[0].outcome, broken[0].tally.changed);
    assert_eq!(first, RunOutcome::Interrupted);
    assert!((1..1_500).contains(&done), "{done}");
    world.until_shown().await;
    let ran = run_due(&world.scheduler(), now).await;
    assert_eq!(ran[0].tally, Tally { found: 1_500 - done, changed: 1_500 - done, ..Tally::default() });
    assert_eq!(world.count("Expired").await, 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_tables_that_are_behind_is_repeated_until_nobody_can_be_missing() {
    let world = World::unprojected(BEGIN.parse().unwrap()).await;
    let user = world.rich().await;
    let (_, subscription) = world.buy(user, 2).await;
    let (scheduler, now) = (world.scheduler(), world.clock.now());
    let ran = run_due(&scheduler, now).await;
    assert_eq!((ran[1].schedule, ran[1].outcome), ("announce_expiry", RunOutcome::Failed));
    assert_eq!(run_due(&scheduler, now).await, [], "it rests");
    world.project();
    world.clock.advance(Duration::minutes(1));
    assert_eq!(run_now(&world, &scheduler).await, [("expire", 0), ("announce_expiry", 1)]);
    assert_eq!(story(&world, subscription).await, ["Activated", "ExpirySoon"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_runs_and_another_takes_over() {
    let world = world().await;
    let user = world.rich().await;
    let (_, first) = world.buy(user, 1).await;
    let (_, second) = world.buy(user, 2).await;
    world.until_shown().await;
    let mut instances = Vec::new();
    for _ in 0..2 {
        let (stop, (scheduler, process)) = (world.stop.child_token(), world.another_scheduler().await);
        let leadership = Leadership::new(world.corner.database_url.parse().unwrap(), Role::Scheduler);
        let running = tokio::spawn(leadership.run(stop.clone(), move |term| scheduler.clone().run(term)));
        instances.push((stop, running, process));
    }
    eventually("both ends are announced", async || world.count("ExpirySoon").await == 2).await;
    world.clock.advance(Duration::days(1));
    eventually("the first end is recorded", async || story(&world, first).await.len() == 3).await;
    let (stop, running, _process) = instances.remove(0);
    stop.cancel();
    running.await.unwrap();
    world.clock.advance(Duration::days(1));
    eventually("the second end is recorded", async || story(&world, second).await.len() == 3).await;
    for subscription in [first, second] {
        assert_eq!(story(&world, subscription).await, ["Activated", "ExpirySoon", "Expired"]);
    }
}
