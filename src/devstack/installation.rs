//! The whole system on one machine: the stack, the simulated activation system and the service.
//!
//! The simulator and the service are child processes, supervised like the servers: if one is killed, it is
//! restarted and continues.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::control::clock_file;
use super::data_dir::DataDirLock;
use super::demo::Demo;
use super::demo_data::{self, Members};
use super::environment::Environment;
use super::error::{At, Error};
use super::files::{State, replace};
use super::options::Options;
use super::probe::Probe;
use super::process::Signal;
use super::service::{Service, ServiceSpec};
use super::stack::Stack;
use crate::runtime::migrations;
use crate::telemetry::chain;
use crate::tree::SigningKey;

/// The service's secrets, created once for each data directory and passed as files.
const SECRETS: [&str; 2] = ["OFFERS_JWT_KEY", WEBHOOK_KEY];
/// The demo partner's webhook secret is derived from it.
const WEBHOOK_KEY: &str = "OFFERS_WEBHOOK_KEY";
/// Off on a developer's machine; login throttling stays.
const RATE_LIMITS: [&str; 6] = [
    "OFFERS_RATE_LIMIT_USER",
    "OFFERS_RATE_LIMIT_PARTNER",
    "OFFERS_RATE_LIMIT_ADDRESS",
    "OFFERS_RATE_LIMIT_LOGIN",
    "OFFERS_UNFINISHED_PER_USER",
    "OFFERS_PURCHASES_PER_USER",
];
/// The file with the demo partner's key; the database has only its hash.
const PARTNER_KEY: &str = "demo_partner_key";
/// Signs the checkpoints of the log.
const CHECKPOINT_KEY: &str = "OFFERS_CHECKPOINT_KEY";
/// The name of a developer's log in them.
const ORIGIN: &str = "localhost/offers";
const OWNER_URL: &str = "OFFERS_DATABASE_OWNER_URL";
const SIMULATOR_READY: Duration = Duration::from_secs(20);
/// The service may have to rebuild read tables first.
const SERVICE_READY: Duration = Duration::from_secs(120);
pub const SIMULATOR_STOP: Duration = Duration::from_secs(10);
/// For finishing requests and messages.
pub const SERVICE_STOP: Duration = Duration::from_secs(30);

/// The options of an installation.
#[derive(Debug, Clone)]
pub struct InstallationOptions {
    pub stack: Options,
    /// The service's address; port 0 chooses a free port and keeps it.
    pub listen: SocketAddr,
    /// The activation system; simulated if missing.
    pub external_url: Option<String>,
    pub currency: String,
}

#[derive(Debug)]
pub struct Installation {
    stack: Stack,
    simulator: Option<Service>,
    service: Service,
    demo: Demo,
}

impl Installation {
    /// Starts everything and waits until the service is ready; `say` is called before each step. After an
    /// error everything is stopped again.
    pub async fn start(options: InstallationOptions, say: impl Fn(&str)) -> Result<Installation, Error> {
        let lock = DataDirLock::take(&options.stack).await?;
        // Only now: a service that a killed run left behind is gone.
        if is_in_use(options.listen) {
            return Err(Error::AddressInUse(options.listen));
        }
        say("starting PostgreSQL, Redis and NATS");
        let stack = Stack::start_on(lock, &options.stack).await?;
        let starting = Starting { options: &options, stack: &stack, say: &say };
        match starting.run().await {
            Ok((simulator, service, demo)) => Ok(Installation { stack, simulator, service, demo }),
            Err(error) => {
                stack.stop().await?;
                Err(error)
            }
        }
    }

    /// The content of `demo.json`.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    pub async fn stop(self) -> Result<(), Error> {
        Demo::remove(self.stack.dir())?;
        Environment::forget(self.stack.dir());
        self.service.stop().await;
        if let Some(simulator) = self.simulator {
            simulator.stop().await;
        }
        self.stack.stop().await
    }
}

fn is_in_use(address: SocketAddr) -> bool {
    std::net::TcpListener::bind(address).is_err_and(|cause| cause.kind() == ErrorKind::AddrInUse)
}

/// The steps from running servers to a running system.
struct Starting<'a, Say> {
    options: &'a InstallationOptions,
    stack: &'a Stack,
    say: &'a Say,
}

