//! A secret, from a variable or a file, never shown.

use secrecy::{ExposeSecret, SecretString};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The prefix of demo secrets.
const DEMO_PREFIX: &str = "demo-";

/// A value that never appears in a log, a message or a help text.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// For libraries that take a `SecretString`.
    #[must_use]
    pub fn inner(&self) -> &SecretString {
        &self.0
    }

    pub(super) fn is_for_demonstrations(&self) -> bool {
        self.expose().split(|c: char| c == ',' || c.is_whitespace()).any(|key| key.starts_with(DEMO_PREFIX))
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().into()))
    }
}

/// Why a secret is invalid. Has its name, never its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{name} is not set (and neither is {name}_FILE)")]
    Missing { name: &'static str },
    #[error("{name}_FILE: cannot read {}", path.display())]
    Unreadable {
        name: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{name} is a demo secret (it begins with {DEMO_PREFIX}): choose your own")]
    ForDemonstrations { name: &'static str },
}

pub(super) fn required(
    name: &'static str,
    given: Option<&Secret>,
    file: Option<&Path>,
) -> Result<Secret, SecretError> {
    optional(name, given, file)?.ok_or(SecretError::Missing { name })
}

pub(super) fn optional(
    name: &'static str,
    given: Option<&Secret>,
    file: Option<&Path>,
) -> Result<Option<Secret>, SecretError> {
    let given = given.filter(|secret| !secret.expose().is_empty()).cloned();
    match (given, file) {
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(|text| Some(Secret(text.trim().into())))
            .map_err(|cause| SecretError::Unreadable { name, path: path.to_owned(), cause }),
        (given, _) => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        let Ok(secret) = text.parse();
        secret
    }

    #[test]
    fn a_secret_never_shows_in_debug() {
        assert!(!format!("{:?}", secret("hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_secret_comes_from_its_file_when_it_is_not_given() {
        let path = std::env::temp_dir().join(format!("offers-secret-{}", std::process::id()));
        std::fs::write(&path, "from-file\n").expect("temporary files can be written");
        let read = |given| required("X", given, Some(&path)).expect("it is there").expose().to_owned();
        assert_eq!(read(None), "from-file");
        assert_eq!(read(Some(&secret("given"))), "given");
        std::fs::remove_file(&path).expect("it was written above");
        assert!(matches!(required("X", None, Some(&path)), Err(SecretError::Unreadable { .. })));
        assert!(matches!(required("X", None, None), Err(SecretError::Missing { .. })));
    }

    #[test]
    fn a_secret_for_demonstrations_is_recognised_among_others() {
        assert!(secret("good-one, demo-1234").is_for_demonstrations());
        assert!(!secret("good-one,not-demo-1234").is_for_demonstrations());
    }
}
