//! `offers simulator` and `offers serve` as child processes in a sandbox of their own.

use super::tunnel::Tunnel;
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::stack::{Sandbox, Stack};
use domain::{AccountId, Metadata, Money, account};
use offers::clock::Clock;
use offers::devstack::Members;
use offers::devstack::demo_data;
use offers::event_log::{AggregateCommand, EventLog, Plan, WriterOptions};
use offers::identity::{Identity, Keyring, PasswordCost, Settings};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Keys of this installation; nobody else's.
const KEY: &str = "0123456789abcdef0123456789abcdef-tests";
const WEBHOOK_KEY: &str = "fedcba9876543210fedcba9876543210-tests";
/// Signs the checkpoints: the example of Go's `golang.org/x/mod/sumdb/note`.
pub const CHECKPOINT_KEY: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
/// Enough for every purchase of a test, in hundredths.
const FUNDS: i64 = 100_000_000;

/// How a process ends at a failpoint.
const SIGABRT: i32 = 6;

/// A running system.
pub struct System {
    pub url: String,
    pub sandbox: Sandbox,
    pub members: Members,
    pub log: EventLog,
    pub identity: Identity,
    pub simulator_log: PathBuf,
    external_url: String,
    seen: Seen,
    listen: String,
    serving: Serving,
    service: Killed,
    another: Option<Killed>,
    _simulator: Killed,
    _stop: DropGuard,
}

/// The servers, as the service sees them.
pub struct Seen {
    pub sandbox: Sandbox,
    /// The address of the activation system.
    pub external: String,
}

impl Seen {
    fn serve(&self, listen: &str, serving: &Serving) -> Child {
        self.command(listen, serving).spawn().unwrap()
    }

    fn command(&self, listen: &str, serving: &Serving) -> Command {
        serve_command(&self.sandbox, listen, &format!("http://{}", self.external), serving)
    }
}

/// The ways of the service to its servers.
pub struct Tunnels {
    pub postgres: Tunnel,
    pub redis: Tunnel,
    pub nats: Tunnel,
    pub activation_system: Tunnel,
}

/// How the service is run, when it is not as usual.
#[derive(Default)]
pub struct Serving {
    /// Beside the usual environment, or instead of it.
    pub environment: Vec<(&'static str, String)>,
    /// Where its log goes; to ours unless given.
    pub log: Option<PathBuf>,
}

/// A child process that does not outlive its test.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may be gone already
        let _ = self.0.wait();
    }
}

impl System {
    pub async fn start(simulator: &[&str]) -> Self {
        Self::start_with(simulator, Serving::default()).await
    }

    pub async fn start_with(simulator: &[&str], serving: Serving) -> Self {
        let sandbox = Stack::get().await.sandbox().await;
        let external = free_address();
        let seen = Seen { sandbox: sandbox.clone(), external: external.clone() };
        Self::start_seeing(seen, sandbox, &external, simulator, serving).await
    }

    /// The service comes to each server through a tunnel.
    pub async fn start_behind_tunnels() -> (Self, Tunnels) {
        let sandbox = Stack::get().await.sandbox().await;
        let external = free_address();
        let mut seen = Seen { sandbox: sandbox.clone(), external: external.clone() };
        let tunnels = Tunnels {
            postgres: Tunnel::before(&mut seen.sandbox.database_url).await,
            redis: Tunnel::before(&mut seen.sandbox.redis_url).await,
            nats: Tunnel::before(&mut seen.sandbox.nats_url).await,
            activation_system: Tunnel::before(&mut seen.external).await,
        };
        (Self::start_seeing(seen, sandbox, &external, &[], Serving::default()).await, tunnels)
    }

