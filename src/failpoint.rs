//! The steps of a purchase at which a test makes the process die.
//!
//! `OFFERS_FAILPOINT=step` or `step:nth` aborts the process the nth time that it comes to the step. A release build
//! contains nothing of this.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// The variable that says where the process dies.
pub const VARIABLE: &str = "OFFERS_FAILPOINT";

/// The steps, in the order in which a purchase comes to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Step {
    /// The writer has a commit and not yet the log's lock.
    CommitWaiting,
    CommitLocked,
    /// Before the COMMIT.
    CommitWritten,
    /// Before the caller is answered.
    CommitDone,
    TablesBefore,
    TablesWritten,
    HashesBefore,
    HashesWritten,
    /// Leaves are added to the tree, and not written.
    TreeBefore,
    /// The tiles and the signed checkpoint are written, and not committed.
    TreeWritten,
    /// The checkpoint is stored, and not published.
    TreeCommitted,
    RelayBefore,
    /// The stream has the events, and the relay has not moved on.
    RelayPublished,
    /// A consumer has received a request.
    Delivered,
    IntentCommitted,
    /// The activation system was called, and the outcome is not committed.
    Called,
    /// Before the message is acknowledged.
    OutcomeCommitted,
    LookedUp,
    /// The evidence of a call without a definite answer is committed.
    AttemptRecorded,
    /// The intent to cancel is committed.
    CancelIntentCommitted,
    Cancelled,
    /// A cancelled purchase was looked up once more, and is still queued for that.
    RecheckDone,
    /// The callbacks of a page are written and not committed.
    AnnouncementWritten,
    AnnouncementCommitted,
    /// A partner has taken a callback, and that is not committed.
    CallbackPosted,
    CallbackCommitted,
}

/// Aborts the process if it is to die here.
#[cfg(debug_assertions)]
pub fn failpoint(step: Step) {
    armed::pass(step);
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub const fn failpoint(_: Step) {}

#[cfg(debug_assertions)]
mod armed {
    use super::{Step, VARIABLE};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ARMED: LazyLock<Option<Failpoint>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        Some(Failpoint::parse(&text).expect("OFFERS_FAILPOINT is a step, or step:nth"))
    });

    pub(super) struct Failpoint {
        step: Step,
        /// How often the process passes before it dies.
        passes_left: AtomicU32,
    }

    impl Failpoint {
        pub(super) fn parse(text: &str) -> Option<Self> {
            let (step, nth) = text.split_once(':').unwrap_or((text, "1"));
            let passes: u32 = nth.parse::<u32>().ok()?.checked_sub(1)?;
            Some(Self { step: step.parse().ok()?, passes_left: passes.into() })
        }

        /// Whether the process dies at this passing.
        pub(super) fn is_hit(&self, step: Step) -> bool {
            let pass = |left: u32| left.checked_sub(1);
            step == self.step
                && self.passes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, pass).is_err()
        }
    }

    pub(super) fn pass(step: Step) {
        if ARMED.as_ref().is_some_and(|failpoint| failpoint.is_hit(step)) {
            tracing::info!(?step, "dying at {step:?}");
            std::process::abort();
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use armed::Failpoint;

    #[test]
    fn a_failpoint_is_hit_at_its_step_and_at_the_passing_that_it_names() {
        let third = Failpoint::parse("called:3").expect("a step");
        assert!(!third.is_hit(Step::Called) && !third.is_hit(Step::Cancelled));
        assert_eq!([Step::Called, Step::Called].map(|step| third.is_hit(step)), [false, true]);
        assert!(Failpoint::parse("called").expect("a step").is_hit(Step::Called));
        for wrong in ["", "call", "called:", "called:0", "called:x"] {
            assert!(Failpoint::parse(wrong).is_none(), "{wrong}");
        }
    }
}
