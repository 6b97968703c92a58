//! docker-compose.yml as compose reads it: parsed, its variables put in.

use serde::Deserialize;
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Names and values.
pub type Variables = BTreeMap<String, String>;

/// The whole file. What this test does not know would go unchecked, so it is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    #[serde(rename = "name")]
    _name: String,
    pub services: BTreeMap<String, Service>,
    pub volumes: BTreeMap<String, Option<String>>,
    pub networks: BTreeMap<String, Option<Network>>,
    #[serde(rename = "x-confined")]
    _confined: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub image: String,
    pub build: Option<String>,
    #[serde(default)]
    pub profiles: Vec<String>,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(rename = "user")]
    _user: Option<String>,
    #[serde(default)]
    pub environment: Variables,
    #[serde(default)]
    pub volumes: Vec<String>,
    #[serde(rename = "tmpfs", default)]
    _tmpfs: Vec<String>,
    #[serde(default)]
    pub ports: Vec<String>,
    pub networks: Networks,
    pub read_only: bool,
    pub cap_drop: Vec<String>,
    #[serde(default)]
    pub cap_add: Vec<String>,
    pub security_opt: Vec<String>,
    #[serde(rename = "mem_limit")]
    _mem_limit: String,
    #[serde(rename = "pids_limit")]
    _pids_limit: u32,
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
    pub healthcheck: Option<HealthCheck>,
    pub stop_grace_period: Option<String>,
    pub restart: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub condition: String,
    /// Whether it must be there at all; what belongs to another profile may be missing.
    pub required: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    #[serde(default)]
    pub internal: bool,
    #[serde(rename = "ipam")]
    _ipam: Option<Value>,
}

/// The networks that a service is on.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Networks {
    Names(BTreeSet<String>),
    Addresses(BTreeMap<String, Address>),
}

/// Where a service is on a network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    pub ipv4_address: IpAddr,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    pub test: Vec<String>,
    #[serde(rename = "interval")]
    _interval: String,
    #[serde(rename = "timeout")]
    _timeout: String,
    #[serde(rename = "retries")]
    _retries: u32,
}

/// A `${…}` of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub name: String,
    pub otherwise: Otherwise,
}

/// What compose does when the variable is unset or empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Otherwise {
    /// Nothing stands there.
    Empty,
    /// `:-`
    Default(String),
    /// `:?`: it says this and starts nothing.
    Refuse(String),
    /// A setting without a value: the container does not get the variable.
    Unset,
}

pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn text(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

impl Compose {
    /// # Errors
    /// What compose would say instead of starting.
    pub fn with(variables: &Variables) -> Result<Self, String> {
        let mut file = parsed();
        pass_through(&mut file, &mut |name| variables.get(name).cloned());
        put_in(&mut file, &mut |text| resolve(text, variables))?;
        Ok(serde_yaml_ng::from_value(file).unwrap())
    }

    /// The services that run our own program.
    pub fn ours(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter().filter(|(_, service)| service.build.is_some())
    }
}

impl Service {
    /// The ports that it listens on: what its command or its settings say, or the server's usual one.
    pub fn listens_on(&self) -> BTreeSet<u16> {
        let (kind, _) = self.image.split_once(':').unwrap_or((&self.image, ""));
        match kind {
            "postgres" => BTreeSet::from([setting(&self.command, "port=").unwrap_or(5432)]),
            "redis" => {
                let words = self.command.iter().flat_map(|part| part.split(' ')).map(str::to_owned);
                BTreeSet::from([after(&words.collect::<Vec<_>>(), "--port").unwrap_or(6379)])
            }
            "prom/prometheus" => BTreeSet::from([9090]),
            "grafana/grafana" => BTreeSet::from([3000]),
            "caddy" => BTreeSet::from([80, 443]),
            "nats" => ["-p", "-m"].into_iter().filter_map(|flag| after(&self.command, flag)).collect(),
            _ => {
                let listen = |(name, value): (&String, &String)| {
                    let port = value.rsplit_once(':')?.1;
                    name.ends_with("LISTEN").then(|| port.parse().unwrap())
                };
                self.environment.iter().filter_map(listen).collect()
            }
        }
    }

    /// The networks that it is on.
    pub fn networks(&self) -> BTreeSet<&str> {
        match &self.networks {
            Networks::Names(names) => names.iter().map(String::as_str).collect(),
            Networks::Addresses(addresses) => addresses.keys().map(String::as_str).collect(),
        }
    }

    /// Where a file of ours is inside, and which it is: `./here:/there:ro`.
    pub fn mounts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.volumes.iter().map(|volume| {
            let mut parts = volume.split(':');
            (parts.next().unwrap(), parts.next().expect("a volume has a place inside"))
        })
    }
}

fn after(words: &[String], flag: &str) -> Option<u16> {
    let at = words.iter().position(|word| word == flag)?;
    Some(words[at + 1].parse().unwrap())
}

fn setting(words: &[String], name: &str) -> Option<u16> {
    words.iter().find_map(|word| word.strip_prefix(name)).map(|port| port.parse().unwrap())
}

