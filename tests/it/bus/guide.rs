//! docs/analysts.md: its commands print what it says, and its Python and Rust read what it says.

use super::analyst::{API_PREFIX, mirrored};
use super::everything;
use crate::support::eventually::eventually;
use crate::support::guide::{Guide, Reader};
use crate::support::languages::python_with_packages;
use crate::support::nats_server::NatsServer;
use crate::support::up::Up;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::StreamExt;
use offers::event_log::EventLog;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const THIS_FILE: &str = include_str!("guide.rs");

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_analysts_guide_prints_what_the_guide_says() {
    let Some(python) = python_with_packages().await else { return };
    let up = Up::start("analyst").await;
    let demo = up.demo().unwrap();
    let text = |pointer: &str| demo.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let log = EventLog::at(&text("/database_url"), &CancellationToken::new()).unwrap();
    let nats_url = text("/analyst/nats_url");
    let guide = Guide::read("analysts.md");

    let environment = vec![("URL", text("/api_url")), ("OFFERS_DATABASE_URL", text("/database_url"))];
    let reader = Reader::new("analyst", Some(&python), environment);
    std::os::unix::fs::symlink(&up.dir, reader.dir.join(".data")).unwrap();
    let reading = guide.steps.iter().position(|step| step.command.contains("revenue.py")).unwrap();
    let (buying, reading) = guide.steps.split_at(reading);
    reader.runs(buying).await;
    let analyst = crate::support::nats_server::connect(&nats_url).await;
    let analyst = async_nats::jetstream::with_prefix(analyst, API_PREFIX);
    let head = u64::try_from(log.head().await.unwrap()).unwrap();
    eventually("the analysts' stream has everything", async || {
        let stream = analyst.get_stream("OFFERS_EVENTS").await;
        stream.is_ok_and(|stream| stream.cached_info().state.last_sequence == head)
    })
    .await;
    reader.runs(reading).await;

    let read = run_the_python_lines(guide.block("python"), &python, &nats_url, head).await;
    let log = everything(&log).await;
    for (line, event) in read.iter().zip(&log) {
        assert!(line.starts_with(&format!("{} offers.", event.position)), "{line}");
    }
    assert_eq!(read.len(), log.len());
}

/// What they print up to the position `head`.
async fn run_the_python_lines(lines: &str, python: &Path, nats_url: &str, head: u64) -> Vec<String> {
    let script = format!("{lines}\nasyncio.run(main({nats_url:?}))\n");
    let mut run = Command::new(python)
        .args(["-u", "-c", &script])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(run.stdout.take().unwrap()).lines();
    let mut read = Vec::new();
    while u64::try_from(read.len()).unwrap() < head {
        read.push(printed.next_line().await.unwrap().expect("it goes on until it is ended"));
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_lines_of_the_analysts_guide_read_from_a_position_on() {
    let server = NatsServer::start().await;
    let (fixture, _) = mirrored(&server).await;
    let guide = Guide::read("analysts.md");
    for line in guide.block("rust").lines().filter(|line| !line.contains("connect(")) {
        let line = line.trim_end_matches("… }").trim();
        assert!(THIS_FILE.contains(line), "{line}");
    }
    let client = server.client("analyst").await;
    let mut position = 42;
    let read = async || {
        let analyst = async_nats::jetstream::with_prefix(client, "EVENTS.API");
        let stream = analyst.get_stream("OFFERS_EVENTS").await?;
        let from = DeliverPolicy::ByStartSequence { start_sequence: position + 1 };
        let config = pull::OrderedConfig { deliver_policy: from, ..Default::default() };
        let mut events = stream.create_consumer(config).await?.messages().await?;
        while let Some(message) = events.next().await {
            position += 1;
            let message = message?;
            let told = message.headers.as_ref().and_then(|headers| headers.get("Offers-Position"));
            assert_eq!(told.unwrap().as_str(), position.to_string());
            if position == 150 {
                break;
            }
        }
        Ok::<(), async_nats::Error>(())
    };
    read().await.unwrap();
    assert_eq!(everything(&fixture.log).await.len(), 150);
}
