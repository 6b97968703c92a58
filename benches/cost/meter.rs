//! Counts what goes to a server and back: it lies on the way and reads along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// What a client of PostgreSQL sends when it asks for TLS, instead of the version of the protocol.
const SSL_REQUEST: u32 = 80_877_103;

/// The messages of one server: statements, commands or publications to it, deliveries from it.
#[derive(Clone, Default)]
pub struct Meter {
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

/// How to read what a server is sent; NATS alone is also read in the other direction.
#[derive(Clone, Copy, PartialEq)]
pub enum Protocol {
    Postgres,
    Redis,
    Nats,
}

impl Meter {
    /// Puts itself into `url`, and leads to the server that was there.
    pub async fn before(url: &mut String, protocol: Protocol) -> Self {
        let (_, after) = url.rsplit_once(':').unwrap();
        let port: u16 = after.split('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *url = url.replace(&format!(":{port}"), &format!(":{}", listener.local_addr().unwrap().port()));
        let meter = Self::default();
        tokio::spawn(meter.clone().forward(listener, port, protocol));
        meter
    }

    async fn forward(self, listener: TcpListener, port: u16, protocol: Protocol) {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            for end in [&near, &far] {
                end.set_nodelay(true).unwrap();
            }
            let ((from_client, to_client), (from_server, to_server)) = (near.into_split(), far.into_split());
            tokio::spawn(copy(from_client, to_server, Reader::new(protocol, self.sent.clone())));
            tokio::spawn(copy(from_server, to_client, Reader::new(protocol, self.received.clone())));
        }
    }

    /// Messages to the server so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Messages from NATS so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut reader: Reader) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        reader.read(&chunk[..length]);
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Reads one direction of a connection.
struct Reader {
    protocol: Protocol,
    counted: Arc<AtomicU64>,
    /// The beginning of a message, as far as it has come.
    head: Vec<u8>,
    /// Bytes of the message that are still to come and say nothing.
    rest: usize,
    /// Whether a client of PostgreSQL has said who it is.
    started: bool,
}

impl Reader {
    fn new(protocol: Protocol, counted: Arc<AtomicU64>) -> Self {
        Self { protocol, counted, head: Vec::new(), rest: 0, started: false }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        loop {
            let passed = self.rest.min(bytes.len());
            self.rest -= passed;
            let Some((first, after)) = bytes[passed..].split_first() else { return };
            bytes = after;
            self.head.push(*first);
            let rest = match self.protocol {
                Protocol::Postgres => self.postgres(),
                Protocol::Redis => self.redis(),
                Protocol::Nats => self.nats(),
            };
            if let Some(rest) = rest {
                self.rest = rest;
                self.head.clear();
            }
        }
    }

    /// An execution of a prepared statement is an `E`, a plain one a `Q`. What the server says is read wrongly, and not
    /// asked for.
    fn postgres(&mut self) -> Option<usize> {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        if !self.started {
            let [length, code] = [self.head.get(..4)?, self.head.get(4..8)?].map(number);
            self.started = code != SSL_REQUEST;
            return Some((length as usize).saturating_sub(8));
        }
        let length = number(self.head.get(1..5)?) as usize;
        self.count(matches!(self.head[0], b'E' | b'Q'));
        Some(length.saturating_sub(4))
    }

    fn redis(&mut self) -> Option<usize> {
        let line = self.line()?;
        let value = line.get(1..)?.parse().unwrap_or(0);
        let (command, text) = (line.starts_with('*'), line.starts_with('$'));
        self.count(command);
        Some(if text { value + 2 } else { 0 })
    }

    fn nats(&mut self) -> Option<usize> {
        let line = self.line()?;
        let carries = ["PUB", "HPUB", "MSG", "HMSG"].contains(&line.split(' ').next()?);
        let length: usize = line.rsplit(' ').next()?.parse().unwrap_or(0);
        self.count(carries);
        Some(if carries { length + 2 } else { 0 })
    }

    /// The head, once it is a whole line.
    fn line(&self) -> Option<String> {
        let line = self.head.strip_suffix(b"\r\n")?;
        Some(String::from_utf8_lossy(line).into_owned())
    }

    fn count(&self, is_one: bool) {
        self.counted.fetch_add(u64::from(is_one), Ordering::Relaxed);
    }
}
