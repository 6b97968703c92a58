//! The private servers: what each test gets, and what happens when something is killed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use offers::devstack::Urls;
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{Connection, PgConnection};

use crate::support::eventually::eventually;
use crate::support::stack::{Stack, start_servers};

#[tokio::test]
async fn every_test_has_a_database_a_redis_and_a_stream_of_its_own() {
    let stack = Stack::get().await;
    let (one, other) = tokio::join!(stack.sandbox(), stack.sandbox());
    assert_ne!(one.database_url, other.database_url);
    assert_ne!(one.stream, other.stream);

    let mut owner = PgConnection::connect(&one.database_owner_url).await.unwrap();
    sqlx::query("create table mine (a int)").execute(&mut owner).await.unwrap();
    let mut app = PgConnection::connect(&one.database_url).await.unwrap();
    sqlx::query("create table forbidden (a int)").execute(&mut app).await.unwrap_err();
    sqlx::query("create temporary table forbidden (a int)").execute(&mut app).await.unwrap_err();

    let mut connection = connect_redis(&one.redis_url).await.unwrap();
    let _: () = connection.set("mine", 1).await.unwrap();
    let theirs: Option<u32> = connect_redis(&other.redis_url).await.unwrap().get("mine").await.unwrap();
    assert_eq!(theirs, None);

    let nats = connect_nats(&one.nats_url).await;
    let stream = async_nats::jetstream::stream::Config {
        name: one.stream.clone(),
        subjects: vec![format!("{}.>", one.subjects)],
        ..Default::default()
    };
    async_nats::jetstream::new(nats).create_stream(stream).await.unwrap();
}

