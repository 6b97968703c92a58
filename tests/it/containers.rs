//! The files that run the system in containers, held against the program they run. No engine is needed:
//! the files are parsed, and what they say is done with servers of this machine (`running`).

mod compose;
mod image;
mod running;

use clap::{CommandFactory, Parser};
use compose::{
    Compose, Networks, Otherwise, Service, Variables, demanded, example, filled, only_demanded, optional,
    root, text, uses,
};
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
    [only_demanded(), filled()].map(|variables| Compose::with(&variables).unwrap())
}

#[test]
fn the_example_of_an_env_file_has_the_variables_that_are_used_and_no_others() {
    let used: BTreeSet<String> = uses().into_iter().map(|one| one.name).collect();
    assert_eq!(used, example().into_keys().chain(optional().into_keys()).collect());
}

#[test]
fn secrets_and_the_activation_system_are_demanded_and_all_else_is_optional() {
    let secret = |name: &&String| ["PASSWORD", "KEY"].iter().any(|word| name.ends_with(word));
    let used: BTreeSet<String> = uses().into_iter().map(|one| one.name).collect();
    let mut secrets: BTreeSet<String> = used.iter().filter(secret).cloned().collect();
    secrets.remove("OFFERS_CHECKPOINT_KEY"); // nothing is signed without it
    secrets.insert("OFFERS_EXTERNAL_URL".to_owned());
    assert_eq!(demanded(), secrets);
    assert_eq!(example().into_keys().collect::<BTreeSet<_>>(), secrets);
    for name in demanded() {
        let mut variables = only_demanded();
        variables.insert(name.clone(), String::new());
        assert!(Compose::with(&variables).unwrap_err().starts_with(&name));
    }
}

#[test]
fn the_example_names_the_real_defaults() {
    let [compose, _] = both();
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    for (name, said) in optional() {
        let defaults: BTreeSet<String> = uses()
            .into_iter()
            .filter(|one| one.name == name)
            .filter_map(|one| match one.otherwise {
                Otherwise::Default(value) => Some(value),
                _ => None,
            })
            .collect();
        let setting = serve.get_arguments().find(|setting| is_read_from(setting, &name));
        let default = match (defaults.first(), setting) {
            (Some(default), _) => default.clone(), // compose's own
            (None, Some(setting)) => default_of(setting),
            (None, None) => String::new(), // a library's
        };
        assert_eq!(said, default, "{name}");
    }
    assert!(!compose.services["offers"].environment.contains_key("OFFERS_CURRENCY"), "it is passed on unset");
}

fn is_read_from(setting: &clap::Arg, variable: &str) -> bool {
    setting.get_env().is_some_and(|env| env == variable)
}

fn default_of(setting: &clap::Arg) -> String {
    match (setting.get_default_values(), setting.get_action()) {
        ([], clap::ArgAction::SetTrue) => "false".to_owned(),
        (values, _) => values.iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(","),
    }
}

#[test]
fn every_setting_of_the_service_is_given_or_can_be_given_in_an_env_file() {
    // One instance has all roles; a secret is given as a variable; a demonstration is `./dev`.
    let not_here =
        |name: &str| name.ends_with("_FILE") || ["OFFERS_ROLES", "OFFERS_ALLOW_DEMO_SECRETS"].contains(&name);
    let compose = Compose::with(&filled()).unwrap();
    let cli = Cli::command();
    let settings = cli.find_subcommand("serve").unwrap().get_arguments().filter(|one| !one.is_hide_set());
    for name in settings.filter_map(|setting| setting.get_env()?.to_str()).filter(|name| !not_here(name)) {
        assert!(
            compose.services["offers"].environment.contains_key(name),
            "{name} has no way into the container: add it to docker-compose.yml and .env.example"
        );
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
                let arg = verb.get_arguments().find(|arg| is_read_from(arg, variable));
                let arg = arg.unwrap_or_else(|| panic!("`offers {}` reads no {variable}", verb.get_name()));
                match (arg.get_action(), value.as_str()) {
                    (clap::ArgAction::SetTrue, "false") => {}
                    (clap::ArgAction::SetTrue, _) => panic!("{variable} is {value} unless said otherwise"),
                    _ => line.push(format!("--{}={value}", arg.get_long().unwrap())),
                }
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
            let meet = !service.networks().is_disjoint(&to.networks());
            assert!(meet, "{name} and {host} have no network in common");
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
            let (_, inside) = port.strip_suffix("/udp").unwrap_or(port).rsplit_once(':').unwrap();
            assert!(service.listens_on().contains(&inside.parse().unwrap()), "{name}: {port}");
        }
    }
}

