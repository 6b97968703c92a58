//! Whether purchases are accepted faster than they are finished. Then new ones are refused until those that wait are
//! worked off.
//!
//! The backlog is how long the oldest purchase has waited for its first attempt **while others succeed**; once that is a
//! sixth of the limit, how long a purchase of now would wait at the pace of those that are finished, if that is longer:
//! the queue has then grown for a while, and what was accepted in that time waits longer than the oldest so far. Without
//! successes it is an outage of the activation system, or of all processors, and no overload: purchases are accepted
//! and wait. What has piled up in an outage counts from its end on, not from the request.
//!
//! From a third of the limit on, each account may begin its share of what is finished: one that floods fills the
//! queue no further, and the others wait no longer because of it.

use super::Error;
use super::fair_share::FairShare;
use domain::{AccountId, Timestamp};
use parking_lot::Mutex;
use projections::Readers;
use projections::transaction::Untried;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Others succeed if one did within this part of the limit. So at the beginning of an outage they no longer do when the
/// limit is reached.
const RECENT: u32 = 3;

/// The part of the limit that the oldest must have waited for the pace to count: before, purchases may have been finished
/// as fast as they came.
const BUSY: u32 = 6;

/// The part of the limit from which accounts begin no more than their share.
const CROWDED: u32 = 3;

/// The limit by which successes are recent when there is none.
const USUAL_LIMIT: Duration = Duration::from_secs(30);

/// How often it is measured, and the period of the shares: what comes in between may be too much.
pub const PERIOD: Duration = Duration::from_secs(1);

pub struct Overload {
    /// Of the backlog; `None`: purchases are never refused.
    limit: Option<Duration>,
    is_overloaded: AtomicBool,
    shares: FairShare,
    /// Since when purchases have gone through, at every measurement.
    flows_since: Mutex<Option<Timestamp>>,
}

impl Overload {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            is_overloaded: AtomicBool::new(false),
            shares: FairShare::default(),
            flows_since: Mutex::default(),
        }
    }

    /// # Errors
    /// `Overloaded`: when the backlog was measured last, it was longer than the limit, or so long that `account` has
    /// begun its share since.
    pub(super) fn check(&self, account: AccountId) -> Result<(), Error> {
        let Some(_) = self.limit else { return Ok(()) };
        match self.shares.allows(account) && !self.is_overloaded.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Error::Overloaded),
        }
    }

    /// Measures it. If it cannot be measured, purchases are accepted.
    pub async fn measure(&self, readers: &Readers, now: Timestamp) -> Result<Duration, projections::Error> {
        let recent = self.limit.unwrap_or(USUAL_LIMIT) / RECENT;
        let measured = readers.oldest_untried(now, recent).await;
        let oldest = measured.as_ref().ok().copied().flatten();
        let backlog = self.flow(oldest, now);
        self.judge(backlog, oldest.and_then(|oldest| pace(&oldest)));
        measured.map(|_| backlog)
    }

    /// Decides what is accepted until the next measurement.
    fn judge(&self, backlog: Duration, pace: Option<u32>) {
        let exceeds = |part| self.limit.is_some_and(|limit| backlog > limit / part);
        self.is_overloaded.store(exceeds(1), Ordering::Relaxed);
        self.shares.begin_period(pace.filter(|_| exceeds(CROWDED)));
    }

    /// How long the oldest has waited while others succeeded.
    fn flow(&self, oldest: Option<Untried>, now: Timestamp) -> Duration {
        let mut flows_since = self.flows_since.lock();
        match oldest {
            Some(Untried { others_succeed: false, .. }) => {
                *flows_since = None;
                Duration::ZERO
            }
            Some(untried @ Untried { requested_at, .. }) => {
                let since = requested_at.max(*flows_since.get_or_insert(now));
                let waited = (now.utc() - since.utc()).to_std().unwrap_or_default();
                let is_busy = waited >= self.limit.unwrap_or(USUAL_LIMIT) / BUSY;
                if is_busy { waited.max(expected_wait(&untried)) } else { waited }
            }
            None => Duration::ZERO,
        }
    }
}

