//! Texts that consist of lines, and what is wrong with one.

/// A text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct InvalidText {
    /// From 1.
    pub line: usize,
    pub why: &'static str,
}

impl InvalidText {
    pub(super) fn new(line: usize, why: &'static str) -> Self {
        Self { line, why }
    }

    /// The same within a longer text.
    pub(super) fn below(self, lines: usize) -> Self {
        Self { line: self.line + lines, ..self }
    }
}

/// A decimal without a sign or a leading zero.
pub(super) fn number(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    (u64::to_string(&number) == text).then_some(number)
}
