//! How each fault is made, and ended.

use crate::collect;
use crate::full_disk;
use crate::nats_store;
use crate::plan::{Fault, Plan, Planned, Server};
use crate::support::eventually::eventually;
use crate::system::{System, signal, signal_process};
use futures::TryStreamExt;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How many keys get another type.
const KEYS: usize = 50;
/// How long the first cancellation is waited for: while nothing is answered, calls are few.
const CANCELLING: Duration = Duration::from_secs(10);
/// How long a cancellation that is a lie is waited for: purchases that are tried once more before their deadline need none.
const LIE: Duration = Duration::from_secs(4);

/// Does what is planned, and returns when all of it has ended.
pub async fn happen(system: &System, plan: &Plan) {
    futures::future::join_all(plan.faults.iter().map(|planned| one(system, planned))).await;
}

async fn one(system: &System, planned: &Planned) {
    sleep(planned.begins).await;
    let lasts = || sleep(planned.lasts);
    match planned.fault {
        Fault::InstanceKilled(number) => {
            system.kill_instance(number);
            lasts().await;
            system.start_instance(number);
            system.ready(number).await;
        }
        Fault::InstanceStopped(number) => {
            system.signal_instance(number, Signal::STOP);
            lasts().await;
            system.signal_instance(number, Signal::CONT);
        }
        Fault::BothInstancesKilled => {
            (0..2).for_each(|number| system.kill_instance(number));
            lasts().await;
            (0..2).for_each(|number| system.start_instance(number));
            system.ready(0).await;
            system.ready(1).await;
        }
        Fault::ActivationSystem("done_after_cancel") => {
            system.simulate("error").await;
            let cancelling =
                eventually("a purchase is being cancelled", async || is_cancelling(system).await);
            let _ = timeout(CANCELLING, cancelling).await;
            system.simulate("done_after_cancel").await;
            let _ = timeout(LIE, eventually("a cancellation is a lie", async || has_lied(system))).await;
            system.simulate("ok").await;
        }
        Fault::ActivationSystem(name) => {
            system.simulate(name).await;
            lasts().await;
            system.simulate("ok").await;
        }
        Fault::ActivationSystemKilled => {
            system.kill_simulator();
            lasts().await;
            system.start_simulator();
        }
        Fault::RedisFlushed => flush(system).await,
        Fault::RedisKilled => signal("redis", Signal::KILL),
        Fault::RedisStopped => stopped("redis", planned.lasts).await,
        Fault::RedisTypesWrong => change_types(system).await,
        Fault::NatsKilled => signal("nats", Signal::KILL),
        Fault::NatsStopped | Fault::NatsStoppedForLong => stopped("nats", planned.lasts).await,
        Fault::NatsStoreRolledBack => nats_store::is_rolled_back(system, planned.lasts).await,
        Fault::StreamDeleted => {
            if let Some(jetstream) = system.jetstream().await {
                let _ = jetstream.delete_stream(&system.sandbox.stream).await; // it may not be there
            }
        }
        Fault::ConsumersDeleted => delete_consumers(system).await,
        Fault::PostgresStoppedAtOnce => signal("postgres", Signal::QUIT),
        Fault::PostgresCrashed => crash_postgres(system).await,
        Fault::PostgresDiskFull => full_disk::happens(system, planned.lasts).await,
        Fault::PartnerFails => {
            system.partner_fails(true);
            lasts().await;
            system.partner_fails(false);
        }
        Fault::HalfOpen(server) => half_open(system, server, planned.lasts).await,
    }
}

async fn is_cancelling(system: &System) -> bool {
    let query = "select exists (select from events where event_type = 'CancelRequested')";
    sqlx::query_scalar(query).fetch_one(&system.database).await.unwrap_or(false) // PostgreSQL may be down
}

/// Whether the activation system has done what it had cancelled.
fn has_lied(system: &System) -> bool {
    let effects = collect::effects(system);
    let mut cancelled = BTreeSet::new();
    effects.iter().any(|effect| match effect.name.as_str() {
        "cancelled" => {
            cancelled.insert(&effect.transaction);
            false
        }
        _ => cancelled.contains(&effect.transaction),
    })
}

async fn stopped(server: &str, lasts: Duration) {
    signal(server, Signal::STOP);
    sleep(lasts).await;
    signal(server, Signal::CONT);
}

async fn half_open(system: &System, server: Server, lasts: Duration) {
    let tunnel = system.tunnel(server);
    tunnel.freeze();
    sleep(lasts).await;
    tunnel.end_frozen();
}

// A server may be down at that moment: then there is nothing to be done to it.

async fn crash_postgres(system: &System) {
    let one = "select pid from pg_stat_activity where usename = 'offers_app' and datname = current_database() limit 1";
    if let Ok(pid) = sqlx::query_scalar::<_, i32>(one).fetch_one(&system.database).await {
        signal_process(pid, Signal::KILL);
    }
}

async fn flush(system: &System) {
    let Ok(mut redis) = system.redis().await else { return };
    let _ = redis::cmd("FLUSHDB").query_async::<()>(&mut redis).await;
}

async fn change_types(system: &System) {
    let Ok(mut redis) = system.redis().await else { return };
    let Ok(keys) = redis::cmd("KEYS").arg("*").query_async::<Vec<String>>(&mut redis).await else { return };
    for key in keys.into_iter().take(KEYS) {
        let mut pipe = redis::pipe();
        pipe.atomic().del(&key).ignore().lpush(&key, "not yours").ignore();
        let _ = pipe.query_async::<()>(&mut redis).await;
    }
}

async fn delete_consumers(system: &System) {
    let Some(jetstream) = system.jetstream().await else { return };
    let Ok(stream) = jetstream.get_stream(&system.sandbox.stream).await else { return };
    let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap_or_default();
    for name in names {
        let _ = stream.delete_consumer(&name).await;
    }
}
