//! `offers key …`: the key that signs checkpoints of the log.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::json;

use super::output::{Outcome, Refused};
use crate::tree::SigningKey;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Make a key and print the verifier key, which everybody may have
    Generate(Generate),
}

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// The name of the log in its checkpoints, such as offers.example.com/log: unique for ever, so a new key gets a
    /// new one
    #[arg(long)]
    origin: String,
    /// The file of the private key, which only its owner may read. An existing file is never replaced
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(verb: Verb) -> anyhow::Result<Outcome> {
    let Verb::Generate(Generate { origin, out }) = verb;
    let key = SigningKey::from_seed(&origin, rand::random()).context("--origin cannot be used")?;
    write(&out, &key.expose())?;
    let verifier = key.verifier().to_string();
    Outcome::done(&verifier, json!({"origin": origin, "file": out, "verifier_key": &verifier}))
}

fn write(path: &Path, key: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            return Err(Refused(anyhow!("{} exists; a key is never replaced", path.display())).into());
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let written = writeln!(file, "{key}").and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))
}
