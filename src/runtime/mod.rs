//! The service: opens what is shared, runs the roles it was given, and ends them in order.

mod development;
pub mod doctor;
mod gauges;
mod http_threads;
mod interruption;
pub mod migrations;
mod parts;
pub mod projectors;

use crate::app::{App, Dependencies};
use crate::bus::{self, Bus};
use crate::clock::Clock;
use crate::config::{Role, SecretError, Serve};
use crate::event_log::{self, EventLog, Leadership, follow};
use crate::identity;
use crate::processors::callbacks;
use crate::processors::notifications::{self, Notifications};
use crate::processors::{RequeuedActivations, Sweeper, consume_activations};
use crate::telemetry::chain;
use crate::{http, telemetry};
use gauges::Gauges;
use http_threads::HttpThreads;
pub use interruption::Interruption;
use metrics_exporter_prometheus::PrometheusHandle;
pub use parts::{Parts, check_database};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something that it must be told is missing or wrong.
    #[error("the configuration is not complete")]
    Secret(#[from] SecretError),
    /// A setting that cannot be used.
    #[error("{name} cannot be used: {why}")]
    Setting {
        name: &'static str,
        /// What is wrong with it; never the value of a secret.
        why: String,
    },
    #[error("cannot use PostgreSQL at {url}")]
    Database {
        url: String,
        #[source]
        cause: sqlx::Error,
    },
    /// The schema is not there or old.
    #[error("the database at {url} is not migrated: run `offers migrate` with the owner's URL first")]
    NotMigrated { url: String },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: std::io::Error,
    },
    /// No threads to answer on.
    #[error("the system has no more threads")]
    Threads(#[source] std::io::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// What callbacks are sent with.
    #[error(transparent)]
    Callbacks(#[from] callbacks::ClientError),
    #[error(transparent)]
    MailSetting(#[from] notifications::SettingError),
    /// Mail could not be switched on.
    #[error(transparent)]
    Mail(#[from] notifications::StartError),
    #[error(transparent)]
    Projections(#[from] projections::Error),
}

pub struct Service {
    /// Where HTTP is served; `None` without that role.
    pub address: Option<SocketAddr>,
    pub app: Arc<App>,
    pub resources: Dependencies,
    tasks: TaskTracker,
    http_threads: Option<HttpThreads>,
    stop: CancellationToken,
    /// Nothing is written any more: the log ends last, so that what came of a call still gets in.
    end: CancellationToken,
}

impl Service {
    /// Starts every role of `config`.
    ///
    /// # Errors
    /// `StartError`: a missing secret, PostgreSQL out of reach, an address that is taken. Redis and NATS
    /// may be absent: the service is degraded until they come.
    pub async fn start(config: &Serve, clock: Clock, metrics: PrometheusHandle) -> Result<Self, StartError> {
        let (stop, end) = (CancellationToken::new(), CancellationToken::new());
        let mail = notifications::Settings::read(&config.mail)?;
        let parts = Parts::open(config, clock, metrics, &stop, &end).await?;
        // Before anything can happen that users are told of: where mail begins is recorded by this.
        let mail = match mail.filter(|_| config.roles().contains(&Role::Processor)) {
            Some(settings) => Some(parts.notifications(settings).await?),
            None => None,
        };
        let mut service = Self {
            address: None,
            app: parts.app.clone(),
            resources: parts.resources.clone(),
            tasks: TaskTracker::new(),
            http_threads: None,
            stop,
            end,
        };
        if let Some(mail) = mail.clone() {
            service.tasks.spawn(mail.run(service.stop.clone()));
        }
        for role in config.roles() {
            service.begin(role, config, &parts, mail.as_ref()).await?;
        }
        service.watch(config, &parts).await?;
        Ok(service)
    }

    async fn begin(
        &mut self,
        role: Role,
        config: &Serve,
        parts: &Parts,
        mail: Option<&Notifications>,
    ) -> Result<(), StartError> {
        match role {
            Role::Api => self.serve_http(config, parts).await?,
            Role::Relay => {
                let bus = parts.resources.bus.clone();
                let log = parts.resources.log.clone();
                self.lead(event_log::Role::Relay, parts, move |term| relay(bus.clone(), log.clone(), term));
            }
            Role::Projector => {
                let (feed, tables) = (parts.resources.log.clone(), parts.read_tables());
                self.lead(event_log::Role::ReadTables, parts, move |term| {
                    follow(feed.feed(), tables.clone(), term)
                });
                let (feed, hashes) = (parts.resources.log.clone(), parts.hash_projector()?);
                self.lead(event_log::Role::Hashes, parts, move |term| {
                    follow(feed.feed(), hashes.clone(), term)
                });
                let (feed, notary) = (parts.resources.log.clone(), parts.resources.notary.clone());
                if !notary.signs() {
                    tracing::info!(
                        "without OFFERS_CHECKPOINT_KEY the tree grows, and no checkpoint is signed"
                    );
                }
                self.lead(event_log::Role::Tree, parts, move |term| {
                    follow(feed.feed(), notary.projector(), term)
                });
            }
            Role::Processor => {
                self.process(config, parts)?;
                self.announce(config, parts, mail)?;
            }
            Role::Scheduler => {
                let scheduler = parts.scheduler();
                self.lead(event_log::Role::Scheduler, parts, move |term| scheduler.clone().run(term));
            }
        }
        Ok(())
    }

    /// Runs `work` on one instance at a time.
    fn lead<F>(
        &self,
        role: event_log::Role,
        parts: &Parts,
        work: impl FnMut(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let leadership = Leadership::new(parts.connect.clone(), role);
        self.tasks.spawn(leadership.run(self.stop.clone(), work));
    }

    /// Drives activations: those that the bus announces, and those that it forgot.
    fn process(&self, config: &Serve, parts: &Parts) -> Result<(), StartError> {
        let Dependencies { log, readers, bus, parked, clock, .. } = parts.resources.clone();
        let calls = config.activation.external_calls;
        let processor = parts.activation_processor()?;
        let sweeper = Sweeper::new(readers.clone(), processor.clone(), parked.clone(), bus.clone(), clock);
        self.tasks.spawn(sweeper.run(self.stop.clone()));
        let rechecks = parts.rechecks();
        let requeued = RequeuedActivations::new(parked.clone(), log, processor.clone(), rechecks.clone());
        self.tasks.spawn(rechecks.run(processor.clone(), self.stop.clone()));
        self.tasks.spawn(requeued.run(self.stop.clone()));
        self.tasks.spawn(consume_activations(
            bus,
            processor,
            parked,
            readers,
            u32::from(calls),
            config.activation.external_timeout,
        ));
        Ok(())
    }

    /// Queues callbacks and mail on one instance, sends callbacks on every one.
    fn announce(
        &self,
        config: &Serve,
        parts: &Parts,
        mail: Option<&Notifications>,
    ) -> Result<(), StartError> {
        let Dependencies { log, callbacks, bus, .. } = parts.resources.clone();
        let allow_private = config.callbacks.callback_allow_private;
        let settings = callbacks::Settings { allow_private, ..callbacks::Settings::default() };
        self.tasks.spawn(callbacks.sender(&settings)?.run(self.stop.clone()));
        let announcer = parts.announcer(mail);
        self.lead(event_log::Role::Callbacks, parts, move |term| follow(log.feed(), announcer.clone(), term));
        self.tasks.spawn(async move { bus.delete_consumers(&notifications::OLD_CONSUMERS).await });
        Ok(())
    }

    /// Measures what must be asked for, and shows it where no API is served, too.
    async fn watch(&mut self, config: &Serve, parts: &Parts) -> Result<(), StartError> {
        let (app, pool) = (parts.app.clone(), parts.pool.clone());
        let gauges = Gauges { app, resources: parts.resources.clone(), pool };
        self.tasks.spawn(gauges.run(self.stop.clone()));
        if let Some(address) = config.metrics_listen {
            let refused = |cause| StartError::Listen { address, cause };
            let listener = http::listen(address).map_err(refused)?;
            let router = http::watch_router(parts.app.clone());
            self.tasks.spawn(http::serve(
                listener,
                router,
                http::Connections::unlimited(),
                self.stop.clone(),
            ));
        }
        Ok(())
    }

    async fn serve_http(&mut self, config: &Serve, parts: &Parts) -> Result<(), StartError> {
        let address = config.listen;
        let refused = |cause| StartError::Listen { address, cause };
        let listener = http::listen(address).map_err(refused)?;
        self.address = Some(listener.local_addr().map_err(refused)?);
        let identity = parts.app.clone();
        identity.identity.read_changes().await?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let clock = identity.clock.clone();
            identity.identity.run(move || clock.now().utc(), stop).await;
        });
        let router = http::router(
            parts.app.clone(),
            &config.protection,
            config.metrics_listen.is_none(),
            config.development.docs_examples.as_ref(),
        );
        let connections = http::Connections::new(&config.protection);
        let http_threads = HttpThreads::start(config.roles().len() > 1).map_err(StartError::Threads)?;
        self.tasks
            .spawn_on(http::serve(listener, router, connections, self.stop.clone()), http_threads.handle());
        self.http_threads = Some(http_threads);
        Ok(())
    }

    /// Ends in order: no new requests, running ones finish (bounded), then the followers.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.app.identity.finish_audit().await;
        self.end.cancel();
    }
}

/// A service that is dropped ends at once, without waiting for running requests.
impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
        self.end.cancel();
    }
}

/// Publishes the log until `term` ends.
async fn relay(bus: Bus, log: EventLog, term: CancellationToken) {
    match bus.relay(log.clone()).await {
        Ok(relay) => Box::pin(follow(log.feed(), relay, term)).await,
        Err(cause) => tracing::error!(error = %chain(&cause), "the relay cannot start"),
    }
}

/// Logs, metrics and the service, until Ctrl-C or SIGTERM.
///
/// # Errors
/// As `Service::start`.
pub async fn run(config: &Serve) -> anyhow::Result<()> {
    telemetry::log_to_stderr(config.log_format);
    let mut interruption = Interruption::listen()?;
    let metrics = telemetry::collect_metrics()?;
    let traces = telemetry::export_traces()?;
    let service = tokio::select! {
        started = Service::start(config, development::clock(config), metrics) => started?,
        () = interruption.wait() => return Ok(()),
    };
    let roles: Vec<String> = config.roles().iter().map(Role::to_string).collect();
    let address = service.address.map(tracing::field::display);
    tracing::info!(roles = roles.join(","), address, "ready");
    interruption.wait().await;
    tracing::info!("stopping");
    service.stop().await;
    traces.finish().await;
    Ok(())
}
