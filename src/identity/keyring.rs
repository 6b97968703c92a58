//! Server keys: what tokens are signed with and stored secrets are derived from.
//!
//! A ring holds one current key and any number of older ones, so that a key can be replaced without
//! ending what it made. Each purpose gets its own key by HMAC: a signature made for one says nothing
//! about another.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::collections::BTreeSet;

/// The shortest secret that is taken: as long as the hash, shorter ones can be guessed.
pub const SECRET_MIN_BYTES: usize = 32;
/// Different bytes that a secret has at least. A random one in hexadecimal has fewer once in 100,000 times.
const DISTINCT_BYTES_MIN: usize = 8;
/// Plenty for a rotation; a longer list is a mistake in the configuration.
pub const KEYS_MAX: usize = 10;

/// Bytes of a key's public id; a few keys are told apart, nothing more.
const KEY_ID_BYTES: usize = 6;

/// Server keys, the current one first.
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// One server key and its id, which is public.
#[derive(Debug, Clone)]
pub(super) struct Key {
    id: String,
    secret: SecretString,
}

/// Why a text is not a key ring. Says which secret, never what it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is no secret in it.
    #[error("no secret was given")]
    Empty,
    #[error("more than {KEYS_MAX} secrets were given")]
    TooMany,
    #[error("secret number {number} is shorter than {SECRET_MIN_BYTES} bytes")]
    TooShort {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// Under `DISTINCT_BYTES_MIN` different bytes.
    #[error("secret number {number} consists of fewer than {DISTINCT_BYTES_MIN} different characters")]
    TooPlain {
        /// Its place in the list, from 1.
        number: usize,
    },
    #[error("secret number {number} was given before")]
    Repeated {
        /// Its place in the list, from 1.
        number: usize,
    },
}

impl Keyring {
    /// Reads secrets that are separated by commas or white space: the first is used from now on, the
    /// others still verify what they made. To replace a key, put the new one in front and take the
    /// old one out once nothing of it is left.
    ///
    /// # Errors
    /// [`KeyringError`] names the secret by its place.
    pub fn parse(text: &SecretString) -> Result<Self, KeyringError> {
        let mut keys: Vec<Key> = Vec::new();
        let secrets = text.expose_secret().split(|c: char| c == ',' || c.is_whitespace());
        for (index, secret) in secrets.filter(|secret| !secret.is_empty()).enumerate() {
            let number = index + 1;
            if secret.len() < SECRET_MIN_BYTES {
                return Err(KeyringError::TooShort { number });
            }
            if secret.bytes().collect::<BTreeSet<u8>>().len() < DISTINCT_BYTES_MIN {
                return Err(KeyringError::TooPlain { number });
            }
            let key = Key::new(secret);
            if keys.iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyringError::Repeated { number });
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(KeyringError::Empty),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeyringError::TooMany),
        }
    }

    /// Whether a key is in both rings.
    #[must_use]
    pub fn shares_a_key_with(&self, other: &Self) -> bool {
        self.keys.iter().any(|key| other.get(&key.id).is_some())
    }

    /// A random ring, for tools that need a ring and make no tokens with it.
    pub(super) fn random() -> Self {
        let secret: [u8; SECRET_MIN_BYTES] = rand::random();
        Self { keys: vec![Key::new(&secret.map(|byte| format!("{byte:02x}")).concat())] }
    }

    pub(super) fn current(&self) -> &Key {
        self.keys.first().expect("a ring has at least one key: parse refuses an empty one")
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.iter().find(|key| key.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }
}

impl Key {
    fn new(secret: &str) -> Self {
        let mut key = Self { id: String::new(), secret: secret.into() };
        let digest = key.derive("offers key id v1", &[]);
        key.id = digest[..KEY_ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        key
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// 32 bytes that only this key gives for `purpose` and `parts`.
    pub(super) fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes())
            .expect("HMAC takes a key of any length");
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes()); // so that no two lists read the same
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an old secret, long enough to be one";
    const NEW: &str = "0123456789abcdef0123456789abcdef";

    fn ring(text: &str) -> Result<Keyring, KeyringError> {
        Keyring::parse(&text.into())
    }

    #[test]
    fn the_first_secret_is_current_and_the_others_stay_known() {
        let old = OLD.replace([' ', ','], "_");
        let before = ring(&old).expect("one secret");
        let after = ring(&format!("{NEW},\n{old}\n")).expect("two secrets");
        assert_ne!(after.current().id(), before.current().id());
        let kept = after.get(before.current().id()).expect("the old key is still there");
        assert_eq!(kept.derive("x", &[b"1"]), before.current().derive("x", &[b"1"]));
    }

    #[test]
    fn a_bad_list_is_refused_and_never_quoted() {
        assert_eq!(ring(" , ").err(), Some(KeyringError::Empty));
        assert_eq!(ring("short").err(), Some(KeyringError::TooShort { number: 1 }));
        assert_eq!(ring(&format!("{NEW},{NEW}")).err(), Some(KeyringError::Repeated { number: 2 }));
        for plain in ["a".repeat(32), "abc".repeat(20)] {
            assert_eq!(ring(&format!("{NEW},{plain}")).err(), Some(KeyringError::TooPlain { number: 2 }));
        }
        assert!(!format!("{:?}", ring(NEW)).contains(NEW));
    }

    #[test]
    fn every_purpose_and_every_split_into_parts_gives_other_bytes() {
        let ring = ring(NEW).expect("one secret");
        let key = ring.current();
        assert_ne!(key.derive("a", &[b"b"]), key.derive("ab", &[]));
        assert_ne!(key.derive("a", &[b"bc", b"d"]), key.derive("a", &[b"b", b"cd"]));
    }
}
