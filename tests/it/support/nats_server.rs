//! A nats-server of a test's own: one that may be killed, and whose stream may have the real name.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use async_nats::{Client, ConnectOptions};

use super::eventually::eventually;

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Starts the server and kills it as soon as stdin closes: with this process it ends too.
pub const LEASH: &str = r#""$@" & server=$!; cat >/dev/null; kill -9 $server; wait"#;

/// A server with the accounts of nats.conf; every password is `secret`.
pub struct NatsServer {
    port: u16,
    dir: PathBuf,
    leash: Option<Child>,
}

impl NatsServer {
    /// Starts one and waits until JetStream answers.
    pub async fn start() -> NatsServer {
        let mut server = NatsServer::prepare();
        server.restart().await;
        server
    }

    /// A place for a server that is not started yet.
    pub fn prepare() -> NatsServer {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("offers-it-nats-{}-{number}", std::process::id()));
        let port = super::free_port();
        NatsServer { port, dir, leash: None }
    }

    /// Starts it again, on the same port and data.
    pub async fn restart(&mut self) {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/nats.conf");
        let port = self.port.to_string();
        let mut command = Command::new("sh");
        command
            .args(["-c", LEASH, "sh", "nats-server", "-c", config, "-a", "127.0.0.1", "-p", &port, "-m", "0"])
            .arg("-sd")
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for name in ["NATS_APP_PASSWORD", "NATS_ANALYTICS_ADMIN_PASSWORD", "NATS_ANALYST_PASSWORD"] {
            command.env(name, "secret");
        }
        self.leash = Some(command.spawn().unwrap());
        eventually("nats-server answers", async || {
            let Ok(client) = ConnectOptions::with_user_and_password("app".into(), "secret".into())
                .connect(self.url("app"))
                .await
            else {
                return false;
            };
            client.request("$JS.API.INFO", "".into()).await.is_ok()
        })
        .await;
    }

    /// Kills it (signal 9).
    pub fn kill(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            drop(leash.stdin.take());
            leash.wait().unwrap();
        }
    }

    /// Where `user` finds it.
    pub fn url(&self, user: &str) -> String {
        format!("nats://{user}:secret@127.0.0.1:{}", self.port)
    }

    /// A client of `user`.
    pub async fn client(&self, user: &str) -> Client {
        connect(&self.url(user)).await
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// async-nats does not use the credentials in a URL by itself.
pub async fn connect(url: &str) -> Client {
    let address: async_nats::ServerAddr = url.parse().unwrap();
    let (user, password) = (address.username().unwrap().to_owned(), address.password().unwrap().to_owned());
    ConnectOptions::with_user_and_password(user, password).connect(address).await.unwrap()
}
