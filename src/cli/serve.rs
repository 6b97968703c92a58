//! `offers serve`: the service itself.

use crate::config::Serve;
use crate::runtime;
use std::process::ExitCode;

pub(super) async fn run(config: &Serve) -> anyhow::Result<ExitCode> {
    runtime::run(config).await?;
    Ok(ExitCode::SUCCESS)
}
