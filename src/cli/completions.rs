//! `offers completions SHELL` and `offers man`: what a package installs beside the program.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use serde_json::json;

use super::Cli;
use super::output::Outcome;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell that reads the script
    shell: Shell,
}

pub(super) fn completions(args: &Args) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "offers", &mut script);
    let script = String::from_utf8(script)?;
    Outcome::done(&script, json!({"shell": args.shell.to_string(), "script": &script}))
}

/// The pages of all verbs, one after another: a reader of roff takes them as one document.
pub(super) fn man() -> anyhow::Result<Outcome> {
    let mut pages = Vec::new();
    let mut command = Cli::command();
    command.build();
    write_pages(&command, &mut pages)?;
    let pages = String::from_utf8(pages)?;
    Outcome::done(&pages, json!({"section": 1, "roff": &pages}))
}

fn write_pages(command: &clap::Command, pages: &mut Vec<u8>) -> anyhow::Result<()> {
    if command.is_hide_set() {
        return Ok(());
    }
    Man::new(command.clone()).render(pages)?;
    command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
        .try_for_each(|verb| write_pages(verb, pages))
}
