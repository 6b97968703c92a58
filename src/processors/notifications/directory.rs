//! A file a message, for installations without a mail server: `./dev` and tests.

use crate::telemetry::chain;
use lettre::Message;
use std::io;
use std::path::Path;
use tokio::fs;
use uuid::Uuid;

/// Makes the directory, so that whoever looks for mail finds none there. If it cannot be made now, mail
/// waits until it can.
pub(super) async fn prepare(directory: &Path) {
    if let Err(cause) = fs::create_dir_all(directory).await {
        let directory = directory.display();
        tracing::warn!(%directory, error = %chain(&cause), "there is no place for mail: {directory}");
    }
}

/// Writes `mail` to `<event id>.eml`. Whoever looks sees a whole file or none, and a second try writes
/// the same file.
pub(super) async fn write(directory: &Path, event_id: Uuid, mail: &Message) -> io::Result<()> {
    fs::create_dir_all(directory).await?;
    let unfinished = directory.join(format!(".{event_id}.part"));
    fs::write(&unfinished, mail.formatted()).await?;
    fs::rename(&unfinished, directory.join(format!("{event_id}.eml"))).await
}
