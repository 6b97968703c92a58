//! The guides of those who call the service: their commands print what they say, and clients that are generated from
//! its document buy. They share one system.

use crate::support::guide::{Guide, Reader};
use crate::support::languages::{node_is_missing, python_is_missing, skipped};
use crate::support::up::Up;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The exit code of tests/clients/generated.py when a generator cannot be installed.
const INCOMPLETE: i32 = 3;

/// README, CONTRIBUTING and the guides, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files =
        [root.to_path_buf(), root.join("docs")].into_iter().flat_map(|folder| folder.read_dir().unwrap());
    let texts =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "md"));
    texts.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|char| char.is_alphanumeric() || "-_".contains(*char)).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for (document, text) in documents() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(char::is_whitespace)) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let target = if file.is_file() { std::fs::read_to_string(&file).unwrap() } else { String::new() };
            let mut headings =
                target.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
            if !file.exists()
                || !(heading.is_empty() || headings.any(|known| anchor(known.trim()) == heading))
            {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_places_that_contributing_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let named = text.split('`').skip(1).step_by(2);
    let is_path =
        |name: &&str| name.contains('/') && !name.contains(['<', ' ', '$']) && !name.starts_with(['.', '/']);
    let missing: Vec<&str> = named.filter(is_path).filter(|name| !root.join(name).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guides_for_callers_show_is_what_happens() {
    if node_is_missing().await || python_is_missing().await {
        return;
    }
    let up = Up::start("guides").await;
    let url = up.demo().unwrap()["api_url"].as_str().unwrap().to_owned();
    let environment = vec![("URL", url), ("OFFERS_DATA_DIR", up.dir.display().to_string())];
    let reader = Reader::new("callers", None, environment);
    std::os::unix::fs::symlink(&up.dir, reader.dir.join(".data")).unwrap();
    for guide in ["../README.md", "clients.md", "partners.md", "admin.md"] {
        reader.runs(&Guide::read(guide).steps).await;
    }
    clients_are_generated(&up).await;
}

/// In TypeScript and Python: each buys.
async fn clients_are_generated(up: &Up) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/generated.py");
    let mut command = Command::new("python3");
    let run = command.arg(script).arg(up.dir.join("demo.json")).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    match run.status.code() {
        Some(0) => {}
        Some(INCOMPLETE) => skipped(&said),
        _ => panic!("{said}"),
    }
}
