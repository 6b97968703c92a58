//! Counts instructions and allocations of the running service: it runs in callgrind, a tool of valgrind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What was counted between two moments.
#[derive(Clone, Copy)]
pub struct Counted {
    pub instructions: u64,
    pub allocations: u64,
}

/// The service in callgrind, by its process id.
pub struct Callgrind {
    pid: u32,
    output: PathBuf,
    /// Dumps so far; each is a file.
    dumps: u32,
}

/// Whether valgrind is installed.
pub fn is_installed() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Starts `service` so that it is counted in `output`.
pub fn spawn(service: &Command, output: &Path) -> Child {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}", output.display()));
    valgrind.arg(service.get_program()).args(service.get_args());
    valgrind.env_clear().envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
    valgrind.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Callgrind {
    pub fn of(pid: u32, output: PathBuf) -> Self {
        Self { pid, output, dumps: 0 }
    }

    /// Forgets what was counted.
    pub fn zero(&self) {
        self.say("zero");
    }

    /// What was counted since the last `zero`.
    pub fn dump(&mut self) -> Counted {
        self.say("dump");
        self.dumps += 1;
        let mut path = self.output.clone().into_os_string();
        path.push(format!(".{}", self.dumps));
        read(&std::fs::read_to_string(path).unwrap())
    }

    fn say(&self, command: &str) {
        let said = Command::new("vgdb").arg(format!("--pid={}", self.pid)).arg(command).output().unwrap();
        assert!(said.status.success(), "vgdb {command}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

/// A dump's sum, and the calls of functions that allocate. The format: <https://valgrind.org/docs/manual/cl-format.html>
fn read(dump: &str) -> Counted {
    let mut counted = Counted { instructions: 0, allocations: 0 };
    let mut allocating = std::collections::HashSet::new();
    let mut called = "";
    for line in dump.lines() {
        if let Some(total) = line.strip_prefix("totals: ") {
            counted.instructions = total.trim().parse().unwrap();
        } else if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            // `(12) name` the first time, `(12)` from then on
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if ALLOCATING.contains(&name) {
                allocating.insert(id);
            }
            called = if line.starts_with('c') { id } else { "" };
        } else if let Some(calls) = line.strip_prefix("calls=")
            && allocating.contains(called)
        {
            counted.allocations += calls.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    counted
}
/// The ways into the allocator of the service.
const ALLOCATING: [&str; 5] =
    ["mi_malloc_aligned", "mi_zalloc_aligned", "mi_realloc_aligned", "mi_malloc", "mi_zalloc"];
