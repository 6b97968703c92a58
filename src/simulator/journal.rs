//! The log of effects: one NDJSON line each, written before the answer is sent.
//!
//! Appends go to a buffer in memory; one task writes the whole buffer and then releases all waiting answers: a
//! group flush. It reaches the file, not the disk (no fsync): a reader of the file misses nothing, but a power
//! cut may lose lines.

use parking_lot::Mutex;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::activation::Effect;

/// The request of an activation; unknown if it was cancelled before it was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) transaction_id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) offer_id: Uuid,
    pub(super) amount: String,
    pub(super) kind: String,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    effect: Effect,
    transaction_id: Uuid,
    user_id: Option<Uuid>,
    offer_id: Option<Uuid>,
    amount: Option<&'a str>,
    kind: Option<&'a str>,
    reference: Option<&'a str>,
}

/// Renders the log line of an effect, newline included.
pub(super) fn line(
    at: DateTime<Utc>,
    effect: Effect,
    id: Uuid,
    request: Option<&Request>,
    reference: Option<&str>,
) -> Vec<u8> {
    let line = Line {
        at: at.to_rfc3339_opts(SecondsFormat::Micros, true),
        effect,
        transaction_id: id,
        user_id: request.map(|request| request.user_id),
        offer_id: request.map(|request| request.offer_id),
        amount: request.map(|request| request.amount.as_str()),
        kind: request.map(|request| request.kind.as_str()),
        reference,
    };
    let mut bytes = serde_json::to_vec(&line).expect("a struct of strings is always JSON");
    bytes.push(b'\n');
    bytes
}

/// Reads the effects of earlier runs, and cuts off an unfinished last line: its answer was not sent.
pub(super) fn replay(path: &Path, mut each: impl FnMut(Uuid, Effect)) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Past {
        transaction_id: Uuid,
        effect: Effect,
    }
    let mut file = match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = io::BufReader::new(&mut file);
    let mut line = Vec::new();
    let mut whole: u64 = 0;
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        let past: Past = serde_json::from_slice(&line)?;
        each(past.transaction_id, past.effect);
        whole += line.len() as u64;
        line.clear();
    }
    file.set_len(whole)
}

/// Bounded by the running calls: each appends at most two lines and then waits for them.
pub(super) struct Journal {
    buffer: Mutex<Buffer>,
    more: Notify,
    written: watch::Receiver<u64>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
}

/// No answer may be sent any more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log of effects")]
pub(super) struct Broken;

impl Journal {
    /// A journal that appends to `path` (or to nothing), and the task that writes it, until `stop` or the first
    /// error.
    pub(super) async fn open(
        path: Option<&Path>,
        stop: CancellationToken,
    ) -> io::Result<(Arc<Journal>, impl Future<Output = io::Result<()>> + use<>)> {
        let file = match path {
            Some(path) => Some(File::options().create(true).append(true).mode(0o600).open(path).await?),
            None => None,
        };
        let (progress, written) = watch::channel(0);
        let journal = Arc::new(Journal { buffer: Mutex::default(), more: Notify::new(), written });
        let writer = Arc::clone(&journal).write(file, progress, stop);
        Ok((journal, writer))
    }

    /// Appends a line; it is in the file once [`Journal::flushed`] has returned.
    pub(super) fn append(&self, line: &[u8]) {
        let mut buffer = self.buffer.lock();
        buffer.bytes.extend_from_slice(line);
        buffer.lines += 1;
    }

    /// Waits until everything appended so far is in the file.
    pub(super) async fn flushed(&self) -> Result<(), Broken> {
        let appended = self.buffer.lock().lines;
        if *self.written.borrow() >= appended {
            return Ok(());
        }
        self.more.notify_one();
        let mut written = self.written.clone();
        written.wait_for(|written| *written >= appended).await.map(|_| ()).map_err(|_| Broken)
    }

    async fn write(
        self: Arc<Self>,
        mut file: Option<File>,
        progress: watch::Sender<u64>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let mut batch = Vec::new();
        loop {
            let stopping = tokio::select! {
                () = self.more.notified() => false,
                () = stop.cancelled() => true,
            };
            let lines = self.take(&mut batch);
            if let Some(file) = &mut file {
                file.write_all(&batch).await?;
                file.flush().await?;
            }
            progress.send_replace(lines);
            if stopping {
                return Ok(());
            }
        }
    }

    /// Takes the buffer; returns the number of lines ever appended.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let mut buffer = self.buffer.lock();
        std::mem::swap(batch, &mut buffer.bytes);
        buffer.lines
    }
}
