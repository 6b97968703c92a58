//! What is counted is described, and what is described is counted.

use crate::support::service::{Service, send};
use offers::telemetry::{METRICS, MetricKind, manual};
use reqwest::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// (name, shape, labels) of every place in the source that counts something. In the same order everywhere:
/// the recorder would take another order for another series, and Prometheus for the same one twice.
fn counted() -> BTreeSet<(String, &'static str, Vec<String>)> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for shape in ["counter", "gauge", "histogram"] {
            for (at, call) in text.match_indices(&format!("metrics::{shape}!(")) {
                found.insert(read(&text[at + call.len()..], shape));
            }
        }
    }
    found
}

/// One call's arguments: up to the bracket that closes them.
fn read(text: &str, shape: &'static str) -> (String, &'static str, Vec<String>) {
    let mut depth = 1;
    let end = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    let arguments = &text[..end.unwrap()];
    let strings: Vec<&str> = arguments.split('"').collect();
    let labels = strings.windows(2).skip(2).filter(|pair| pair[1].trim_start().starts_with("=>"));
    (strings[1].to_owned(), shape, labels.map(|pair| pair[0].to_owned()).collect())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_metric_is_described_once_with_its_labels() {
    let described: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let shape = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let labels = metric.labels.iter().map(|(label, _)| (*label).to_owned()).collect();
            (metric.name.to_owned(), shape, labels)
        })
        .collect();
    let unique: BTreeSet<_> = described.iter().cloned().collect();
    assert_eq!(unique.len(), described.len(), "a metric is described twice");
    let counted = counted();
    let undescribed: Vec<_> = counted.difference(&unique).collect();
    // The crate `metrics-process` counts those of the process.
    let uncounted = unique.difference(&counted).filter(|(name, ..)| !name.starts_with("process_"));
    let uncounted: Vec<_> = uncounted.collect();
    assert!(undescribed.is_empty(), "counted but not described in src/telemetry/metrics.rs: {undescribed:?}");
    assert!(uncounted.is_empty(), "described but nowhere counted: {uncounted:?}");
}

#[test]
fn names_follow_the_conventions() {
    for metric in METRICS {
        let of_the_seed =
            ["activation_requests_total", "activation_processing_seconds"].contains(&metric.name);
        let usual = ["offers_", "process_"].iter().any(|prefix| metric.name.starts_with(prefix));
        assert!(of_the_seed || usual, "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
        assert!(!metric.about.is_empty() && !metric.about.contains('|'), "{}", metric.name);
    }
}

#[test]
fn the_manual_is_up_to_date() {
    let path = root().join("docs/metrics.md");
    if std::env::var_os("OFFERS_WRITE_DOCS").is_some() {
        fs::write(&path, manual()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == manual(), "docs/metrics.md is old: OFFERS_WRITE_DOCS=1 cargo test --test it metrics");
}

#[tokio::test]
async fn the_program_and_its_process_are_measured_as_everybody_measures_them() {
    let service = Service::start().await;
    let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
    let described = names.iter().filter(|name| name.starts_with("process_")).count();
    let text = send(service.anonymous(Method::GET, "/metrics")).await.text;
    assert_eq!(text.lines().filter(|line| line.starts_with("process_")).count(), described, "{text}");
    let build = format!(r#"offers_build_info{{version="{}",commit=""#, env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&build), "{text}");
    let series = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let undescribed: Vec<_> = series.filter(|name| !names.contains(name)).collect();
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

#[tokio::test]
async fn requests_are_counted_by_their_route_and_never_by_their_path() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 500).await;
    let nowhere = uuid::Uuid::now_v7().simple().to_string();
    assert_eq!(service.get(&alice, &format!("/offers/{offer}/")).await.status, 200);
    assert_eq!(service.get(&alice, &format!("/{nowhere}/")).await.status, 404);
    let brew = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(send(service.request(&alice, brew, "/offers/")).await.status, 405);
    let text = send(service.anonymous(Method::GET, "/metrics")).await.text;
    let counted = |labels: &str| text.contains(&format!("offers_http_requests_total{{{labels}}}"));
    assert!(counted(r#"route="/api/v1/offers/{id}",method="GET",status="200""#), "{text}");
    assert!(counted(r#"route="unmatched",method="GET",status="404""#));
    assert!(counted(r#"route="/api/v1/offers",method="other",status="405""#));
    assert!(!text.contains(&nowhere) && !text.contains(&offer.to_string()) && !text.contains("BREW"));
    assert!(text.contains("# HELP offers_http_requests_total Answered HTTP requests"));
    let series = text.lines().filter(|line| line.starts_with("offers_http_request_seconds_count")).count();
    let names: BTreeMap<&str, usize> = BTreeMap::from([("offers_http_request_seconds_count", series)]);
    assert!(names.values().all(|series| *series < 500), "{names:?}");
}
