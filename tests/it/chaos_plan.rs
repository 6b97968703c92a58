//! What `./dev chaos` draws.

#[path = "../chaos/plan.rs"]
#[expect(dead_code, reason = "the rounds use the rest")]
mod plan;

use plan::{Fault, Plan, faults};

/// How often `fault` happens in the first `rounds` of `seed`.
fn happens(fault: Fault, seed: u64, rounds: u64) -> usize {
    let planned = (1..=rounds).flat_map(|round| Plan::of(seed, round).faults);
    planned.filter(|planned| planned.fault == fault).count()
}

#[test]
fn each_fault_happens_within_forty_rounds_of_whatever_seed() {
    for (seed, fault) in (1..=5).flat_map(|seed| faults().map(move |fault| (seed, fault))) {
        assert!(happens(fault, seed, 40) > 0, "seed {seed}: {fault:?}");
    }
}

#[test]
fn a_hundred_rounds_of_seed_one_roll_the_store_back_several_times_and_few_of_them_last_long() {
    assert!(happens(Fault::NatsStoreRolledBack, 1, 100) >= 3);
    assert!((2..=4).contains(&happens(Fault::NatsStoppedForLong, 1, 100)));
}
