//! What the simulated system remembers: every activation's state, and how often it was called about.
//!
//! States and log lines change together under the book's lock, so the log's order is the order in
//! which things happened, and reading the log gives the same book again. What has had no effect yet
//! (pending ones, rejections, call counts) is forgotten by a restart; asking again is always safe.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use uuid::Uuid;

use super::activation::{Activation, Effect, Happening, Verdict};
use super::behaviour::Behaviour;
use super::chance::Chance;
use super::journal::{self, Journal, Order};

/// Activations remembered. An entry is 21 bytes of hash table: 16 Mi slots, about 350 MB, at most. New
/// ones beyond it are refused, because forgetting old ones would do them twice.
const MAX_ACTIVATIONS: usize = 14_000_000;

/// Orders taken for later and not yet due, about 150 bytes each. Beyond it they are done at once.
const MAX_PENDING: usize = 100_000;

/// All activations.
pub(super) struct Book {
    entries: HashMap<Uuid, Entry>,
    pending: HashMap<Uuid, Pending>,
    chance: Chance,
    journal: Arc<Journal>,
}

#[derive(Default)]
struct Entry {
    activation: Activation,
    calls: u16,
}

struct Pending {
    due: Instant,
    order: Order,
}

/// What somebody asks of the book.
pub(super) enum Call {
    Activate(Order),
    Look,
    Cancel,
}

/// There is no room for one more activation.
#[derive(Debug, thiserror::Error)]
#[error("the simulator remembers {MAX_ACTIVATIONS} activations and takes no more: start with a new log")]
pub(super) struct Full;

impl Book {
    /// A book of what the log at `path` tells.
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

    /// Carries out `call` about `id` and tells where the activation stands after it.
    pub(super) fn answer(&mut self, id: Uuid, call: Call, behaviour: &Behaviour, now: Instant) -> Activation {
        if self.pending.get(&id).is_some_and(|pending| pending.due <= now) {
            let order = self.pending.remove(&id).map(|pending| pending.order);
            self.happen(id, Happening::CameDue, order.as_ref());
        }
        match call {
            Call::Activate(order) => self.request(order, behaviour, now),
            Call::Look => self.state(id),
            Call::Cancel => {
                let order = self.pending.remove(&id).map(|pending| pending.order);
                self.happen(id, Happening::CancelRequested, order.as_ref())
            }
        }
    }

    fn request(&mut self, order: Order, behaviour: &Behaviour, now: Instant) -> Activation {
        let id = order.transaction_id;
        let before = self.state(id);
        let verdict = self.judge(&order, behaviour);
        let after = self.happen(id, Happening::Requested(verdict), Some(&order));
        if (before, after) == (Activation::Unseen, Activation::Pending) {
            self.pending.insert(id, Pending { due: now + behaviour.pending_for(), order });
        }
        after
    }

    fn judge(&self, order: &Order, behaviour: &Behaviour) -> Verdict {
        if behaviour.reject_offers.contains(&order.offer_id) {
            Verdict::Reject
        } else if self.pending.len() < MAX_PENDING
            && self.chance.is_pending(order.transaction_id, behaviour.pending_rate)
        {
            Verdict::TakeForLater
        } else {
            Verdict::Do
        }
    }

    fn state(&self, id: Uuid) -> Activation {
        self.entries.get(&id).map_or(Activation::Unseen, |entry| entry.activation)
    }

    #[expect(clippy::disallowed_methods, reason = "another system, with its own time")]
    fn happen(&mut self, id: Uuid, happening: Happening, order: Option<&Order>) -> Activation {
        let entry = self.entries.entry(id).or_default();
        let (after, effect) = entry.activation.after(happening);
        entry.activation = after;
        if let Some(effect) = effect {
            let reference = (effect == Effect::Activated).then(|| self.chance.reference(id));
            self.journal.append(&journal::line(Utc::now(), effect, id, order, reference.as_deref()));
        }
        after
    }
}
