//! `offers verify receipt`: offline.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::output::{self, Outcome};
use crate::tree::{Receipt, VerifierKey};

/// Each receipt has its record, the proof and the signed checkpoint. Exit code 0 if all are valid, 1 if one is not, 2 if
/// the file has no receipts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file with one or more receipts; `-` for stdin
    file: PathBuf,
    /// The log's key, `<origin>+<hash>+<base64>`
    #[arg(long, value_name = "VKEY")]
    key: VerifierKey,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let text = match args.file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).context("cannot read stdin")?,
        false => super::read(&args.file)?,
    };
    let name = args.file.display();
    let receipts = Receipt::parse_all(&text).with_context(|| name.to_string())?;
    let (mut records, mut lines, mut is_valid) = (Vec::new(), Vec::new(), true);
    for receipt in &receipts {
        let position = receipt.position();
        match receipt.verify(&args.key) {
            Ok(checkpoint) => {
                lines.push(format!(
                    "position {position}: in the log {} of {} records\n{}",
                    checkpoint.origin, checkpoint.size, receipt.line
                ));
                let record: Value = serde_json::from_str(&receipt.line).unwrap_or_default();
                records.push(
                    json!({"position": position, "valid": true, "size": checkpoint.size, "record": record}),
                );
            }
            Err(cause) => {
                is_valid = false;
                lines.push(format!("position {position}: INVALID: {cause}"));
                records.push(json!({"position": position, "valid": false, "why": cause.to_string()}));
            }
        }
    }
    if !is_valid {
        output::message(format_args!("{name}: a receipt is not valid"));
    }
    let result = json!({"valid": is_valid, "origin": args.key.name(), "receipts": records});
    Ok(Outcome::done(lines.join("\n"), result)?.or_no(is_valid))
}
