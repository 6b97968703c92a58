//! The proof that a record is in the log (C2SP tlog-proof). It contains the record, so it is verified alone.

use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::hash::{Hash, leaf_hash};
use super::keys::VerifierKey;
use super::note::SignatureError;
use super::proof::{InvalidProof, verify_inclusion};
use super::text::{InvalidText, number};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A record, its place, and the way from there to a signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The record line without its newline; C2SP's `extra`.
    pub line: String,
    /// The place in the tree: the position minus one.
    pub index: u64,
    pub proof: Vec<Hash>,
    pub checkpoint: SignedCheckpoint,
}

/// What a receipt does not prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceipt {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the record at position {position} is not in the checkpoint's log: {why}")]
    Proof { position: u64, why: InvalidProof },
    #[error("the record says that it is at another position than {0}")]
    Position(u64),
}

impl Receipt {
    /// The position of the record.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.index + 1
    }

    /// The checkpoint that contains the record.
    ///
    /// # Errors
    /// The signature, the proof or the record's own position is wrong.
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, InvalidReceipt> {
        let checkpoint = self.checkpoint.verify(key)?;
        let (size, root, position) = (checkpoint.size, checkpoint.root, self.position());
        verify_inclusion(leaf_hash(&self.line), self.index, size, root, &self.proof)
            .map_err(|why| InvalidReceipt::Proof { position, why })?;
        if !self.line.starts_with(&format!(r#"{{"position":{position},"#)) {
            return Err(InvalidReceipt::Position(position));
        }
        Ok(checkpoint)
    }

    /// The receipts in a text, one after the other. There is at least one.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, InvalidText> {
        let starts = text.match_indices(HEADER).map(|(start, _)| start);
        let mut starts: Vec<_> =
            starts.filter(|start| *start == 0 || text[..*start].ends_with('\n')).collect();
        if starts.first() != Some(&0) {
            return Err(InvalidText::new(1, "a receipt begins with c2sp.org/tlog-proof@v1"));
        }
        starts.push(text.len());
        let receipts = starts.windows(2).map(|part| {
            let lines_above = text[..part[0]].matches('\n').count();
            text[part[0]..part[1]].parse().map_err(|cause: InvalidText| cause.below(lines_above))
        });
        receipts.collect()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, index, proof, checkpoint } = self;
        write!(f, "{HEADER}\nextra {}\nindex {index}\n", STANDARD.encode(line))?;
        for hash in proof {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{checkpoint}")
    }
}

impl FromStr for Receipt {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let count = text.split_terminator('\n').count();
        let (proof, checkpoint) = text
            .split_once("\n\n")
            .ok_or(InvalidText::new(count.max(1), "there is no blank line with a checkpoint below it"))?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(InvalidText::new(1, "a receipt begins with c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.and_then(|extra| STANDARD.decode(extra).ok());
        let line = extra.and_then(|extra| String::from_utf8(extra).ok());
        let line = line.ok_or(InvalidText::new(2, "it is not `extra` and the record in base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(number).filter(|index| *index < u64::MAX);
        let index = index.ok_or(InvalidText::new(3, "it is not `index` and a number"))?;
        let hash = |(place, line): (usize, &str)| {
            line.parse().map_err(|_| InvalidText::new(4 + place, "a hash is 44 characters of base64"))
        };
        let proof: Vec<Hash> = lines.enumerate().map(hash).collect::<Result<_, _>>()?;
        let above = 3 + proof.len() + 1;
        let checkpoint = checkpoint.parse().map_err(|cause: InvalidText| cause.below(above))?;
        Ok(Self { line, index, proof, checkpoint })
    }
}
