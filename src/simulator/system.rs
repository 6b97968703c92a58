//! One call: counted, delayed, perhaps lost, executed, logged.

use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::activation::ActivationState;
use super::behaviour::{Behaviour, BehaviourError, Lie};
use super::book::{Book, Call};
use super::chance::{Chance, Fault, FaultKind};
use super::journal::Journal;

/// How long a call without an answer is held: longer than any client waits.
const HANG: Duration = Duration::from_secs(30);

/// Concurrent calls that are held without an answer; more are reset instead.
const MAX_HANGING: usize = 1_024;

/// The simulated system, shared by all connections.
pub(super) struct System {
    book: Mutex<Book>,
    chance: Chance,
    journal: Arc<Journal>,
    behaviour: RwLock<Arc<Behaviour>>,
    hanging: Semaphore,
    stop: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(ActivationState),
    Lost(FaultKind),
    /// The system is down, full, or cannot write its log.
    Unavailable,
}

impl System {
    pub(super) fn new(
        book: Book,
        chance: Chance,
        journal: Arc<Journal>,
        behaviour: Behaviour,
        stop: CancellationToken,
    ) -> System {
        let behaviour = RwLock::new(Arc::new(behaviour));
        let hanging = Semaphore::new(MAX_HANGING);
        System { book: Mutex::new(book), chance, journal, behaviour, hanging, stop }
    }

    /// Handles `call` about `id` as the current behaviour says.
    pub(super) async fn handle(&self, id: Uuid, call: Call) -> Outcome {
        let behaviour = self.behaviour();
        if behaviour.down {
            return Outcome::Unavailable;
        }
        let Ok(count) = self.with_book(|book| book.count_call(id)) else {
            return Outcome::Unavailable;
        };
        let latency = self.chance.latency(id, count, behaviour.latency(), behaviour.latency_jitter());
        let fault = match behaviour.lie {
            Some(lie) => lie.fault(matches!(call, Call::Activate(_))),
            None => self.chance.fault(id, count, behaviour.failure_rate),
        };

        self.pause(latency / 2).await;
        if let Some(fault) = fault.filter(|fault| !fault.after_effect) {
            return self.lose(fault.kind).await;
        }
        let activation = self.with_book(|book| book.answer(id, call, &behaviour, Instant::now()));
        if self.journal.flushed().await.is_err() {
            return Outcome::Unavailable;
        }
        self.pause(latency / 2).await;
        match fault {
            Some(fault) => self.lose(fault.kind).await,
            None => Outcome::Answered(activation),
        }
    }

    pub(super) fn reference(&self, id: Uuid) -> String {
        self.chance.reference(id)
    }

    pub(super) fn behaviour(&self) -> Arc<Behaviour> {
        Arc::clone(&self.behaviour.read())
    }

    /// Changes the behaviour from the next call on.
    pub(super) fn change(&self, changes: Map<String, Value>) -> Result<Arc<Behaviour>, BehaviourError> {
        let mut behaviour = self.behaviour.write();
        *behaviour = Arc::new(behaviour.changed(changes)?);
        Ok(Arc::clone(&behaviour))
    }

    async fn lose(&self, kind: FaultKind) -> Outcome {
        if kind != FaultKind::Hang {
            return Outcome::Lost(kind);
        }
        if let Ok(_place) = self.hanging.try_acquire() {
            self.pause(HANG).await;
        }
        Outcome::Lost(FaultKind::Reset)
    }

    /// Waits for `delay`, unless the simulator stops meanwhile.
    async fn pause(&self, delay: Duration) {
        if !delay.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(delay) => (),
                () = self.stop.cancelled() => (),
            }
        }
    }

    fn with_book<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.book.lock())
    }
}

impl Lie {
    /// How a call goes wrong; `activates` is whether it asks for an activation.
    fn fault(self, activates: bool) -> Option<Fault> {
        let (kind, after_effect, every_call) = match self {
            Self::Silent => (FaultKind::Hang, false, true),
            Self::Busy => (FaultKind::Busy, false, true),
            Self::Error => (FaultKind::ServerError(500), false, false),
            Self::DoneThenSilent => (FaultKind::Hang, true, false),
            Self::DoneThenError => (FaultKind::ServerError(503), true, false),
            Self::DoneThenGarbage => (FaultKind::NotJson, true, false),
            Self::DoneThenHuge => (FaultKind::Huge, true, false),
            Self::DoneThenAnother => (FaultKind::AnotherTransaction, true, false),
            Self::DoneThenDrip => (FaultKind::Drip, true, false),
            Self::Reject | Self::DoneAfterCancel => return None, // what is done is another, not the answer
        };
        (activates || every_call).then_some(Fault { kind, after_effect })
    }
}
