//! The servers that all tests (and benches) of one run share, and a sandbox in them for each test.
//!
//! They run in a process of their own that ends when its stdin closes: so the kernel ends them when this
//! process dies, by whatever signal. With `OFFERS_TEST_STACK` nothing is started: it names a file with what
//! `offers dev servers` has printed, and many processes, one after another or at once, use those servers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use offers::devstack::Urls;
use offers::runtime::migrations;
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

/// Databases that the private Redis has; number 0 is nobody's.
const REDIS_DATABASES: i64 = 512;
/// Sandboxes that a stack keeps: so many later, what an old one held is removed. Longer than any run.
const KEPT: i64 = 300;
/// The lock in PostgreSQL under which the template is made.
const TEMPLATE_LOCK: i64 = 730_607;

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// The shared servers.
pub struct Stack {
    /// Where they are.
    pub urls: Urls,
    /// Its stdin is the thread by which the servers hang; `None`: they are not ours.
    _servers: Option<Child>,
    /// The migrated database that every test's own is a copy of.
    template: OnceCell<String>,
}

/// What one test has for itself: nobody else writes there.
#[derive(Debug, Clone)]
pub struct Sandbox {
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

impl Stack {
    /// Those of `OFFERS_TEST_STACK`, or those of this process, started by the first who asks; nothing that
    /// these hold survives.
    pub async fn get() -> &'static Stack {
        STACK.get_or_init(|| async { Stack::given().unwrap_or_else(|| Stack::start(false)) }).await
    }

    fn given() -> Option<Stack> {
        let path = std::env::var_os("OFFERS_TEST_STACK").filter(|path| !path.is_empty())?;
        let text = std::fs::read_to_string(&path).expect("OFFERS_TEST_STACK names a file");
        let urls =
            serde_json::from_str(&text).expect("the file has the line that `offers dev servers` prints");
        Some(Stack { urls, _servers: None, template: OnceCell::new() })
    }

    /// Servers of this process: with fsync if `durable`, which only benches need.
    pub fn start(durable: bool) -> Stack {
        let dir = directory();
        let (servers, urls) = start_servers(&dir, durable, true).expect("why not is printed above");
        Stack { urls, _servers: Some(servers), template: OnceCell::new() }
    }

    /// A migrated database, a Redis database and a stream's name that no other test has.
    pub async fn sandbox(&self) -> Sandbox {
        let template = self.template.get_or_init(|| self.migrated_template()).await;
        let mut owner = self.owner().await;
        let number = next_number(&mut owner).await;
        let name = format!("test_{number}");
        create_database(&mut owner, &name, template).await;
        if number > KEPT {
            self.remove(&mut owner, number - KEPT).await;
        }
        owner.close().await.expect("the connection closes");
        Sandbox {
            database_owner_url: in_database(&self.urls.database_owner_url, &name),
            database_url: in_database(&self.urls.database_url, &name),
            redis_url: self.redis(number).await,
            nats_url: self.urls.nats_url.clone(),
            stream: format!("TEST_{number}"),
            subjects: name,
        }
    }

    /// A migrated database of its own: as its owner, and as the service's role.
    pub async fn fresh_database(&self) -> (String, String) {
        let sandbox = self.sandbox().await;
        (sandbox.database_owner_url, sandbox.database_url)
    }

    /// A database without a schema, created with `options`: as its owner, and as the service's role.
    pub async fn empty_database(&self, options: &str) -> (String, String) {
        let (owner_url, app_url) = self.fresh_database().await;
        let (_, name) = owner_url.rsplit_once('/').expect("our URLs end in a database");
        let mut owner = self.owner().await;
        run(&mut owner, &format!("drop database {name}")).await;
        create_database(&mut owner, name, &format!("template0 {options}")).await;
        owner.close().await.expect("the connection closes");
        (owner_url, app_url)
    }

    async fn redis(&self, number: i64) -> String {
        let database = 1 + number % (REDIS_DATABASES - 1);
        let url = in_database(&self.urls.redis_url, &database.to_string());
        if number != database - 1 {
            let client = redis::Client::open(url.as_str()).expect("our own URL");
            let mut old = client.get_multiplexed_async_connection().await.expect("Redis answers");
            redis::cmd("FLUSHDB").exec_async(&mut old).await.expect("Redis empties a database");
        }
        url
    }

    /// What a test of long ago had. It may be in use or gone already: then it stays.
    async fn remove(&self, owner: &mut PgConnection, number: i64) {
        let _ = sqlx::query(&format!("drop database if exists test_{number}")).execute(owner).await;
        let url: async_nats::ServerAddr = self.urls.nats_url.parse().expect("our own URL");
        let (user, password) = (url.username().unwrap_or_default(), url.password().unwrap_or_default());
        let options =
            async_nats::ConnectOptions::new().user_and_password(user.to_owned(), password.to_owned());
        let client = options.connect(url).await.expect("NATS answers");
        let jetstream = async_nats::jetstream::new(client);
        for stream in [format!("TEST_{number}"), format!("TEST_{number}_CHECKPOINTS")] {
            let _ = jetstream.delete_stream(stream).await;
        }
    }

    /// The name says which migrations it has: servers may outlive a change of them.
    async fn migrated_template(&self) -> String {
        let name = format!("offers_template_{:016x}", migrations_hash());
        let mut owner = self.owner().await;
        let lock = sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK);
        lock.execute(&mut owner).await.expect("a lock");
        let there = sqlx::query_scalar("select exists (select from pg_database where datname = $1)");
        let there: bool =
            there.bind(&name).fetch_one(&mut owner).await.expect("PostgreSQL lists its databases");
        if !there {
            let draft = format!("{name}_draft");
            run(&mut owner, &format!("drop database if exists {draft}")).await;
            run(&mut owner, &format!("create database {draft}")).await;
            let url = in_database(&self.urls.database_owner_url, &draft);
            migrations::run(&url).await.expect("the migrations apply to an empty database");
            run(&mut owner, &format!("alter database {draft} rename to {name}")).await;
        }
        run(&mut owner, "create sequence if not exists sandboxes").await;
        owner.close().await.expect("the connection closes, and with it ends the lock");
        name
    }

    async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.urls.database_owner_url).await.expect("PostgreSQL answers")
    }
}

/// Where the servers of this process keep their data and pids.
pub fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("offers-it-{}", std::process::id()))
}

/// No other test has it, in whatever process.
async fn next_number(owner: &mut PgConnection) -> i64 {
    let number = sqlx::query_scalar("select nextval('sandboxes')");
    number.fetch_one(owner).await.expect("the template was made, and with it the sequence")
}

async fn create_database(owner: &mut PgConnection, name: &str, template: &str) {
    run(owner, &format!("create database {name} template {template}")).await;
    // As in a real installation; rights on a database are not copied with it.
    run(owner, &format!("revoke all on database {name} from public")).await;
    run(owner, &format!("grant connect on database {name} to offers_app")).await;
}

async fn run(owner: &mut PgConnection, statement: &str) {
    sqlx::query(statement).execute(owner).await.expect("the owner may create databases");
}

fn migrations_hash() -> u64 {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("the migrations");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let mut hasher = DefaultHasher::new();
    for path in paths {
        std::fs::read(&path).expect("a migration").hash(&mut hasher);
    }
    hasher.finish()
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
