//! Settings of `./dev`, which no other service takes.

use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// What `./dev` alone gives to the service that it starts.
#[derive(Args, Clone, Debug, Default)]
pub struct Development {
    /// Ids and logins of the demo data, as JSON, for the examples of /openapi.json.
    #[arg(long, env = "OFFERS_DOCS_EXAMPLES", hide = true, value_parser = json)]
    pub docs_examples: Option<Value>,
    /// A file with the seconds that the service's clock is ahead of the system's.
    #[arg(long, env = "OFFERS_CLOCK_FILE", hide = true)]
    pub clock_file: Option<PathBuf>,
}

impl Development {
    /// The name of a setting that was given.
    #[must_use]
    pub fn given(&self) -> Option<&'static str> {
        let examples = self.docs_examples.as_ref().map(|_| "OFFERS_DOCS_EXAMPLES");
        self.clock_file.as_ref().map(|_| "OFFERS_CLOCK_FILE").or(examples)
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|cause| cause.to_string())
}