    /// The service sees the servers as `seen`; they are those of `sandbox`, and the activation system listens on `external`.
    pub async fn start_seeing(
        seen: Seen,
        sandbox: Sandbox,
        external: &str,
        simulator: &[&str],
        serving: Serving,
    ) -> Self {
        let stop = CancellationToken::new();
        let connect: PgConnectOptions = sandbox.database_url.parse().unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(connect.clone());
        let log = EventLog::open(pool.clone(), connect, WriterOptions::default(), &stop);
        let identity = Identity::new(pool, &settings()).unwrap();
        let members = seed(&log, &identity).await;

        let simulator_log =
            std::env::temp_dir().join(format!("offers-{}-{}.ndjson", sandbox.stream, std::process::id()));
        let _ = std::fs::remove_file(&simulator_log); // of an earlier run with our process id
        let listen = free_address();
        let external_url = format!("http://{external}");
        let rejected = members.offers.last().unwrap().to_string();
        let simulator = offers(&["simulator", "--listen", external, "--reject-offer", &rejected])
            .args(simulator)
            .arg("--log")
            .arg(&simulator_log)
            .spawn()
            .unwrap();
        let url = format!("http://{listen}");
        let service = seen.serve(&listen, &serving);
        let system = Self {
            url,
            sandbox,
            members,
            log,
            identity,
            simulator_log,
            external_url,
            seen,
            listen,
            serving,
            service: Killed(service),
            another: None,
            _simulator: Killed(simulator),
            _stop: stop.drop_guard(),
        };
        system.ready().await;
        system
    }

    /// As the kernel does it: no warning, no clean-up.
    pub fn kill_service(&mut self) {
        self.service.0.kill().unwrap();
        self.service.0.wait().unwrap();
    }

    pub async fn start_service(&mut self) {
        self.service = Killed(self.seen.serve(&self.listen, &self.serving));
        self.ready().await;
    }

    /// Starts the service instead of the one that runs, or has died: it dies at `failpoint`, maybe before it is ready.
    pub fn start_dying(&mut self, failpoint: &str) {
        let setting = (offers::failpoint::VARIABLE, failpoint.to_owned());
        self.start_service_by(&[setting], |mut command| command.spawn().unwrap());
    }

