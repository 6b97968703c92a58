//! The product's settings, read from flags as `offers serve` reads them.

use super::stack::Sandbox;
use clap::builder::Resettable;
use clap::{Args, Command};
use offers::config::Serve;

/// The keys of every test's service.
const JWT_KEY: &str = "fedcba9876543210fedcba9876543210";
pub const WEBHOOK_KEY: &str = "0123456789abcdef0123456789abcdef";

/// `T` from flags, with the defaults of the product. The environment has no say.
pub fn settings<T: Args>(flags: &[&str]) -> T {
    let command = T::augment_args(Command::new("offers").no_binary_name(true));
    let command = command.mut_args(|arg| arg.env(Resettable::Reset));
    T::from_arg_matches(&command.get_matches_from(flags)).unwrap()
}

/// A service on the servers of `sandbox` and a free port, small enough that many fit beside each other.
pub fn serve(sandbox: &Sandbox, flags: &[&str]) -> Serve {
    let usual = [
        ("--listen", "127.0.0.1:0"),
        ("--database-url", &sandbox.database_url),
        ("--database-connections", "8"),
        ("--redis-url", &sandbox.redis_url),
        ("--nats-url", &sandbox.nats_url),
        ("--nats-stream", &sandbox.stream),
        ("--nats-subjects", &sandbox.subjects),
        ("--nats-stream-bytes", "32000000"),
        ("--jwt-key", JWT_KEY),
        ("--webhook-key", WEBHOOK_KEY),
        ("--password-memory-kib", "64"),
    ];
    let usual = usual.iter().filter(|(flag, _)| !flags.contains(flag));
    let all: Vec<&str> =
        usual.flat_map(|(flag, value)| [*flag, *value]).chain(flags.iter().copied()).collect();
    settings(&all)
}
