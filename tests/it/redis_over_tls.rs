//! Redis over TLS: with a server that shows a certificate that is trusted, and with nobody else.

use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::nats_server::LEASH;
use crate::support::{free_port, http};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A redis-server that speaks nothing but TLS, and its certificate.
struct Redis {
    port: u16,
    dir: PathBuf,
    leash: Child,
}

impl Redis {
    fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("offers-it-redis-tls-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            LEASH,
            "sh",
            "redis-server",
            "--port",
            "0",
            "--save",
            "",
            "--requirepass",
            "secret",
        ]);
        command.args([
            "--tls-cert-file",
            "cert.pem",
            "--tls-key-file",
            "key.pem",
            "--tls-auth-clients",
            "no",
        ]);
        command.arg("--tls-port").arg(port.to_string()).current_dir(&dir);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { port, dir, leash: command.spawn().unwrap() }
    }

    /// A service that uses it, and believes the authorities of the file `trusted`, if there is one.
    async fn serve(&self, trusted: Option<&str>) -> System {
        let mut environment =
            vec![("OFFERS_REDIS_URL", format!("rediss://:secret@127.0.0.1:{}/0", self.port))];
        environment.extend(trusted.map(|file| ("SSL_CERT_FILE", self.dir.join(file).display().to_string())));
        System::start_with(&[], Serving { environment, log: None }).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn redis_is(system: &System) -> Value {
    let answer = http().get(format!("{}/readyz", system.url)).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["parts"]["redis"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_used_over_tls_when_its_certificate_is_trusted() {
    let redis = Redis::start();
    let system = redis.serve(Some("cert.pem")).await;
    eventually("redis is ok", async || redis_is(&system).await == "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_not_used_when_its_certificate_is_not_trusted() {
    let redis = Redis::start();
    let trusting = redis.serve(Some("cert.pem")).await; // so the server itself is up
    eventually("redis is ok", async || redis_is(&trusting).await == "ok").await;
    let system = redis.serve(None).await;
    eventually("redis is not ok", async || redis_is(&system).await != "ok").await;
}
