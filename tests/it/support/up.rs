//! Everything that `./dev` starts.

use super::eventually::eventually;
use super::http;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// `offers dev up` on a directory of its own.
pub struct Up {
    pub dir: PathBuf,
    pub process: Child,
}

impl Up {
    pub async fn start(name: &str) -> Up {
        let dir = std::env::temp_dir().join(format!("offers-it-{}-up-{name}", std::process::id()));
        Up::on(dir).await
    }

    pub async fn restart(&self) -> Up {
        Up::on(self.dir.clone()).await
    }

    async fn on(dir: PathBuf) -> Up {
        let process = Command::new(env!("CARGO_BIN_EXE_offers"))
            .args(["dev", "up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&dir)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let up = Up { dir, process };
        let owner = i64::from(up.process.id());
        let mine = async || up.json("lock").is_some_and(|lock| lock["pid"] == owner) && up.demo().is_some();
        eventually("it is ready", mine).await;
        up
    }

    pub fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.process.wait().unwrap()
    }

    pub fn demo(&self) -> Option<Value> {
        self.json("demo.json")
    }

    pub fn pid(&self, name: &str) -> Option<Pid> {
        Pid::from_raw(self.json(&format!("run/{name}.pid"))?["pid"].as_i64()?.try_into().ok()?)
    }

    fn json(&self, file: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.dir.join(file)).ok()?).ok()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let mut reset = Command::new(env!("CARGO_BIN_EXE_offers"));
        let _what_is_left_is_temporary = reset.args(["dev", "reset", "--data-dir"]).arg(&self.dir).status();
        let _ended_or_killed_before = self.process.wait();
    }
}

/// Whether the service of this `demo.json` is.
pub async fn ready(demo: &Value) -> bool {
    let url = format!("{}/readyz", demo["api_url"].as_str().unwrap());
    http().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}
