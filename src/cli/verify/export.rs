//! An export as the history.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;

use super::report::{self, Trust};
use crate::cli::output::Outcome;
use crate::cli::progress::Progress;
use crate::tree::VerifierKey;
use crate::verify::{Batch, Checkpoints, Verifier, in_order};

/// Bytes that one thread looks at.
const CHUNK: usize = 1 << 20;
/// A record is never longer; a file without lines is not read whole.
const LINE_MAX: usize = 16 << 20;

pub(super) fn verify(
    path: &Path,
    checkpoints: Checkpoints,
    key: Option<&VerifierKey>,
) -> anyhow::Result<Outcome> {
    let trust = if checkpoints.is_empty() { Trust::Nothing } else { Trust::Kept };
    let mut chunks = Chunks::of(open(path)?);
    let mut verifier = Verifier::new(checkpoints);
    let mut progress = Progress::of("records", 0);
    let source = || chunks.next();
    let take = |batch: Batch| {
        progress.add(batch.length as u64);
        verifier.take(batch, &[])
    };
    in_order(super::threads(), source, |chunk: Vec<u8>| Batch::of_lines(&chunk), take)
        .with_context(|| format!("cannot read {}", path.display()))?;
    drop(progress);
    report::tell(verifier.finish(), trust, key, None)
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(file))
}

/// Cuts a file after whole lines.
struct Chunks {
    file: Box<dyn Read + Send>,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Chunks {
    fn of(file: Box<dyn Read + Send>) -> Self {
        Self { file, rest: Vec::new() }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = std::mem::take(&mut self.rest);
        loop {
            let before = chunk.len();
            let read = (&mut self.file).take(CHUNK as u64).read_to_end(&mut chunk)?;
            if read == 0 {
                return Ok(Some(chunk).filter(|chunk| !chunk.is_empty())); // the last line may lack its newline
            }
            if let Some(end) = chunk[before..].iter().rposition(|byte| *byte == b'\n') {
                self.rest = chunk.split_off(before + end + 1);
                return Ok(Some(chunk));
            }
            if chunk.len() > LINE_MAX {
                return Err(io::Error::other("a line is longer than any record"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_whole_lines_and_nothing_is_lost() {
        let line = format!("{}\n", "x".repeat(300_000));
        let text = format!("{}cut off", line.repeat(11));
        let mut chunks = Chunks::of(Box::new(io::Cursor::new(text.clone().into_bytes())));
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().unwrap() {
            all.extend_from_slice(&chunk);
            assert!(chunk.ends_with(b"\n") || all.len() == text.len());
        }
        assert_eq!(all, text.into_bytes());
    }
}
