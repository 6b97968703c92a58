//! The state of every activation, and the number of its calls.
//!
//! States and log lines change together under the book's lock, so the log has the order of the changes, and
//! replaying it gives the same book. Pending activations, rejections and call counts have no effect and are lost
//! at a restart; repeating a request is always safe.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use uuid::Uuid;

use super::activation::{ActivationState, Decision, Effect, Input};
use super::behaviour::{Behaviour, Lie};
use super::chance::Chance;
use super::journal::{self, Journal, Request};

/// Activations that are kept. An entry is 21 bytes of hash table: 16 Mi slots, about 350 MB, at most. More are
/// refused, because a forgotten activation would be done twice.
const MAX_ACTIVATIONS: usize = 14_000_000;

/// Orders taken for later and not yet due, about 150 bytes each. Beyond it they are done at once.
const MAX_PENDING: usize = 100_000;

pub(super) struct Book {
    entries: HashMap<Uuid, Entry>,
    pending: HashMap<Uuid, Pending>,
    chance: Chance,
    journal: Arc<Journal>,
}

#[derive(Default)]
struct Entry {
    activation: ActivationState,
    calls: u16,
}

struct Pending {
    due: Instant,
    request: Request,
}

pub(super) enum Call {
    Activate(Request),
    Look,
    Cancel,
}

#[derive(Debug, thiserror::Error)]
#[error("the simulator has {MAX_ACTIVATIONS} activations and accepts no more: start with a new log")]
pub(super) struct Full;

impl Book {
    /// A book with the effects of the log at `path`.
    pub(super) fn replay(path: Option<&Path>, chance: Chance, journal: Arc<Journal>) -> io::Result<Book> {
        let mut entries = HashMap::new();
        if let Some(path) = path {
            journal::replay(path, |id, effect| {
                entries.insert(id, Entry { activation: effect.into(), calls: 0 });
            })?;
        }
        Ok(Book { entries, pending: HashMap::new(), chance, journal })
    }

    /// Counts a call about `id`; the first is 0.
    pub(super) fn count_call(&mut self, id: Uuid) -> Result<u16, Full> {
        if self.entries.len() >= MAX_ACTIVATIONS && !self.entries.contains_key(&id) {
            return Err(Full);
        }
        let entry = self.entries.entry(id).or_default();
        let call = entry.calls;
        entry.calls = call.wrapping_add(1);
        Ok(call)
    }

    /// Executes `call` about `id` and returns the new state.
    pub(super) fn answer(
        &mut self,
        id: Uuid,
        call: Call,
        behaviour: &Behaviour,
        now: Instant,
    ) -> ActivationState {
        if self.pending.get(&id).is_some_and(|pending| pending.due <= now) {
            let request = self.pending.remove(&id).map(|pending| pending.request);
            self.apply(id, Input::CameDue, request.as_ref());
        }
        match call {
            Call::Activate(request) => self.request(request, behaviour, now),
            Call::Look => self.state(id),
            Call::Cancel => {
                let request = self.pending.remove(&id).map(|pending| pending.request);
                if behaviour.lie == Some(Lie::DoneAfterCancel) {
                    self.apply(id, Input::CameDue, request.as_ref());
                    self.apply(id, Input::Requested(Decision::Do), request.as_ref());
                    return ActivationState::Cancelled;
                }
                self.apply(id, Input::CancelRequested, request.as_ref())
            }
        }
    }

    fn request(&mut self, request: Request, behaviour: &Behaviour, now: Instant) -> ActivationState {
        let id = request.transaction_id;
        let before = self.state(id);
        let decision = self.decide(&request, behaviour);
        let after = self.apply(id, Input::Requested(decision), Some(&request));
        if (before, after) == (ActivationState::Unseen, ActivationState::Pending) {
            self.pending.insert(id, Pending { due: now + behaviour.pending_for(), request });
        }
        after
    }

    fn decide(&self, request: &Request, behaviour: &Behaviour) -> Decision {
        if behaviour.lie == Some(Lie::Reject) || behaviour.reject_offers.contains(&request.offer_id) {
            Decision::Reject
        } else if self.pending.len() < MAX_PENDING
            && self.chance.is_pending(request.transaction_id, behaviour.pending_rate)
        {
            Decision::TakeForLater
        } else {
            Decision::Do
        }
    }

    fn state(&self, id: Uuid) -> ActivationState {
        self.entries.get(&id).map_or(ActivationState::Unseen, |entry| entry.activation)
    }

    #[expect(clippy::disallowed_methods, reason = "another system, with its own time")]
    fn apply(&mut self, id: Uuid, input: Input, request: Option<&Request>) -> ActivationState {
        let entry = self.entries.entry(id).or_default();
        let (after, effect) = entry.activation.after(input);
        entry.activation = after;
        if let Some(effect) = effect {
            let reference = (effect == Effect::Activated).then(|| self.chance.reference(id));
            self.journal.append(&journal::line(Utc::now(), effect, id, request, reference.as_deref()));
        }
        after
    }
}
