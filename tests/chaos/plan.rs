//! What is done to the system in a round: drawn from a seed, so that it can be drawn again.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::fmt;
use std::time::Duration;

/// The most faults in a round.
const MOST: usize = 3;
/// When a fault begins, in ms after the load.
const BEGIN_MS: std::ops::Range<u64> = 200..1_500;
/// How long one lasts that ends by itself not at once, in ms.
const LAST_MS: std::ops::Range<u64> = 300..2_500;
/// How long NATS is stopped for long: all its connections have been given up by then.
const LONG: Duration = Duration::from_secs(30);

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An instance is killed (signal 9) and started again.
    InstanceKilled(usize),
    /// An instance does nothing for a while, and then goes on as if it were still then.
    InstanceStopped(usize),
    BothInstancesKilled,
    /// The activation system behaves so.
    ActivationSystem(&'static str),
    /// The activation system is killed, refuses connections, and starts again on its log.
    ActivationSystemKilled,
    RedisFlushed,
    RedisKilled,
    RedisStopped,
    /// Some keys have another type.
    RedisTypesWrong,
    NatsKilled,
    NatsStopped,
    /// So long that every timeout passes, and then NATS goes on as if it were still then.
    NatsStoppedForLong,
    /// NATS's streams lack their newest messages, and its consumers their newest acknowledgements.
    NatsStoreRolledBack,
    StreamDeleted,
    ConsumersDeleted,
    /// PostgreSQL ends without a checkpoint and recovers.
    PostgresStoppedAtOnce,
    /// A process of PostgreSQL's is killed (signal 9), so all of them end, and it recovers.
    PostgresCrashed,
    /// Whatever is written to PostgreSQL fails as on a full disk.
    PostgresDiskFull,
    /// The partner answers callbacks with 500.
    PartnerFails,
    /// Established connections are forwarded no more, and end only after a while.
    HalfOpen(Server),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    Postgres,
    Redis,
    Nats,
    ActivationSystem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstanceKilled(_) => f.write_str("instance killed"),
            Self::InstanceStopped(_) => f.write_str("instance stopped for a while"),
            Self::BothInstancesKilled => f.write_str("both instances killed"),
            Self::ActivationSystem(name) => write!(f, "activation system: {name}"),
            Self::ActivationSystemKilled => f.write_str("activation system killed"),
            Self::RedisFlushed => f.write_str("Redis flushed"),
            Self::RedisKilled => f.write_str("Redis killed"),
            Self::RedisStopped => f.write_str("Redis stopped for a while"),
            Self::RedisTypesWrong => f.write_str("Redis keys of a wrong type"),
            Self::NatsKilled => f.write_str("NATS killed"),
            Self::NatsStopped => f.write_str("NATS stopped for a while"),
            Self::NatsStoppedForLong => f.write_str("NATS stopped for long"),
            Self::NatsStoreRolledBack => f.write_str("NATS's store rolled back"),
            Self::StreamDeleted => f.write_str("stream deleted"),
            Self::ConsumersDeleted => f.write_str("consumers deleted"),
            Self::PostgresStoppedAtOnce => f.write_str("PostgreSQL stopped at once"),
            Self::PostgresCrashed => f.write_str("PostgreSQL crashed"),
            Self::PostgresDiskFull => f.write_str("PostgreSQL's disk full"),
            Self::PartnerFails => f.write_str("partner answers 500"),
            Self::HalfOpen(server) => write!(f, "half-open connections: {server:?}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Planned { fault, begins, lasts }) in self.faults.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{fault} ({}+{} ms)", begins.as_millis(), lasts.as_millis())?;
        }
        Ok(())
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub fault: Fault,
    /// After the load has begun.
    pub begins: Duration,
    pub lasts: Duration,
}

/// What happens in a round.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub faults: Vec<Planned>,
}

