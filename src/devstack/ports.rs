//! Free loopback ports, the same ones from start to start where possible.
//!
//! They are chosen below the ranges for outgoing connections (Linux from 32768, macOS from 49152), so that a
//! restarted server finds its port still free.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::Duration;

use rand::Rng;

const RANGE: Range<u16> = 20_000..32_000;
/// Random ports that are tried.
const TRIES: usize = 1_000;
/// The limit for connecting to a listener on the loopback, which accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// Whether a server could listen on this loopback port now.
pub(crate) fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // macOS allows binding next to a listener on all addresses, so we also try to connect.
    TcpListener::bind(address).is_ok() && TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_err()
}

/// `kept` if it is still free and not in `taken`, else another free port.
pub(crate) fn choose(kept: Option<u16>, taken: &[u16]) -> Option<u16> {
    let usable = |port: &u16| !taken.contains(port) && is_free(*port);
    kept.filter(usable)
        .or_else(|| (0..TRIES).map(|_| rand::rng().random_range(RANGE)).find(|port| usable(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_port_stays_until_it_is_in_use() {
        let port = choose(None, &[]).unwrap();
        assert_eq!(choose(Some(port), &[]), Some(port));
        let _taker = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_ne!(choose(Some(port), &[]), Some(port));
    }

    #[test]
    fn a_port_of_another_server_is_not_chosen_again() {
        let port = choose(None, &[]).unwrap();
        assert_ne!(choose(Some(port), &[port]), Some(port));
    }
}
