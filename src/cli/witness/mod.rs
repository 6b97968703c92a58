//! `offers witness`: keeps checkpoints where the service cannot reach them.

mod service;
mod store;

use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;

use super::output::{Outcome, Refused};
use crate::config::{Secret, WitnessLogin};
use crate::tree::{Checkpoint, Hash, SignedCheckpoint, VerifierKey, verify_consistency};
use service::Service;
use store::Store;

/// Fetches the newest checkpoint, proves that it continues the one that was kept last, and appends it to the file. To be
/// run now and then on another machine, such as by cron. Exit code 1, and nothing is kept, if history was rewritten; 2 if
/// the service could not be asked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, without /api/v1
    #[arg(long, env = "OFFERS_WITNESS_URL")]
    url: String,
    /// The log's key, `<origin>+<hash>+<base64>`: what GET /audit/key/ said when you began
    #[arg(long, env = "OFFERS_WITNESS_KEY", value_name = "VKEY")]
    key: VerifierKey,
    /// The file of checkpoints; it is made if there is none. `offers verify --checkpoint` takes it
    #[arg(long, env = "OFFERS_WITNESS_STORE", value_name = "FILE")]
    store: PathBuf,
    #[command(flatten)]
    login: WitnessLogin,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let password = args.login.password()?;
    let mut store = Store::open(&args.store, &args.key)?;
    let service = Service::at(&args.url)?;
    let text = service.checkpoint().await?;
    let signed: SignedCheckpoint = text.parse().with_context(|| format!("{}: no checkpoint", args.url))?;
    // A checkpoint that the key has not signed is another log's, or a forger's.
    let newest = signed.verify(&args.key).map_err(|cause| refused(&args, cause.into()))?;
    let added = match store.newest() {
        Some(kept) if kept.size == newest.size && kept.root == newest.root => false,
        Some(kept) => {
            let proof = proof(&service, &args.login.username, &password, kept, newest).await?;
            consistent(kept, newest, &proof).map_err(|cause| refused(&args, cause))?;
            true
        }
        None => true,
    };
    if added {
        store.append(&text)?;
    }
    let (size, file) = (newest.size, args.store.display().to_string());
    Outcome::done(
        match added {
            true => format!("{size} records: kept in {file}"),
            false => format!("{size} records: kept already in {file}"),
        },
        json!({"size": size, "root": newest.root.to_string(), "added": added, "file": file}),
    )
}

/// The proof that `newest` continues `kept`. Only a longer log has one.
async fn proof(
    service: &Service,
    username: &str,
    password: &Secret,
    kept: &Checkpoint,
    newest: &Checkpoint,
) -> anyhow::Result<Vec<Hash>> {
    match newest.size > kept.size {
        true => service.consistency(&service.log_in(username, password).await?, kept.size, newest.size).await,
        false => Ok(Vec::new()),
    }
}

fn consistent(kept: &Checkpoint, newest: &Checkpoint, proof: &[Hash]) -> anyhow::Result<()> {
    if newest.size < kept.size {
        anyhow::bail!("there were {} records, and now there are {}", kept.size, newest.size);
    }
    verify_consistency(kept.size, kept.root, newest.size, newest.root, proof).with_context(|| {
        format!("the log of {} records does not continue that of {}", newest.size, kept.size)
    })
}

fn refused(args: &Args, cause: anyhow::Error) -> anyhow::Error {
    let told = format!("HISTORY WAS REWRITTEN at {}, or this is another log; nothing was kept", args.url);
    Refused(cause.context(told)).into()
}
