//! One way to log a failure: `error = %chain(&error)`.

use std::error::Error;

/// The error's text and the texts of its causes, from the outside in: `cannot read the log: connection refused`.
///
/// A cause whose text is already in the line is left out: some libraries repeat the cause in their own text.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("cannot read the file")]
        Silent(#[source] io::Error),
        #[error("cannot read the file: {0}")]
        Repeating(#[source] io::Error),
    }

    #[test]
    fn every_cause_is_named_once() {
        let cause = || io::Error::other("the disk is gone");
        for failure in [Failure::Silent(cause()), Failure::Repeating(cause())] {
            assert_eq!(chain(&failure), "cannot read the file: the disk is gone");
        }
        assert_eq!(chain(&cause()), "the disk is gone");
    }
}
