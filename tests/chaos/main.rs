//! Rounds of load on two instances, with faults that are drawn from a seed, and afterwards the rules that must
//! hold whatever was done. `./dev chaos --rounds N --seed S`; docs/reliability.md says how to read it.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "a failed unwrap or a poisoned lock is a failed round; nothing outside"
)]

mod collect;
mod faults;
mod full_disk;
mod load;
mod nats_store;
mod plan;
#[path = "../it/outage/processes.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod processes;
#[path = "../it/callbacks/receiver.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod receiver;
mod recording;
mod rules;
mod sabotage;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;
mod system;
#[path = "../it/outage/tunnel.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod tunnel;

use clap::Parser;
use futures::FutureExt;
use load::Load;
use plan::Plan;
use recording::Recording;
use rules::{Violation, violations};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::stack::Stack;
use system::System;
use tokio::time::timeout;

/// To `cargo test` it is one test.
const NAME: &str = "chaos";
/// Accepted purchases of a round, at least: a hundred rounds have more than 50,000, without the repeats that are in this.
const ACCEPTED: usize = 600;
/// Of the short form.
const FEW: usize = 150;
/// How long it may take from the last fault until they are accepted.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(120);
/// The seed of the short form: instances, every server and the activation system are hit.
const FEW_SEED: u64 = 1527;
/// Violations that are printed for a round.
const SHOWN: usize = 10;

#[derive(Parser)]
#[command(about = "Load, faults from a seed, and the rules that must hold afterwards")]
struct Args {
    /// How many rounds; the short form has three small ones
    #[arg(long)]
    rounds: Option<usize>,
    /// Round R of seed S has the same faults each time; drawn unless given
    #[arg(long)]
    seed: Option<u64>,
    /// The first round: to repeat one, with --rounds 1
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Purchases accepted in a round, at least
    #[arg(long)]
    accepted: Option<usize>,
    /// Only rounds with a fault that is called so, in part: "NATS", "instance killed"
    #[arg(long)]
    only: Option<String>,
    /// Only says which faults the rounds have
    #[arg(long)]
    plan: bool,
    /// Where logs and effects of failed rounds stay
    #[arg(long, default_value = "target/chaos")]
    dir: PathBuf,
    /// As for any test: nothing runs unless `chaos` contains it
    filter: Option<String>,
    #[command(flatten)]
    harness: Harness,
}

/// What `cargo test` and `cargo nextest` may say to any test.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "so many there are")]
struct Harness {
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
}

