//! New read tables beside the live ones, and the switch.

use super::Fixture;
use super::history::History;
use domain::UserId;
use projections::transaction::{AdminFilter, UserFilter};
use projections::{Error, Rebuild};
use std::time::Duration;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_tables_take_the_place_of_the_live_ones_under_readers_and_a_writer() {
    let fixture = Fixture::new().await;
    let user = UserId(Uuid::now_v7());
    let mut history = History::new();
    history.purchases(user, 100);
    fixture.tables.apply(history.after(0)).await.unwrap();
    // Something is wrong with the live tables: the reason to rebuild them.
    sqlx::query("update read.transactions set status = 'FAILED'").execute(&fixture.pool).await.unwrap();
    let pages = {
        let mut pages = vec![0, history.head()];
        for _ in 0..60 {
            history.purchases(user, 1);
            pages.push(history.head());
        }
        pages
    };

    let rebuild = Rebuild::begin(fixture.sandbox.database_owner_url.parse().unwrap()).await.unwrap();
    let write_live = async {
        for page in &pages[2..] {
            let at = fixture.tables.checkpoint().await.unwrap();
            let end = usize::try_from(*page).unwrap();
            match fixture.tables.apply(&history.events[usize::try_from(at).unwrap()..end]).await {
                Ok(()) | Err(Error::Overtaken { .. }) => {}
                Err(cause) => panic!("{cause}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let rebuild_and_switch = async {
        let catch_up = async |to: i64| {
            let at = rebuild.checkpoint().await.unwrap();
            if at < to {
                let (at, to) = (usize::try_from(at).unwrap(), usize::try_from(to).unwrap());
                rebuild.apply(&history.events[at..to]).await.unwrap();
            }
        };
        tokio::time::sleep(Duration::from_millis(80)).await; // so that the writer is on its way
        catch_up(pages[1]).await;
        let held = rebuild.hold().await.unwrap().unwrap();
        catch_up(held.position).await;
        held.switch().await.unwrap();
    };
    let read = async {
        loop {
            let rows = fixture.readers.transactions(AdminFilter::default(), None, 200).await.unwrap();
            assert!(rows.items.len() >= 100, "a reader saw empty tables");
        }
    };
    tokio::select! {
        () = read => {}
        _ = async { tokio::join!(write_live, rebuild_and_switch) } => {}
    }

    let at = fixture.tables.checkpoint().await.unwrap();
    if at < history.head() {
        fixture.tables.apply(history.after(at)).await.unwrap();
    }
    let all = fixture.readers.transactions_of_user(user, UserFilter::default(), None, 200).await.unwrap();
    assert_eq!(all.items.len(), 160);
    assert!(all.items.iter().all(|item| item.status == domain::transaction::Status::Success));
    let spent = fixture.readers.balance_at(user.0, history.head()).await.unwrap();
    assert_eq!(spent.to_string(), "-800.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_behind_do_not_take_the_place_of_the_live_ones() {
    let fixture = Fixture::new().await;
    let history = History::new();
    fixture.tables.apply(history.after(0)).await.unwrap();
    let rebuild = Rebuild::begin(fixture.sandbox.database_owner_url.parse().unwrap()).await.unwrap();
    let refused = rebuild.hold().await.unwrap().unwrap().switch().await;
    assert!(matches!(refused, Err(Error::Behind { position: 1, .. })));
    assert_eq!(fixture.tables.checkpoint().await.unwrap(), 1, "and the live ones go on");
    let again = Rebuild::begin(fixture.sandbox.database_owner_url.parse().unwrap()).await.unwrap();
    assert_eq!(again.checkpoint().await.unwrap(), 0, "an abandoned rebuild is in nobody's way");
}