/// How long a purchase of now waits until all that are open are finished, at the pace of the last ones.
fn expected_wait(untried: &Untried) -> Duration {
    let Untried { open, finished, finished_within, .. } = *untried;
    match (u32::try_from(open), u32::try_from(finished)) {
        (Ok(open), Ok(finished @ 1..)) => finished_within * open / finished,
        _ => Duration::ZERO,
    }
}

/// How many purchases are finished in a period; `None`: not known.
fn pace(untried: &Untried) -> Option<u32> {
    let finished = u128::try_from(untried.finished).ok().filter(|finished| *finished > 0)?;
    let pace = (finished * PERIOD.as_millis()).checked_div(untried.finished_within.as_millis())?;
    u32::try_from(pace.max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LIMIT: Duration = Duration::from_secs(30);

    fn at(seconds: u32) -> Timestamp {
        format!("2026-11-22T08:{:02}:{:02}Z", seconds / 60, seconds % 60).parse().expect("a moment")
    }

    fn untried(requested_at: u32, others_succeed: bool) -> Option<Untried> {
        let (open, finished, finished_within) = (1, 0, Duration::ZERO);
        Some(Untried { requested_at: at(requested_at), others_succeed, open, finished, finished_within })
    }

    /// The last 1,000 purchases were finished within two seconds.
    fn queue(requested_at: u32, open: i64) -> Option<Untried> {
        let (finished, finished_within) = (1_000, Duration::from_secs(2));
        untried(requested_at, true).map(|one| Untried { open, finished, finished_within, ..one })
    }

    #[test]
    fn a_queue_that_grows_is_as_long_as_its_last_purchase_will_wait() {
        let overload = Overload::new(Some(LIMIT));
        let measured = |oldest, now| overload.flow(oldest, at(now)).as_secs();
        assert_eq!(measured(queue(0, 20_000), 4), 0, "it has only begun to flow");
        assert_eq!(measured(queue(4, 20_000), 8), 4, "it may be a short burst");
        assert_eq!(measured(queue(4, 20_000), 9), 40);
        assert_eq!(measured(queue(4, 1_000), 10), 6, "the oldest waits longer than what follows it");
        assert_eq!(measured(queue(9, 60_000), 12), 3, "it is worked off");
    }

    #[test]
    fn from_a_third_of_the_limit_on_an_account_begins_no_more_than_its_share() {
        let [floods, buys] = [1, 2].map(|id| AccountId(Uuid::from_u128(id)));
        let overload = Overload::new(Some(LIMIT));
        let begun = |account| (0..900).filter(|_| overload.check(account).is_ok()).count();
        let pace = queue(0, 1).as_ref().and_then(pace);
        assert_eq!(pace, Some(500));
        overload.judge(LIMIT / 3, pace);
        assert_eq!((begun(floods), begun(buys)), (900, 900));
        overload.judge(LIMIT / 2, pace);
        assert_eq!((begun(floods), begun(buys)), (250, 250));
        overload.judge(LIMIT * 2, pace);
        assert_eq!((begun(floods), begun(buys)), (0, 0));
        overload.judge(Duration::ZERO, None);
        assert_eq!(begun(floods), 900);
    }

    #[test]
    fn the_backlog_is_how_long_the_oldest_waits_while_others_succeed() {
        let overload = Overload::new(Some(LIMIT));
        let measured = |oldest, now| overload.flow(oldest, at(now)).as_secs();
        assert_eq!(measured(untried(0, true), 0), 0);
        assert_eq!(measured(untried(2, true), 40), 38);
        assert_eq!(measured(None, 45), 0, "none waits");
        assert_eq!(measured(untried(49, true), 50), 1);
    }

    #[test]
    fn in_an_outage_there_is_no_backlog_and_what_piled_up_counts_from_its_end() {
        let overload = Overload::new(Some(LIMIT));
        let measured = |oldest, now| overload.flow(oldest, at(now)).as_secs();
        assert_eq!(measured(untried(0, true), 5), 0, "how it was before is not known");
        assert_eq!([measured(untried(1, false), 60), measured(untried(1, false), 600)], [0, 0]);
        assert_eq!([measured(untried(1, true), 605), measured(untried(1, true), 640)], [0, 35]);
    }
}
