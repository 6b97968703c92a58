//! `offers dev exec`: runs another verb of this program in the environment of a running installation.
//!
//! `./dev check` is `offers check` against the private servers of `./dev`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use super::Directory;
use crate::cli::output;
use crate::devstack::Environment;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    directory: Directory,
    /// The verb and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Replaces this process by the verb; returns only after an error.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let dir = args.directory.dir;
    let environment = Environment::of(&dir);
    if environment.is_none() {
        output::message(format_args!(
            "Nothing runs on {}; start it with ./dev, in another terminal.",
            dir.display()
        ));
    }
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let error = Command::new(program).args(args.words).envs(environment.unwrap_or_default().missing()).exec();
    Err(error).context("cannot run the verb")
}
