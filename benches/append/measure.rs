//! The closed loop and what it measures.

use crate::contenders::{Contender, Ours, Stock};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Commands done in a time, and how long each took.
#[derive(Default)]
pub struct Measured {
    seconds: f64,
    latencies_us: Vec<u32>,
    done: usize,
}

impl Measured {
    pub fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.done += other.done;
        self.latencies_us.extend(other.latencies_us);
        self.latencies_us.sort_unstable();
    }

    pub fn rate(&self) -> f64 {
        self.done as f64 / self.seconds
    }

    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        self.latencies_us
            .get((last as f64 * quantile) as usize)
            .map_or(f64::NAN, |us| f64::from(*us) / 1_000.0)
    }
}

/// Keeps `in_flight` commands under way for `time`.
pub async fn closed_loop<C: Contender>(contender: &C, in_flight: usize, time: Duration) -> Measured {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..in_flight {
        let contender = contender.clone();
        clients.spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < time {
                let sent = Instant::now();
                contender.execute().await;
                latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            latencies
        });
    }
    let mut latencies_us: Vec<u32> = clients.join_all().await.into_iter().flatten().collect();
    latencies_us.sort_unstable();
    Measured { seconds: begun.elapsed().as_secs_f64(), done: latencies_us.len(), latencies_us }
}

/// The same by two processes, `in_flight` each.
pub async fn two_processes<C: Contender>(url: &str, in_flight: usize, time: Duration) -> Measured {
    let child = || {
        tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--child", C::NAME, url, &in_flight.to_string(), &time.as_millis().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
    };
    let (one, two) = tokio::join!(child(), child());
    let mut both = Measured::default();
    for output in [one, two] {
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let numbers: Vec<u32> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let (ms, latencies_us) = numbers.split_first().unwrap();
        both.done += latencies_us.len();
        both.seconds += f64::from(*ms) / 2_000.0; // both ran at the same time
        both.latencies_us.extend(latencies_us);
    }
    both.latencies_us.sort_unstable();
    both
}

/// One of the two processes: warms up, runs, prints milliseconds and latencies.
pub async fn child(arguments: &[String]) {
    let [name, url, in_flight, ms] = arguments else { panic!("--child NAME URL IN_FLIGHT MS") };
    let (in_flight, time) = (in_flight.parse().unwrap(), Duration::from_millis(ms.parse().unwrap()));
    let measured = match name.as_str() {
        Ours::NAME => warm_loop::<Ours>(url, in_flight, time).await,
        _ => warm_loop::<Stock>(url, in_flight, time).await,
    };
    let mut text = format!("{}", (measured.seconds * 1_000.0) as u32);
    for latency in measured.latencies_us {
        text += " ";
        text += &latency.to_string();
    }
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

async fn warm_loop<C: Contender>(url: &str, in_flight: usize, time: Duration) -> Measured {
    let contender = C::open(url).await;
    closed_loop(&contender, in_flight, Duration::from_millis(300)).await;
    closed_loop(&contender, in_flight, time).await
}

/// The mean time that 8 KiB take to the disk, where temporary files are.
pub fn flush_time() -> Duration {
    const WRITES: u32 = 200;
    let path = std::env::temp_dir().join(format!("offers-bench-flush-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    let begun = Instant::now();
    for _ in 0..WRITES {
        file.write_all(&[7; 8_192]).unwrap();
        file.sync_data().unwrap();
    }
    let mean = begun.elapsed() / WRITES;
    std::fs::remove_file(path).unwrap();
    mean
}
