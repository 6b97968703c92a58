//! A signed size and root of the tree (C2SP tlog-checkpoint).

use super::hash::Hash;
use super::keys::{SigningKey, VerifierKey};
use super::note::{self, Note, SignatureError};
use super::text::{InvalidText, number};
use std::fmt;
use std::str::FromStr;

/// What a log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// The number of records.
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A checkpoint with the text that was signed; nothing of it counts before the signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    unverified: Checkpoint,
    text: String,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs the root of a tree as that of the key's origin.
    #[must_use]
    pub fn sign(size: u64, root: Hash, key: &SigningKey) -> Self {
        let checkpoint = Checkpoint { origin: key.verifier().name().to_owned(), size, root };
        let text = note::sign(&checkpoint.text(), key);
        text.parse().expect("it was just written")
    }

    /// The checkpoint, if `key` signed it for its own origin.
    ///
    /// # Errors
    /// `AnotherOrigin`, `NotSigned` by this key, or `Wrong`.
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, SignatureError> {
        let (expected, found) = (key.name(), &self.unverified.origin);
        if found != expected {
            let (expected, found) = (expected.to_owned(), found.clone());
            return Err(SignatureError::AnotherOrigin { expected, found });
        }
        self.note.verify(key)?;
        Ok(&self.unverified)
    }

    /// What it says, though nobody vouches for it.
    #[must_use]
    pub fn unverified(&self) -> &Checkpoint {
        &self.unverified
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let note = Note::parse(text)?;
        let mut lines = note.text.split_terminator('\n');
        let mut line = |line, why| lines.next().ok_or(InvalidText::new(line, why));
        let origin = line(1, "the origin is missing")?.to_owned();
        let size = line(2, "the size is missing")?;
        let root = line(3, "the root is missing")?;
        let size = number(size).ok_or(InvalidText::new(2, "the size is not a number of records"))?;
        let root =
            root.parse().map_err(|_| InvalidText::new(3, "the root is not 44 characters of base64"))?;
        if origin.is_empty() {
            return Err(InvalidText::new(1, "the origin is empty"));
        }
        if let Some(empty) = lines.position(str::is_empty) {
            return Err(InvalidText::new(4 + empty, "an extension line is empty"));
        }
        Ok(Self { unverified: Checkpoint { origin, size, root }, text: text.to_owned(), note })
    }
}
