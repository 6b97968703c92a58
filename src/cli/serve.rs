//! `offers serve`: the service itself.

use crate::config::Serve;
use crate::service;
use std::process::ExitCode;

pub(super) async fn run(config: &Serve) -> anyhow::Result<ExitCode> {
    service::run(config).await?;
    Ok(ExitCode::SUCCESS)
}
