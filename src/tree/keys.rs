//! The key that signs checkpoints and the one that verifies them, as texts of Go's `sumdb/note` and C2SP signed-note.

use super::note::KeyId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// C2SP's byte for an Ed25519 signature.
const ED25519_TYPE: u8 = 1;
const KEY_BYTES: usize = 32;
pub(super) const SIGNATURE_BYTES: usize = 64;
const PRIVATE: &str = "PRIVATE+KEY+";

/// The text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("a private key is PRIVATE+KEY+<name>+<hash>+<base64>")]
    NotPrivate,
    #[error("a verifier key is <name>+<hash>+<base64>")]
    NotPublic,
    #[error("a key's name is not empty and has no space, no + and no control character")]
    Name,
    #[error("it is not an Ed25519 key")]
    Algorithm,
    #[error("its hash is not that of its name and key: a character is wrong")]
    Hash,
}

/// Signs checkpoints; its name is their origin.
pub struct SigningKey {
    verifier: VerifierKey,
    seed: [u8; KEY_BYTES],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key with this name that comes from `seed`, which is random and secret.
    ///
    /// # Errors
    /// `Name`.
    pub fn from_seed(name: &str, seed: [u8; KEY_BYTES]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| InvalidKey::Algorithm)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey::Algorithm)?;
        Ok(Self { verifier: VerifierKey::new(name, public)?, seed, pair })
    }

    /// `PRIVATE+KEY+<name>+<hash>+<base64>`. It is a secret.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{PRIVATE}{}", key_text(&self.verifier.name, self.verifier.id, self.seed))
    }

    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(super) fn sign(&self, text: &str) -> [u8; SIGNATURE_BYTES] {
        let signature = self.pair.sign(text.as_bytes());
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl FromStr for SigningKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let rest = text.trim().strip_prefix(PRIVATE).ok_or(InvalidKey::NotPrivate)?;
        let (name, id, seed) = read_key(rest, InvalidKey::NotPrivate)?;
        let key = Self::from_seed(name, seed)?;
        if key.verifier.id == id { Ok(key) } else { Err(InvalidKey::Hash) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.verifier.name).finish_non_exhaustive()
    }
}

/// Verifies checkpoints. As text it is C2SP's vkey, `<name>+<hash>+<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    public: [u8; KEY_BYTES],
}

impl VerifierKey {
    fn new(name: &str, public: [u8; KEY_BYTES]) -> Result<Self, InvalidKey> {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(InvalidKey::Name);
        }
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', ED25519_TYPE])
            .chain_update(public)
            .finalize();
        let id = [hash[0], hash[1], hash[2], hash[3]];
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// The origin of the checkpoints that it verifies.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn is_signature_of(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        if text.starts_with(PRIVATE) {
            return Err(InvalidKey::NotPublic);
        }
        let (name, id, public) = read_key(text, InvalidKey::NotPublic)?;
        let key = Self::new(name, public)?;
        if key.id == id { Ok(key) } else { Err(InvalidKey::Hash) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&key_text(&self.name, self.id, self.public))
    }
}

fn key_text(name: &str, id: KeyId, key: [u8; KEY_BYTES]) -> String {
    let mut bytes = vec![ED25519_TYPE];
    bytes.extend(key);
    format!("{name}+{:08x}+{}", u32::from_be_bytes(id), STANDARD.encode(bytes))
}

/// The name, the hash and the key; `other` if the text does not have these three parts.
fn read_key(text: &str, other: InvalidKey) -> Result<(&str, KeyId, [u8; KEY_BYTES]), InvalidKey> {
    let (name, rest) = text.split_once('+').ok_or(other)?;
    let (hash, key) = rest.split_once('+').ok_or(other)?;
    let is_hash = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u32::from_str_radix(hash, 16).ok().filter(|_| is_hash).ok_or(other)?;
    let bytes = STANDARD.decode(key).map_err(|_| other)?;
    match bytes.split_first() {
        Some((&ED25519_TYPE, key)) => {
            Ok((name, id.to_be_bytes(), key.try_into().map_err(|_| InvalidKey::Algorithm)?))
        }
        _ => Err(InvalidKey::Algorithm),
    }
}
