//! The private PostgreSQL: its cluster, its roles, how it is started.
//!
//! PostgreSQL refuses to run as root. For root the cluster belongs to the system's `postgres` user, and if
//! that user cannot enter the data directory (below a home with mode 700, say) the cluster is in /var/tmp.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;
use std::time::Duration;
use std::{fs, io};

use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tokio::process::Command;
use tracing::warn;

use super::error::{At, Error};
use super::files::{self, Passwords, State};
use super::probe::Probe;
use super::process::{ProcessIdentity, Signal, command_line};
use super::programs;
use super::service::ServiceSpec;

/// Runs the server if we are root.
const SERVER_USER: &str = "postgres";
pub(crate) const DATABASE: &str = "offers";
/// For the cluster if that user cannot enter the data directory.
const FALLBACK: &str = "/var/tmp";
/// Connections: the service's pools, those of a few hundred tests side by side, and psql.
const MAX_CONNECTIONS: u32 = 300;
/// Includes the recovery of a large log after a crash.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A fast shutdown writes a checkpoint.
const FAST_SHUTDOWN: Duration = Duration::from_secs(20);
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Durability {
    /// Off for tests: no fsync, a power cut may lose the cluster.
    pub(crate) durable: bool,
    /// The directory is removed at the end, so the server stops without a checkpoint.
    pub(crate) ephemeral: bool,
}

/// The cluster's directory, and the user that runs it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    home: PathBuf,
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Finds or chooses the directory, and keeps it in `state`.
    pub(crate) fn locate(dir: &Path, state: &mut State) -> Result<Cluster, Error> {
        let user = if rustix::process::geteuid().is_root() { Some(server_user()?) } else { None };
        let inside = dir.join("postgres");
        let home = match state.cluster.clone() {
            Some(known) => known,
            None if own_directory(&inside, user)? => inside,
            None => fallback(dir),
        };
        if !own_directory(&home, user)? {
            return Err(Error::ForeignDirectory(home));
        }
        state.cluster = Some(home.clone());
        Ok(Cluster { home, user })
    }

    /// The cluster of an earlier start.
    pub(crate) fn known(state: &State) -> Option<Cluster> {
        state.cluster.clone().map(|home| Cluster { home, user: None })
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Creates the cluster if there is none. An unfinished attempt is repeated.
    pub(crate) async fn create(&self, passwords: &Passwords, durability: Durability) -> Result<(), Error> {
        if self.data().exists() {
            return Ok(());
        }
        let bin = programs::postgres(&self.data())?;
        let (draft, password_file) = (self.home.join("data.new"), self.home.join("superuser"));
        if draft.exists() {
            fs::remove_dir_all(&draft).at(&draft)?;
        }
        files::replace(&password_file, passwords.postgres.as_bytes(), 0o600)?;
        if let Some((uid, gid)) = self.user {
            chown(&password_file, Some(uid), Some(gid)).at(&password_file)?;
        }
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.arg("-D").arg(&draft).arg("--pwfile").arg(&password_file);
        initdb.args(["-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        initdb.args(["--no-instructions", "--data-checksums"]);
        if !durability.durable {
            initdb.arg("--no-sync");
        }
        self.run("initdb", initdb).await?;
        fs::remove_file(&password_file).at(&password_file)?;
        fs::rename(&draft, self.data()).at(self.data())
    }

    async fn run(&self, tool: &'static str, mut command: Command) -> Result<(), Error> {
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(&self.home).env("LC_ALL", "C").kill_on_drop(true);
        let output = command.output().await.at(tool)?;
        if output.status.success() {
            return Ok(());
        }
        let output = [output.stdout, output.stderr].concat();
        Err(Error::Tool { tool, output: String::from_utf8_lossy(&output).trim().to_owned() })
    }

    /// Ends a server that an earlier run left on these files, or removes its pid file if that names another
    /// process: PostgreSQL would take any process with that pid for itself, and not start.
    pub(crate) async fn end_stray_server(&self) {
        let path = self.data().join("postmaster.pid");
        let Some(pid) = fs::read_to_string(&path).ok().and_then(|text| text.lines().next()?.parse().ok())
        else {
            return;
        };
        let home = self.data().to_string_lossy().into_owned();
        let ours = command_line(pid).is_some_and(|line| line.contains(&home));
        match ProcessIdentity::of(pid).filter(|_| ours) {
            Some(server) => {
                warn!("ending PostgreSQL of an earlier run on {home} (process {pid})");
                server.end(&stop_signals(Durability { durable: true, ephemeral: false })).await;
            }
            None => {
                let _may_be_gone = fs::remove_file(&path);
            }
        }
    }

    /// How to start the server on `port`.
    pub(crate) fn spec(
        &self,
        port: u16,
        passwords: &Passwords,
        durability: Durability,
    ) -> Result<ServiceSpec, Error> {
        let bin = programs::postgres(&self.data())?;
        let settings = settings(port, durability).into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        Ok(ServiceSpec {
            name: "postgres",
            program: bin.join("postgres"),
            args: ["-D".into(), self.data().into()].into_iter().chain(settings.map(Into::into)).collect(),
            env: Vec::new(),
            home: self.home.clone(),
            user: self.user,
            probe: Probe::Postgres { url: url("postgres", &passwords.postgres, port, "postgres") },
            ready_within: READY_WITHIN,
            may_hang: false,
            stop_signals: stop_signals(durability),
        })
    }

    pub(crate) fn remove(state: &State) -> io::Result<()> {
        match &state.cluster {
            Some(home) if home.exists() => fs::remove_dir_all(home),
            _ => Ok(()),
        }
    }
}

fn stop_signals(durability: Durability) -> Vec<(Signal, Duration)> {
    let immediate = (Signal::QUIT, IMMEDIATE_SHUTDOWN);
    if durability.ephemeral { vec![immediate] } else { vec![(Signal::INT, FAST_SHUTDOWN), immediate] }
}

fn settings(port: u16, durability: Durability) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={MAX_CONNECTIONS}"),
        "shared_buffers=256MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "log_checkpoints=off".to_owned(),
        "log_line_prefix=%m [%p] %u@%d ".to_owned(),
        // Compiling a plan would take longer than our statements.
        "jit=off".to_owned(),
    ];
    if !durability.durable {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings
}

/// Creates the two roles and the database, or updates their passwords.
///
/// `offers_owner` owns the database and migrates it. `offers_app` is the service's role: it may connect, and
/// the migrations grant the rest. Neither may create roles: on PostgreSQL 15 that is as good as being the
/// superuser. The owner creates databases for the tests.
pub(crate) async fn set_up_roles(port: u16, passwords: &Passwords) -> Result<(), Error> {
    let mut connection =
        PgConnection::connect(&url("postgres", &passwords.postgres, port, "postgres")).await?;
    let roles = [
        ("offers_owner", "nosuperuser nocreaterole createdb", &passwords.offers_owner),
        ("offers_app", "nosuperuser nocreaterole nocreatedb", &passwords.offers_app),
    ];
    for (role, rights, password) in roles {
        let known = exists(&mut connection, "select 1 from pg_roles where rolname = $1", role).await?;
        let verb = if known { "alter" } else { "create" };
        // DDL has no parameters; the password is generated, letters and digits only.
        let statement = format!("{verb} role {role} login {rights} password '{password}'");
        sqlx::query(&statement).execute(&mut connection).await?;
    }
    if !exists(&mut connection, "select 1 from pg_database where datname = $1", "offers").await? {
        sqlx::query("create database offers owner offers_owner").execute(&mut connection).await?;
    }
    for statement in
        ["revoke all on database offers from public", "grant connect on database offers to offers_app"]
    {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

async fn exists(connection: &mut PgConnection, query: &str, name: &str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(query).bind(name).fetch_optional(connection).await?.is_some())
}

pub(crate) fn url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}")
}

