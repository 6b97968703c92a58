//! A text with signatures below it (C2SP signed-note).

use super::keys::{SigningKey, VerifierKey};
use super::text::InvalidText;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The first bytes of a key's hash: they name it, they do not identify it.
pub(super) type KeyId = [u8; 4];

/// The longest note that is read, in bytes: sixteen signatures of any algorithm fit.
const NOTE_MAX: usize = 100_000;

/// A note as it was read; nothing of it counts before a signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// With its final newline: what is signed.
    pub(super) text: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    key: KeyId,
    bytes: Vec<u8>,
}

/// No signature by the key, or a wrong one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the checkpoint is of the origin {found}, the key of {expected}")]
    AnotherOrigin { expected: String, found: String },
    #[error("the checkpoint is not signed by the key {0}")]
    NotSigned(String),
    #[error("the signature by the key {0} is wrong: the checkpoint was changed or forged")]
    Wrong(String),
}

/// The text, which ends with a newline, with the signature below it.
pub(super) fn sign(text: &str, key: &SigningKey) -> String {
    let mut bytes = key.verifier().id().to_vec();
    bytes.extend(key.sign(text));
    format!("{text}\n— {} {}\n", key.verifier().name(), STANDARD.encode(bytes))
}

impl Note {
    pub(super) fn parse(note: &str) -> Result<Self, InvalidText> {
        if note.len() > NOTE_MAX {
            return Err(InvalidText::new(1, "a signed note this long is not read"));
        }
        if let Some(line) = note.split('\n').position(|line| line.contains(|c: char| c < ' ')) {
            return Err(InvalidText::new(line + 1, "there is a control character"));
        }
        let lines = note.split_terminator('\n').count();
        if !note.ends_with('\n') {
            return Err(InvalidText::new(lines.max(1), "the last line has no newline: the text was cut off"));
        }
        let no_signatures = InvalidText::new(lines, "there is no blank line with signatures below it");
        let (text, below) = note.rsplit_once("\n\n").ok_or(no_signatures)?;
        let first = text.split('\n').count() + 2;
        if below.is_empty() {
            return Err(InvalidText::new(first - 1, "there is no signature"));
        }
        let signatures = below.split_terminator('\n').enumerate().map(|(index, line)| {
            let why = "a signature is — <name> <base64>";
            signature(line).ok_or(InvalidText::new(first + index, why))
        });
        Ok(Self { text: format!("{text}\n"), signatures: signatures.collect::<Result<_, _>>()? })
    }

    /// Checks the signature by `key`; those by others are not looked at.
    pub(super) fn verify(&self, key: &VerifierKey) -> Result<(), SignatureError> {
        let by_key = |one: &&Signature| one.name == key.name() && one.key == key.id();
        let mut signatures = self.signatures.iter().filter(by_key).peekable();
        if signatures.peek().is_none() {
            return Err(SignatureError::NotSigned(key.to_string()));
        }
        match signatures.all(|one| key.is_signature_of(&self.text, &one.bytes)) {
            true => Ok(()),
            false => Err(SignatureError::Wrong(key.to_string())),
        }
    }
}

fn signature(line: &str) -> Option<Signature> {
    let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (key, bytes) = bytes.split_first_chunk()?;
    let fits = !name.is_empty() && !name.contains('+') && !bytes.is_empty();
    fits.then(|| Signature { name: name.to_owned(), key: *key, bytes: bytes.to_vec() })
}
