//! Decides, as a pure function of past runs and the time, when a schedule is due.

use chrono::{DateTime, Duration, Utc};

use crate::config::CronExpression;

/// The delay after a failed run.
const RETRY_DELAY: Duration = Duration::minutes(1);

/// The past runs of one schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The latest time for which a run was done.
    pub done: Option<DateTime<Utc>>,
    /// The latest time for which a run failed, and the end of that run.
    pub failed: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// The time for which a run is due at `now`, if any.
///
/// It is the last time that has come, so one run catches up a downtime of any length. A schedule that never
/// ran is due for the last time before `now`. A failed run is due again after a delay, or at once if its next
/// time has come meanwhile.
#[must_use]
pub fn due(schedule: &CronExpression, history: History, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let latest = schedule.latest(now)?;
    let is_done = history.done.is_some_and(|done| done >= latest);
    let is_delayed =
        history.failed.is_some_and(|(moment, ended)| moment >= latest && now < ended + RETRY_DELAY);
    if is_done || is_delayed { None } else { Some(latest) }
}

/// When to check again, if nothing is due at `now`.
#[must_use]
pub fn next_check(schedule: &CronExpression, history: History, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let next = schedule.next(now);
    let undone = history.failed.filter(|(moment, _)| history.done.is_none_or(|done| done < *moment));
    let again = undone.map(|(_, ended)| ended + RETRY_DELAY).filter(|again| *again > now);
    [next, again].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn daily() -> CronExpression {
        "0 8 * * *".parse().unwrap()
    }

    fn done(text: &str) -> History {
        History { done: Some(at(text)), failed: None }
    }

    #[test]
    fn a_schedule_is_due_from_its_moment_until_it_was_run() {
        let yesterday = done("2026-03-01T08:00:00Z");
        assert_eq!(due(&daily(), yesterday, at("2026-03-02T07:59:59Z")), None);
        assert_eq!(due(&daily(), yesterday, at("2026-03-02T08:00:00Z")), Some(at("2026-03-02T08:00:00Z")));
        assert_eq!(due(&daily(), yesterday, at("2026-03-02T23:00:00Z")), Some(at("2026-03-02T08:00:00Z")));
        assert_eq!(due(&daily(), done("2026-03-02T08:00:00Z"), at("2026-03-02T23:00:00Z")), None);
    }

    #[test]
    fn a_downtime_is_caught_up_by_one_run_for_its_last_moment() {
        let long_ago = done("2026-01-01T08:00:00Z");
        let now = at("2026-03-02T07:00:00Z");
        let caught_up = due(&daily(), long_ago, now).unwrap();
        assert_eq!(caught_up, at("2026-03-01T08:00:00Z"));
        assert_eq!(due(&daily(), History { done: Some(caught_up), failed: None }, now), None);
    }

    #[test]
    fn one_that_never_ran_is_due_at_once() {
        let now = at("2026-03-02T07:00:00Z");
        assert_eq!(due(&daily(), History::default(), now), Some(at("2026-03-01T08:00:00Z")));
    }

    #[test]
    fn a_failed_run_is_repeated_after_a_pause_or_with_the_next_moment() {
        let moment = at("2026-03-02T08:00:00Z");
        let failed =
            History { failed: Some((moment, at("2026-03-02T08:00:30Z"))), ..done("2026-03-01T08:00:00Z") };
        assert_eq!(due(&daily(), failed, at("2026-03-02T08:01:29Z")), None);
        assert_eq!(
            next_check(&daily(), failed, at("2026-03-02T08:01:29Z")),
            Some(at("2026-03-02T08:01:30Z"))
        );
        assert_eq!(due(&daily(), failed, at("2026-03-02T08:01:30Z")), Some(moment));
        let late = History { failed: Some((moment, at("2026-03-03T07:59:59Z"))), ..failed };
        assert_eq!(due(&daily(), late, at("2026-03-03T08:00:00Z")), Some(at("2026-03-03T08:00:00Z")));
    }

    #[test]
    fn a_clock_that_went_back_repeats_nothing() {
        assert_eq!(due(&daily(), done("2026-03-02T08:00:00Z"), at("2026-03-01T09:00:00Z")), None);
    }

    #[test]
    fn the_next_look_is_at_the_next_moment() {
        let now = at("2026-03-02T08:00:00Z");
        assert_eq!(next_check(&daily(), done("2026-03-02T08:00:00Z"), now), Some(at("2026-03-03T08:00:00Z")));
    }
}
