//! NATS's store is put back to an older copy of itself, as after a restore from a backup.

use crate::collect;
use crate::support::eventually::eventually;
use crate::support::stack;
use crate::system::{System, pid, signal_process, supervisor};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long the stream is waited for: PostgreSQL may be down.
const GOING_ON: Duration = Duration::from_secs(10);

/// Copies the store, and after `lasts` puts the copy in its place: streams lack what was published since, and consumers
/// what was acknowledged.
///
/// The copy is taken from a NATS that has ended in order, as a real backup is: files that are copied while they are
/// written fit one another only by luck.
pub async fn is_rolled_back(system: &System, lasts: Duration) {
    let home = stack::directory().join("nats");
    let (store, older) = (home.join("jetstream"), home.join("older"));
    while_ended(|| copy(&store, &older)).await;
    sleep(lasts).await;
    let _ = timeout(GOING_ON, goes_on(system)).await;
    while_ended(|| {
        std::fs::remove_dir_all(&store).unwrap();
        std::fs::rename(&older, &store).unwrap();
    })
    .await;
}

/// Waits until something is published, which the copy does not have.
async fn goes_on(system: &System) {
    let mut before = None;
    eventually("the stream goes on", async || {
        let last = collect::last_sequence(system).await;
        before = before.or(last);
        last > before
    })
    .await;
}

/// Ends NATS in order, changes its files, and lets it be restarted.
async fn while_ended(change: impl FnOnce()) {
    eventually("NATS runs", async || pid("nats").is_some()).await;
    let supervisor = supervisor().unwrap();
    signal_process(supervisor, Signal::STOP); // or it would start NATS again at once
    let nats = pid("nats").unwrap();
    signal_process(nats, Signal::TERM);
    eventually("NATS has ended", async || has_ended(nats)).await;
    change();
    signal_process(supervisor, Signal::CONT);
}

/// Its parent is stopped, so it stays a zombie.
fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-R").args([from, to]).status().unwrap();
    assert!(status.success(), "cp: {status}");
}
