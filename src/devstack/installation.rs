//! The whole system on one machine: the stack, the simulated activation system and the service.
//!
//! The simulator and the service are children of their own, supervised like the servers: one that is
//! killed comes back and goes on where it was.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::demo::{Demo, Members};
use super::demo_data;
use super::environment::Environment;
use super::error::{At, Error};
use super::files::{State, replace};
use super::probe::Probe;
use super::process::Signal;
use super::service::{Recipe, Service};
use super::stack::{Claim, Options, Stack};
use crate::runtime::migrations;

/// The service's secrets, which are made once for each data directory and handed over as files.
const SECRETS: [&str; 2] = ["OFFERS_JWT_KEY", WEBHOOK_KEY];
/// The one that the demo partner's secret is derived from.
const WEBHOOK_KEY: &str = "OFFERS_WEBHOOK_KEY";
/// Nobody is slowed down on their own machine; login throttling stays.
const RATE_LIMITS: [&str; 4] = [
    "OFFERS_RATE_LIMIT_USER",
    "OFFERS_RATE_LIMIT_PARTNER",
    "OFFERS_RATE_LIMIT_ADDRESS",
    "OFFERS_RATE_LIMIT_LOGIN",
];
/// The demo partner's key; the database has no more than its hash.
const PARTNER_KEY: &str = "demo_partner_key";
/// The variable that names the database as the role that owns it.
const OWNER_URL: &str = "OFFERS_DATABASE_OWNER_URL";
/// How long the simulator may take to answer.
const SIMULATOR_READY: Duration = Duration::from_secs(20);
/// How long the service may take until it is ready: it may have read tables to rebuild.
const SERVICE_READY: Duration = Duration::from_secs(120);
/// How long the simulator may take to end.
pub const SIMULATOR_STOP: Duration = Duration::from_secs(10);
/// How long the service may take to finish what it is doing.
pub const SERVICE_STOP: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The servers.
    pub stack: Options,
    /// Where the service listens; port 0 takes a free one and keeps it.
    pub listen: SocketAddr,
    /// The activation system; a simulated one when missing.
    pub external_url: Option<String>,
    /// The installation's currency.
    pub currency: String,
}

/// A running system.
#[derive(Debug)]
pub struct Installation {
    stack: Stack,
    simulator: Option<Service>,
    service: Service,
    demo: Demo,
}

impl Installation {
    /// Starts everything and waits until the service is ready; `say` hears of each step.
    ///
    /// # Errors
    /// Whatever did not come up. What had been started until then is stopped again.
    pub async fn start(plan: Plan, say: impl Fn(&str)) -> Result<Installation, Error> {
        let claim = Claim::take(&plan.stack).await?;
        // Only now: a service that a killed run left behind is gone.
        if is_in_use(plan.listen) {
            return Err(Error::AddressTaken(plan.listen));
        }
        say("starting PostgreSQL, Redis and NATS");
        let stack = Stack::start_on(claim, &plan.stack).await?;
        let starting = Starting { plan: &plan, stack: &stack, say: &say };
        match starting.run().await {
            Ok((simulator, service, demo)) => Ok(Installation { stack, simulator, service, demo }),
            Err(error) => {
                stack.stop().await?;
                Err(error)
            }
        }
    }

    /// What `demo.json` says.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    /// Stops everything, clients first.
    ///
    /// # Errors
    /// When a file cannot be removed.
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

/// The way from running servers to a running system.
struct Starting<'a, Say> {
    plan: &'a Plan,
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
        let listen = SocketAddr::new(self.plan.listen.ip(), self.port("serve", self.plan.listen.port())?);
        let mut environment = self.environment(listen, &external_url)?;
        let probe = Probe::Http { address: reachable(listen), path: "/readyz" };
        // The service must do with its own role; only other verbs may act as the owner.
        let recipe = own_program("serve", environment.variables(), probe, SERVICE_READY, SERVICE_STOP)?;
        environment.set(OWNER_URL, &urls.database_owner_url);
        environment.save(dir)?;
        let service = match Service::start(recipe, dir).await {
            Ok(service) => service,
            Err(error) => {
                if let Some(simulator) = simulator {
                    simulator.stop().await;
                }
                return Err(error);
            }
        };
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

    /// The users, the partner and the offers of `demo.json`.
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

    /// The given activation system, or a simulator of our own.
    async fn activation_system(&self, members: &Members) -> Result<(String, Option<Service>), Error> {
        if let Some(url) = &self.plan.external_url {
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
        let recipe = own_program("simulator", environment.collect(), probe, SIMULATOR_READY, SIMULATOR_STOP)?;
        let simulator = Service::start(recipe, self.stack.dir()).await?;
        Ok((format!("http://127.0.0.1:{port}"), Some(simulator)))
    }

    /// What the service needs to know of this installation.
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
        environment.set("OFFERS_CURRENCY", &self.plan.currency);
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
        Ok(environment)
    }

    /// `wanted`, or for 0 a free port that is kept from start to start.
    fn port(&self, name: &'static str, wanted: u16) -> Result<u16, Error> {
        if wanted != 0 {
            return Ok(wanted);
        }
        let dir = self.stack.dir();
        let mut state = State::load(dir);
        let port = state.draw(name)?;
        state.save(dir)?;
        Ok(port)
    }
}

/// A child that is this very program, with our own environment under the one it is given.
fn own_program(
    verb: &'static str,
    environment: Vec<(String, OsString)>,
    probe: Probe,
    ready_within: Duration,
    stop_within: Duration,
) -> Result<Recipe, Error> {
    let inherited = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let inherited = inherited.filter(|(name, _)| name != OWNER_URL);
    Ok(Recipe {
        name: verb,
        program: std::env::current_exe().at("the running program")?,
        args: vec![verb.into()],
        env: inherited.chain(environment).collect(),
        home: std::env::current_dir().at(".")?,
        user: None,
        probe,
        ready_within,
        farewell: vec![(Signal::TERM, stop_within)],
    })
}

fn simulator_log(dir: &Path) -> PathBuf {
    dir.join("simulator.ndjson")
}

/// An address that listens everywhere is reached here, too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port()),
        _ => listen,
    }
}
