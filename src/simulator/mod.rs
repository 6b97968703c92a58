//! The simulated activation system of `offers simulator`.
//!
//! It implements the whole protocol and its guarantees (an activation is done once, a cancelled one never, across
//! restarts), and misbehaves on request: latency, errors, answers that are lost after the effect. Every effect is
//! a line of its log before the answer is sent, so a test that reads the log sees exactly what was done.
//!
//! `PUT /_control` changes its [`Behaviour`] while it runs.

mod activation;
mod behaviour;
mod book;
mod chance;
mod journal;
mod protocol;
mod system;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use behaviour::{Behaviour, BehaviourError, Lie, named, names};

use book::Book;
use chance::Chance;
use journal::Journal;
use system::System;

/// The limit for finishing calls after a stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Settings {
    /// Port 0 chooses a free port.
    pub listen: SocketAddr,
    /// The seed of all random choices, with the transaction's id and the number of the call.
    pub seed: u64,
    /// The log of effects, read again at the start; `None` keeps them in memory only.
    pub log: Option<PathBuf>,
    /// Until `PUT /_control` changes it.
    pub behaviour: Behaviour,
}

impl Default for Settings {
    /// A free loopback port, seed 1, no log, no misbehaviour and no latency.
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            log: None,
            behaviour: Behaviour::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot use the log of effects")]
    Log(#[source] io::Error),
    #[error(transparent)]
    Behaviour(#[from] BehaviourError),
}

/// Starts a simulator; it answers as soon as this returns.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    settings.behaviour.check()?;
    let chance = Chance::new(settings.seed);
    let stop_journal = CancellationToken::new();
    let log = settings.log.as_deref();
    let (journal, writer) = Journal::open(log, stop_journal.clone()).await.map_err(StartError::Log)?;
    let book = Book::replay(log, chance, Arc::clone(&journal)).map_err(StartError::Log)?;

    let listen_error = |source| StartError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
    let addr = listener.local_addr().map_err(listen_error)?;

    let stop = CancellationToken::new();
    let system = Arc::new(System::new(book, chance, journal, settings.behaviour, stop.clone()));
    // An answer is one small write: waiting for more data would only delay it.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let server = axum::serve(listener, protocol::router(system))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    Ok(Running {
        addr,
        stop,
        stop_journal,
        server: tokio::spawn(server.into_future()),
        writer: tokio::spawn(writer),
    })
}

/// A running simulator. Dropping it leaves it running; [`Running::stop`] ends it.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    stop: CancellationToken,
    stop_journal: CancellationToken,
    server: JoinHandle<io::Result<()>>,
    writer: JoinHandle<io::Result<()>>,
}

impl Running {
    /// The base URL for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Takes no more calls, finishes running calls (at most 5 s), and writes the rest of the log.
    pub async fn stop(mut self) -> io::Result<()> {
        self.stop.cancel();
        if tokio::time::timeout(STOP_GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
        self.stop_journal.cancel();
        self.writer.await.map_err(io::Error::other)?
    }

    /// Runs until `until` is ready or the log cannot be written, then stops.
    pub async fn run_until(mut self, until: impl Future<Output = ()>) -> io::Result<()> {
        tokio::select! {
            () = until => self.stop().await,
            written = &mut self.writer => {
                self.stop.cancel();
                written.map_err(io::Error::other)?
            }
        }
    }
}
