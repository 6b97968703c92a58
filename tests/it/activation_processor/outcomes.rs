//! What becomes of a purchase whose outcome is unknown: nothing is refunded that was done, nothing is done twice.

use super::through_nats::sweep;
use super::{Fixture, everything, open};
use crate::support::eventually::eventually;
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use domain::transaction::{Command, Transaction};
use domain::{Metadata, Money, TransactionId, UserId};
use futures::future::join_all;
use offers::clock::Clock;
use offers::event_log::{AggregateCommand, EventLog, Plan, follow};
use offers::identity::Actor;
use offers::processors::{ActivationProcessor, Outcome, RequeuedActivations};
use offers::simulator::{Behaviour, Lie};
use projections::transaction::fold;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What a user has before a purchase of 10.00, and again after its refund.
fn whole() -> Money {
    Money::from_hundredths(100_000)
}

/// What is left while the price is held, and after it is paid.
fn rest() -> Money {
    Money::from_hundredths(99_000)
}

/// Longer than the deadline of 15 minutes.
const PAST_THE_DEADLINE: TimeDelta = TimeDelta::minutes(16);

/// A system that lies, and a clock that stands.
async fn with(lie: Lie) -> Fixture {
    let moment: DateTime<Utc> = "2026-11-22T08:30:00Z".parse().unwrap();
    Fixture::at(Clock::standing_at(moment), Behaviour { lie: Some(lie), ..Behaviour::default() }).await
}

impl Fixture {
    async fn bought(&self) -> (UserId, TransactionId) {
        let user = self.user().await;
        (user, self.buy(user).await)
    }

    async fn tell_the_truth(&self) {
        self.control(json!({ "lie": null })).await;
    }

    /// The payloads of the attempts that failed.
    async fn failed_attempts(&self, id: TransactionId) -> Vec<[String; 2]> {
        let events = self.events(id).await;
        let failed = events.iter().filter(|event| event.event_type == "AttemptFailed");
        failed
            .map(|event| {
                let payload: Value = serde_json::from_str(&event.payload).unwrap();
                ["kind", "evidence"].map(|member| payload[member].as_str().unwrap().to_owned())
            })
            .collect()
    }

    async fn pending_reason(&self, id: TransactionId) -> Option<String> {
        fold(&self.events(id).await).unwrap().unwrap().pending_reason
    }

    /// The lines of cancellations in the log of effects.
    fn cancellations(&self) -> usize {
        let effects = std::fs::read_to_string(&self.effects).unwrap_or_default();
        effects.lines().filter(|line| line.contains("\"cancelled\"")).count()
    }
}