    /// Starts the service instead of the one that runs, or has died: `spawn` does, with `settings` in addition.
    pub fn start_service_by(
        &mut self,
        settings: &[(&'static str, String)],
        spawn: impl FnOnce(Command) -> Child,
    ) {
        self.kill_service();
        let mut environment = self.serving.environment.clone();
        environment.extend_from_slice(settings);
        let serving = Serving { environment, log: self.serving.log.clone() };
        self.service = Killed(spawn(self.seen.command(&self.listen, &serving)));
    }

    /// Whether the service has died at its failpoint.
    pub fn has_died(&mut self) -> bool {
        let ended = self.service.0.try_wait().unwrap();
        ended.inspect(|status| assert_eq!(status.signal(), Some(SIGABRT), "{status}")).is_some()
    }

    /// A second instance beside the first, which clients do not know.
    pub fn start_another(&mut self) {
        self.start_another_with(&[]);
    }

    /// The same, with `settings` in addition to those of the first, or instead of them.
    pub fn start_another_with(&mut self, settings: &[(&'static str, String)]) {
        let mut environment = self.serving.environment.clone();
        environment.extend_from_slice(settings);
        let serving = Serving { environment, log: self.serving.log.clone() };
        self.another = Some(Killed(self.seen.serve(&free_address(), &serving)));
    }

    /// Sets how the activation system behaves, by its name.
    pub async fn simulate(&self, behaviour: &str) {
        let url = format!("{}/_control", self.external_url);
        let changes = offers::simulator::named(behaviour).unwrap();
        http().put(url).json(&changes).send().await.unwrap().error_for_status().unwrap();
    }

    async fn ready(&self) {
        let client = http();
        let url = format!("{}/readyz", self.url);
        let answered =
            async || client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
        eventually("the service is ready", answered).await;
    }

    /// An access token of `username`.
    pub async fn log_in(&self, username: &str) -> String {
        let body = json!({"username": username, "password": format!("{username}-demo")});
        let answer =
            http().post(format!("{}/api/v1/auth/login/", self.url)).json(&body).send().await.unwrap();
        let grant: Value = answer.json().await.unwrap();
        grant["access"].as_str().unwrap().to_owned()
    }

    pub async fn flush_redis(&self) {
        let client = redis::Client::open(self.sandbox.redis_url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("FLUSHDB").query_async::<()>(&mut connection).await.unwrap();
    }

    /// The status hash that Redis has; `None` also when it does not answer in time.
    pub async fn hash_status(&self, transaction: &str) -> Option<String> {
        let client = redis::Client::open(self.sandbox.redis_url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let key = format!("transaction:{transaction}");
        redis::cmd("HGET").arg(key).arg("status").query_async(&mut connection).await.ok()?
    }

    pub async fn delete_stream(&self) {
        self.jetstream().await.delete_stream(&self.sandbox.stream).await.unwrap();
    }

    /// Waits until the stream's last sequence is the log's head.
    pub async fn stream_has_every_event(&self) {
        let jetstream = self.jetstream().await;
        let complete = async || {
            let head = u64::try_from(self.log.head().await.unwrap()).unwrap();
            let Ok(stream) = jetstream.get_stream(&self.sandbox.stream).await else { return false };
            let state = &stream.cached_info().state;
            (state.messages, state.last_sequence) == (head, head)
        };
        eventually("the stream has every event", complete).await;
    }

    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        let url: async_nats::ServerAddr = self.sandbox.nats_url.parse().unwrap();
        let (user, password) = (url.username().unwrap().to_owned(), url.password().unwrap().to_owned());
        let options = async_nats::ConnectOptions::new().user_and_password(user, password);
        async_nats::jetstream::new(options.connect(url).await.unwrap())
    }
}

/// The demo data, and money enough for alice and bob.
pub async fn seed(log: &EventLog, identity: &Identity) -> Members {
    let members = demo_data::load(log, identity, None, Clock::system().now().utc()).await.unwrap();
    for user in members.users.iter().filter(|user| user.username == "alice" || user.username == "bob") {
        let amount = Money::from_hundredths(FUNDS);
        let command = AggregateCommand::Account(AccountId(user.id), account::Command::Credit { amount });
        log.commit(&Metadata::system("test", uuid::Uuid::now_v7()), Plan::new().command(command))
            .await
            .unwrap();
    }
    members
}

pub fn settings() -> Settings {
    let [tokens, webhooks] = [KEY, WEBHOOK_KEY].map(|key| Keyring::parse(&key.into()).unwrap());
    Settings { password_cost: PasswordCost::weak_for_tests(), ..Settings::new(tokens, webhooks) }
}

pub fn serve(sandbox: &Sandbox, listen: &str, external_url: &str, serving: &Serving) -> Child {
    serve_command(sandbox, listen, external_url, serving).spawn().unwrap()
}

fn serve_command(sandbox: &Sandbox, listen: &str, external_url: &str, serving: &Serving) -> Command {
    let environment = [
        ("OFFERS_LISTEN", listen),
        ("OFFERS_DATABASE_URL", &sandbox.database_url),
        ("OFFERS_REDIS_URL", &sandbox.redis_url),
        ("OFFERS_NATS_URL", &sandbox.nats_url),
        ("OFFERS_NATS_STREAM", &sandbox.stream),
        ("OFFERS_NATS_SUBJECTS", &sandbox.subjects),
        ("OFFERS_NATS_STREAM_BYTES", "50000000"),
        ("OFFERS_EXTERNAL_URL", external_url),
        ("OFFERS_EXTERNAL_TIMEOUT", "2s"),
        ("OFFERS_JWT_KEY", KEY),
        ("OFFERS_WEBHOOK_KEY", WEBHOOK_KEY),
        ("OFFERS_CHECKPOINT_KEY", CHECKPOINT_KEY),
        ("OFFERS_RATE_LIMIT_USER", "off"),
        ("OFFERS_RATE_LIMIT_PARTNER", "off"),
        ("OFFERS_UNFINISHED_PER_USER", "off"),
        ("OFFERS_DATABASE_CONNECTIONS", "8"),
        ("OFFERS_PURCHASES_PER_USER", "off"),
        ("OFFERS_RATE_LIMIT_ADDRESS", "off"),
        ("RUST_LOG", "error"),
    ];
    let mut command = offers(&["serve"]);
    command.envs(environment).envs(serving.environment.iter().map(|(name, value)| (name, value)));
    if let Some(path) = &serving.log {
        command.stderr(File::options().create(true).append(true).open(path).unwrap());
    }
    command
}

/// This program with nothing of our environment that would change it.
pub fn offers(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).args(args);
    command
}

pub fn free_address() -> String {
    format!("127.0.0.1:{}", crate::support::free_port())
}
