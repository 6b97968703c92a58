//! Writes one file for each message, for installations without a mail server: `./dev` and tests.

use crate::telemetry::chain;
use lettre::Message;
use std::io;
use std::path::Path;
use tokio::fs;
use uuid::Uuid;

/// Creates the directory, so that it exists before the first mail. After an error, every mail tries again.
pub(super) async fn prepare(directory: &Path) {
    if let Err(cause) = fs::create_dir_all(directory).await {
        let directory = directory.display();
        tracing::warn!(%directory, error = %chain(&cause), "cannot create {directory}; mail waits until it exists");
    }
}

/// Writes `mail` to `<event id>.eml`, a whole file or nothing. A second attempt writes the same file.
pub(super) async fn write(directory: &Path, event_id: Uuid, mail: &Message) -> io::Result<()> {
    fs::create_dir_all(directory).await?;
    let unfinished = directory.join(format!(".{event_id}.part"));
    fs::write(&unfinished, mail.formatted()).await?;
    fs::rename(&unfinished, directory.join(format!("{event_id}.eml"))).await
}
