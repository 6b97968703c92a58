//! The whole system as processes, and what is done to it: killed, flushed, cut off from NATS.

mod load;
pub mod processes;
mod reckoning;

use load::Load;
use processes::System;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_five_times_under_load_loses_and_doubles_nothing() {
    let mut system = System::start(&["--failure-rate", "0.05", "--latency", "20ms"]).await;
    let load = Load::begin(&system, 12);
    for _ in 0..5 {
        load.accepted_more(150).await;
        system.kill_service();
        system.start_service().await;
    }
    load.accepted_more(150).await;
    let accepted = load.end().await;
    reckoning::holds(&system, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_and_a_deleted_stream_heal_under_load() {
    let system = System::start(&["--latency", "5ms"]).await;
    let load = Load::begin(&system, 8);
    load.accepted_more(100).await;
    system.flush_redis().await;
    load.accepted_more(100).await;
    system.delete_stream().await;
    load.accepted_more(100).await;
    system.flush_redis().await;
    load.accepted_more(50).await;
    let accepted = load.end().await;
    reckoning::holds(&system, &accepted).await;
    reckoning::hashes_came_back(&system, &accepted).await;
    system.stream_has_every_event().await;
}
