//! The load itself: connections that post without a pause, and a few that follow what was accepted.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::accounts::Account;
use super::connection::{Call, Connection, Reply, Target};
use super::followed::{Accepted, Followed, Next};
use super::results::{Hash, Results};

/// How long what was accepted may take to become final after the posting has ended.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// Accepted transactions that are not known to be final; posting pauses at the bound.
const MAX_UNFINISHED: u64 = 1_000_000;

/// After an answer that is not a success: a loop without a pause would only measure refusals.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// How long a follower with nothing due waits at most.
const IDLE: Duration = Duration::from_millis(5);

/// Transactions at a time whose final status is waited for, to measure the time from end to end.
const SAMPLED_AT_A_TIME: usize = 2;

/// What to send, and for how long.
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) accounts: Vec<Account>,
    pub(super) offer_id: Uuid,
    pub(super) connections: usize,
    pub(super) posting: Duration,
    /// How long an access token lasts.
    pub(super) token_lives: Duration,
}

/// Makes the load and waits for its end.
pub(super) async fn run(plan: Plan) -> Results {
    let connections = plan.connections;
    let begun = Instant::now();
    let traffic = Arc::new(Traffic {
        body: json!({ "offer_id": plan.offer_id }).to_string().into(),
        begun,
        posting_ends: begun + plan.posting,
        plan,
        sampling: Arc::new(Semaphore::new(SAMPLED_AT_A_TIME)),
        state: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let traffic = Arc::clone(&traffic);
        tasks.spawn(async move {
            traffic.post(number).await;
            traffic.follow().await; // nothing left to post: it helps to see the end
        });
    }
    for _ in 0..(connections / 4).clamp(2, 32) {
        let traffic = Arc::clone(&traffic);
        tasks.spawn(async move { traffic.follow().await });
    }
    let staying = tokio::spawn(Arc::clone(&traffic).stay_logged_in());
    tasks.join_all().await;
    staying.abort();
    std::mem::take(&mut traffic.state().results)
}

struct Traffic {
    plan: Plan,
    body: Bytes,
    begun: Instant,
    posting_ends: Instant,
    sampling: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followed: Followed,
    results: Results,
}

impl Traffic {
    /// Posts activations, one after the other, until the time is up.
    async fn post(self: &Arc<Self>, number: usize) {
        let user = number % self.plan.accounts.len();
        let mut connection = Connection::new(&self.plan.target);
        while Instant::now() < self.posting_ends {
            let begun = Instant::now();
            let reply = self.activate(&mut connection, user).await;
            let at = Instant::now();
            match accepted_id(&reply) {
                Some(id) => self.accepted(Accepted { at, begun, id, user }),
                None => {
                    self.refused("POST", &reply);
                    tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                }
            }
            while self.state().results.unfinished() >= MAX_UNFINISHED && Instant::now() < self.posting_ends {
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
            }
        }
    }

    async fn stay_logged_in(self: Arc<Self>) {
        let Plan { target, accounts, token_lives, .. } = &self.plan;
        loop {
            tokio::time::sleep(token_lives.mul_f64(0.8)).await;
            for account in accounts {
                account.log_in_again(target).await;
            }
        }
    }

    async fn activate(&self, connection: &mut Connection, user: usize) -> anyhow::Result<Reply> {
        let key = HeaderValue::from_str(&Uuid::now_v7().to_string())?;
        let call = Call {
            method: Method::POST,
            path: "/activation/",
            authorization: Some(&self.plan.accounts[user].authorization()),
            header: Some((HeaderName::from_static("idempotency-key"), key)),
            body: self.body.clone(),
        };
        connection.call(call).await
    }

    fn accepted(self: &Arc<Self>, accepted: Accepted) {
        let mut state = self.state();
        state.results.accepted += 1;
        state.results.post.add(accepted.at - accepted.begun);
        state.results.posting = self.begun.elapsed();
        match Arc::clone(&self.sampling).try_acquire_owned() {
            Ok(place) => drop(tokio::spawn(Arc::clone(self).sample(accepted, place))),
            Err(_) => state.followed.accepted(accepted),
        }
    }

    /// Waits for the end of one transaction, holding the status call, and measures the time to it.
    async fn sample(self: Arc<Self>, accepted: Accepted, _place: OwnedSemaphorePermit) {
        let mut connection = Connection::new(&self.plan.target);
        while !self.is_past_deadline() {
            let wait = (HeaderName::from_static("prefer"), HeaderValue::from_static("wait=30"));
            if let Some(hash) = self.look(&mut connection, &accepted, Some(wait)).await {
                let mut state = self.state();
                state.results.end_to_end.add(accepted.begun.elapsed());
                state.results.finished(&hash, self.begun.elapsed());
                return;
            }
            tokio::time::sleep(IDLE).await; // the service does not know how to wait, or it took too long
        }
    }

    /// Looks at accepted transactions, the oldest first, until all are final or it has taken too long.
    async fn follow(&self) {
        let mut connection = Connection::new(&self.plan.target);
        while !self.is_over() {
            let next = self.state().followed.next(Instant::now());
            match next {
                Next::Look { accepted, is_first } => {
                    let begun = Instant::now();
                    let finished = self.look(&mut connection, &accepted, None).await;
                    let now = Instant::now();
                    let mut state = self.state();
                    state.results.looks += 1;
                    state.results.status.add(now - begun);
                    state.followed.looked(accepted, is_first, finished.is_some(), now);
                    if let Some(hash) = finished {
                        state.results.finished(&hash, self.begun.elapsed());
                    }
                }
                Next::At(due) => tokio::time::sleep_until(due.min(Instant::now() + IDLE).into()).await,
                Next::Nothing => tokio::time::sleep(IDLE).await,
            }
        }
    }

    /// The status of `accepted`, if it is final.
    async fn look(
        &self,
        connection: &mut Connection,
        accepted: &Accepted,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Option<Hash> {
        let call = Call {
            method: Method::GET,
            path: &format!("/activation/status/{}/", accepted.id),
            authorization: Some(&self.plan.accounts[accepted.user].authorization()),
            header,
            body: Bytes::new(),
        };
        let reply = connection.call(call).await;
        let answered = reply.as_ref().ok().filter(|reply| reply.status == 200);
        let hash = answered.and_then(|reply| reply.json::<Hash>().ok());
        if hash.is_none() {
            self.refused("GET", &reply);
        }
        hash.filter(|hash| matches!(hash.status.as_str(), "SUCCESS" | "FAILED"))
    }

    fn refused(&self, method: &str, reply: &anyhow::Result<Reply>) {
        let what = match reply {
            Ok(reply) => format!("{method} {} {}", reply.status, problem_code(reply)),
            Err(_) => format!("{method} without an answer"),
        };
        *self.state().results.not_2xx.entry(what).or_default() += 1;
    }

    fn is_over(&self) -> bool {
        // A little longer than the posting: its last answers are still on their way.
        let posted = Instant::now() > self.posting_ends + IDLE;
        self.is_past_deadline() || (posted && self.state().results.unfinished() == 0)
    }

    fn is_past_deadline(&self) -> bool {
        Instant::now() > self.posting_ends + SETTLE_DEADLINE
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn accepted_id(reply: &anyhow::Result<Reply>) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Body {
        transaction_id: Uuid,
    }
    let reply = reply.as_ref().ok().filter(|reply| reply.status == 202)?;
    reply.json::<Body>().ok().map(|body| body.transaction_id)
}

fn problem_code(reply: &Reply) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    reply.json::<Problem>().map(|problem| problem.code).unwrap_or_default()
}
