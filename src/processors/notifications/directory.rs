//! Writes one file for each message, for installations without a mail server: `./dev` and tests.

use crate::telemetry::chain;
use lettre::Message;
use std::io;
use std::path::Path;
use tokio::fs::{self, DirBuilder, OpenOptions};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// Creates the directory, so that it exists before the first mail. After an error, every mail tries again.
pub(super) async fn prepare(directory: &Path) {
    if let Err(cause) = create(directory).await {
        let directory = directory.display();
        tracing::warn!(%directory, error = %chain(&cause), "cannot create {directory}; mail waits until it exists");
    }
}

/// Private: mail is for its recipient alone.
async fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).await
}

/// Writes `mail` to `<event id>.eml`, a whole file or nothing. A second attempt writes the same file.
pub(super) async fn write(directory: &Path, event_id: Uuid, mail: &Message) -> io::Result<()> {
    create(directory).await?;
    let unfinished = directory.join(format!(".{event_id}.part"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).await?;
    file.write_all(&mail.formatted()).await?;
    file.flush().await?;
    fs::rename(&unfinished, directory.join(format!("{event_id}.eml"))).await
}
