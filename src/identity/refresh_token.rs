//! Refresh tokens: opaque to clients, derived and therefore not stored.
//!
//! A token is a session's id, a generation and an HMAC over both and the session's random seed, under
//! a server key. So the successor of a token can be given out a second time when the answer was lost,
//! although nobody kept it; a copy of the database alone is worth nothing, and neither is a server key
//! alone.

use super::caller::SessionId;
use super::keyring::{Key, Keyring};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// How long the token just replaced still gives its successor: a client repeats a lost answer within
/// seconds, a thief rarely comes that soon.
pub const REPEAT_WINDOW: TimeDelta = TimeDelta::seconds(10);

const PURPOSE: &str = "offers refresh token v1";
const PREFIX: &str = "ofr_";
const ID_BYTES: usize = 16;
const GENERATION_BYTES: usize = 4;
const MAC_BYTES: usize = 32;
const TOKEN_BYTES: usize = ID_BYTES + GENERATION_BYTES + MAC_BYTES;

/// A random value of one session.
pub(super) type Seed = [u8; 32];

/// A text that has the shape of a token; whether it is one takes the session's seed to tell.
#[derive(Clone, Copy)]
pub(super) struct Presented {
    pub(super) session: SessionId,
    pub(super) generation: i32,
    mac: [u8; MAC_BYTES],
}

impl Presented {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        let mut bytes = [0; TOKEN_BYTES];
        if BASE64.decode_slice(encoded, &mut bytes).ok()? != TOKEN_BYTES {
            return None;
        }
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (generation, mac) = rest.split_first_chunk::<GENERATION_BYTES>()?;
        Some(Self {
            session: SessionId(Uuid::from_bytes(*id)),
            generation: i32::from_be_bytes(*generation),
            mac: mac.try_into().ok()?,
        })
    }

    /// Whether one of our keys made it for a session with this `seed`.
    pub(super) fn is_genuine(&self, keys: &Keyring, seed: &Seed) -> bool {
        keys.iter().any(|key| {
            let expected = mac(key, self.session, self.generation, seed);
            bool::from(expected.ct_eq(&self.mac))
        })
    }
}

/// The token of this generation: the same one whenever it is asked for.
pub(super) fn token(key: &Key, session: SessionId, generation: i32, seed: &Seed) -> SecretString {
    let mut bytes = [0; TOKEN_BYTES];
    bytes[..ID_BYTES].copy_from_slice(session.0.as_bytes());
    bytes[ID_BYTES..ID_BYTES + GENERATION_BYTES].copy_from_slice(&generation.to_be_bytes());
    bytes[ID_BYTES + GENERATION_BYTES..].copy_from_slice(&mac(key, session, generation, seed));
    format!("{PREFIX}{}", BASE64.encode(bytes)).into()
}

fn mac(key: &Key, session: SessionId, generation: i32, seed: &Seed) -> [u8; MAC_BYTES] {
    key.derive(PURPOSE, &[session.0.as_bytes(), &generation.to_be_bytes(), seed])
}

/// What a session remembers of its tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) generation: i32,
    pub(super) rotated_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) ended: bool,
}

/// How to treat a genuine token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the latest one: make its successor.
    Rotate,
    /// It was replaced a moment ago, and the answer was probably lost: give the same successor again.
    RepeatSuccessor,
    /// It was used before: somebody else may hold its successor.
    Reused,
    Ended,
    Expired,
}

/// Judges a genuine token of generation `presented`.
pub(super) fn judge(presented: i32, session: State, now: DateTime<Utc>) -> Verdict {
    let was_just_replaced =
        presented.checked_add(1) == Some(session.generation) && now - session.rotated_at <= REPEAT_WINDOW;
    if presented < session.generation && !was_just_replaced {
        Verdict::Reused
    } else if session.ended {
        Verdict::Ended
    } else if was_just_replaced {
        Verdict::RepeatSuccessor
    } else if now >= session.expires_at {
        Verdict::Expired
    } else {
        Verdict::Rotate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const SESSION: SessionId = SessionId(Uuid::from_u128(7));
    const SEED: Seed = [3; 32];

    fn ring(secrets: &str) -> Keyring {
        Keyring::parse(&secrets.into()).expect("good secrets")
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a valid time")
    }

    /// Generation 3, made at second 0, good until second 100.
    fn session() -> State {
        State { generation: 3, rotated_at: at(0), expires_at: at(100), ended: false }
    }

    #[test]
    fn a_token_can_be_made_again_and_is_recognised() {
        let ring = ring("0123456789abcdef0123456789abcdef");
        let text = token(ring.current(), SESSION, 3, &SEED);
        assert_eq!(text.expose_secret(), token(ring.current(), SESSION, 3, &SEED).expose_secret());
        let read = Presented::parse(text.expose_secret()).expect("our own token");
        assert_eq!((read.session, read.generation), (SESSION, 3));
        assert!(read.is_genuine(&ring, &SEED));
        assert!(!read.is_genuine(&ring, &[4; 32]), "of another session");
    }

    #[test]
    fn no_other_text_is_a_token() {
        let ring = ring("0123456789abcdef0123456789abcdef");
        let text = token(ring.current(), SESSION, 3, &SEED).expose_secret().to_owned();
        for bad in
            ["", "ofr_", "x", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &text.to_uppercase()]
        {
            let genuine = Presented::parse(bad).is_some_and(|read| read.is_genuine(&ring, &SEED));
            assert!(!genuine, "{bad}");
        }
        let next = token(ring.current(), SESSION, 4, &SEED).expose_secret().to_owned();
        let spliced = format!("{}{}", &next[..40], &text[40..]);
        assert!(!Presented::parse(&spliced).expect("the right shape").is_genuine(&ring, &SEED));
    }

    #[test]
    fn a_replaced_server_key_still_recognises_its_tokens() {
        let old = ring("0123456789abcdef0123456789abcdef");
        let both = ring("fedcba9876543210fedcba9876543210,0123456789abcdef0123456789abcdef");
        let text = token(old.current(), SESSION, 3, &SEED);
        assert!(Presented::parse(text.expose_secret()).expect("our own token").is_genuine(&both, &SEED));
    }

    #[test]
    fn the_latest_token_rotates_until_it_expires() {
        assert_eq!(judge(3, session(), at(99)), Verdict::Rotate);
        assert_eq!(judge(3, session(), at(100)), Verdict::Expired);
    }

    #[test]
    fn the_one_just_replaced_gives_the_same_successor_for_ten_seconds() {
        assert_eq!(judge(2, session(), at(0)), Verdict::RepeatSuccessor);
        assert_eq!(judge(2, session(), at(10)), Verdict::RepeatSuccessor);
        assert_eq!(judge(2, session(), at(11)), Verdict::Reused);
        assert_eq!(judge(2, session(), at(-2)), Verdict::RepeatSuccessor, "another machine's clock");
    }

    #[test]
    fn any_older_one_was_reused_however_soon_it_comes() {
        assert_eq!(judge(1, session(), at(1)), Verdict::Reused);
        assert_eq!(judge(0, session(), at(1)), Verdict::Reused);
    }

    #[test]
    fn an_ended_session_gives_nothing_and_reuse_stays_visible() {
        let ended = State { ended: true, ..session() };
        assert_eq!(judge(3, ended, at(1)), Verdict::Ended);
        assert_eq!(judge(2, ended, at(1)), Verdict::Ended);
        assert_eq!(judge(2, ended, at(11)), Verdict::Reused);
        assert_eq!(judge(1, ended, at(1)), Verdict::Reused);
    }
}
