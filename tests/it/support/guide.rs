//! Guides in docs/: what they show is run, and prints what they say.

use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Between the outputs of two commands.
const MARK: &str = "=== the next command ===";
/// How long the commands of a guide may take, all together.
const PATIENCE: Duration = Duration::from_secs(300);
/// `./dev` of a reader, without the building.
const DEV: &str = r#"#!/bin/sh
case $1 in down | reset | status | simulate) exec offers dev "$@" ;; *) exec offers dev exec -- "$@" ;; esac
"#;

pub struct Guide {
    text: String,
    /// Of its `console` blocks.
    pub steps: Vec<Step>,
}

/// A command and the lines that it prints, in which `…` stands for anything. As in a terminal, `$ ` begins a command
/// and `> ` goes on with it.
pub struct Step {
    pub command: String,
    expected: Vec<String>,
}

impl Guide {
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(docs().join(name)).unwrap();
        let steps = blocks(&text, "console").flat_map(steps).collect();
        Self { text, steps }
    }

    /// The only block in this language.
    pub fn block(&self, language: &str) -> &str {
        let blocks: Vec<&str> = blocks(&self.text, language).collect();
        let [block] = blocks[..] else { panic!("{} blocks in {language}", blocks.len()) };
        block
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("```{language}\n");
    let parts: Vec<&str> = text.split(&*begin).skip(1).collect();
    parts.into_iter().map(|part| part.split("```").next().unwrap())
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
            (Some(command), _, _) => {
                steps.push(Step { command: command.to_owned(), expected: Vec::new() });
            }
            (None, Some(more), Some(step)) => step.command.extend(["\n", more]),
            (None, None, Some(step)) => step.expected.push(line.to_owned()),
            (None, _, None) => panic!("output without a command: {line}"),
        }
    }
    steps
}

/// A directory with docs/ and our program, as a reader has them.
pub struct Reader {
    pub dir: PathBuf,
    path: String,
    environment: Vec<(&'static str, String)>,
}

impl Reader {
    /// With these variables, and this Python instead of the machine's.
    pub fn new(name: &str, python: Option<&Path>, environment: Vec<(&'static str, String)>) -> Self {
        let dir = std::env::temp_dir().join(format!("offers-guide-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink(docs(), dir.join("docs")).unwrap();
        std::fs::write(dir.join(".curlrc"), "show-error\n").unwrap(); // `curl -s` alone hides why it failed
        std::fs::write(dir.join("dev"), DEV).unwrap();
        std::fs::set_permissions(dir.join("dev"), Permissions::from_mode(0o755)).unwrap();
        let programs = [Some(Path::new(env!("CARGO_BIN_EXE_offers"))), python].into_iter().flatten();
        let mut path = std::env::var("PATH").unwrap();
        for program in programs {
            path = format!("{}:{path}", program.parent().unwrap().display());
        }
        Self { dir, path, environment }
    }

    /// In one shell.
    pub async fn runs(&self, steps: &[Step]) {
        let script: String = steps.iter().map(|step| format!("{}\necho '{MARK}'\n", step.command)).collect();
        let said_file = self.dir.join("said");
        let mut shell = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .current_dir(&self.dir)
            .env("PATH", &self.path)
            .env("CURL_HOME", &self.dir)
            .envs(self.environment.clone())
            .stdin(Stdio::null())
            .stdout(File::create(&said_file).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Pid::from_raw(shell.id().unwrap().try_into().unwrap()).unwrap();
        let ended = timeout(PATIENCE, shell.wait()).await;
        let _nothing_is_left = kill_process_group(group, Signal::KILL); // with what runs in the background
        let said = std::fs::read_to_string(said_file).unwrap();
        assert!(ended.is_ok(), "it does not end: {said}");
        let outputs: Vec<&str> = said.split(&format!("{MARK}\n")).collect();
        assert_eq!(outputs.len(), steps.len() + 1, "{said}");
        for (step, output) in steps.iter().zip(outputs) {
            let lines: Vec<&str> = output.lines().collect();
            let are_equal = lines.len() == step.expected.len()
                && lines.iter().zip(&step.expected).all(|(line, expected)| fits(expected, line));
            assert!(
                are_equal,
                "{said}\n$ {}\n{output}\ninstead of\n{}",
                step.command,
                step.expected.join("\n")
            );
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _what_is_left_is_temporary = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether `text` has the parts of `pattern` in their order.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        let found = if is_last && !part.is_empty() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        match found {
            Some(place) => rest = if is_last && part.is_empty() { "" } else { &rest[place + part.len()..] },
            None => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn the_dots_of_a_guide_stand_for_anything() {
    assert!(fits("a…b…", "a1b2") && fits("a…", "abc") && fits("…+…+…", "x+y+z") && fits("", ""));
    assert!(!fits("a…b", "abc") && !fits("ab", "abc") && !fits("a…x…c", "abc"));
}
