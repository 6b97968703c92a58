//! Whether a caller that was let in still has access: for requests that last longer than a moment.

use super::Identity;
use super::caller::Caller;
use super::changes::Polls;
use super::error::Error;
use std::sync::Arc;
use tokio::sync::watch;

/// The access of one caller, which ends with its session or its key.
pub struct Access {
    identity: Arc<Identity>,
    caller: Caller,
    /// What was known when the caller was let in.
    loaded: Polls,
    heard: watch::Receiver<()>,
}

impl Identity {
    /// The access of `caller`, whose credentials have just been checked.
    #[must_use]
    pub fn access(self: &Arc<Self>, caller: &Caller) -> Access {
        let loaded = match caller {
            Caller::Partner { key, .. } => self.key_cache.loaded(*key),
            Caller::User { .. } => None,
        };
        Access {
            identity: self.clone(),
            caller: caller.clone(),
            loaded: loaded.unwrap_or_else(|| self.changes.now()),
            heard: self.changes.subscribe(),
        }
    }
}

impl Access {
    /// Whether the session has ended, or the key or its partner has changed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let changes = &self.identity.changes;
        match &self.caller {
            Caller::User { id, roles, session } => {
                matches!(changes.check(*id, *session, roles), Err(Error::TokenInvalid))
            }
            Caller::Partner { id, key } => !changes.are_unchanged(self.loaded, [key.0, id.0]),
        }
    }

    /// Returns when it is over: within a second of the change, on every instance.
    pub async fn over(&mut self) {
        while !self.is_over() {
            if self.heard.changed().await.is_err() {
                return;
            }
        }
    }
}
