//! What docker-compose.yml says, done without an engine: its commands, its environment, its scripts, with
//! the servers of this machine in the place of its images. Only addresses and paths are other ones.

use super::compose::{Compose, Variables, filled, only_demanded, root};
use super::settings;
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::nats_server::{LEASH, connect};
use crate::support::stack::start_servers;
use async_nats::jetstream;
use offers::config::parse_duration;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::timeout;

/// A child process that does not outlive its test.
struct Bound(Child);

impl Drop for Bound {
    fn drop(&mut self) {
        match self.0.stdin.take() {
            Some(leash) => drop(leash),
            None => drop(self.0.kill()), // it may be gone already
        }
        let _ = self.0.wait();
    }
}

/// The machine in the place of the engine: which address here is which of the file's.
struct Machine {
    compose: Compose,
    dir: PathBuf,
    ports: BTreeMap<(String, u16), u16>,
    superuser: String,
    running: Vec<Bound>,
}

impl Machine {
    /// With a PostgreSQL that has a superuser and nothing else.
    async fn new(variables: &Variables, name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("offers-it-containers-{name}-{}", std::process::id()));
        let (servers, urls) = start_servers(&dir, false, true).expect("why not is printed above");
        let secrets = std::fs::read(dir.join("secrets/servers.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&secrets).unwrap();
        let url = url::Url::parse(&urls.database_url).unwrap();
        let compose = Compose::with(variables).unwrap();
        let mut ports = BTreeMap::new();
        for (name, service) in &compose.services {
            ports.extend(service.listens_on().into_iter().map(|port| ((name.clone(), port), free_port())));
        }
        ports.insert(("postgres".to_owned(), 5432), url.port().unwrap());
        let superuser = secrets["postgres"].as_str().unwrap().to_owned();
        let machine = Self { compose, dir, ports, superuser, running: vec![Bound(servers)] };
        machine.forget_roles().await;
        machine
    }

    /// The cluster as the image has it when it runs the scripts of /docker-entrypoint-initdb.d.
    async fn forget_roles(&self) {
        let port = self.ports[&("postgres".to_owned(), 5432)];
        let url = format!("postgres://postgres:{}@127.0.0.1:{port}/postgres", self.superuser);
        let mut postgres = PgConnection::connect(&url).await.unwrap();
        for statement in ["drop database offers", "drop role offers_owner", "drop role offers_app"] {
            sqlx::query(statement).execute(&mut postgres).await.unwrap();
        }
    }

    /// `text` with the addresses and paths that it has here, inside `service`.
    fn here(&self, service: &str, text: &str) -> String {
        let mut here = text.to_owned();
        for ((host, port), real) in &self.ports {
            let real = format!("127.0.0.1:{real}");
            here = here.replace(&format!("{host}:{port}"), &real);
            if host == service {
                here = here.replace(&format!("0.0.0.0:{port}"), &real);
                here = here.replace(&format!("127.0.0.1:{port}"), &real);
            }
        }
        here
    }

    /// `program` with the environment that compose gives to `service`, and no other.
    fn command(&self, service: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
        for (name, value) in settings(&self.compose, service) {
            command.env(name, self.here(service, value));
        }
        command
    }

    /// Our program, as `service` runs it.
    fn ours(&self, service: &str) -> Command {
        let mut command = self.command(service, env!("CARGO_BIN_EXE_offers"));
        command.args(&self.compose.services[service].command).stdout(Stdio::null());
        command
    }

    fn port(&self, service: &str, port: u16) -> String {
        self.ports[&(service.to_owned(), port)].to_string()
    }

    /// Runs it in the background; it ends with this process, however that ends.
    fn start(&mut self, command: &Command) {
        let mut leashed = Command::new("sh");
        leashed.args(["-c", LEASH, "sh"]).arg(command.get_program()).args(command.get_args());
        leashed.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.running.push(Bound(quiet(&mut leashed).stdin(Stdio::piped()).spawn().unwrap()));
    }

    /// The script that the image of PostgreSQL runs as its superuser.
    fn run_roles_script(&self) {
        let service = &self.compose.services["postgres"];
        let (script, _) = service.mounts().find(|(source, _)| source.ends_with("roles.sh")).unwrap();
        let mut command = self.command("postgres", root(script));
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port("postgres", 5432));
        command.env("PGPASSWORD", &self.superuser);
        let run = command.output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    /// Whoever may create roles can become the superuser of a PostgreSQL 15.
    async fn expect_roles_without_rights(&self) {
        let port = self.ports[&("postgres".to_owned(), 5432)];
        let url = format!("postgres://postgres:{}@127.0.0.1:{port}/postgres", self.superuser);
        let mut postgres = PgConnection::connect(&url).await.unwrap();
        let mighty = "select rolname::text from pg_roles where rolname like 'offers\\_%' \
                      and (rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)";
        let mighty: Vec<String> = sqlx::query_scalar(mighty).fetch_all(&mut postgres).await.unwrap();
        assert!(mighty.is_empty(), "{mighty:?}");
    }

    fn start_redis(&mut self) {
        let [shell, option, script] = &self.compose.services["redis"].command[..] else {
            panic!("no script")
        };
        let mut command = self.command("redis", shell);
        command.args([option, &format!("{script} --port {}", self.port("redis", 6379))]);
        self.start(&command);
    }

    fn start_nats(&mut self) {
        let service = &self.compose.services["nats"];
        let mount = |inside: &str| service.mounts().find(|(_, there)| *there == inside).map(|(here, _)| here);
        let mut arguments = Vec::new();
        for argument in &service.command {
            arguments.push(match (argument.as_str(), mount(argument)) {
                (_, Some(file)) if file.starts_with("./") => root(file).display().to_string(),
                (_, Some(volume)) => self.dir.join(volume).join("volume").display().to_string(),
                ("0.0.0.0", _) => "127.0.0.1".to_owned(),
                ("4222" | "8222", _) => self.port("nats", argument.parse().unwrap()),
                (plain, _) => plain.to_owned(),
            });
        }
        let mut trial = self.command("nats", "nats-server");
        let trial = trial.args(&arguments).arg("-t").output().unwrap();
        assert!(trial.status.success(), "{}", String::from_utf8_lossy(&trial.stderr));
        let mut command = self.command("nats", "nats-server");
        self.start(command.args(&arguments));
    }

    /// The health check of `service`, as the engine runs it, with the ports of here.
    async fn until_healthy(&self, service: &str) {
        let check = &self.compose.services[service].healthcheck.as_ref().unwrap().test;
        let mut words: Vec<String> = check[1..].iter().map(|word| self.here(service, word)).collect();
        match service {
            "postgres" => words.extend(["-p".to_owned(), self.port("postgres", 5432)]),
            "redis" => {
                let with_port = format!("redis-cli -p {}", self.port("redis", 6379));
                words = vec!["sh".to_owned(), "-c".to_owned(), words[0].replace("redis-cli", &with_port)];
            }
            _ => {}
        }
        eventually(service, async || {
            let mut command = self.command(service, &words[0]);
            quiet(command.args(&words[1..])).status().unwrap().success()
        })
        .await;
    }

    /// Everything that `offers` waits for.
    async fn start_what_is_waited_for(&mut self) {
        self.run_roles_script();
        self.expect_roles_without_rights().await;
        self.start_redis();
        self.start_nats();
        for service in ["postgres", "redis", "nats"] {
            self.until_healthy(service).await;
        }
        assert!(self.ours("migrate").status().unwrap().success());
        let simulator = self.ours("simulator");
        self.start(&simulator);
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port("offers", 8080))
    }

