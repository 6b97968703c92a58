//! The file of checkpoints, oldest first.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context;

use crate::tree::{Checkpoint, VerifierKey};
use crate::verify::Checkpoints;

/// It is locked while it is open: two witnesses at once would both append.
pub(super) struct Store {
    file: File,
    newest: Option<Checkpoint>,
    name: String,
}

impl Store {
    pub(super) fn open(path: &Path, key: &VerifierKey) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let open = || -> io::Result<(File, String)> {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            file.lock()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok((file, text))
        };
        let (file, text) = open().with_context(|| format!("cannot open {name}"))?;
        let mut kept = Checkpoints::default();
        if !text.is_empty() {
            kept.add(&name, &text, Some(key))?;
        }
        let newest =
            kept.largest().map(|(size, root)| Checkpoint { origin: key.name().to_owned(), size, root });
        Ok(Self { file, newest, name })
    }

    pub(super) fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// Appends a signed checkpoint, durably. Half of one, as on a full disk, is taken back: it would make the file
    /// unusable.
    pub(super) fn append(&mut self, text: &str) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", self.name);
        let length = self.file.metadata().with_context(cannot)?.len();
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        if written.is_err() {
            self.file.set_len(length).with_context(cannot)?;
        }
        written.with_context(cannot)
    }
}
