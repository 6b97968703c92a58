//! Free loopback ports, the same ones from start to start where possible.
//!
//! They are drawn below the ranges from which systems take the ports of outgoing connections
//! (Linux from 32768, macOS from 49152): a server that is restarted must find its port still free.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::Duration;

use rand::Rng;

/// Where ports are drawn from.
const RANGE: Range<u16> = 20_000..32_000;
/// How many draws before we believe that nothing is free.
const DRAWS: usize = 1_000;
/// How long a listener on the loopback may take to accept; one that is there does so at once.
const KNOCK: Duration = Duration::from_millis(200);

/// Whether a server could listen on this loopback port now.
pub(crate) fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // macOS lets us bind beside a listener on all addresses, so we also knock.
    TcpListener::bind(address).is_ok() && TcpStream::connect_timeout(&address, KNOCK).is_err()
}

/// `kept` when it is still free and not among `taken`, else another free port.
pub(crate) fn choose(kept: Option<u16>, taken: &[u16]) -> Option<u16> {
    let usable = |port: &u16| !taken.contains(port) && is_free(*port);
    kept.filter(usable)
        .or_else(|| (0..DRAWS).map(|_| rand::rng().random_range(RANGE)).find(|port| usable(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_port_stays_until_somebody_takes_it() {
        let port = choose(None, &[]).unwrap();
        assert_eq!(choose(Some(port), &[]), Some(port));
        let _taker = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_ne!(choose(Some(port), &[]), Some(port));
    }

    #[test]
    fn a_port_promised_to_another_server_is_not_given_twice() {
        let port = choose(None, &[]).unwrap();
        assert_ne!(choose(Some(port), &[port]), Some(port));
    }
}
