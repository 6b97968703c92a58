//! A leader that is killed while it lets the tree grow and signs it.

use super::processes::{CHECKPOINT_KEY, Killed, Serving, free_address, serve};
use crate::proofs::are_all_of_one_history;
use crate::support::eventually::eventually;
use crate::support::stack::Stack;
use domain::{AccountId, Metadata, Money, account};
use offers::event_log::{AggregateCommand, EventLog, Plan};
use offers::failpoint::{Step, VARIABLE};
use offers::notary::TreeStore;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Kills in the usual run, and with `--full`.
const KILLS: (usize, usize) = (8, 50);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_again_and_again_never_signs_two_checkpoints_that_contradict_each_other() {
    let is_full = std::env::var_os("OFFERS_TEST_FULL").is_some_and(|value| value == "1");
    let sandbox = Stack::get().await.sandbox().await;
    let stop = CancellationToken::new();
    let log = EventLog::at(&sandbox.database_url, &stop).unwrap();
    let store = TreeStore::new(PgPool::connect(&sandbox.database_url).await.unwrap());
    let start = |environment: Vec<(&'static str, String)>| {
        let roles = ("OFFERS_ROLES", "projector".to_owned());
        let environment = environment.into_iter().chain([roles]).collect();
        Killed(serve(&sandbox, &free_address(), "http://127.0.0.1:9", &Serving { environment, log: None }))
    };
    let steps = [Step::TreeBefore, Step::TreeWritten, Step::TreeCommitted];
    for kill in 0..if is_full { KILLS.1 } else { KILLS.0 } {
        let signed = signed_size(&store).await;
        if kill % 2 == 0 {
            // At a step, sometimes the first time and sometimes the second.
            let step = <&str>::from(steps[kill / 2 % steps.len()]);
            let mut leader = start(vec![(VARIABLE, format!("{step}:{}", 1 + kill / 2 % 2))]);
            eventually(&format!("it dies at {step}"), async || {
                append(&log).await;
                leader.0.try_wait().unwrap().is_some()
            })
            .await;
        } else {
            // By the kernel, while it writes.
            let _leader = start(Vec::new());
            eventually("it signs", async || {
                append(&log).await;
                signed_size(&store).await > signed
            })
            .await;
        }
    }
    let _leader = start(Vec::new());
    let head = log.head().await.unwrap().unsigned_abs();
    eventually("everything is signed", async || signed_size(&store).await == head).await;
    let mut events = Vec::new();
    loop {
        let page = log.page(i64::try_from(events.len()).unwrap(), 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    are_all_of_one_history(&sandbox, &events, CHECKPOINT_KEY).await;
    stop.cancel();
}

async fn append(log: &EventLog) {
    let account = AccountId(Uuid::now_v7());
    let command = account::Command::Credit { amount: Money::from_hundredths(1) };
    let plan = Plan::new().command(AggregateCommand::Account(account, command));
    log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
}

async fn signed_size(store: &TreeStore) -> u64 {
    store.newest().await.unwrap().map_or(0, |newest| newest.size)
}
