//! `offers dev status`: what runs on a data directory.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::output::Outcome;
use crate::devstack;

pub(super) fn run(dir: &Path) -> anyhow::Result<Outcome> {
    let status = devstack::status(dir);
    let dir = dir.display();
    let mut lines = vec![match status.owner {
        Some(pid) => format!("running on {dir} (process {pid})"),
        None => format!("not running on {dir}"),
    }];
    for (name, process, port) in &status.children {
        let process = process.map_or_else(|| "not running".to_owned(), |pid| format!("process {pid}"));
        let port = port.map_or_else(String::new, |port| format!(", 127.0.0.1:{port}"));
        lines.push(format!("  {name:<10} {process}{port}"));
    }
    let api_url = status.demo.as_ref().map(|demo| demo.api_url.as_str());
    lines.push(api_url.map_or_else(|| "not ready".to_owned(), |url| format!("ready: {url}")));
    let child = |(name, pid, port): &(String, Option<i32>, Option<u16>)| json!({"name": name, "pid": pid, "port": port});
    let result = json!({
        "running": status.owner.is_some(),
        "data_dir": dir.to_string(),
        "pid": status.owner,
        "children": status.children.iter().map(child).collect::<Vec<Value>>(),
        "api_url": api_url,
    });
    Ok(Outcome::done(lines.join("\n"), result)?.or_no(status.owner.is_some()))
}