impl<Say: Fn(&str)> Starting<'_, Say> {
    async fn run(&self) -> Result<(Option<Service>, Service, Demo), Error> {
        let (dir, urls) = (self.stack.dir(), self.stack.urls());
        (self.say)("migrating the database");
        migrations::run(&urls.database_owner_url).await?;
        let members = self.load_demo_data().await?;
        let (external_url, simulator) = self.activation_system(&members).await?;
        (self.say)("starting the service");
        let listen =
            SocketAddr::new(self.options.listen.ip(), self.port("serve", self.options.listen.port())?);
        let mut environment = self.environment(listen, &external_url)?;
        let probe = Probe::Http { address: reachable(listen), path: "/readyz" };
        // The service has only its own role; other verbs may act as the owner.
        let variables = [environment.variables(), self.development(&members)].concat();
        let spec = own_program("serve", variables, probe, SERVICE_READY, SERVICE_STOP)?;
        environment.set(OWNER_URL, &urls.database_owner_url);
        environment.set_administrator(dir, &format!("http://{}", reachable(listen)), &members);
        environment.save(dir)?;
        let service = match Service::start(spec, dir).await {
            Ok(service) => service,
            Err(error) => {
                if let Some(simulator) = simulator {
                    simulator.stop().await;
                }
                return Err(error);
            }
        };
        if let Err(cause) = demo_data::until_listed(&urls.database_url).await {
            (self.say)(&chain(&cause));
        }
        let demo = Demo {
            api_url: format!("http://{}", reachable(listen)),
            database_url: urls.database_url.clone(),
            database_owner_url: urls.database_owner_url.clone(),
            redis_url: urls.redis_url.clone(),
            nats_url: urls.nats_url.clone(),
            analyst: urls.analyst.clone(),
            external_url,
            simulator_log: simulator.is_some().then(|| simulator_log(dir)),
            members,
        };
        demo.write(dir)?;
        Ok((simulator, service, demo))
    }

    async fn load_demo_data(&self) -> Result<Members, Error> {
        (self.say)("loading the demo data");
        let mut environment = Environment::default();
        environment.set_secret(self.stack.dir(), WEBHOOK_KEY)?;
        let key = environment.secret(WEBHOOK_KEY)?;
        let file = self.stack.dir().join("secrets").join(PARTNER_KEY);
        let known = fs::read_to_string(&file).ok();
        let database = &self.stack.urls().database_url;
        let members = demo_data::load_into(database, &key, known.as_deref().map(str::trim)).await?;
        if let Some(partner) = &members.partner {
            replace(&file, partner.api_key.as_bytes(), 0o600)?;
        }
        Ok(members)
    }

    /// The external activation system, or a simulator.
    async fn activation_system(&self, members: &Members) -> Result<(String, Option<Service>), Error> {
        if let Some(url) = &self.options.external_url {
            return Ok((url.clone(), None));
        }
        (self.say)("starting the simulated activation system");
        let port = self.port("simulator", 0)?;
        let rejected = members.offers.last().map(ToString::to_string);
        let settings = [
            ("OFFERS_SIMULATOR_LISTEN", OsString::from(format!("127.0.0.1:{port}"))),
            ("OFFERS_SIMULATOR_LOG", simulator_log(self.stack.dir()).into()),
        ];
        let rejected = rejected.map(|offer| ("OFFERS_SIMULATOR_REJECT_OFFER", offer.into()));
        let environment = settings.into_iter().chain(rejected).map(|(name, value)| (name.to_owned(), value));
        let probe = Probe::Tcp { port };
        let spec = own_program("simulator", environment.collect(), probe, SIMULATOR_READY, SIMULATOR_STOP)?;
        let simulator = Service::start(spec, self.stack.dir()).await?;
        Ok((format!("http://127.0.0.1:{port}"), Some(simulator)))
    }

    fn environment(&self, listen: SocketAddr, external_url: &str) -> Result<Environment, Error> {
        let (dir, urls) = (self.stack.dir(), self.stack.urls());
        let mut environment = Environment::default();
        environment.set("OFFERS_LISTEN", listen.to_string());
        environment.set("OFFERS_DATABASE_URL", &urls.database_url);
        environment.set("OFFERS_REDIS_URL", &urls.redis_url);
        environment.set("OFFERS_NATS_URL", &urls.nats_url);
        if let Some(url) = &urls.nats_analytics_url {
            environment.set("OFFERS_NATS_ANALYTICS_URL", url);
        }
        environment.set("OFFERS_EXTERNAL_URL", external_url);
        environment.set("OFFERS_DATA_DIR", dir.display().to_string());
        environment.set("OFFERS_CURRENCY", &self.options.currency);
        environment.set_unless_given("OFFERS_CALLBACK_ALLOW_PRIVATE", "true");
        for name in RATE_LIMITS {
            environment.set_unless_given(name, "off");
        }
        if env::var_os("OFFERS_SMTP_URL_FILE").is_none()
            && let Ok(mail) = Url::from_directory_path(dir.join("mail"))
        {
            environment.set_unless_given("OFFERS_SMTP_URL", mail.as_str());
        }
        for name in SECRETS {
            environment.set_secret(dir, name)?;
        }
        environment.set_secret_made_by(dir, CHECKPOINT_KEY, || {
            let key = SigningKey::from_seed(ORIGIN, rand::random()).expect("the origin is a name");
            key.expose()
        })?;
        Ok(environment)
    }

    /// What no other verb and no other service gets: examples for the document, and a clock that can be moved, if no other
    /// service writes to the database.
    fn development(&self, members: &Members) -> Vec<(String, OsString)> {
        let examples = ("OFFERS_DOCS_EXAMPLES".to_owned(), members.examples().to_string().into());
        let clock = ("OFFERS_CLOCK_FILE".to_owned(), clock_file(self.stack.dir()).into());
        let is_private = self.options.stack.external.database_url.is_none();
        [examples].into_iter().chain(is_private.then_some(clock)).collect()
    }

    /// `wanted`, or for 0 a free port that is kept from start to start.
    fn port(&self, name: &'static str, wanted: u16) -> Result<u16, Error> {
        if wanted != 0 {
            return Ok(wanted);
        }
        let dir = self.stack.dir();
        let mut state = State::load(dir);
        let port = state.choose_port(name)?;
        state.save(dir)?;
        Ok(port)
    }
}

/// A child that runs this program, with our environment and `environment` on top.
fn own_program(
    verb: &'static str,
    environment: Vec<(String, OsString)>,
    probe: Probe,
    ready_within: Duration,
    stop_within: Duration,
) -> Result<ServiceSpec, Error> {
    let inherited = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let inherited = inherited.filter(|(name, _)| name != OWNER_URL);
    Ok(ServiceSpec {
        name: verb,
        program: std::env::current_exe().at("the running program")?,
        args: vec![verb.into()],
        env: inherited.chain(environment).collect(),
        home: std::env::current_dir().at(".")?,
        user: None,
        probe,
        ready_within,
        may_hang: false,
        stop_signals: vec![(Signal::TERM, stop_within)],
    })
}

fn simulator_log(dir: &Path) -> PathBuf {
    dir.join("simulator.ndjson")
}

/// An address that listens on all interfaces is reached on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port()),
        _ => listen,
    }
}