/// Every `${…}` of the file.
pub fn uses() -> BTreeSet<Use> {
    let mut file = parsed();
    let mut uses = BTreeSet::new();
    pass_through(&mut file, &mut |name| {
        uses.insert(Use { name: name.to_owned(), otherwise: Otherwise::Unset });
        None
    });
    let mut note = |text: &str| {
        uses.extend(pieces(text).into_iter().filter_map(Result::err));
        Ok(text.to_owned())
    };
    put_in(&mut file, &mut note).unwrap();
    uses
}

fn parsed() -> Value {
    let mut file: Value = serde_yaml_ng::from_str(&text("docker-compose.yml")).unwrap();
    file.apply_merge().unwrap();
    file
}

/// Gives each setting that has no value in the file that of the variable of its name, or takes it out.
fn pass_through(file: &mut Value, variable: &mut dyn FnMut(&str) -> Option<String>) {
    let services = file["services"].as_mapping_mut().unwrap();
    for settings in services.values_mut().filter_map(|service| service.get_mut("environment")) {
        settings.as_mapping_mut().unwrap().retain(|name, value| {
            let given = value.is_null().then(|| variable(name.as_str().unwrap()));
            let keep = given != Some(None);
            if let Some(Some(given)) = given {
                *value = Value::String(given.replace('$', "$$"));
            }
            keep
        });
    }
}

fn put_in(value: &mut Value, change: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = change(text)?,
        Value::Sequence(values) => values.iter_mut().try_for_each(|value| put_in(value, change))?,
        Value::Mapping(map) => map.values_mut().try_for_each(|value| put_in(value, change))?,
        _ => {}
    }
    Ok(())
}

fn resolve(text: &str, variables: &Variables) -> Result<String, String> {
    let piece = |piece| match piece {
        Ok(text) => Ok(text),
        Err(Use { name, otherwise }) => {
            match (variables.get(&name).filter(|value| !value.is_empty()), otherwise) {
                (Some(value), _) => Ok(value.clone()),
                (None, Otherwise::Empty | Otherwise::Unset) => Ok(String::new()),
                (None, Otherwise::Default(value)) => Ok(value),
                (None, Otherwise::Refuse(why)) => Err(format!("{name}: {why}")),
            }
        }
    };
    pieces(text).into_iter().map(piece).collect()
}

/// Plain text and variables, in turn; `$$` is a dollar.
fn pieces(text: &str) -> Vec<Result<String, Use>> {
    let Some((before, rest)) = text.split_once('$') else { return vec![Ok(text.to_owned())] };
    let mut found = vec![Ok(before.to_owned())];
    if let Some(rest) = rest.strip_prefix('$') {
        found.push(Ok("$".to_owned()));
        found.extend(pieces(rest));
        return found;
    }
    let inside = rest.strip_prefix('{').expect("variables are written ${NAME}");
    let (inside, rest) = inside.split_once('}').expect("a ${ has its }");
    found.push(Err(variable(inside)));
    found.extend(pieces(rest));
    found
}

fn variable(inside: &str) -> Use {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    let otherwise = match (rest, rest.strip_prefix(":-"), rest.strip_prefix(":?")) {
        ("", ..) => Otherwise::Empty,
        (_, Some(value), _) => Otherwise::Default(value.to_owned()),
        (.., Some(why)) => Otherwise::Refuse(why.to_owned()),
        _ => panic!("${{{inside}}}: this test does not know that form"),
    };
    Use { name: name.to_owned(), otherwise }
}

/// The variables of .env.example that have to be filled in.
pub fn example() -> Variables {
    let lines = text(".env.example");
    let lines = lines.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| assignment(line).unwrap_or_else(|| panic!(".env.example: {line}"))).collect()
}

/// The variables of .env.example that may be filled in, with their defaults: `#NAME=default`.
pub fn optional() -> Variables {
    text(".env.example").lines().filter_map(|line| assignment(line.strip_prefix('#')?)).collect()
}

fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

/// A .env that says only what must be said: a value of its own for each secret, made as the comment there
/// says.
pub fn only_demanded() -> Variables {
    let mut variables = example();
    for (number, name) in demanded().into_iter().enumerate() {
        variables.insert(name, format!("p{number:016x}{}", "0123456789abcdef".repeat(2)));
    }
    variables.insert("OFFERS_EXTERNAL_URL".to_owned(), "http://simulator:8090".to_owned());
    variables
}

/// A .env that says everything.
pub fn filled() -> Variables {
    let mut variables = only_demanded();
    variables.extend(optional());
    for (name, value) in [
        ("OFFERS_EXTERNAL_URL", "http://simulator:8090/base"),
        ("OFFERS_CURRENCY", "CHF"),
        (
            "OFFERS_CHECKPOINT_KEY",
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        ),
        ("OFFERS_CORS_ORIGINS", "https://shop.example"),
        ("OFFERS_HSTS", "365d"),
        ("OFFERS_NATS_REPLICAS", "1"),
        ("OFFERS_SMTP_URL", "smtps://offers:p%40ss@127.0.0.1:9"),
        ("OFFERS_MAIL_FROM", "Offers <offers@example.com>"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("RUST_LOG", "error"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let empty: Vec<&String> =
        variables.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    assert!(empty.is_empty(), "this test has no sample for {empty:?}");
    variables
}

/// The variables without which compose starts nothing.
pub fn demanded() -> BTreeSet<String> {
    let demanded = |one: Use| matches!(one.otherwise, Otherwise::Refuse(_)).then_some(one.name);
    uses().into_iter().filter_map(demanded).collect()
}
