//! What this process has appended last, kept in memory for its own followers: half a dozen of them
//! want every event, and each would ask PostgreSQL for it.
//!
//! Only what a COMMIT was acknowledged for comes in here, as it was bound to the statement that wrote
//! it, so it is what the table would give. The table remains the truth: whatever is not here, before,
//! after, or because another process has appended in between, is read there.

use super::read::cut_after_whole_commit;
use domain::Recorded;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;

/// The most events that are kept: some seconds of a busy system. A follower that is further behind reads the table,
/// in larger pages.
const EVENTS: usize = 8_192;
/// The most bytes of payload and metadata that are kept.
const BYTES: usize = 16 * 1024 * 1024;

/// The last appended events, one after the other without a hole.
#[derive(Default)]
pub(super) struct Recent(Mutex<Window>);

#[derive(Default)]
struct Window {
    events: VecDeque<Recorded>,
    bytes: usize,
}

impl Recent {
    /// Adds what was just committed. If it does not follow the last event here (another process has
    /// appended), the window starts again with it.
    pub(super) fn add(&self, events: Vec<Recorded>) {
        let mut window = self.window();
        let Some(first) = events.first().map(|event| event.position) else { return };
        if window.events.back().is_some_and(|last| last.position + 1 != first) {
            *window = Window::default();
        }
        for event in events {
            window.bytes += bytes(&event);
            window.events.push_back(event);
        }
        while window.events.len() > EVENTS || window.bytes > BYTES {
            let Some(oldest) = window.events.pop_front() else { break };
            window.bytes -= bytes(&oldest);
        }
    }

    /// Forgets everything. Called when the table may no longer hold these events.
    pub(super) fn forget(&self) {
        *self.window() = Window::default();
    }

    /// The events after the position `after`, as `EventLog::page` gives them: at most `limit`, ending
    /// with a whole commit, none at the end of the window. `None` when only the table knows.
    pub(super) fn after(&self, after: i64, limit: usize) -> Option<Vec<Recorded>> {
        let mut page: Vec<Recorded> = {
            let window = self.window();
            let first = window.events.front()?.position;
            let known =
                usize::try_from(after + 1 - first).ok().filter(|known| *known <= window.events.len())?;
            window.events.range(known..).take(limit).cloned().collect()
        };
        cut_after_whole_commit(&mut page);
        Some(page)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock()
    }
}

fn bytes(event: &Recorded) -> usize {
    event.payload.len() + event.metadata.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Record, Timestamp};
    use uuid::Uuid;

    fn event(position: i64, commit_end: i64, payload: usize) -> Recorded {
        Recorded::from(Record {
            position,
            event_id: Uuid::from_u128(u128::try_from(position).unwrap()),
            aggregate_type: "Offer".into(),
            aggregate_id: Uuid::nil().to_string(),
            sequence: position,
            event_type: "Deactivated".into(),
            event_version: "1.0".into(),
            recorded_at: Timestamp::new(chrono::DateTime::UNIX_EPOCH),
            payload: "x".repeat(payload),
            metadata: String::new(),
            commit_end,
        })
    }

    fn events(positions: std::ops::RangeInclusive<i64>) -> Vec<Recorded> {
        positions.map(|position| event(position, position, 1)).collect()
    }

    fn positions(page: Option<Vec<Recorded>>) -> Option<Vec<i64>> {
        page.map(|page| page.iter().map(|event| event.position).collect())
    }

    #[test]
    fn what_follows_is_given_from_anywhere_within() {
        let recent = Recent::default();
        assert_eq!(recent.after(0, 10), None);
        recent.add(events(5..=6));
        recent.add(events(7..=8));
        assert_eq!(positions(recent.after(3, 10)), None, "5 may not be the next one after 3");
        assert_eq!(positions(recent.after(4, 10)), Some(vec![5, 6, 7, 8]));
        assert_eq!(positions(recent.after(5, 2)), Some(vec![6, 7]));
        assert_eq!(positions(recent.after(8, 10)), Some(vec![]));
        assert_eq!(positions(recent.after(9, 10)), None, "somebody knows more than this process");
    }

    #[test]
    fn followers_share_the_events_of_a_page() {
        let recent = Recent::default();
        recent.add(events(1..=2));
        let (one, other) = (recent.after(0, 10).unwrap(), recent.after(1, 10).unwrap());
        assert_eq!(one[1].payload.as_ptr(), other[0].payload.as_ptr(), "there are no copies");
    }

    #[test]
    fn what_does_not_follow_begins_anew() {
        let recent = Recent::default();
        recent.add(events(1..=3));
        recent.add(events(5..=6));
        assert_eq!(positions(recent.after(2, 10)), None);
        assert_eq!(positions(recent.after(3, 10)), None, "4 is in the table alone");
        assert_eq!(positions(recent.after(4, 10)), Some(vec![5, 6]));
        recent.forget();
        assert_eq!(recent.after(4, 10), None);
    }

    #[test]
    fn a_page_ends_with_a_whole_commit() {
        let recent = Recent::default();
        recent.add(vec![event(1, 1, 1), event(2, 3, 1), event(3, 3, 1)]);
        assert_eq!(positions(recent.after(0, 2)), Some(vec![1]));
        assert_eq!(positions(recent.after(0, 3)), Some(vec![1, 2, 3]));
    }

    #[test]
    fn the_oldest_go_first_by_number_and_by_size() {
        let recent = Recent::default();
        let most = i64::try_from(EVENTS).unwrap();
        recent.add(events(1..=most));
        recent.add(events(most + 1..=most + 10));
        assert_eq!(positions(recent.after(9, 1)), None);
        assert_eq!(positions(recent.after(10, 1)), Some(vec![11]));
        recent.add(vec![event(most + 11, most + 11, BYTES - 5)]);
        assert_eq!(positions(recent.after(most + 4, 1)), None);
        assert_eq!(positions(recent.after(most + 5, 1)), Some(vec![most + 6]));
    }
}
