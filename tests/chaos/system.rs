//! Two instances of the service, the simulated activation system and a partner, on servers that may be killed.

use crate::plan::{Plan, Server};
use crate::processes::{self, Killed, Serving};
use crate::receiver::{Receiver, Reply};
use crate::recording::Callback;
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::stack::{self, Sandbox, Stack};
use crate::tunnel::Tunnel;
use offers::devstack::Members;
use offers::event_log::{EventLog, WriterOptions};
use offers::identity::Identity;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// Short, so that a round sees cancellations.
const TIMES: [(&str, &str); 3] = [
    ("OFFERS_ACTIVATION_DEADLINE", "4s"),
    ("OFFERS_CANCEL_RECHECK", "1s"),
    ("OFFERS_EXTERNAL_TIMEOUT", "1s"),
];

/// What a round runs on.
pub struct System {
    /// Where each instance listens.
    pub urls: [String; 2],
    /// The servers themselves, past all tunnels.
    pub sandbox: Sandbox,
    pub members: Members,
    pub database: PgPool,
    pub simulator_log: PathBuf,
    /// Callbacks that the partner answered 200, in order.
    pub told: Arc<Mutex<Vec<Callback>>>,
    partner: Receiver,
    partner_fails: Arc<AtomicBool>,
    serving: Serving,
    /// As the instances see it.
    tunnelled: Sandbox,
    tunnels: Vec<(Server, Tunnel)>,
    external: String,
    /// The same, as the instances see it.
    tunnelled_external: String,
    instances: [Mutex<Option<Killed>>; 2],
    simulator: Mutex<Option<Killed>>,
}

impl System {
    /// A new database, and everything on it.
    pub async fn start(stack: &Stack, plan: &Plan, log: PathBuf) -> Self {
        let sandbox = stack.sandbox().await;
        let members = seed(&sandbox).await;
        let external = processes::free_address();
        let (mut tunnelled, mut tunnelled_external, mut tunnels) =
            (sandbox.clone(), external.clone(), Vec::new());
        for server in plan.half_open() {
            let address = match server {
                Server::Postgres => &mut tunnelled.database_url,
                Server::Redis => &mut tunnelled.redis_url,
                Server::Nats => &mut tunnelled.nats_url,
                Server::ActivationSystem => &mut tunnelled_external,
            };
            tunnels.push((server, Tunnel::before(address).await));
        }
        let options: PgConnectOptions = sandbox.database_owner_url.parse().unwrap();
        let database = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
        let environment = TIMES.map(|(name, value)| (name, value.to_owned()));
        let private = ("OFFERS_CALLBACK_ALLOW_PRIVATE", "true".to_owned());
        let environment = environment.into_iter().chain([private, ("RUST_LOG", "warn".to_owned())]).collect();
        let simulator_log = log.with_extension("effects");
        let listen = [processes::free_address(), processes::free_address()];
        let partner_fails = Arc::<AtomicBool>::default();
        let told = Arc::<Mutex<Vec<Callback>>>::default();
        let system = Self {
            urls: listen.map(|address| format!("http://{address}")),
            sandbox,
            members,
            database,
            simulator_log,
            partner: partner(told.clone(), partner_fails.clone()).await,
            told,
            partner_fails,
            serving: Serving { environment, log: Some(log) },
            tunnelled,
            tunnels,
            external,
            tunnelled_external,
            instances: [Mutex::default(), Mutex::default()],
            simulator: Mutex::default(),
        };
        system.start_simulator();
        for number in 0..2 {
            system.start_instance(number);
        }
        for number in 0..2 {
            system.ready(number).await;
        }
        system.register_partner().await;
        system
    }

    pub fn kill_instance(&self, number: usize) {
        drop(self.instances[number].lock().unwrap().take());
    }

    pub fn start_instance(&self, number: usize) {
        let listen = self.urls[number].trim_start_matches("http://");
        let external = format!("http://{}", self.tunnelled_external);
        let child = processes::serve(&self.tunnelled, listen, &external, &self.serving);
        *self.instances[number].lock().unwrap() = Some(Killed(child));
    }

    pub fn signal_instance(&self, number: usize, signal: Signal) {
        if let Some(Killed(child)) = &*self.instances[number].lock().unwrap() {
            signal_process(i32::try_from(child.id()).unwrap(), signal);
        }
    }

    pub fn partner_fails(&self, fails: bool) {
        self.partner_fails.store(fails, Ordering::SeqCst);
    }

    pub async fn ready(&self, number: usize) {
        let (client, url) = (http(), format!("{}/readyz", self.urls[number]));
        let answered =
            async || client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
        eventually("the instance is ready", answered).await;
    }

    pub fn kill_simulator(&self) {
        drop(self.simulator.lock().unwrap().take());
    }

