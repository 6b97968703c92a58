//! The dashboard and the alerts ask only for what the service declares: a metric, a label or a value that is
//! not there would show nothing and never fire, and nobody would know. Whether they find anything is for
//! deploy/check-dashboard.py.

mod promql;

use offers::telemetry::{Described, METRICS, MetricKind, Values};
use promql::{Selector, read};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["job", "instance"];

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    holds_for: String,
    labels: Severity,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Severity {
    severity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    description: String,
    action: String,
    runbook_url: String,
}

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    id: u32,
    title: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default, rename = "fieldConfig")]
    fields: Fields,
}

#[derive(Default, Deserialize)]
struct Fields {
    defaults: FieldDefaults,
}

#[derive(Default, Deserialize)]
struct FieldDefaults {
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    url: String,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_yaml_ng::from_str(&text("deploy/prometheus/rules.yml")).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn panels() -> Vec<Panel> {
    serde_json::from_str::<Dashboard>(&text("deploy/grafana/offers.json")).unwrap().panels
}

/// Which declared metric a series belongs to, and the labels of the series.
fn declared(series: &str) -> Option<(&'static Described, BTreeSet<&'static str>)> {
    METRICS.iter().find_map(|metric| {
        let suffix = series.strip_prefix(metric.name)?;
        let known = match metric.kind {
            MetricKind::Histogram => ["_bucket", "_sum", "_count"].contains(&suffix),
            MetricKind::Counter | MetricKind::Gauge => suffix.is_empty(),
        };
        let own = metric.labels.iter().map(|(label, _)| *label);
        let bucket = (suffix == "_bucket").then_some("le");
        known.then(|| (metric, own.chain(bucket).chain(ADDED).collect()))
    })
}

/// Nothing, or what is wrong with `expression`.
fn mistakes(expression: &str) -> Vec<String> {
    let query = read(expression);
    let mut wrong = Vec::new();
    let mut labels = BTreeSet::from(ADDED);
    for Selector { series, matchers } in &query.selectors {
        if series == "up" {
            continue; // Prometheus's own
        }
        let Some((metric, own)) = declared(series) else {
            wrong.push(format!("there is no {series}"));
            continue;
        };
        for (label, value) in matchers {
            let says = metric.labels.iter().find(|(name, _)| name == label).map(|(_, values)| *values);
            match says {
                Some(Values::These(values)) if value.split('|').all(|one| values.contains(&one)) => {}
                Some(Values::These(_)) => wrong.push(format!("{series} never has {label}=\"{value}\"")),
                Some(Values::Others(_)) => {}
                None if own.contains(label.as_str()) => {}
                None => wrong.push(format!("{series} has no label {label}")),
            }
        }
        labels.extend(own);
    }
    let unknown = query.groupings.iter().filter(|label| !labels.contains(label.as_str()));
    wrong.extend(unknown.map(|label| format!("nothing here has the label {label}")));
    if query.selectors.is_empty() {
        wrong.push("it asks for nothing".to_owned());
    }
    wrong
}

#[test]
fn every_alert_asks_for_what_the_service_declares() {
    for alert in alerts() {
        assert_eq!(mistakes(&alert.expr), Vec::<String>::new(), "{}", alert.alert);
    }
}

#[test]
fn every_panel_asks_for_what_the_service_declares() {
    for panel in panels() {
        for target in &panel.targets {
            assert_eq!(mistakes(&target.expr), Vec::<String>::new(), "{}: {}", panel.title, target.expr);
        }
    }
}

#[test]
fn every_metric_of_the_service_is_on_the_dashboard() {
    let queries: Vec<_> = panels().into_iter().flat_map(|panel| panel.targets).collect();
    let shown = queries.iter().flat_map(|target| read(&target.expr).selectors);
    let shown: BTreeSet<_> =
        shown.filter_map(|selector| declared(&selector.series)).map(|(metric, _)| metric.name).collect();
    let missing: Vec<_> =
        METRICS.iter().map(|metric| metric.name).filter(|name| !shown.contains(name)).collect();
    let missing: Vec<_> = missing.into_iter().filter(|name| !name.starts_with("process_virtual_")).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_panel_says_what_it_shows_and_has_an_id_of_its_own() {
    let panels = panels();
    let ids: BTreeSet<u32> = panels.iter().map(|panel| panel.id).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel.kind != "row") {
        assert!(!panel.description.is_empty() && !panel.targets.is_empty(), "{}", panel.title);
    }
}

#[test]
fn every_alert_says_what_to_do_leads_to_its_runbook_and_is_tested() {
    let (manual, tests) = (text("docs/alerts.md"), text("deploy/prometheus/rules_test.yml"));
    let links: Vec<_> = panels().into_iter().flat_map(|panel| panel.fields.defaults.links).collect();
    let links: BTreeSet<_> = links.into_iter().map(|link| link.url).collect();
    assert_eq!(
        manual.matches("\n## ").count(),
        alerts().len(),
        "docs/alerts.md has an alert that is not there"
    );
    for Alert { alert, expr, holds_for, labels, annotations } in alerts() {
        assert!(["critical", "warning"].contains(&labels.severity.as_str()), "{alert}");
        let Annotations { summary, description, action, runbook_url } = annotations;
        let section = alert.to_lowercase();
        assert_eq!(runbook_url, format!("{{{{ $externalLabels.runbook }}}}#{section}"));
        assert!(links.contains(&format!("${{runbook}}#{section}")), "no panel leads to {alert}");
        assert!([&summary, &description, &action].iter().all(|text| !text.trim().is_empty()), "{alert}");
        let action = action.replace("{{ $labels.", "<").replace(" }}", ">");
        let (severity, expr) = (labels.severity, expr.split_whitespace().collect::<Vec<_>>().join(" "));
        let words = format!(
            "\n## {alert}\n\n**{severity}**: {description}\n\n{action}\n\nFires when this holds for {holds_for}: `{expr}`\n"
        );
        assert!(manual.contains(&words), "docs/alerts.md lacks {words}");
        let fires = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",severity=");
        let written_out = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&fires) || tests.contains(&written_out), "{alert} fires in no test");
    }
}

#[test]
fn a_mistake_is_found() {
    for (expression, mistake) in [
        ("sum(offers_log_heat)", "there is no offers_log_heat"),
        ("rate(offers_commit_seconds[5m])", "there is no offers_commit_seconds"),
        (r#"offers_leader{part="relay"}"#, "offers_leader has no label part"),
        (
            r#"offers_commands_total{outcome=~"timeout|overloded"} > 1"#,
            r#"offers_commands_total never has outcome="timeout|overloded""#,
        ),
        ("sum by (sink) (offers_leader)", "nothing here has the label sink"),
        ("vector(0)", "it asks for nothing"),
    ] {
        assert_eq!(mistakes(expression), [mistake]);
    }
}
