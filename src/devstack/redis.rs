//! The private Redis. It keeps nothing on disk: what it holds is derived and comes back from the log.

use std::path::Path;
use std::time::Duration;

use super::error::{At, Error};
use super::files::{self, Passwords};
use super::probe::Probe;
use super::process::Signal;
use super::programs;
use super::service::Recipe;

/// Numbered databases: one for each test.
const DATABASES: u32 = 512;
/// Connections it accepts.
const MAX_CLIENTS: u32 = 4_000;
/// How long it may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// How to start it on `port`. The password stands in a file: arguments can be read by everybody.
pub(crate) fn recipe(dir: &Path, port: u16, passwords: &Passwords) -> Result<Recipe, Error> {
    let home = dir.join("redis");
    std::fs::create_dir_all(&home).at(&home)?;
    let config = home.join("redis.conf");
    files::replace(&config, configuration(port, passwords).as_bytes(), 0o600)?;
    Ok(Recipe {
        name: "redis",
        program: programs::find("redis-server", "redis-server")?,
        args: vec![config.into()],
        env: Vec::new(),
        home,
        user: None,
        probe: Probe::Redis { port, password: passwords.redis.clone() },
        ready_within: READY_WITHIN,
        farewell: vec![(Signal::TERM, SHUTDOWN)],
    })
}

fn configuration(port: u16, passwords: &Passwords) -> String {
    format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {}\ndaemonize no\nsave \"\"\nappendonly no\n\
         databases {DATABASES}\nmaxclients {MAX_CLIENTS}\nmaxmemory-policy noeviction\n",
        passwords.redis
    )
}

/// Where clients find it.
pub(crate) fn url(port: u16, passwords: &Passwords) -> String {
    format!("redis://:{}@127.0.0.1:{port}/0", passwords.redis)
}