/// What a round came to.
struct Ended {
    plan: Plan,
    accepted: usize,
    recovery: Duration,
    /// What was under way last.
    last: Option<String>,
    violations: Vec<Violation>,
    /// Sound, if there were no violations.
    recording: Recording,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let skipped = args.harness.skip.iter().any(|part| NAME.contains(part.as_str()));
    let asked_for = !skipped && args.filter.as_ref().is_none_or(|filter| NAME.contains(filter.as_str()));
    if args.harness.list {
        if !args.harness.ignored {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    if args.harness.ignored || !asked_for {
        return ExitCode::SUCCESS;
    }
    if run(&args).await {
        println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        ExitCode::SUCCESS
    } else {
        println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        ExitCode::FAILURE
    }
}

async fn run(args: &Args) -> bool {
    let (rounds, usual) = args.rounds.map_or((3, FEW), |rounds| (rounds, ACCEPTED));
    let drawn = || if args.rounds.is_some() { rand::random_range(1..10_000) } else { FEW_SEED };
    let seed = args.seed.unwrap_or_else(drawn);
    let accepted = args.accepted.unwrap_or(usual);
    let only = args.only.as_deref().unwrap_or_default();
    if !plan::faults().any(|fault| fault.to_string().contains(only)) {
        println!("no fault is called {only}");
        return false;
    }
    let numbers = (args.from..).filter(|number| Plan::of(seed, *number).has(only)).take(rounds);
    if args.plan {
        numbers.for_each(|number| println!("{seed}/{number}: {}", Plan::of(seed, number)));
        return true;
    }
    std::fs::create_dir_all(&args.dir).unwrap();
    let stack = Stack::start(false);
    system::commit_to_the_kernel(&stack).await;
    println!("seed {seed}, {rounds} rounds of at least {accepted} accepted purchases");
    let mut all = Vec::new();
    let mut rules_are_sound = None;
    for number in numbers {
        let done = AssertUnwindSafe(round(&stack, seed, number, accepted, &args.dir));
        let ended = done.catch_unwind().await;
        let ended = ended.unwrap_or_else(|_| Ended {
            plan: Plan::of(seed, number),
            accepted: 0,
            recovery: Duration::ZERO,
            last: None,
            violations: vec![Violation { rule: "the round ends", what: "it panicked, see above".to_owned() }],
            recording: Recording::default(),
        });
        line(seed, number, &ended);
        if rules_are_sound.is_none() && ended.violations.is_empty() {
            rules_are_sound = Some(spoil(&ended.recording, seed));
        }
        all.push(Ended { recording: Recording::default(), ..ended });
    }
    table(&all);
    rules_are_sound == Some(true) && all.iter().all(|ended| ended.violations.is_empty())
}

/// Whether the rules find what is wrong in spoilt copies of `sound`.
fn spoil(sound: &Recording, seed: u64) -> bool {
    let missed = sabotage::missed(sound, seed);
    let (all, caught) = (sabotage::SABOTAGES.len(), sabotage::SABOTAGES.len() - missed.len());
    println!("  the rules caught {caught} of {all} sabotages of this round's recording");
    for what in &missed {
        println!("  {what}");
    }
    missed.is_empty()
}

async fn round(stack: &Stack, seed: u64, number: u64, accepted: usize, dir: &Path) -> Ended {
    let plan = Plan::of(seed, number);
    let log = dir.join(format!("{seed}-{number}.log"));
    for file in [log.clone(), log.with_extension("effects")] {
        let _ = std::fs::remove_file(file); // of an earlier run
    }
    let system = System::start(stack, &plan, log.clone()).await;
    let load = Load::begin(&system, plan.seed).await;
    faults::happen(&system, &plan).await;
    let enough = timeout(ACCEPTED_WITHIN, load.has_accepted(accepted)).await.is_ok();
    let noted = load.end().await;
    let ended = Instant::now();
    let settled = collect::settled(&system).await;
    let recovery = noted.finished_in + ended.elapsed();
    let mut found: Vec<Violation> =
        noted.wrong.into_iter().map(|what| Violation { rule: "answers", what }).collect();
    if !enough {
        let (seconds, accepted) = (ACCEPTED_WITHIN.as_secs(), noted.answers.len());
        let what = format!("{seconds} s after the last fault only {accepted} purchases were accepted");
        found.push(Violation { rule: "purchases are accepted", what });
    }
    let different: BTreeSet<&str> = noted.answers.iter().map(|answer| answer.transaction.as_str()).collect();
    let accepted = different.len();
    let mut recording = Recording::default();
    let mut last = None;
    match settled {
        Ok(under_way) => {
            last = under_way;
            let recorded = collect::recording(&system).await;
            recording = Recording { answers: noted.answers, seen: noted.seen, ..recorded };
            found.extend(violations(&recording));
            if !found.is_empty() {
                keep_events(&recording, &log.with_extension("events"));
            }
        }
        Err(what) => found.push(Violation { rule: "everything ends", what }),
    }
    if found.is_empty() {
        for file in [log.clone(), log.with_extension("effects")] {
            let _ = std::fs::remove_file(file);
        }
    } else {
        println!("  kept: {} (and .effects, .events)", log.display());
    }
    remove_streams(system).await;
    Ended { plan, accepted, recovery, last, violations: found, recording }
}

/// Ends the round's processes and removes their streams: each reserves its bytes on the server for good.
async fn remove_streams(system: System) {
    let (jetstream, stream) = (system.jetstream().await, system.sandbox.stream.clone());
    drop(system);
    for name in [format!("{stream}_CHECKPOINTS"), stream] {
        if let Some(jetstream) = &jetstream {
            let _ = jetstream.delete_stream(name).await; // a stream more is no violation
        }
    }
}

/// The log of a round that broke a rule, a line an event: the database is gone afterwards.
fn keep_events(recording: &Recording, path: &Path) {
    let line = |event: &recording::Event| {
        let recording::Event { position, id, aggregate, aggregate_id, commit_end, recorded_at_us, .. } =
            event;
        format!(
            "{position} {id} {aggregate} {aggregate_id} commit {commit_end} at {recorded_at_us}: {}\n",
            event.payload
        )
    };
    std::fs::write(path, recording.events.iter().map(line).collect::<String>()).unwrap();
}

fn line(seed: u64, number: u64, ended: &Ended) {
    println!(
        "{seed}/{number}: {}; {} accepted, recovered in {:.1} s{}, {} violations",
        ended.plan,
        ended.accepted,
        ended.recovery.as_secs_f64(),
        ended.last.as_ref().map(|what| format!(" (last: {what})")).unwrap_or_default(),
        ended.violations.len()
    );
    for violation in ended.violations.iter().take(SHOWN) {
        println!("  {}: {}", violation.rule, violation.what);
    }
}

/// Rounds by fault, how long recovery took, and what can be said from so many rounds.
fn table(all: &[Ended]) {
    let mut by_fault: BTreeMap<String, Vec<&Ended>> = BTreeMap::new();
    for ended in all {
        for planned in &ended.plan.faults {
            by_fault.entry(planned.fault.to_string()).or_default().push(ended);
        }
    }
    println!("\n| fault | rounds | recovery p50, s | p95, s | max, s | violations |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (fault, rounds) in &by_fault {
        row(fault, rounds);
    }
    row("all", &all.iter().collect::<Vec<_>>());
    let accepted: usize = all.iter().map(|ended| ended.accepted).sum();
    let bound = 3.0 / all.len() as f64;
    println!("\n{accepted} purchases accepted in {} rounds.", all.len());
    println!(
        "Without a violation, a round breaks a rule with a probability below {bound:.3} (95 % confidence, 3/N)."
    );
}

fn row(name: &str, rounds: &[&Ended]) {
    let mut times: Vec<f64> = rounds.iter().map(|ended| ended.recovery.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let violations: usize = rounds.iter().map(|ended| ended.violations.len()).sum();
    println!("| {name} | {} | {:.1} | {:.1} | {:.1} | {violations} |", rounds.len(), at(50), at(95), at(100));
}