#[tokio::test]
async fn the_owner_of_the_database_can_neither_create_roles_nor_is_a_superuser() {
    let sandbox = Stack::get().await.sandbox().await;
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let mighty = "select rolsuper or rolcreaterole from pg_roles where rolname = current_user";
    assert!(!sqlx::query_scalar::<_, bool>(mighty).fetch_one(&mut owner).await.unwrap());
    sqlx::query("create role mine").execute(&mut owner).await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_on_the_same_port() {
    let servers = Servers::start("comeback");
    for name in ["redis", "postgres"] {
        let before = servers.pid(name).unwrap();
        signal(before, Signal::KILL);
        let replaced = async || servers.pid(name).is_some_and(|now| now != before);
        eventually("it has another process", replaced).await;
    }
    let answer = async || {
        connect_redis(&servers.urls.redis_url).await.is_ok()
            && PgConnection::connect(&servers.urls.database_url).await.is_ok()
    };
    eventually("they answer", answer).await;
}

#[tokio::test]
async fn the_servers_of_a_killed_run_end_with_it() {
    let mut servers = Servers::start("orphans");
    let left: Vec<Pid> = ["postgres", "redis", "nats"].map(|name| servers.pid(name).unwrap()).into();
    servers.kill();
    eventually("they are gone", async || !left.iter().any(|pid| runs(*pid))).await;
}

#[tokio::test]
async fn a_start_ends_what_was_left_and_continues_on_the_same_data() {
    let mut servers = Servers::start("continue");
    let mut owner = PgConnection::connect(&servers.urls.database_owner_url).await.unwrap();
    sqlx::query("create table kept as select 7 as a").execute(&mut owner).await.unwrap();
    let left: Vec<Pid> = ["postgres", "redis", "nats"].map(|name| servers.pid(name).unwrap()).into();
    kill_reaper(&servers.dir);
    servers.kill();
    assert!(left.iter().all(|pid| runs(*pid)), "nobody has ended them yet");

    let again = servers.restart();
    assert!(!left.iter().any(|pid| runs(*pid)), "the next start has ended them");
    assert_eq!(again.urls, servers.urls);
    let mut owner = PgConnection::connect(&again.urls.database_owner_url).await.unwrap();
    let kept: i32 = sqlx::query_scalar("select a from kept").fetch_one(&mut owner).await.unwrap();
    assert_eq!(kept, 7);
}

#[tokio::test]
async fn a_pid_that_now_is_somebody_elses_is_left_alone() {
    let mut servers = Servers::start("stranger");
    servers.stop();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = stranger.id();
    fs::write(servers.pid_file("redis"), format!(r#"{{"pid":{pid},"started":"long ago"}}"#)).unwrap();
    let postmaster = servers.dir.join("postgres/data/postmaster.pid");
    fs::write(&postmaster, format!("{pid}\n")).unwrap();

    let _again = servers.restart();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_port_that_somebody_took_is_replaced() {
    let mut servers = Servers::start("taken");
    servers.stop();
    let _taker = TcpListener::bind(("127.0.0.1", port(&servers.urls.redis_url))).unwrap();
    let again = servers.restart();
    assert_ne!(port(&again.urls.redis_url), port(&servers.urls.redis_url));
    assert_eq!(again.urls.database_url, servers.urls.database_url);
    connect_redis(&again.urls.redis_url).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_has_one_user_at_a_time() {
    let servers = Servers::start("second");
    assert!(start_servers(&servers.dir, false, false).is_none());
    connect_redis(&servers.urls.redis_url).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taker = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = std::env::temp_dir().join(format!("offers-it-{}-blame", std::process::id()));
    let refused = Command::new(env!("CARGO_BIN_EXE_offers"))
        .args(["dev", "up", "--listen", &taker.local_addr().unwrap().to_string(), "--data-dir"])
        .arg(&dir)
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&format!("{} is in use", taker.local_addr().unwrap())), "{said}");
    assert!(said.contains("OFFERS_LISTEN="), "{said}");
    reset(&dir);
}

/// A stack on a directory of its own.
struct Servers {
    dir: PathBuf,
    urls: Urls,
    process: Child,
}

impl Servers {
    fn start(name: &str) -> Servers {
        let dir = std::env::temp_dir().join(format!("offers-it-{}-{name}", std::process::id()));
        let (process, urls) = start_servers(&dir, false, false).unwrap();
        Servers { dir, urls, process }
    }

    /// Another process on the same directory, which is removed in the end.
    fn restart(&self) -> Servers {
        let (process, urls) = start_servers(&self.dir, false, true).unwrap();
        Servers { dir: self.dir.clone(), urls, process }
    }

    fn stop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(format!("{name}.pid"))
    }

    fn pid(&self, name: &str) -> Option<Pid> {
        let file: serde_json::Value = serde_json::from_slice(&fs::read(self.pid_file(name)).ok()?).ok()?;
        Pid::from_raw(file["pid"].as_i64()?.try_into().ok()?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended_or_killed_before = self.process.wait();
        reset(&self.dir);
    }
}

fn reset(dir: &Path) {
    let mut reset = Command::new(env!("CARGO_BIN_EXE_offers"));
    let _what_is_left_is_temporary = reset.args(["dev", "reset", "--data-dir"]).arg(dir).status();
}

/// Kills the reaper of a directory, so that only the next start cleans up.
fn kill_reaper(dir: &Path) {
    let reapers = fs::read_dir("/proc").into_iter().flatten().flatten().filter(|process| {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        words.contains("dev reaper") && words.contains(&*dir.to_string_lossy())
    });
    for reaper in reapers {
        let pid = reaper.file_name().to_string_lossy().parse().unwrap();
        signal(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
}

/// Whether it runs: the zombie of an orphan is there until the init process looks at it.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}

fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

fn port(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap()
}

async fn connect_redis(url: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await
}

/// async-nats does not use the credentials in a URL by itself.
async fn connect_nats(url: &str) -> async_nats::Client {
    let address: async_nats::ServerAddr = url.parse().unwrap();
    let (user, password) = (address.username().unwrap().to_owned(), address.password().unwrap().to_owned());
    let options = async_nats::ConnectOptions::with_user_and_password(user, password);
    options.connect(address).await.unwrap()
}