    async fn until_nothing_is_degraded(&self) {
        // The notes are about this machine's nats-server.
        let all = json!({"postgresql": "ok", "redis": "ok", "nats": "ok"});
        eventually("every part is ok", async || {
            let Ok(answer) = http().get(self.url("/readyz")).send().await else { return false };
            answer.json::<Value>().await.is_ok_and(|said| said["status"] == "ok" && said["parts"] == all)
        })
        .await;
    }

    /// The analyst's password is for the people outside, so no service of ours has it.
    async fn until_the_analyst_has_a_mirror(&self) {
        let password = &settings(&self.compose, "nats")["NATS_ANALYST_PASSWORD"];
        let url = format!("nats://analyst:{password}@127.0.0.1:{}", self.port("nats", 4222));
        let analyst = jetstream::with_prefix(connect(&url).await, "EVENTS.API");
        eventually("there is a mirror", async || analyst.get_stream("OFFERS_EVENTS").await.is_ok()).await;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.running.clear();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What a server says on its own is not this test's output.
fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

fn free_port() -> u16 {
    crate::support::free_port()
}

async fn runs(variables: &Variables, name: &str) {
    let mut machine = Machine::new(variables, name).await;
    machine.start_what_is_waited_for().await;
    let mut service = Bound(machine.ours("offers").env("RUST_LOG", "error").spawn().unwrap());
    machine.until_nothing_is_degraded().await;
    machine.until_the_analyst_has_a_mirror().await;
    let grace = machine.compose.services["offers"].stop_grace_period.as_deref().unwrap();
    let grace: Duration = parse_duration(grace).unwrap();
    kill_process(Pid::from_child(&service.0), Signal::TERM).unwrap();
    let stops = eventually("it stops", async || service.0.try_wait().unwrap().is_some());
    timeout(grace, stops).await.expect("it stops before it would be killed");
    assert!(service.0.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_runs_as_the_file_says_with_nothing_but_what_it_demands() {
    runs(&only_demanded(), "bare").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_runs_as_the_file_says_with_everything_filled_in() {
    runs(&filled(), "filled").await;
}
