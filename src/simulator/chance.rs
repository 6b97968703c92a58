//! Deterministic chance: every choice is derived from the seed, the transaction's id and the number of the call,
//! so a failing run can be repeated.

use std::time::Duration;

use uuid::Uuid;

/// Characters after `EXT-` in a reference.
const REFERENCE_LENGTH: usize = 12;
const REFERENCE_ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    seed: u64,
}

/// How a call fails on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// The call has its effect before it fails.
    pub(super) after_effect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// An answer with this 5xx status.
    ServerError(u16),
    /// The connection breaks in the middle of the answer.
    Reset,
    /// No answer until the client has given up.
    Hang,
    /// 200 with something that is not JSON.
    NotJson,
    /// 200 with more than a client should read.
    TooLarge,
    /// 200, activated, but another transaction.
    AnotherTransaction,
    /// 200, activated, without a reference.
    NoReference,
    /// 429.
    Busy,
    /// 200 with a megabyte of nothing after the other.
    Huge,
    /// 200 byte by byte, without an end.
    Drip,
}

/// Part of the hash, so that choices do not depend on each other.
#[derive(Clone, Copy)]
enum Purpose {
    Fails,
    Fault,
    Pending,
    Jitter,
    Reference,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance { seed }
    }

    /// The fault of the `call`th call about `id`, if any; half of them are after the effect.
    pub(super) fn fault(self, id: Uuid, call: u16, rate: f64) -> Option<Fault> {
        if fraction(self.draw(id, Purpose::Fails, call)) >= rate {
            return None;
        }
        let draw = self.draw(id, Purpose::Fault, call);
        // Hangs are the rarest: each occupies a caller for its whole timeout.
        let kind = match draw % 20 {
            0..=2 => FaultKind::ServerError(500),
            3..=4 => FaultKind::ServerError(502),
            5..=7 => FaultKind::ServerError(503),
            8..=12 => FaultKind::Reset,
            13..=14 => FaultKind::Hang,
            15..=16 => FaultKind::NotJson,
            17 => FaultKind::TooLarge,
            18 => FaultKind::AnotherTransaction,
            _ => FaultKind::NoReference,
        };
        Some(Fault { kind, after_effect: draw >> 63 == 1 })
    }

    /// Whether a new request is done later.
    pub(super) fn is_pending(self, id: Uuid, rate: f64) -> bool {
        fraction(self.draw(id, Purpose::Pending, 0)) < rate
    }

    /// A latency between `latency - jitter` and `latency + jitter`.
    pub(super) fn latency(self, id: Uuid, call: u16, latency: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return latency;
        }
        let shift = jitter.mul_f64(2.0 * fraction(self.draw(id, Purpose::Jitter, call)));
        (latency + shift).saturating_sub(jitter)
    }

    /// The reference of `id`, `EXT-` and 12 characters `A-Z0-9`: derived, so it is not stored.
    pub(super) fn reference(self, id: Uuid) -> String {
        let mut rest = self.draw(id, Purpose::Reference, 0);
        let mut reference = String::from("EXT-");
        for _ in 0..REFERENCE_LENGTH {
            reference.push(REFERENCE_ALPHABET[(rest % 36) as usize].into());
            rest /= 36;
        }
        reference
    }

    fn draw(self, id: Uuid, purpose: Purpose, call: u16) -> u64 {
        let (high, low) = id.as_u64_pair();
        let which = ((purpose as u64) << 16) | u64::from(call);
        [high, low, which].into_iter().fold(self.seed, |state, part| mix(state ^ part))
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The draw as a number in `0.0..1.0`, from its upper 53 bits: as many as an `f64` holds.
fn fraction(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> impl Iterator<Item = Uuid> {
        (0..count).map(|_| Uuid::now_v7())
    }

    #[test]
    fn the_same_seed_transaction_and_call_give_the_same_choice() {
        for id in ids(100) {
            let (one, two) = (Chance::new(7), Chance::new(7));
            assert_eq!(one.fault(id, 3, 0.5), two.fault(id, 3, 0.5));
            assert_eq!(one.reference(id), two.reference(id));
            assert_ne!(one.reference(id), Chance::new(8).reference(id));
        }
    }

    #[test]
    fn faults_come_at_their_rate_and_half_of_them_after_the_effect() {
        let faults: Vec<Fault> = ids(20_000).filter_map(|id| Chance::new(1).fault(id, 0, 0.25)).collect();
        let after = faults.iter().filter(|fault| fault.after_effect).count();
        assert!((4_600..5_400).contains(&faults.len()), "{} of 20,000 at a rate of 0.25", faults.len());
        assert!((0.46..0.54).contains(&(after as f64 / faults.len() as f64)), "{after} after the effect");
        assert_eq!(Chance::new(1).fault(Uuid::nil(), 0, 0.0), None);
        assert!(Chance::new(1).fault(Uuid::nil(), 0, 1.0).is_some());
    }

    #[test]
    fn a_fault_does_not_repeat_itself_for_ever() {
        let goes_well = |id| (0..20).any(|call| Chance::new(1).fault(id, call, 0.5).is_none());
        assert!(ids(1_000).all(goes_well));
    }

    #[test]
    fn a_reference_is_ext_and_twelve_characters() {
        let reference = Chance::new(1).reference(Uuid::now_v7());
        let code = reference.strip_prefix("EXT-").expect("prefix");
        assert_eq!(code.len(), 12);
        assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{code}");
    }

    #[test]
    fn latency_stays_within_its_jitter() {
        let (latency, jitter) = (Duration::from_millis(20), Duration::from_millis(30));
        for id in ids(1_000) {
            assert!(Chance::new(1).latency(id, 0, latency, jitter) <= latency + jitter);
        }
    }
}
