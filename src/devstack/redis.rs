//! The private Redis. It keeps nothing on disk: its data is derived and comes back from the log.

use std::path::Path;
use std::time::Duration;

use super::error::Error;
use super::files::{self, Passwords};
use super::probe::Probe;
use super::process::Signal;
use super::programs;
use super::service::ServiceSpec;

/// Numbered databases: one for each test.
const DATABASES: u32 = 512;
const MAX_CLIENTS: u32 = 4_000;
const READY_WITHIN: Duration = Duration::from_secs(30);
const SHUTDOWN: Duration = Duration::from_secs(5);

/// How to start it on `port`. The password is in a file, because every user can read arguments.
pub(crate) fn spec(dir: &Path, port: u16, passwords: &Passwords) -> Result<ServiceSpec, Error> {
    let home = dir.join("redis");
    files::create_private_directory(&home)?;
    let config = home.join("redis.conf");
    files::replace(&config, configuration(port, passwords).as_bytes(), 0o600)?;
    Ok(ServiceSpec {
        name: "redis",
        program: programs::find("redis-server", "redis-server")?,
        args: vec![config.into()],
        env: Vec::new(),
        home,
        user: None,
        probe: Probe::Redis { port, password: passwords.redis.clone() },
        ready_within: READY_WITHIN,
        may_hang: false,
        stop_signals: vec![(Signal::TERM, SHUTDOWN)],
    })
}

fn configuration(port: u16, passwords: &Passwords) -> String {
    format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {}\ndaemonize no\nsave \"\"\nappendonly no\n\
         databases {DATABASES}\nmaxclients {MAX_CLIENTS}\nmaxmemory-policy noeviction\n",
        passwords.redis
    )
}

pub(crate) fn url(port: u16, passwords: &Passwords) -> String {
    format!("redis://:{}@127.0.0.1:{port}/0", passwords.redis)
}