async fn is_retried(processor: &ActivationProcessor, id: TransactionId) {
    let outcome = processor.drive_now(id).await;
    assert!(matches!(outcome, Outcome::RetryAfter(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_is_never_answered_rightly_ends_as_one_success_by_look_up() {
    use Lie::{DoneThenAnother, DoneThenDrip, DoneThenError, DoneThenGarbage, DoneThenHuge, DoneThenSilent};
    for (lie, evidence) in [
        (DoneThenError, "answered"),
        (DoneThenGarbage, "answered"),
        (DoneThenAnother, "answered"),
        (DoneThenHuge, "answered"),
        (DoneThenSilent, "sent_no_answer"),
        (DoneThenDrip, "sent_no_answer"),
    ] {
        let fixture = with(lie).await;
        let (user, id) = fixture.bought().await;
        let processor = fixture.processor();
        is_retried(&processor, id).await;
        assert_eq!(fixture.failed_attempts(id).await, [["activate", evidence]], "{lie:?}");
        assert_eq!(fixture.pending_reason(id).await.as_deref(), Some("outcome_unknown"));
        assert_eq!(processor.drive_now(id).await, Outcome::Done, "{lie:?}");
        let names = fixture.names(id).await;
        assert_eq!(names, ["ActivationRequested", "Processing", "AttemptFailed", "Succeeded"], "{lie:?}");
        assert_eq!(fixture.activations(), [(id.to_string(), 1)].into());
        assert_eq!((fixture.balance(user).await, fixture.pending_reason(id).await), (rest(), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_system_is_silent_nothing_is_refunded_and_afterwards_a_confirmed_cancellation_refunds_once()
{
    let fixture = with(Lie::Silent).await;
    let (user, id) = fixture.bought().await;
    let processor = fixture.processor();
    is_retried(&processor, id).await;
    fixture.clock.advance(TimeDelta::minutes(10));
    is_retried(&processor, id).await;
    is_retried(&processor, id).await;
    let look_up = ["look_up", "sent_no_answer"];
    assert_eq!(fixture.failed_attempts(id).await, [["activate", "sent_no_answer"], look_up]);
    fixture.clock.advance(PAST_THE_DEADLINE);
    is_retried(&processor, id).await;
    assert_eq!(fixture.failed_attempts(id).await.last().unwrap(), &["cancel", "sent_no_answer"]);
    let waiting = (fixture.balance(user).await, fixture.pending_reason(id).await);
    assert_eq!(waiting, (rest(), Some("outcome_unknown".to_owned())));

    fixture.tell_the_truth().await;
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    let names = fixture.names(id).await;
    assert_eq!(
        names[4..],
        ["CancelRequested", "AttemptFailed", "Failed", "Refunded"],
        "the intent is recorded once"
    );
    assert_eq!((fixture.balance(user).await, fixture.pending_reason(id).await), (whole(), None));
    assert_eq!((fixture.cancellations(), fixture.activations().len()), (1, 0));
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.names(id).await, names, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_is_too_late_is_a_late_success() {
    let fixture = with(Lie::DoneThenSilent).await;
    let (user, id) = fixture.bought().await;
    let processor = fixture.processor();
    is_retried(&processor, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.names(id).await.last().unwrap(), "Succeeded");
    assert_eq!((fixture.balance(user).await, fixture.cancellations()), (rest(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_attempt_reached_the_system_the_deadline_refunds_without_a_cancellation() {
    let fixture = with(Lie::Busy).await;
    let refused = open(&fixture.sandbox, "http://127.0.0.1:9", &fixture.clock, &fixture.stop).await;
    let refused = refused.activation_processor().unwrap();
    let (user, id) = fixture.bought().await;
    is_retried(&refused, id).await;
    let busy = fixture.processor();
    is_retried(&busy, id).await; // it hears of the other process's attempt
    is_retried(&busy, id).await;
    assert_eq!(fixture.failed_attempts(id).await, [["activate", "not_sent"], ["activate", "not_taken"]]);
    assert_eq!(fixture.pending_reason(id).await, None, "nothing is in doubt");
    fixture.clock.advance(PAST_THE_DEADLINE);
    assert_eq!(refused.drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.names(id).await[5..], ["Failed", "Refunded"]);
    assert_eq!((fixture.balance(user).await, fixture.cancellations()), (whole(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_tried_before_the_deadline_is_refunded_and_never_tried() {
    let fixture = with(Lie::DoneThenError).await;
    let (user, id) = fixture.bought().await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    assert_eq!(fixture.processor().drive(id, None).await, Outcome::Done);
    assert_eq!(fixture.names(id).await, ["ActivationRequested", "Failed", "Refunded"]);
    assert_eq!((fixture.balance(user).await, fixture.activations().len()), (whole(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_tried_is_cancelled_at_the_deadline_and_not_given_up() {
    let fixture = with(Lie::Silent).await;
    let (user, id) = fixture.bought().await; // this process has it as it was then
    is_retried(&fixture.another().await, id).await;
    fixture.tell_the_truth().await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    assert_eq!(fixture.processor().drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.names(id).await[3..], ["CancelRequested", "Failed", "Refunded"]);
    assert_eq!((fixture.balance(user).await, fixture.cancellations()), (whole(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_found_after_a_refund_is_recorded_once_and_moves_no_money() {
    let fixture = with(Lie::Silent).await;
    let (user, id) = fixture.bought().await;
    let processor = fixture.processor();
    is_retried(&processor, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    fixture.control(json!({ "lie": "done_after_cancel" })).await;
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.balance(user).await, whole());
    for _ in 0..2 {
        assert_eq!(processor.recheck(id).await, Outcome::Done);
        assert_eq!(fixture.names(id).await[3..], ["CancelRequested", "Failed", "Refunded", "Contradicted"]);
        assert_eq!(fixture.balance(user).await, whole());
        assert_eq!(fixture.pending_reason(id).await.as_deref(), Some("contradicted"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_another_process_has_cancelled_is_looked_up_too() {
    let fixture = with(Lie::Silent).await;
    let (_, id) = fixture.bought().await; // which this process remembers as it was then
    let another = fixture.another().await;
    is_retried(&another, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    fixture.control(json!({ "lie": "done_after_cancel" })).await;
    assert_eq!(another.drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.processor().recheck(id).await, Outcome::Done);
    assert_eq!(fixture.names(id).await[3..], ["CancelRequested", "Failed", "Refunded", "Contradicted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_is_looked_up_once_more_ten_minutes_after_its_end() {
    let fixture = with(Lie::Silent).await;
    let (_, id) = fixture.bought().await;
    let announcer = fixture.parts.announcer(None);
    tokio::spawn(follow(fixture.log.feed(), announcer, fixture.stop.clone()));
    sweep(&fixture).await;
    fixture.clock.advance(TimeDelta::seconds(1));
    let is = async |last: &str| fixture.names(id).await.last().is_some_and(|name| name == last);
    eventually("it is in doubt", async || is("AttemptFailed").await).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    fixture.control(json!({ "lie": "done_after_cancel" })).await;
    eventually("it is refunded", async || is("Refunded").await).await;
    let mut database = PgConnection::connect(&fixture.sandbox.database_url).await.unwrap();
    let mut queued = async || {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from activation_rechecks");
        count.fetch_one(&mut database).await.unwrap()
    };
    eventually("it is to be looked up", async || queued().await == 1).await;
    assert!(is("Refunded").await, "not yet");
    fixture.clock.advance(TimeDelta::minutes(11));
    eventually("the success is recorded", async || is("Contradicted").await).await;
    eventually("and that was all", async || queued().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recheck_that_cannot_be_done_is_parked_and_done_when_it_is_requeued() {
    let fixture = with(Lie::Silent).await;
    let (_, id) = fixture.bought().await;
    let processor = fixture.processor();
    is_retried(&processor, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    fixture.control(json!({ "lie": "done_after_cancel" })).await;
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    let mut owner = PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
    let mut set = async |member: &str| {
        let statement = format!(
            "alter table events disable trigger user;
             update events set payload = jsonb_set(payload::jsonb, '{{code}}', '{member}')
             where aggregate_id = '{id}' and event_type = 'Failed';
             alter table events enable trigger user"
        );
        sqlx::raw_sql(&statement).execute(&mut owner).await.unwrap();
    };
    set("7").await; // no text, so the event cannot be read
    sqlx::query("insert into activation_rechecks (transaction_id, ended_at, not_before) values ($1, $2, $2)")
        .bind(id.0)
        .bind(fixture.clock.now().utc() - TimeDelta::hours(1))
        .execute(&mut PgConnection::connect(&fixture.sandbox.database_url).await.unwrap())
        .await
        .unwrap();
    let parked = fixture.parts.resources.parked.clone();
    tokio::spawn(fixture.parts.rechecks().run(processor.clone(), fixture.stop.clone()));
    eventually("it is parked", async || parked.count().await.unwrap() == 1).await;
    let waiting = parked.waiting(None, 1).await.unwrap().items.pop().unwrap();
    assert_eq!((waiting.consumer.as_str(), waiting.aggregate_id), ("activation-recheck", Some(id.0)));

    set("\"cancelled\"").await;
    let (log, rechecks) = (fixture.log.clone(), fixture.parts.rechecks());
    let requeued = RequeuedActivations::new(parked.clone(), log, processor, rechecks);
    tokio::spawn(requeued.run(fixture.stop.clone()));
    let (by, now) = (Actor::system("test"), fixture.clock.now().utc());
    parked.requeue(waiting.id, &by, now).await.unwrap().unwrap();
    let last = async || fixture.names(id).await.pop().unwrap();
    eventually("the success is recorded", async || last().await == "Contradicted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_in_another_process_is_neither_cancelled_nor_looked_up() {
    let fixture = with(Lie::Silent).await;
    fixture.control(json!({ "lie": null, "pending_rate": 1.0, "pending_for_ms": 3_600_000 })).await;
    let (user, id) = fixture.bought().await;
    let another = fixture.another().await;
    is_retried(&another, id).await; // it has the transaction as it is now
    let resolve = Command::Resolve { done_as: None };
    let plan = Plan::new().command(AggregateCommand::Transaction(id, resolve));
    fixture.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
    let names = fixture.names(id).await;
    assert_eq!(another.drive_now(id).await, Outcome::Done);
    fixture.clock.advance(PAST_THE_DEADLINE);
    assert_eq!(another.drive_now(id).await, Outcome::Done);
    assert_eq!((fixture.cancellations(), fixture.names(id).await), (0, names));
    assert_eq!(fixture.balance(user).await, whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_in_the_log_before_it_is_sent_and_contradicts_what_a_person_resolves_meanwhile() {
    let fixture = with(Lie::Silent).await;
    let system = resolved_while_it_cancels(&fixture.log).await;
    let parts = open(&fixture.sandbox, &system, &fixture.clock, &fixture.stop).await;
    let processor = parts.activation_processor().unwrap();
    let (user, id) = fixture.bought().await;
    is_retried(&processor, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    let names = fixture.names(id).await;
    assert_eq!(names[3..], ["CancelRequested", "Resolved", "Succeeded", "Contradicted"]);
    assert_eq!(fixture.pending_reason(id).await.as_deref(), Some("contradicted"), "it is listed");
    assert_eq!(fixture.balance(user).await, rest());
}

/// The URL of a system that activates nothing. A person resolves what it cancels as done, before it answers.
async fn resolved_while_it_cancels(log: &EventLog) -> String {
    let log = log.clone();
    let router =
        axum::Router::new().route("/activations", post(async || StatusCode::SERVICE_UNAVAILABLE)).route(
            "/activations/{id}/cancel",
            post(async move |Path(id): Path<Uuid>| {
                let resolve = Command::Resolve { done_as: Some("EXT-1".to_owned()) };
                let plan = Plan::new().command(AggregateCommand::Transaction(TransactionId(id), resolve));
                log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
                Json(json!({ "transaction_id": id, "status": "cancelled" }))
            }),
        );
    serve(router).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_saw_only_the_beginning_looks_up_what_another_has_cancelled() {
    let fixture = with(Lie::Silent).await;
    let (_, id) = fixture.bought().await;
    let (one, another) = (fixture.processor(), fixture.another().await);
    is_retried(&one, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    fixture.control(json!({ "lie": "done_after_cancel" })).await;
    assert_eq!(another.drive_now(id).await, Outcome::Done);
    eventually("its own delay is over", async || one.recheck(id).await == Outcome::Done).await;
    assert_eq!(fixture.names(id).await.last().unwrap(), "Contradicted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_retry_begins_the_deadline_again() {
    let fixture = with(Lie::Busy).await;
    let (_, id) = fixture.bought().await;
    let processor = fixture.processor();
    is_retried(&processor, id).await;
    fixture.clock.advance(PAST_THE_DEADLINE);
    let order = AggregateCommand::Transaction(id, Command::RequestRetry);
    let by = Metadata::system("test", Uuid::now_v7());
    fixture.log.commit(&by, Plan::new().command(order)).await.unwrap();
    fixture.tell_the_truth().await;
    assert_eq!(processor.drive_now(id).await, Outcome::Done);
    assert_eq!(fixture.names(id).await.last().unwrap(), "Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_look_up_cancel_and_attempt_at_the_same_time_end_each_purchase_as_it_ended_outside() {
    let fixture = with(Lie::Silent).await;
    let user = fixture.user().await;
    let ids = join_all((0..24).map(|_| fixture.buy(user))).await;
    let processors = [fixture.processor(), fixture.another().await, fixture.another().await];
    let drive = async |processor: &ActivationProcessor, ids: &[TransactionId]| {
        join_all(ids.iter().map(|id| processor.drive_now(*id))).await;
    };
    drive(&processors[0], &ids[..12]).await;
    fixture.control(json!({ "lie": null, "failure_rate": 0.5, "latency_ms": 10 })).await;
    fixture.clock.advance(TimeDelta::minutes(14));
    let all = async || {
        for round in 0..20 {
            if round == 1 {
                fixture.clock.advance(TimeDelta::minutes(2)); // some are overdue, some are not
            }
            join_all(processors.iter().map(|processor| drive(processor, &ids))).await;
        }
    };
    all().await;
    fixture.control(json!({ "failure_rate": 0.0 })).await;
    eventually("all are final", async || {
        join_all(processors.iter().map(|processor| drive(processor, &ids))).await;
        for id in &ids {
            if !fixture.log.reload::<Transaction>(id.0).await.unwrap().state.is_final() {
                return false;
            }
        }
        true
    })
    .await;
    let effects = fixture.activations();
    let mut paid = 0;
    for id in &ids {
        let names = fixture.names(*id).await;
        let times = |name: &str| names.iter().filter(|known| *known == name).count();
        let done = effects.get(&id.to_string()).copied().unwrap_or_default();
        assert_eq!(u32::try_from(times("Succeeded")).unwrap(), done, "{id}: {names:?}");
        assert_eq!(times("Succeeded") + times("Refunded"), 1, "{id}: {names:?}");
        paid += i64::from(done);
    }
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(100_000 - paid * 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_attempt_costs_two_commits_one_call_and_three_events() {
    let fixture = with(Lie::Busy).await;
    let (system, calls) = that_counts().await;
    let parts = open(&fixture.sandbox, &system, &fixture.clock, &fixture.stop).await;
    let (_, id) = fixture.bought().await;
    let before = fixture.log.head().await.unwrap();
    assert_eq!(parts.activation_processor().unwrap().drive(id, None).await, Outcome::Done);
    let events = everything(&fixture.log).await.split_off(usize::try_from(before).unwrap());
    let names: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(names, ["Processing", "Succeeded", "Activated"]);
    let commits: HashSet<i64> = events.iter().map(|event| event.commit_end).collect();
    assert_eq!((commits.len(), calls.load(Ordering::SeqCst)), (2, 1));
}

/// The URL of a system that does everything, and how often it was called.
async fn that_counts() -> (String, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let router = axum::Router::new().fallback(move |Json(request): Json<Value>| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        let id = &request["transaction_id"];
        Json(json!({ "transaction_id": id, "status": "activated", "reference": "EXT-1" }))
    });
    (serve(router).await, calls)
}

/// Serves until the test ends; the URL.
async fn serve(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
