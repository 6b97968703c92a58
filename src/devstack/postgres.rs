//! The private PostgreSQL: its cluster, its roles, how it is started.
//!
//! PostgreSQL refuses to run as root. Then the cluster belongs to the system's `postgres` user, and when
//! that user cannot enter the data directory (below a home with mode 700, say) it lies in /var/tmp.

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
use super::process::{Identity, Signal, command_line};
use super::programs;
use super::service::Recipe;

/// The user that runs the server when we are root.
const SERVER_USER: &str = "postgres";
/// The service's database.
pub(crate) const DATABASE: &str = "offers";
/// Where the cluster goes when that user cannot enter the data directory.
const ELSEWHERE: &str = "/var/tmp";
/// Connections: the service's pools, those of a few hundred tests side by side, and psql.
const MAX_CONNECTIONS: u32 = 300;
/// Starting may include the recovery of a large log after a crash.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a fast shutdown may take: it writes a checkpoint.
const FAST_SHUTDOWN: Duration = Duration::from_secs(20);
/// How long an immediate shutdown may take.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);

/// What the server is for, as far as its settings care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Care {
    /// Off for tests: nothing is forced to disk, a power cut may lose the cluster.
    pub(crate) durable: bool,
    /// The directory is removed at the end: stop without a checkpoint.
    pub(crate) ephemeral: bool,
}

/// Where the cluster is and who runs it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    home: PathBuf,
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Finds or chooses the place, and remembers it in `state`.
    pub(crate) fn locate(dir: &Path, state: &mut State) -> Result<Cluster, Error> {
        let user = if rustix::process::geteuid().is_root() { Some(server_user()?) } else { None };
        let inside = dir.join("postgres");
        let home = match state.cluster.clone() {
            Some(known) => known,
            None if own_directory(&inside, user)? => inside,
            None => elsewhere(dir),
        };
        if !own_directory(&home, user)? {
            return Err(Error::ForeignDirectory(home));
        }
        state.cluster = Some(home.clone());
        Ok(Cluster { home, user })
    }

    /// The cluster that an earlier start remembered.
    pub(crate) fn known(state: &State) -> Option<Cluster> {
        state.cluster.clone().map(|home| Cluster { home, user: None })
    }

    /// The cluster's files.
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Creates the cluster when there is none. A first try that was broken off is done again.
    pub(crate) async fn create(&self, passwords: &Passwords, care: Care) -> Result<(), Error> {
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
        if !care.durable {
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

    /// Ends a server that runs on these files without us, and removes a pid file that names a stranger.
    ///
    /// PostgreSQL believes any living process with the pid in its file to be itself, and would not start.
    pub(crate) async fn evict(&self) {
        let path = self.data().join("postmaster.pid");
        let Some(pid) = fs::read_to_string(&path).ok().and_then(|text| text.lines().next()?.parse().ok())
        else {
            return;
        };
        let home = self.data().to_string_lossy().into_owned();
        let ours = command_line(pid).is_some_and(|line| line.contains(&home));
        match Identity::of(pid).filter(|_| ours) {
            Some(server) => {
                warn!("ending a PostgreSQL that was left running on {home} (process {pid})");
                server.end(&farewell(Care { durable: true, ephemeral: false })).await;
            }
            None => {
                let _may_be_gone = fs::remove_file(&path);
            }
        }
    }

    /// How to start the server on `port`.
    pub(crate) fn recipe(&self, port: u16, passwords: &Passwords, care: Care) -> Result<Recipe, Error> {
        let bin = programs::postgres(&self.data())?;
        let settings = settings(port, care).into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        Ok(Recipe {
            name: "postgres",
            program: bin.join("postgres"),
            args: ["-D".into(), self.data().into()].into_iter().chain(settings.map(Into::into)).collect(),
            env: Vec::new(),
            home: self.home.clone(),
            user: self.user,
            probe: Probe::Postgres { url: url("postgres", &passwords.postgres, port, "postgres") },
            ready_within: READY_WITHIN,
            farewell: farewell(care),
        })
    }

    /// Removes the cluster, wherever it is.
    pub(crate) fn remove(state: &State) -> io::Result<()> {
        match &state.cluster {
            Some(home) if home.exists() => fs::remove_dir_all(home),
            _ => Ok(()),
        }
    }
}

fn farewell(care: Care) -> Vec<(Signal, Duration)> {
    let immediate = (Signal::QUIT, IMMEDIATE_SHUTDOWN);
    if care.ephemeral { vec![immediate] } else { vec![(Signal::INT, FAST_SHUTDOWN), immediate] }
}

fn settings(port: u16, care: Care) -> Vec<String> {
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
        // Compiling a plan takes longer than any statement of ours.
        "jit=off".to_owned(),
    ];
    if !care.durable {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings
}

/// Makes the two roles and the database, or brings their passwords up to date.
///
/// `offers_owner` owns the database and migrates it. `offers_app` is the service: it may connect, and
/// the migrations grant it the rest. Neither may create roles, which PostgreSQL 15 makes as good as being
/// its superuser; the owner creates databases for the tests.
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
        // No parameters in DDL; the password is of our own making, letters and digits only.
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

/// Where `role` finds `database` on the private server.
pub(crate) fn url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}")
}

/// The uid and gid of the system's `postgres` user, which its package creates.
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

/// Makes the directory the server's own; false when its user cannot enter it there.
///
/// One that is there already must be private to that user: below /var/tmp anybody may have made it.
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

/// A place that depends on the data directory's path alone.
fn elsewhere(dir: &Path) -> PathBuf {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new(ELSEWHERE).join(format!("offers-{hash}"))
}
