//! The private nats-server, with JetStream and the accounts of `nats.conf`.

use std::path::Path;
use std::time::Duration;

use super::error::Error;
use super::files::{self, Passwords};
use super::probe::Probe;
use super::process::Signal;
use super::programs;
use super::service::ServiceSpec;

/// The same file as in a deployment; addresses and the data directory are overridden here.
const CONFIGURATION: &str = include_str!("../../nats.conf");
/// The prefix of the JetStream API for analysts (`imports` of READERS in nats.conf).
pub(crate) const READERS_API_PREFIX: &str = "EVENTS.API";
/// It reads its streams before it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
const SHUTDOWN: Duration = Duration::from_secs(10);

/// How to start it: clients on `port`, monitoring on `monitor`.
pub(crate) fn spec(
    dir: &Path,
    port: u16,
    monitor: u16,
    passwords: &Passwords,
    may_hang: bool,
) -> Result<ServiceSpec, Error> {
    let home = dir.join("nats");
    files::create_private_directory(&home)?;
    let config = home.join("nats.conf");
    files::replace(&config, CONFIGURATION.as_bytes(), 0o644)?;
    let (port_arg, monitor_arg) = (port.to_string(), monitor.to_string());
    let mut args = vec!["-c".into(), config.into(), "-sd".into(), home.join("jetstream").into()];
    args.extend(["-a", "127.0.0.1", "-p", &port_arg, "-m", &monitor_arg].map(Into::into));
    Ok(ServiceSpec {
        name: "nats",
        program: programs::find("nats-server", "nats-server")?,
        args,
        env: vec![
            ("NATS_APP_PASSWORD".to_owned(), passwords.nats_app.clone().into()),
            ("NATS_ANALYTICS_ADMIN_PASSWORD".to_owned(), passwords.nats_analytics_admin.clone().into()),
            ("NATS_ANALYST_PASSWORD".to_owned(), passwords.nats_analyst.clone().into()),
        ],
        home,
        user: None,
        probe: Probe::Nats { port, user: "app", password: passwords.nats_app.clone() },
        ready_within: READY_WITHIN,
        may_hang,
        stop_signals: vec![(Signal::TERM, SHUTDOWN)],
    })
}

pub(crate) fn url(user: &str, password: &str, port: u16) -> String {
    format!("nats://{user}:{password}@127.0.0.1:{port}")
}