/// What may happen, by kinds, with how often each is drawn. A kind is drawn first, so that the many lies do not displace
/// the rest.
fn kinds() -> Vec<(u32, Vec<Fault>)> {
    let lies = offers::simulator::names().filter(|name| *name != "ok");
    let servers = [Server::Postgres, Server::Redis, Server::Nats, Server::ActivationSystem];
    vec![
        (4, (0..2).map(Fault::InstanceKilled).collect()),
        (1, (0..2).map(Fault::InstanceStopped).collect()),
        (1, vec![Fault::BothInstancesKilled]),
        (8, lies.map(Fault::ActivationSystem).collect()),
        (2, vec![Fault::ActivationSystemKilled]),
        (2, vec![Fault::PostgresStoppedAtOnce, Fault::PostgresCrashed, Fault::PostgresDiskFull]),
        (2, servers.map(Fault::HalfOpen).into()),
        (2, vec![Fault::RedisFlushed, Fault::RedisTypesWrong]),
        (2, vec![Fault::RedisKilled, Fault::RedisStopped, Fault::NatsStopped]),
        (2, vec![Fault::NatsKilled, Fault::StreamDeleted, Fault::ConsumersDeleted]),
        (1, vec![Fault::NatsStoreRolledBack]),
        (0, vec![Fault::NatsStoppedForLong]), // it makes rounds long: only dealt
        (2, vec![Fault::PartnerFails]),
    ]
}

/// Every fault.
pub fn faults() -> impl Iterator<Item = Fault> {
    kinds().into_iter().flat_map(|(_, faults)| faults)
}

/// The first fault of a round: each has its turn, in an order that is drawn from the seed.
fn deal(seed: u64, round: u64) -> Fault {
    let mut deck: Vec<Fault> = faults().collect();
    deck.shuffle(&mut StdRng::seed_from_u64(seed));
    deck[usize::try_from(round).unwrap_or_default() % deck.len()]
}

/// A further one.
fn draw(random: &mut StdRng) -> Fault {
    let kinds = kinds();
    let (_, among) = kinds.choose_weighted(random, |(weight, _)| *weight).expect("weights are positive");
    *among.choose(random).expect("no kind is empty")
}

impl Plan {
    pub fn of(seed: u64, round: u64) -> Self {
        let first = deal(seed, round);
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(round);
        let mut random = StdRng::seed_from_u64(seed);
        let mut faults: Vec<Planned> = Vec::new();
        for number in 0..random.random_range(1..=MOST) {
            let fault = if number == 0 { first } else { draw(&mut random) };
            let [begins, lasts] =
                [BEGIN_MS, LAST_MS].map(|range| Duration::from_millis(random.random_range(range)));
            let lasts = if fault == Fault::NatsStoppedForLong { LONG } else { lasts };
            let one_behaviour_at_a_time = |other: &Planned| kind(other.fault) != kind(fault);
            if faults.iter().all(one_behaviour_at_a_time) {
                faults.push(Planned { fault, begins, lasts });
            }
        }
        faults.shuffle(&mut random);
        Self { seed, faults }
    }

    /// Whether a fault is called `name`, in part.
    pub fn has(&self, name: &str) -> bool {
        self.faults.iter().any(|planned| planned.fault.to_string().contains(name))
    }

    /// The servers that connections become half-open to: only on the way to them is a tunnel.
    pub fn half_open(&self) -> impl Iterator<Item = Server> {
        self.faults.iter().filter_map(|planned| match planned.fault {
            Fault::HalfOpen(server) => Some(server),
            _ => None,
        })
    }
}

/// Two of a kind would undo one another.
fn kind(fault: Fault) -> std::mem::Discriminant<Fault> {
    std::mem::discriminant(&match fault {
        Fault::ActivationSystemKilled | Fault::HalfOpen(Server::ActivationSystem) => {
            Fault::ActivationSystem("")
        }
        Fault::InstanceStopped(_) | Fault::BothInstancesKilled => Fault::InstanceKilled(0),
        Fault::NatsStopped | Fault::NatsStoppedForLong | Fault::NatsStoreRolledBack => Fault::NatsKilled,
        other => other,
    })
}
