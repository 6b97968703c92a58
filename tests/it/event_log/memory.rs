//! What the writer remembers of its own commits, and reads when others have written.

use super::{Fixture, buy, credit, derived, everything, fixture, open};
use domain::{AccountId, Money};
use offers::event_log::{ExecuteError, Outcome};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sqlx::{Executor, PgPool};
use std::collections::HashSet;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_knows_only_its_own_commits_recognises_a_repeat_of_an_earlier_one() {
    let Fixture { log, app_url, .. } = fixture().await;
    let (rich, poor) = (AccountId(Uuid::now_v7()), AccountId(Uuid::now_v7()));
    credit(&log, rich, 3_000).await.unwrap();
    credit(&log, poor, 1_000).await.unwrap();
    let [by_rich, by_poor] = [derived(), derived()];
    buy(&log, by_rich, rich, 1_000).await.unwrap();
    buy(&log, by_poor, poor, 1_000).await.unwrap();

    let later = open(&app_url);
    let new = derived();
    buy(&later, new, rich, 1_000).await.unwrap(); // from now on the log's end is its own
    let repeated = |outcome: Result<Outcome, ExecuteError>, id| matches!(outcome, Err(ExecuteError::Repeated { event_id }) if event_id == id);
    // Together with a new one, which must not suffer from it.
    let (repeat, other) =
        tokio::join!(buy(&later, by_rich, rich, 1_000), buy(&later, Uuid::now_v7(), rich, 1_000));
    assert!(repeated(repeat, by_rich));
    assert!(other.is_ok(), "{other:?}");
    buy(&later, Uuid::now_v7(), poor, 1).await.unwrap_err();
    assert!(repeated(buy(&later, by_poor, poor, 1_000).await, by_poor), "whatever is left of the money");
    assert!(repeated(buy(&later, new, rich, 1_000).await, new));
    assert_eq!(later.balance(rich).await.unwrap().balance, Money::ZERO);
    assert_eq!(everything(&log).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_take_turns_judge_each_command_as_one_would() {
    let Fixture { log, app_url, .. } = fixture().await;
    let app = PgPool::connect(&app_url).await.unwrap();
    let writers = [log, open(&app_url)];
    let accounts: Vec<AccountId> = (0..3).map(|_| AccountId(Uuid::now_v7())).collect();
    let ids: Vec<Uuid> = (0..40).map(|_| derived()).collect();
    let (mut balances, mut bought) = ([0_i64; 3], HashSet::new());
    let mut random = StdRng::seed_from_u64(17);
    let mut writer = 0;
    for _ in 0..400 {
        if random.random_bool(0.3) {
            writer = 1 - writer;
        }
        if random.random_bool(0.02) {
            let of_writers = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
                              where datname = current_database() and application_name = 'offers writer'";
            sqlx::query(of_writers).execute(&app).await.unwrap();
        }
        let log = &writers[writer];
        let (account, amount) = (random.random_range(0..3), random.random_range(1..400));
        if random.random_bool(0.3) {
            credit(log, accounts[account], amount).await.unwrap();
            balances[account] += amount;
            continue;
        }
        let id = *ids.choose(&mut random).unwrap();
        let outcome = buy(log, id, accounts[account], amount).await;
        if bought.contains(&id) {
            assert!(
                matches!(outcome, Err(ExecuteError::Repeated { event_id }) if event_id == id),
                "{outcome:?}"
            );
        } else if balances[account] < amount {
            assert!(matches!(outcome, Err(ExecuteError::InsufficientFunds { .. })), "{outcome:?}");
        } else {
            outcome.unwrap();
            bought.insert(id);
            balances[account] -= amount;
        }
        let now = log.balance(accounts[account]).await.unwrap().balance;
        assert_eq!(now, Money::from_hundredths(balances[account]));
    }
    let all = everything(&writers[0]).await;
    assert!(all.iter().zip(1..).all(|(event, position)| event.position == position));
    assert!(bought.len() > 10, "{}", bought.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_looks_up_does_not_grow_with_the_log_although_its_plans_are_older() {
    const EARLIER: usize = 300;
    let Fixture { log, owner, app_url } = fixture().await;
    let account = AccountId(Uuid::now_v7());
    buy(&log, derived(), account, 0).await.unwrap(); // its plans are made here, on an empty log
    for _ in 0..EARLIER {
        buy(&log, derived(), account, 0).await.unwrap();
    }
    let other = open(&app_url);
    for _ in 0..5 {
        credit(&other, account, 1).await.unwrap();
        buy(&log, derived(), account, 0).await.unwrap(); // knows nothing: another has written
    }

    // A session tells what it has read at its end, if not before.
    let app = PgPool::connect(&app_url).await.unwrap();
    let end_others = "select pg_terminate_backend(pid, 10000) from pg_stat_activity
                      where datname = current_database() and usename = current_user and pid <> pg_backend_pid()";
    app.execute(end_others).await.unwrap();
    let read = "select max(idx_tup_read)::int8 from pg_stat_user_indexes where indexrelname = 'events_by_derived_id'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&owner).await.unwrap();
    assert!(read < EARLIER as i64, "{read} entries of the index were read for six ids");
}
