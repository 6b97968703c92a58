//! The files that run the system in containers, held against the program they run. No engine is needed:
//! the files are parsed, and what they say is done with servers of this machine (`running`).

mod compose;
mod image;
mod running;

use clap::{CommandFactory, Parser};
use compose::{Compose, Otherwise, Variables, example, filled, only_secrets, root, secrets, text, uses};
use offers::cli::Cli;
use offers::config::parse_duration;
use offers::identity::SECRET_MIN_BYTES;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use url::Url;

/// What compose allows a service that names no `stop_grace_period`.
const USUAL_GRACE: Duration = Duration::from_secs(10);

fn both() -> [Compose; 2] {
    [only_secrets(), filled()].map(|variables| Compose::with(&variables).unwrap())
}

#[test]
fn the_example_of_an_env_file_has_the_variables_that_are_used_and_no_others() {
    let used: BTreeSet<String> = uses().into_iter().map(|one| one.name).collect();
    assert_eq!(used, example().into_keys().collect());
}

#[test]
fn a_variable_without_a_default_is_demanded_and_secrets_have_none() {
    for one in uses() {
        let secret = ["PASSWORD", "KEY"].iter().any(|word| one.name.ends_with(word));
        let has_default = matches!(one.otherwise, Otherwise::Default(_));
        assert!(secret != has_default, "{one:?}");
        assert!(!secret || secrets().contains(&one.name), "{} is demanded nowhere", one.name);
    }
    for name in secrets() {
        let mut variables = only_secrets();
        variables.insert(name.clone(), String::new());
        assert!(Compose::with(&variables).unwrap_err().starts_with(&name));
    }
}

#[test]
fn the_lengths_in_the_example_are_those_that_are_enforced() {
    let example = text(".env.example");
    assert!(example.contains(&format!("# At least {SECRET_MIN_BYTES} characters each")));
    let (_, recipe) = example.split_once("# openssl rand -hex ").expect("it says how to make one");
    let (bytes, prefix) = recipe.split_once(" | sed 's/^/").expect("it puts a letter first");
    assert!(2 * bytes.parse::<usize>().unwrap() >= SECRET_MIN_BYTES);
    assert!(prefix.starts_with(|c: char| c.is_ascii_alphabetic()));
}

#[test]
fn our_services_run_verbs_that_exist_with_settings_that_these_know_and_can_read() {
    for compose in both() {
        for (name, service) in compose.ours() {
            let cli = Cli::command();
            let [verb] = &service.command[..] else { panic!("{name} runs {:?}", service.command) };
            let verb = cli.find_subcommand(verb).unwrap_or_else(|| panic!("there is no `offers {verb}`"));
            let beside_the_flags = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let mut line = vec!["offers".to_owned(), verb.get_name().to_owned()];
            for (variable, value) in &service.environment {
                if beside_the_flags.contains(variable) {
                    continue; // read by a library
                }
                let reads = |arg: &&clap::Arg| arg.get_env().is_some_and(|env| env == variable.as_str());
                let arg = verb.get_arguments().find(reads);
                let arg = arg.unwrap_or_else(|| panic!("`offers {}` reads no {variable}", verb.get_name()));
                line.push(format!("--{}={value}", arg.get_long().unwrap()));
            }
            Cli::try_parse_from(&line).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
}

#[test]
fn every_url_leads_to_a_service_that_listens_there_and_is_waited_for() {
    let [compose, _] = both();
    for (name, service) in &compose.services {
        for (variable, url) in service.environment.iter().filter(|(_, value)| value.contains("://")) {
            let url = Url::parse(url).unwrap();
            let (host, port) = (url.host_str().unwrap(), url.port().expect("ports are written out"));
            let to = compose.services.get(host).unwrap_or_else(|| panic!("{variable}: no service {host}"));
            assert!(to.listens_on().contains(&port), "{variable}: {host} does not listen on {port}");
            assert!(waits_for(&compose, name, host), "{name} does not wait for {host}");
        }
    }
}

/// Directly, or because something that it waits for does.
fn waits_for(compose: &Compose, service: &str, other: &str) -> bool {
    let waits = &compose.services[service].depends_on;
    waits.contains_key(other) || waits.keys().any(|between| waits_for(compose, between, other))
}

#[test]
fn what_is_published_is_listened_on() {
    let [compose, _] = both();
    for (name, service) in &compose.services {
        for port in &service.ports {
            let (_, inside) = port.rsplit_once(':').unwrap();
            assert!(service.listens_on().contains(&inside.parse().unwrap()), "{name}: {port}");
        }
    }
}

#[test]
fn who_is_waited_for_can_say_that_the_time_has_come() {
    let [compose, _] = both();
    for (name, service) in &compose.services {
        for (other, dependency) in &service.depends_on {
            let to = compose.services.get(other).unwrap_or_else(|| panic!("{name} waits for no {other}"));
            match dependency.condition.as_str() {
                "service_healthy" => assert!(to.healthcheck.is_some(), "{other} has no health check"),
                "service_completed_successfully" => assert_eq!(to.restart, "no", "{other} never ends"),
                "service_started" => {}
                unknown => panic!("{name}: {unknown}"),
            }
        }
    }
}

#[test]
fn volumes_are_declared_and_used_and_mounted_files_are_there() {
    let [compose, _] = both();
    let sources = compose.services.values().flat_map(|service| service.mounts());
    let (files, volumes): (Vec<_>, Vec<_>) = sources.partition(|(source, _)| source.starts_with("./"));
    let volumes: BTreeSet<String> = volumes.into_iter().map(|(source, _)| source.to_owned()).collect();
    assert_eq!(volumes, compose.volumes.into_keys().collect());
    for (source, inside) in files {
        let mode = std::fs::metadata(root(source)).unwrap_or_else(|why| panic!("{source}: {why}"));
        // The image of PostgreSQL runs what is executable, and reads the rest into its own shell.
        let runs = inside.starts_with("/docker-entrypoint-initdb.d/");
        assert!(!runs || mode.permissions().mode() & 0o111 == 0o111, "{source} is not executable");
    }
}

#[test]
fn what_must_survive_lies_on_volumes() {
    let [compose, _] = both();
    let on = |service: &str, volume: &str| {
        let mut mounts = compose.services[service].mounts();
        mounts.find_map(|(source, inside)| (source == volume).then(|| inside.to_owned())).unwrap()
    };
    assert_eq!(on("postgres", "postgres"), "/var/lib/postgresql/data", "where its image keeps the cluster");
    let nats = &compose.services["nats"].command;
    assert!(nats.windows(2).any(|pair| pair == ["-sd".to_owned(), on("nats", "nats")]), "JetStream's store");
}

#[test]
fn our_services_may_take_as_long_to_stop_as_they_need() {
    let [compose, _] = both();
    for (name, needs) in
        [("offers", offers::devstack::SERVICE_STOP), ("simulator", offers::devstack::SIMULATOR_STOP)]
    {
        let grace = compose.services[name].stop_grace_period.as_deref();
        assert!(grace.map_or(USUAL_GRACE, |grace| parse_duration(grace).unwrap()) >= needs, "{name}");
    }
}

/// The settings of a service, for the tests that run it.
fn settings<'a>(compose: &'a Compose, service: &str) -> &'a Variables {
    &compose.services[service].environment
}
