//! `offers serve`: the service itself.

use super::output::Outcome;
use crate::config::Serve;
use crate::runtime;

pub(super) async fn run(config: &Serve) -> anyhow::Result<Outcome> {
    runtime::run(config).await?;
    Ok(Outcome::SILENT)
}
