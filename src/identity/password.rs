//! Passwords: argon2id, on threads that stand back, a bounded number at a time.
//!
//! One hash takes tens of milliseconds of a core and 19 MiB. So a caller first takes a [`Turn`], of
//! which there is one for every four cores, and a line of bounded length waits for them.

use super::background::Background;
use super::error::Error;
use super::folding::nfc;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use secrecy::{ExposeSecret, SecretString};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use unicode_normalization::is_nfc;

/// How many logins may wait for a turn. At 25 ms a hash and four cores the last one waits 6.4 s; a
/// longer line would only be left by its clients.
const WAITING_MAX: usize = 256;

/// What a guess costs, and a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    pub memory_kib: u32,
    pub iterations: u32,
    /// Lanes; one, because the cores are shared by logins already.
    pub lanes: u32,
}

impl Default for PasswordCost {
    /// The OWASP password storage cheat sheet's first choice for argon2id.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, iterations: 2, lanes: 1 }
    }
}

impl PasswordCost {
    /// For tests alone: a thousand logins must not take half a minute.
    #[must_use]
    pub fn weak_for_tests() -> Self {
        Self { memory_kib: 64, iterations: 1, lanes: 1 }
    }
}

#[derive(Debug)]
pub(super) struct Hasher {
    params: Params,
    background: Background,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    hashes: Arc<AtomicU64>,
    /// What the password of an unknown user is compared with, so that it takes as long.
    nobodys_hash: Arc<str>,
}

impl Hasher {
    /// # Errors
    /// `Hashing` when argon2 refuses the cost.
    pub(super) fn new(cost: PasswordCost, at_once: NonZeroUsize) -> Result<Self, Error> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.lanes, None)
            .map_err(|error| Error::Hashing(error.into()))?;
        let nobodys = hash(&params, &rand::random::<[u8; 32]>()).map_err(Error::Hashing)?;
        Ok(Self {
            params,
            background: Background::start("passwords", at_once)
                .map_err(|_| Error::Hashing(HashError::Internal))?,
            places: Arc::new(Semaphore::new(at_once.get() + WAITING_MAX)),
            turns: Arc::new(Semaphore::new(at_once.get())),
            hashes: Arc::default(),
            nobodys_hash: nobodys.into(),
        })
    }

    /// Waits in line for a turn.
    ///
    /// # Errors
    /// `Overloaded` when the line is full.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::Overloaded)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Error::Overloaded)?;
        Ok(Turn {
            params: self.params.clone(),
            background: self.background.clone(),
            hashes: Arc::clone(&self.hashes),
            nobodys_hash: Arc::clone(&self.nobodys_hash),
            held: Arc::new((place, turn)),
        })
    }

    /// Passwords hashed so far, to store or to compare.
    pub(super) fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Whether `stored` was made at another cost than today's.
    pub(super) fn is_outdated(&self, stored: &str) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        let params = PasswordHash::new(stored).ok().and_then(|parsed| Params::try_from(&parsed).ok());
        params.is_none_or(|params| cost(&params) != cost(&self.params))
    }
}

/// The right to hash, one at a time.
pub(super) struct Turn {
    params: Params,
    background: Background,
    hashes: Arc<AtomicU64>,
    nobodys_hash: Arc<str>,
    /// Shared with the running hash: a caller that goes away does not free its memory or its core.
    held: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Turn {
    /// A hash to store, in the PHC string format.
    ///
    /// # Errors
    /// `Hashing`: no randomness, or a fault of ours.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String, Error> {
        let params = self.params.clone();
        let password = SecretString::from(nfc(password.expose_secret()));
        self.run(move || hash(&params, password.expose_secret().as_bytes())).await
    }

    /// Whether `password` matches `stored`: in NFC, or else as it was typed, as passwords were hashed once. For `None`
    /// it does the same work and says no.
    ///
    /// # Errors
    /// `Hashing` when `stored` cannot be read.
    pub(super) async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<bool, Error> {
        let is_known = stored.is_some();
        let stored: Arc<str> = stored.map_or_else(|| Arc::clone(&self.nobodys_hash), Arc::from);
        let typed = password.expose_secret();
        let forms = if is_nfc(typed) { 1 } else { 2 };
        for form in [nfc(typed).into(), password.clone()].into_iter().take(forms) {
            let stored = Arc::clone(&stored);
            if self.run(move || verify(form.expose_secret().as_bytes(), &stored)).await? {
                return Ok(is_known);
            }
        }
        Ok(false)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Error> {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let held = Arc::clone(&self.held);
        let work = move || {
            let result = work();
            drop(held);
            result
        };
        self.background.run(work).await.unwrap_or(Err(HashError::Internal)).map_err(Error::Hashing)
    }
}

fn hash(params: &Params, password: &[u8]) -> Result<String, HashError> {
    let hashed: PasswordHash = Argon2::from(params).hash_password(password)?;
    Ok(hashed.to_string())
}

fn verify(password: &[u8], stored: &str) -> Result<bool, HashError> {
    let stored = PasswordHash::new(stored).map_err(HashError::from)?;
    match Argon2::default().verify_password(password, &stored) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> Hasher {
        Hasher::new(PasswordCost::weak_for_tests(), NonZeroUsize::MIN).expect("a cost that argon2 takes")
    }

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let turn = hasher().turn().await.expect("nobody else waits");
        let stored = turn.hash(&"correct horse".into()).await.expect("hashing works");
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(turn.verify(&"correct horse".into(), Some(&stored)).await.expect("a readable hash"));
        assert!(!turn.verify(&"correct horsf".into(), Some(&stored)).await.expect("a readable hash"));
        assert!(!turn.verify(&"correct horse".into(), None).await.expect("a readable hash"));
        assert!(turn.verify(&"x".into(), Some("plain text")).await.is_err());
    }

    #[tokio::test]
    async fn a_password_matches_however_its_accents_are_typed() {
        let turn = hasher().turn().await.expect("nobody else waits");
        let (composed, decomposed) =
            (SecretString::from("cafe\u{301} au lait"), SecretString::from("café au lait"));
        for (stored, typed) in [(&composed, &decomposed), (&decomposed, &composed)] {
            let stored = turn.hash(stored).await.expect("hashing works");
            assert!(turn.verify(typed, Some(&stored)).await.expect("a readable hash"));
        }
        let before = hash(&turn.params, "cafe\u{301} au lait".as_bytes()).expect("hashing works");
        assert!(turn.verify(&"cafe\u{301} au lait".into(), Some(&before)).await.expect("a readable hash"));
    }

    #[tokio::test]
    async fn a_full_line_refuses_at_once() {
        let hasher = hasher();
        let first = hasher.turn().await.expect("a free turn");
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(hasher.turn())).collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(matches!(hasher.turn().await, Err(Error::Overloaded)));
        drop(waiting);
        drop(first);
        assert!(hasher.turn().await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_outdated() {
        let stored =
            hasher().turn().await.expect("a turn").hash(&"correct horse".into()).await.expect("a hash");
        assert!(!hasher().is_outdated(&stored));
        assert!(
            !hasher().is_outdated(&hasher().nobodys_hash),
            "an unknown user costs as much as a known one"
        );
        let dearer = PasswordCost { iterations: 2, ..PasswordCost::weak_for_tests() };
        assert!(Hasher::new(dearer, NonZeroUsize::MIN).expect("a cost").is_outdated(&stored));
    }
}
