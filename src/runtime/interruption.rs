//! Signals that ask the process to stop. They are counted from the moment that this exists, so it is made before
//! anything is started: one that came before would be lost.

use std::future;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Interruption {
    /// # Errors
    /// The system has no more file descriptors.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: None,
        })
    }

    /// A closed terminal stops the process, too.
    ///
    /// # Errors
    /// As `listen`.
    pub fn or_hangup(self) -> io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..self })
    }

    /// Returns at the next signal.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = received(self.hangup.as_mut()) => {}
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => future::pending().await,
    }
}
