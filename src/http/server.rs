//! Accepts connections and speaks HTTP/1.1 on them.
//!
//! axum's own server has no bound on connections, on a client that sends its header byte by byte, or
//! on the time a shutdown may take; this one has.

use super::edge::Edge;
use super::held::{Place, Places};
use super::middleware::unread;
use super::wire::Wire;
use crate::config::{Network, Protection};
use crate::identity::network;
use crate::telemetry::chain;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::SockRef;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How many connections are open at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: u32 = 10_000;
/// How long a client may take to send a request's header, and a kept-alive connection may idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request header, in bytes (and the read buffer of a connection): larger than the longest URL (64 KiB),
/// so that a longer one is told 414.
const MAX_HEADER: usize = 80 * 1024;
/// Bytes that the kernel keeps of an answer for a client that does not read (it doubles the number).
const SEND_BUFFER: usize = 128 * 1024;
/// How long requests that are being served may go on after the order to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a connection may stay open without a request after the order to stop: one may be on its way.
const LINGER: Duration = Duration::from_millis(200);
/// Connections that wait to be accepted. Linux drops one beyond them, and its client tries again after a second; the
/// kernel's own limit is usually the same (`net.core.somaxconn`).
const MAX_ARRIVING: u32 = 4_096;
/// The pause after a failed accept, which mostly means that file descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections that each address has open.
#[derive(Clone)]
pub struct Connections {
    most: Option<NonZeroU32>,
    exempt: Arc<[Network]>,
    open: Places<IpAddr>,
}

impl Connections {
    /// Bounded for each address (IPv6: each /64), but for trusted proxies.
    #[must_use]
    pub fn new(protection: &Protection) -> Self {
        let exempt = protection.trusted_proxies.clone().into();
        Self { most: protection.connections_per_address, exempt, open: Places::default() }
    }

    /// For an address that only monitoring reaches.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { most: None, exempt: Arc::default(), open: Places::default() }
    }

    /// One more connection from `address`, with its place if it is counted.
    ///
    /// # Errors
    /// `TooMany` from this address.
    fn enter(&self, address: IpAddr) -> Result<Option<Place<IpAddr>>, TooMany> {
        let address = address.to_canonical();
        let Some(most) = self.most else { return Ok(None) };
        if self.exempt.iter().any(|proxies| proxies.contains(address)) {
            return Ok(None);
        }
        self.open.take(network(address), most.get()).map(Some).ok_or(TooMany)
    }
}

/// An address holds as many connections as it may.
struct TooMany;

/// Listens on `address`. Those who connect at the same time wait here until they are accepted.
///
/// # Errors
/// As of `bind`.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_ARRIVING)
}

/// Serves `edge` on `listener` until `stop`, then lets running requests finish (bounded by 10 s).
///
/// A stop loses no request that a client has sent: what has connected is accepted, and a kept-alive connection is closed with
/// an answer that says so, or once nothing has come for a while.
pub async fn serve(listener: TcpListener, edge: Edge, connections: Connections, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let cut = CancellationToken::new();
    let _cut_on_return = cut.clone().drop_guard();
    let server = Server { edge, connections, stop, open: GracefulShutdown::new(), cut };
    while let Some((stream, peer, slot)) = next_connection(&listener, &slots, &server.stop).await {
        server.begin(stream, peer, slot);
    }
    server.accept_waiting(listener, &slots);
    let _some_may_be_idle = timeout(LINGER, slots.acquire_many(MAX_CONNECTIONS)).await;
    if timeout(DRAIN, server.open.shutdown()).await.is_err() {
        tracing::warn!(drain_s = DRAIN.as_secs(), "requests that did not finish in time were cut off");
    }
}

struct Server {
    edge: Edge,
    connections: Connections,
    stop: CancellationToken,
    open: GracefulShutdown,
    /// Ends what did not finish in time.
    cut: CancellationToken,
}

impl Server {
    /// Serves a connection in a task of its own.
    fn begin(&self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        set_options(&stream);
        let Ok(place) = self.connections.enter(peer.ip()) else {
            tracing::debug!(%peer, "a connection is closed: its address has too many");
            return;
        };
        let (edge, stop) = (self.edge.clone(), self.stop.clone());
        let answer = service_fn(move |request| answer(edge.clone(), stop.clone(), peer, request));
        let connection =
            self.open.watch(protocol().serve_connection(TokioIo::new(Wire::new(stream)), answer));
        let cut = self.cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error = %chain(&error), "a connection ended with an error");
                },
                () = cut.cancelled() => {}
            }
            drop((slot, place));
        });
    }

    /// Closes the listener. What has connected and not been accepted would be reset by that, so it is accepted first.
    fn accept_waiting(&self, listener: TcpListener, slots: &Arc<Semaphore>) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok(slot) = slots.clone().try_acquire_owned()
            && let Ok((stream, peer)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            self.begin(stream, peer, slot);
        }
    }
}

/// The answer to one request; the last of its connection once the server stops.
async fn answer(
    edge: Edge,
    stop: CancellationToken,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = unread::settle(request, |request| edge.answer(request)).await;
    if stop.is_cancelled() {
        unread::close(&mut response);
    }
    Ok(response)
}

fn set_options(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %chain(&error), "TCP_NODELAY could not be set");
    }
    if let Err(error) = SockRef::from(stream).set_send_buffer_size(SEND_BUFFER) {
        tracing::debug!(error = %chain(&error), "SO_SNDBUF could not be set");
    }
}

fn protocol() -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(MAX_HEADER);
    protocol
}

/// The next connection with its place among the open ones; `None` when it is time to stop.
async fn next_connection(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accept = async {
        let slot = slots.clone().acquire_owned().await.expect("this semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, slot),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accept).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use futures::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_connects_while_none_is_accepted_waits_his_turn_and_is_not_dropped() {
        let listener = listen("127.0.0.1:0".parse().expect("an address")).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let at_once = join_all((0..200).map(|_| TcpStream::connect(address)));
        let connected =
            timeout(Duration::from_secs(30), at_once).await.expect("no client is left to try again");
        assert!(connected.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_stopping_server_answers_what_has_connected_and_says_that_it_is_the_last_answer() {
        let listener = listen("127.0.0.1:0".parse().expect("an address")).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let edge = Edge::new(Router::new().route("/", get(async || "here")));
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("a request");
            clients.push(client);
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let answered = join_all(clients.into_iter().map(async |mut client| {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an answer, and then the end");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
        }));
        tokio::join!(serve(listener, edge, Connections::unlimited(), stop), answered);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
