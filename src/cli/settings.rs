//! Reads the command line and the variables `OFFERS_…`, and refuses what nobody can have meant.

use std::collections::BTreeSet;
use std::env;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, Parser};

use super::Cli;
use crate::config::refuse_unknown_variables;

/// What was asked for. Does not return for `--help`, or when the command line cannot be used.
pub(super) fn read() -> anyhow::Result<Cli> {
    let read = Cli::try_parse();
    if matches!(&read, Err(help) if !help.use_stderr()) {
        return Ok(read.unwrap_or_else(|help| help.exit()));
    }
    let command = Cli::command();
    let names = arguments(&command).into_iter().filter_map(|argument| argument.get_env()?.to_str());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    refuse_unknown_variables(env::vars_os().filter_map(|(name, _)| name.into_string().ok()), &names)?;
    Ok(read.unwrap_or_else(|error| with_its_variable(error, &command).exit()))
}

/// The arguments of all verbs.
fn arguments(command: &Command) -> Vec<&Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(arguments)).collect()
}

/// Says which variable a wrong value comes from, when it is not from a flag.
fn with_its_variable(mut error: clap::Error, command: &Command) -> clap::Error {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return error };
    let flag = usage.split([' ', '=']).next().unwrap_or_default().to_owned();
    let argument = arguments(command).into_iter().find(|one| one.get_long() == flag.strip_prefix("--"));
    let variable = argument.and_then(|argument| argument.get_env()?.to_str());
    if let Some(variable) = variable.filter(|variable| env::var_os(variable).is_some())
        && !env::args().any(|word| word.starts_with(&flag))
    {
        error.insert(ContextKind::InvalidArg, ContextValue::String(format!("{variable} (or {usage})")));
    }
    error
}
