//! The whole system as processes, and what is done to it: killed, flushed, cut off from NATS.

#[cfg(debug_assertions)]
mod checkpoints;
mod half_open;
mod load;
pub mod processes;
mod reckoning;
#[cfg(debug_assertions)]
mod steps;
pub mod tunnel;

use load::Load;
use processes::{Serving, System};

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

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_and_an_activation_system_that_lies_in_every_way_lose_and_double_nothing() {
    // Every confirmed cancellation is true here. One that is not cannot be made good: it is listed for a person.
    let lies = offers::simulator::names().filter(|name| !["ok", "done_after_cancel"].contains(name));
    let setting = |name, value: &str| (name, value.to_owned());
    let environment = vec![
        setting("OFFERS_ACTIVATION_DEADLINE", "4s"),
        setting("OFFERS_CANCEL_RECHECK", "1s"),
        setting("OFFERS_EXTERNAL_TIMEOUT", "1s"),
    ];
    let mut system = System::start_with(&[], Serving { environment, log: None }).await;
    system.start_another();
    let load = Load::begin(&system, 8);
    for name in lies {
        system.simulate(name).await;
        load.accepted_more(100).await;
    }
    system.simulate("ok").await;
    load.accepted_more(100).await;
    let accepted = load.end().await;
    reckoning::holds(&system, &accepted).await;
    reckoning::nothing_is_in_doubt(&system).await;
}
