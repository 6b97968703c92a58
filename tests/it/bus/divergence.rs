//! A stream that is not a copy of the log any more is recreated, whatever was done to it.

use super::{Fixture, append, everything};
use crate::support::eventually::eventually;
use crate::support::stack::Stack;
use async_nats::jetstream::stream::Config;

/// Spoils the stream behind a running relay's back, and waits until it is a copy again.
async fn heals_after(spoil: impl AsyncFn(&Fixture)) {
    let fixture = Fixture::shared().await;
    fixture.append(200).await;
    fixture.relay().await;
    fixture.until_copied().await;
    spoil(&fixture).await;
    fixture.until_copied().await; // found out without a new event
    fixture.append(200).await;
    fixture.until_copied().await;
}

async fn publish_foreign(fixture: &Fixture) {
    let subject = format!("{}.hello.world", fixture.options.subjects);
    fixture.outside.publish(subject, "not an event".into()).await.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_comes_back() {
    heals_after(async |fixture| {
        fixture.outside.delete_stream(&fixture.options.stream).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_stream_is_filled_again() {
    heals_after(async |fixture| {
        let stream = fixture.outside.get_stream(&fixture.options.stream).await.unwrap();
        stream.purge().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_purged_in_part_is_filled_again() {
    heals_after(async |fixture| {
        let stream = fixture.outside.get_stream(&fixture.options.stream).await.unwrap();
        stream.purge().keep(7).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deleted_message_is_noticed() {
    heals_after(async |fixture| {
        let stream = fixture.outside.get_stream(&fixture.options.stream).await.unwrap();
        stream.delete_message(100).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_messages_do_not_stay() {
    heals_after(publish_foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_again_by_somebody_else_is_taken_over() {
    heals_after(async |fixture| {
        let Config { name, subjects, .. } =
            fixture.outside.get_stream(&fixture.options.stream).await.unwrap().cached_info().config.clone();
        fixture.outside.delete_stream(&name).await.unwrap();
        let theirs = Config { name, subjects, max_messages: 10, ..Config::default() };
        fixture.outside.create_stream(theirs).await.unwrap();
        publish_foreign(fixture).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_ahead_of_the_log_is_made_anew() {
    let fixture = Fixture::shared().await;
    fixture.append(300).await;
    fixture.relay().await;
    fixture.until_copied().await;
    fixture.stop.cancel();

    // The log of yesterday's backup: shorter, and of other events.
    let sandbox = Stack::get().await.sandbox().await;
    let restored = Fixture::with(&sandbox.database_url, fixture.options.clone()).await;
    restored.append(100).await;
    restored.relay().await;
    restored.until_copied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_filled_from_another_log_is_made_anew() {
    let fixture = Fixture::shared().await;
    fixture.append(100).await;
    fixture.relay().await;
    fixture.until_copied().await;
    fixture.stop.cancel();

    let sandbox = Stack::get().await.sandbox().await;
    let other = Fixture::with(&sandbox.database_url, fixture.options.clone()).await;
    other.append(300).await;
    other.relay().await;
    other.until_copied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_lost_while_publishing_is_filled_again() {
    let fixture = Fixture::shared().await;
    fixture.relay().await;
    for round in 0..3 {
        tokio::join!(append(&fixture.log, 1_000), async {
            eventually("something is published", async || {
                let stream = fixture.outside.get_stream(&fixture.options.stream).await;
                stream.is_ok_and(|stream| stream.cached_info().state.messages > 0)
            })
            .await;
            match round {
                0 => drop(fixture.outside.delete_stream(&fixture.options.stream).await),
                1 => publish_foreign(&fixture).await,
                _ => {
                    let stream = fixture.outside.get_stream(&fixture.options.stream).await.unwrap();
                    stream.purge().await.unwrap();
                }
            }
        });
        fixture.until_copied().await;
    }
    assert_eq!(everything(&fixture.log).await.len(), 3_000);
}
