//! The servers that all tests (and benches) of one run share, and a corner of them for each test.
//!
//! They run in a process of their own that ends when its stdin closes: so the kernel ends them when this
//! process dies, by whatever signal.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use offers::devstack::Urls;
use offers::runtime::migrations;
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

/// Databases that the private Redis has; number 0 is nobody's.
const REDIS_DATABASES: u32 = 512;
/// The migrated database that every test's own is a copy of.
const TEMPLATE: &str = "offers_template";

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// The shared servers.
pub struct Stack {
    /// Where they are.
    pub urls: Urls,
    /// Its stdin is the thread by which the servers hang.
    _servers: Child,
    template: OnceCell<()>,
    corners: AtomicU32,
}

/// What one test has for itself: nobody else writes there.
#[allow(dead_code, reason = "each test binary and bench uses its share")]
#[derive(Debug, Clone)]
pub struct Corner {
    /// A migrated database, as its owner.
    pub database_owner_url: String,
    /// The same, as the service's role.
    pub database_url: String,
    /// An empty Redis database.
    pub redis_url: String,
    /// The service's NATS account (shared), in which the test uses `stream` and `subjects`.
    pub nats_url: String,
    /// A name for a JetStream stream.
    pub stream: String,
    /// A prefix for its subjects, without the final dot.
    pub subjects: String,
}

#[allow(dead_code, reason = "each test binary and bench uses its share")]
impl Stack {
    /// The servers of this run, started by the first who asks; nothing they hold survives.
    pub async fn get() -> &'static Stack {
        STACK.get_or_init(|| Stack::start(false)).await
    }

    /// The same with fsync on, for benches: a process uses either this or `get`.
    pub async fn durable() -> &'static Stack {
        STACK.get_or_init(|| Stack::start(true)).await
    }

    async fn start(durable: bool) -> Stack {
        let dir = std::env::temp_dir().join(format!("offers-it-{}", std::process::id()));
        let (servers, urls) = start_servers(&dir, durable, true).expect("why not is printed above");
        Stack { urls, _servers: servers, template: OnceCell::new(), corners: AtomicU32::new(1) }
    }

    /// A migrated database, a Redis database and a stream's name that no other test has.
    pub async fn corner(&self) -> Corner {
        let number = self.corners.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.create_database(&name).await;
        Corner {
            database_owner_url: in_database(&self.urls.database_owner_url, &name),
            database_url: in_database(&self.urls.database_url, &name),
            redis_url: self.redis(number),
            nats_url: self.urls.nats_url.clone(),
            stream: format!("TEST_{number}"),
            subjects: name,
        }
    }

    /// A migrated database of its own: as its owner, and as the service's role.
    pub async fn fresh_database(&self) -> (String, String) {
        let corner = self.corner().await;
        (corner.database_owner_url, corner.database_url)
    }

    /// An empty Redis database of its own.
    pub fn fresh_redis(&self) -> String {
        self.redis(self.corners.fetch_add(1, Ordering::Relaxed))
    }

    fn redis(&self, number: u32) -> String {
        assert!(number < REDIS_DATABASES, "more tests in one process than the private Redis has databases");
        in_database(&self.urls.redis_url, &number.to_string())
    }

    async fn create_database(&self, name: &str) {
        self.template.get_or_init(|| self.migrate_template()).await;
        let mut owner = self.owner().await;
        for statement in [
            format!("create database {name} template {TEMPLATE}"),
            // As in a real installation; rights on a database are not copied with it.
            format!("revoke all on database {name} from public"),
            format!("grant connect on database {name} to offers_app"),
        ] {
            sqlx::query(&statement).execute(&mut owner).await.expect("the owner may create databases");
        }
        owner.close().await.expect("the connection closes");
    }

    async fn migrate_template(&self) {
        let mut owner = self.owner().await;
        let create = format!("create database {TEMPLATE}");
        sqlx::query(&create).execute(&mut owner).await.expect("the owner may create databases");
        owner.close().await.expect("the connection closes");
        let url = in_database(&self.urls.database_owner_url, TEMPLATE);
        migrations::run(&url).await.expect("the migrations apply to an empty database");
    }

    async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.urls.database_owner_url).await.expect("PostgreSQL answers")
    }
}

/// Runs `offers dev servers` on `dir`; `None` when it ended instead of saying where the servers are.
pub fn start_servers(dir: &Path, durable: bool, ephemeral: bool) -> Option<(Child, Urls)> {
    let mut servers = Command::new(env!("CARGO_BIN_EXE_offers"))
        .args(["dev", "servers", &format!("--durable={durable}"), "--dir"])
        .arg(dir)
        .args(ephemeral.then_some("--ephemeral"))
        .env("RUST_LOG", "error")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the offers binary starts");
    let stdout = servers.stdout.take().expect("stdout is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("stdout is text");
    Some((servers, serde_json::from_str(&line).ok()?))
}

/// The same server, another database: the last segment of the URL.
fn in_database(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("our URLs end in a database");
    format!("{server}/{database}")
}
