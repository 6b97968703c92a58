//! How fast the log takes commits, against stock cqrs-es over postgres-es, alternating in one run.
//!
//! A closed loop: so many commands in flight, each an `ActivationRequested` to a new stream. Ours also
//! checks the offer's version, moves the buyer's balance and refuses every hundredth for lack of money;
//! stock only stores the event. Private PostgreSQL, fsync on. `cargo bench --bench append`; the last
//! line is for programs. With `-- tree` ours alone, with the Merkle tree growing along and without it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a bench that cannot go on ends; its figures are small"
)]

mod contenders;
mod measure;
#[path = "../../tests/it/support/stack.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod stack;

use contenders::{Contender, Ours, Stock};
use measure::{Measured, closed_loop};
use std::time::Duration;

/// How long one measurement takes.
const RUN: Duration = Duration::from_millis(1_500);
/// How often each pair alternates.
const ROUNDS: usize = 3;
/// The same for the tree: its difference is small.
const TREE_ROUNDS: usize = 10;
/// How many commands are in flight.
const IN_FLIGHT: [usize; 5] = [1, 16, 64, 256, 1_024];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--child") {
        return measure::child(&arguments[at + 1..]).await;
    }
    let stack = stack::Stack::start(true);
    if arguments.iter().any(|argument| argument == "tree") {
        return with_and_without_the_tree(&stack).await;
    }
    let (_, ours_url) = stack.fresh_database().await;
    let (stock_url, _) = stack.fresh_database().await;
    let ours = Ours::open(&ours_url).await; // its plans are made here, on empty tables
    ours.prepare().await;
    let stock = Stock::open(&stock_url).await;

    println!("flush (8 KiB write + fdatasync): {:.0} µs", measure::flush_time().as_secs_f64() * 1e6);
    println!(
        "{:<28} {:>10} {:>9} {:>9} {:>10} {:>9} {:>9} {:>6}",
        "", "ours/s", "p50 ms", "p99 ms", "stock/s", "p50 ms", "p99 ms", "ratio"
    );

    let cold = (closed_loop(&ours, 64, RUN).await, closed_loop(&stock, 64, RUN).await);
    row("64 in flight, cold start", &cold.0, &cold.1);
    let mut ratios = Vec::new();
    for in_flight in IN_FLIGHT {
        let (mut a, mut b) = (Measured::default(), Measured::default());
        for _ in 0..ROUNDS {
            a.add(closed_loop(&ours, in_flight, RUN).await);
            b.add(closed_loop(&stock, in_flight, RUN).await);
        }
        ratios.push((in_flight, row(&format!("{in_flight} in flight"), &a, &b)));
    }
    let (mut a, mut b) = (Measured::default(), Measured::default());
    for _ in 0..ROUNDS {
        a.add(measure::two_processes::<Ours>(&ours_url, 128, RUN).await);
        b.add(measure::two_processes::<Stock>(&stock_url, 128, RUN).await);
    }
    let two = row("256 in flight, two processes", &a, &b);
    let ratio =
        |wanted| ratios.iter().find(|(in_flight, _)| *in_flight == wanted).map_or(0.0, |(_, ratio)| *ratio);
    println!("append: ratio_1={:.2} ratio_256={:.2} ratio_256_two_writers={two:.2}", ratio(1), ratio(256));
}

/// Two logs, of which one has a follower that lets the tree grow and signs it.
async fn with_and_without_the_tree(stack: &stack::Stack) {
    let (with, without) = (stack.sandbox().await, stack.sandbox().await);
    let plain = Ours::open(&without.database_url).await;
    let followed = Ours::open(&with.database_url).await;
    plain.prepare().await;
    followed.prepare().await;
    followed.grow_tree(&with).await;
    println!("flush (8 KiB write + fdatasync): {:.0} µs", measure::flush_time().as_secs_f64() * 1e6);
    println!(
        "{:<28} {:>10} {:>9} {:>9} {:>10} {:>9} {:>9} {:>6}",
        "", "with/s", "p50 ms", "p99 ms", "without/s", "p50 ms", "p99 ms", "ratio"
    );
    let mut ratios = Vec::new();
    for in_flight in [1, 64, 256] {
        let (mut a, mut b) = (Measured::default(), Measured::default());
        for _ in 0..TREE_ROUNDS {
            a.add(closed_loop(&followed, in_flight, RUN).await);
            b.add(closed_loop(&plain, in_flight, RUN).await);
        }
        ratios.push(row(&format!("{in_flight} in flight"), &a, &b));
    }
    println!("tree: ratio_1={:.2} ratio_64={:.2} ratio_256={:.2}", ratios[0], ratios[1], ratios[2]);
    let (tree, log) = (followed.tree_size(&with).await, followed.log_size().await);
    println!("the tree has {tree} of {log} records");
}

fn row(name: &str, ours: &Measured, stock: &Measured) -> f64 {
    let ratio = ours.rate() / stock.rate();
    println!(
        "{name:<28} {:>10.0} {:>9.2} {:>9.2} {:>10.0} {:>9.2} {:>9.2} {ratio:>6.2}",
        ours.rate(),
        ours.quantile_ms(0.5),
        ours.quantile_ms(0.99),
        stock.rate(),
        stock.quantile_ms(0.5),
        stock.quantile_ms(0.99),
    );
    ratio
}