    pub fn start_simulator(&self) {
        let rejected = self.members.offers.last().unwrap().to_string();
        let arguments =
            ["simulator", "--listen", &self.external, "--latency", "5ms", "--reject-offer", &rejected];
        let child = processes::offers(&arguments).arg("--log").arg(&self.simulator_log).spawn().unwrap();
        *self.simulator.lock().unwrap() = Some(Killed(child));
    }

    /// Sets how the activation system behaves, by its name.
    pub async fn simulate(&self, behaviour: &str) {
        let url = format!("http://{}/_control", self.external);
        let changes = offers::simulator::named(behaviour).unwrap();
        let client = http();
        let set = async || {
            client.put(&url).json(&changes).send().await.is_ok_and(|answer| answer.status().is_success())
        };
        eventually("the activation system takes its behaviour", set).await;
    }

    pub async fn redis(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        redis::Client::open(self.sandbox.redis_url.as_str())?.get_multiplexed_async_connection().await
    }

    pub async fn jetstream(&self) -> Option<async_nats::jetstream::Context> {
        let url: async_nats::ServerAddr = self.sandbox.nats_url.parse().unwrap();
        let (user, password) = (url.username().unwrap().to_owned(), url.password().unwrap().to_owned());
        let options = async_nats::ConnectOptions::new().user_and_password(user, password);
        Some(async_nats::jetstream::new(options.connect(url).await.ok()?))
    }

    /// The way of the instances to `server`.
    pub fn tunnel(&self, server: Server) -> &Tunnel {
        &self.tunnels.iter().find(|(to, _)| *to == server).unwrap().1
    }

    /// An access token of `username`, from the first instance that gives one.
    pub async fn log_in(&self, username: &str) -> String {
        let (client, body) = (http(), json!({"username": username, "password": format!("{username}-demo")}));
        let mut token = String::new();
        eventually("a user logs in", async || {
            for url in &self.urls {
                let sent = client.post(format!("{url}/api/v1/auth/login/")).json(&body).send().await;
                let Ok(answer) = sent else { continue };
                let Ok(grant) = answer.json::<Value>().await else { continue };
                if let Some(access) = grant["access"].as_str() {
                    access.clone_into(&mut token);
                    return true;
                }
            }
            false
        })
        .await;
        format!("Bearer {token}")
    }

    pub fn partner_key(&self) -> String {
        format!("ApiKey {}", self.members.partner.as_ref().unwrap().api_key)
    }

    async fn register_partner(&self) {
        let partner = self.members.partner.as_ref().unwrap().id;
        let request = http().patch(format!("{}/api/v1/admin/partners/{partner}/", self.urls[0]));
        let (admin, body) = (self.log_in("admin").await, json!({"callback_url": self.partner.url}));
        let answer = request.header("Authorization", admin).json(&body).send().await.unwrap();
        answer.error_for_status().unwrap();
    }
}

/// A partner that notes what it answers 200 to.
async fn partner(told: Arc<Mutex<Vec<Callback>>>, fails: Arc<AtomicBool>) -> Receiver {
    Receiver::new(move |request| {
        if fails.load(Ordering::SeqCst) {
            return Reply::Status(500, "");
        }
        let body = request.json();
        let data = |member: &str| body["data"][member].as_str().unwrap_or_default().to_owned();
        let event_id = request.id().to_owned();
        told.lock().unwrap().push(Callback {
            event_id,
            transaction: data("transaction_id"),
            status: data("status"),
        });
        Reply::Status(200, "")
    })
    .await
}

/// Sends `signal` to a server of this process's stack.
pub fn signal(server: &str, signal: Signal) {
    if let Some(pid) = pid(server) {
        signal_process(pid, signal);
    }
}

/// The process of a server of this process's stack; `None` while it is being started.
pub fn pid(server: &str) -> Option<i32> {
    read_pid(&stack::directory().join("run").join(format!("{server}.pid")))
}

/// The process that restarts the servers when they die.
pub fn supervisor() -> Option<i32> {
    read_pid(&stack::directory().join("lock"))
}

fn read_pid(file: &Path) -> Option<i32> {
    let identity: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    i32::try_from(identity["pid"].as_i64()?).ok()
}

/// Of ours: no other is ever given.
pub fn signal_process(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal); // it may be gone already
    }
}

/// What was committed survives the end of PostgreSQL, though not that of the machine.
pub async fn commit_to_the_kernel(stack: &Stack) {
    let mut owner = PgConnection::connect(&stack.urls.database_url).await.unwrap();
    sqlx::query("alter role offers_app set synchronous_commit = on").execute(&mut owner).await.unwrap();
}

async fn seed(sandbox: &Sandbox) -> Members {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let connect: PgConnectOptions = sandbox.database_url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(connect.clone());
    let log = EventLog::open(pool.clone(), connect, WriterOptions::default(), &stop);
    let identity = Identity::new(pool, &processes::settings()).unwrap();
    processes::seed(&log, &identity).await
}
