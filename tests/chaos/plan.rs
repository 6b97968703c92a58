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

/// One of each kind of thing: a kind is drawn first, so that the many lies do not displace the rest.
fn draw(random: &mut StdRng) -> Fault {
    let lies: Vec<&str> = offers::simulator::names().filter(|name| *name != "ok").collect();
    let instance = random.random_range(0..2);
    let among: &[Fault] = match random.random_range(0..14) {
        0..2 => &[Fault::InstanceKilled(instance)],
        2 => &[Fault::InstanceStopped(instance), Fault::BothInstancesKilled],
        3..7 => return Fault::ActivationSystem(lies.choose(random).expect("there are lies")),
        7 => &[Fault::ActivationSystemKilled],
        8 => &[Fault::PostgresStoppedAtOnce, Fault::PostgresCrashed, Fault::PostgresDiskFull],
        9 => &[Server::Postgres, Server::Redis, Server::Nats, Server::ActivationSystem].map(Fault::HalfOpen),
        10 => &[Fault::RedisFlushed, Fault::RedisTypesWrong],
        11 => &[Fault::RedisKilled, Fault::RedisStopped, Fault::NatsStopped],
        12 => &[Fault::NatsKilled, Fault::StreamDeleted, Fault::ConsumersDeleted],
        _ => &[Fault::PartnerFails],
    };
    *among.choose(random).expect("none is empty")
}

impl Plan {
    pub fn of(seed: u64, round: u64) -> Self {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(round);
        let mut random = StdRng::seed_from_u64(seed);
        let mut faults: Vec<Planned> = Vec::new();
        for _ in 0..random.random_range(1..=MOST) {
            let fault = draw(&mut random);
            let [begins, lasts] =
                [BEGIN_MS, LAST_MS].map(|range| Duration::from_millis(random.random_range(range)));
            let one_behaviour_at_a_time = |other: &Planned| kind(other.fault) != kind(fault);
            if faults.iter().all(one_behaviour_at_a_time) {
                faults.push(Planned { fault, begins, lasts });
            }
        }
        faults.shuffle(&mut random);
        Self { seed, faults }
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
        other => other,
    })
}
