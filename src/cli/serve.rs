//! `offers serve`: the service itself.

use std::env;
use std::path::Path;

use anyhow::ensure;

use super::output::Outcome;
use crate::config::Serve;
use crate::{devstack, runtime};

pub(super) async fn run(config: &Serve) -> anyhow::Result<Outcome> {
    if let Some(name) = config.development.given() {
        ensure!(is_started_by_dev(), "{name} is for the service that ./dev starts, and for no other");
    }
    runtime::run(config).await?;
    Ok(Outcome::SILENT)
}

/// Whether the process that has started this one is the `./dev` of the data directory.
fn is_started_by_dev() -> bool {
    let owner = env::var_os("OFFERS_DATA_DIR").and_then(|dir| devstack::status(Path::new(&dir)).owner);
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    owner.is_some() && owner == parent
}