#[test]
fn only_the_proxy_listens_beyond_this_machine() {
    let [compose, _] = both();
    for (name, service) in &compose.services {
        let beyond = service.ports.iter().any(|port| !port.starts_with("127.0.0.1:"));
        assert_eq!(beyond, name == "proxy", "{name} publishes {:?}", service.ports);
    }
    assert_eq!(compose.services["proxy"].profiles, ["edge"]);
}

#[test]
fn the_proxy_is_believed_reaches_the_service_alone_and_leads_to_where_it_listens() {
    let [compose, _] = both();
    let (proxy, offers) = (&compose.services["proxy"], &compose.services["offers"]);
    let Networks::Addresses(addresses) = &proxy.networks else { panic!("its address is not fixed") };
    assert_eq!(offers.environment["OFFERS_TRUSTED_PROXIES"], addresses["edge"].ipv4_address.to_string());
    let meets = |(name, service): (&String, &compose::Service)| {
        (!service.networks().is_disjoint(&proxy.networks())).then(|| name.clone())
    };
    let met: Vec<String> = compose.services.iter().filter_map(meets).collect();
    assert_eq!(met, ["offers", "proxy"]);
    assert!(
        offers.listens_on().contains(&8080)
            && text("deploy/Caddyfile").contains("{$EDGE_UPSTREAM:offers:8080}")
    );
}

#[test]
fn the_servers_are_on_a_network_that_leads_nowhere() {
    let [compose, _] = both();
    assert!(compose.networks["backend"].as_ref().is_some_and(|network| network.internal));
    for server in ["postgres", "redis", "simulator", "migrate"] {
        assert_eq!(compose.services[server].networks(), BTreeSet::from(["backend"]), "{server}");
    }
    let on =
        |service: &compose::Service| service.networks().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let used: BTreeSet<String> = compose.services.values().flat_map(on).collect();
    assert_eq!(used, compose.networks.into_keys().collect());
}

#[test]
fn no_container_may_change_its_files_or_gain_rights() {
    let [compose, _] = both();
    for (name, service) in &compose.services {
        assert!(service.read_only, "{name}");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        assert!(service.cap_add.is_empty() || ["postgres", "proxy"].contains(&name.as_str()), "{name}");
    }
}

#[test]
fn images_are_pinned_to_a_release() {
    let [compose, _] = both();
    for (name, service) in compose.services.iter().filter(|(_, service)| service.build.is_none()) {
        let (_, tag) = service.image.split_once(':').unwrap_or_else(|| panic!("{name} has no tag"));
        let version = tag.trim_start_matches('v').split('-').next().unwrap();
        assert!(version.contains('.'), "{name}: {tag} is a different image next month");
    }
}

#[test]
fn the_simulated_activation_system_is_there_only_when_asked_for() {
    let [compose, _] = both();
    assert_eq!(compose.services["simulator"].profiles, ["demo"]);
    for service in compose.services.values() {
        let needs =
            service.depends_on.iter().filter(|(name, _)| !compose.services[*name].profiles.is_empty());
        let met = |name: &String| service.profiles == compose.services[name].profiles;
        assert!(needs.clone().all(|(name, need)| need.required == Some(false) || met(name)));
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
    let sources = compose.services.values().flat_map(Service::mounts);
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
