//! The external activation system, simulated: what `offers simulator` runs.
//!
//! It speaks the whole protocol, keeps its word (an activation is done once, a cancelled one never,
//! across restarts), and misbehaves on request: slowly, with errors, with lost answers after the
//! effect has happened. Every effect is a line of its log before anybody hears of it, so a test that
//! reads the log sees exactly what was done in the outside world.
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

pub use behaviour::{Behaviour, BehaviourError};

use book::Book;
use chance::Chance;
use journal::Journal;
use system::System;

/// How long calls under way may take to end after a stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How a simulator is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every random choice follows from, with the transaction's id and the number of the call.
    pub seed: u64,
    /// Where effects are logged and read back at the start; `None` keeps them in memory only.
    pub log: Option<PathBuf>,
    /// How it behaves until it is told otherwise.
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

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The log cannot be read or opened.
    #[error("cannot use the log of effects")]
    Log(#[source] io::Error),
    /// The behaviour makes no sense.
    #[error(transparent)]
    Behaviour(#[from] BehaviourError),
}

/// Starts a simulator; it answers as soon as this returns.
///
/// # Errors
/// [`StartError`], one variant for each thing that can be in the way.
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
    // An answer is one small write: waiting to fill a packet would only delay it.
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

/// A simulator at work. Dropping it leaves it running; [`Running::stop`] ends it.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
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

    /// Takes no more calls, lets those under way end (at most 5 s), and writes the log to its end.
    ///
    /// # Errors
    /// The log could not be written.
    pub async fn stop(mut self) -> io::Result<()> {
        self.stop.cancel();
        if tokio::time::timeout(STOP_GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
        self.stop_journal.cancel();
        self.writer.await.map_err(io::Error::other)?
    }

    /// Runs until `until` is over or the log cannot be written any more, then stops.
    ///
    /// # Errors
    /// The log could not be written.
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
