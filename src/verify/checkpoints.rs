//! The checkpoints that a history is held against.

use crate::tree::{Hash, InvalidText, SignatureError, SignedCheckpoint, VerifierKey};

/// Why a checkpoint cannot be used; nothing is said about the history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {why}")]
pub struct Unusable {
    /// The file, or the database.
    pub source_name: String,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Text(#[from] InvalidText),
    #[error("{0}")]
    Signature(#[from] SignatureError),
    #[error("it is of the origin {found}, another checkpoint of {expected}")]
    Origin { expected: String, found: String },
    #[error("there is no checkpoint in it")]
    Empty,
}

/// Checkpoints of one log, the smallest first.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// Where it comes from, and what it says.
    pub(super) all: Vec<Known>,
    origin: Option<String>,
}

/// A checkpoint that is believed.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) source_name: String,
    pub(super) size: u64,
    pub(super) root: Hash,
}

impl Checkpoints {
    /// Adds the checkpoints in `text`, one after the other; without `key` nobody vouches for them.
    ///
    /// # Errors
    /// `Unusable`: a text that is no checkpoint, of another origin, or not signed by `key`.
    pub fn add(&mut self, source_name: &str, text: &str, key: Option<&VerifierKey>) -> Result<(), Unusable> {
        let unusable = |why| Unusable { source_name: source_name.to_owned(), why };
        let notes = notes(text);
        if notes.is_empty() {
            return Err(unusable(Why::Empty));
        }
        for (line, note) in notes {
            let signed: SignedCheckpoint = note.parse().map_err(|cause: InvalidText| {
                unusable(InvalidText { line: cause.line + line, ..cause }.into())
            })?;
            let checkpoint = match key {
                Some(key) => signed.verify(key).map_err(|cause| unusable(cause.into()))?,
                None => signed.unverified(),
            };
            let (origin, found) = (&mut self.origin, &checkpoint.origin);
            let expected = origin.get_or_insert_with(|| found.clone());
            if expected != found {
                let (expected, found) = (expected.clone(), found.clone());
                return Err(unusable(Why::Origin { expected, found }));
            }
            let known =
                Known { source_name: source_name.to_owned(), size: checkpoint.size, root: checkpoint.root };
            let place = self.all.partition_point(|other| other.size <= known.size);
            self.all.insert(place, known);
        }
        Ok(())
    }

    /// Size and root of the largest.
    #[must_use]
    pub fn largest(&self) -> Option<(u64, Hash)> {
        self.all.last().map(|known| (known.size, known.root))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The signed notes in `text`, each with the number of lines before it: a note ends with its signatures.
fn notes(text: &str) -> Vec<(usize, &str)> {
    let mut notes = Vec::new();
    let (mut start, mut first_line, mut has_signature, mut at) = (0, 0, false, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_signature = line.starts_with("— ");
        if has_signature && !is_signature {
            notes.push((first_line, &text[start..at]));
            (start, first_line) = (at, number);
        }
        has_signature = is_signature;
        at += line.len();
    }
    if !text[start..].trim().is_empty() {
        notes.push((first_line, &text[start..]));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{SigningKey, leaf_hash};

    fn signed(name: &str, size: u64) -> (String, VerifierKey) {
        let key = SigningKey::from_seed(name, [7; 32]).unwrap();
        (SignedCheckpoint::sign(size, leaf_hash("x"), &key).to_string(), key.verifier().clone())
    }

    #[test]
    fn a_file_may_have_many_checkpoints() {
        let ((one, key), (other, _)) = (signed("log", 9), signed("log", 4));
        let mut all = Checkpoints::default();
        all.add("kept", &format!("{one}{other}"), Some(&key)).unwrap();
        assert_eq!(all.all.iter().map(|known| known.size).collect::<Vec<_>>(), [4, 9]);
    }

    #[test]
    fn what_is_no_checkpoint_of_this_log_is_named_with_its_place() {
        let ((one, key), (foreign, stranger)) = (signed("log", 9), signed("other", 4));
        let refuse = |text: &str, key: Option<&VerifierKey>| {
            Checkpoints::default().add("kept", text, key).unwrap_err().to_string()
        };
        assert_eq!(refuse("", None), "kept: there is no checkpoint in it");
        let cut = format!("{one}{}", &one[..20]);
        let why = refuse(&cut, Some(&key));
        assert!(why.starts_with("kept: line 8: "), "{why}");
        assert_eq!(
            refuse(&format!("{one}{foreign}"), None),
            "kept: it is of the origin other, another checkpoint of log"
        );
        assert!(
            refuse(&one, Some(&stranger)).contains("the checkpoint is of the origin log, the key of other")
        );
        let forged = one.replace("\n9\n", "\n8\n");
        assert!(refuse(&forged, Some(&key)).contains("changed or forged"));
    }
}