/// The uid and gid of the `postgres` user, which the system's package creates.
fn server_user() -> Result<(u32, u32), Error> {
    let id = |option: &str| {
        let output = Blocking::new("id").args([option, SERVER_USER]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    match (id("-u"), id("-g")) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(Error::NotInstalled { program: "the system user postgres", package: "postgresql" }),
    }
}

/// Creates the directory for the server's user; false if that user cannot enter it there.
///
/// An existing directory must be private to that user: below /var/tmp any user may have created it.
fn own_directory(home: &Path, user: Option<(u32, u32)>) -> Result<bool, Error> {
    if !home.exists() {
        if let Some(parent) = home.parent() {
            fs::create_dir_all(parent).at(parent)?;
        }
        fs::DirBuilder::new().mode(0o700).create(home).at(home)?;
        if let Some((uid, gid)) = user {
            chown(home, Some(uid), Some(gid)).at(home)?;
        }
    }
    let found = fs::symlink_metadata(home).at(home)?;
    let owner = user.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
    if !found.is_dir() || found.uid() != owner || found.permissions().mode() & 0o077 != 0 {
        return Err(Error::ForeignDirectory(home.to_owned()));
    }
    let reachable = can_enter(home, user);
    if !reachable {
        let _only_if_empty = fs::remove_dir(home);
    }
    Ok(reachable)
}

fn can_enter(home: &Path, user: Option<(u32, u32)>) -> bool {
    use std::os::unix::process::CommandExt;
    let mut test = Blocking::new("sh");
    test.args(["-c", "cd \"$1\" && test -w .", "sh"]).arg(home).current_dir("/");
    if let Some((uid, gid)) = user {
        test.uid(uid).gid(gid);
    }
    test.output().is_ok_and(|output| output.status.success())
}

/// A path that is derived from the data directory's path.
fn fallback(dir: &Path) -> PathBuf {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new(FALLBACK).join(format!("offers-{hash}"))
}
