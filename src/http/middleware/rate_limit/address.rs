//! Where a request comes from.
//!
//! `X-Forwarded-For` is a claim. It is read from its end, which the nearest proxy wrote, and believed
//! for as long as the hop that says it is a proxy of ours.

use crate::config::Network;
use crate::http::headers::X_FORWARDED_FOR;
use crate::identity::network;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How many hops are looked at: nobody has more proxies, and an attacker's list is not worth reading.
const HOPS_MAX: usize = 16;
/// How often an `X-Forwarded-For` that is not believed is logged; anybody can send one.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// The client's own address, as far as the proxies of ours can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    pub(crate) fn of(request: &Request, proxies: &Proxies) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
        let peer = peer.to_canonical();
        if request.headers().contains_key(X_FORWARDED_FOR) && !proxies.include(peer) {
            proxies.warn_of(peer);
        }
        Self(behind(peer, request.headers(), proxies))
    }

    /// The part of it that one customer has.
    pub(crate) fn network(self) -> IpAddr {
        network(self.0)
    }
}

/// The proxies that are believed.
pub(crate) struct Proxies {
    networks: Vec<Network>,
    warned_at: Mutex<Option<Instant>>,
}

impl Proxies {
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self { networks, warned_at: Mutex::new(None) }
    }

    fn include(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// A proxy that is not configured goes unnoticed until all its clients are locked out together.
    fn warn_of(&self, peer: IpAddr) {
        if self.is_time_to_warn(Instant::now()) {
            tracing::warn!(
                %peer,
                "ignoring X-Forwarded-For from {peer}, which is not in OFFERS_TRUSTED_PROXIES; if it is a proxy of \
                 yours, all its clients share its rate limits"
            );
        }
    }

    fn is_time_to_warn(&self, now: Instant) -> bool {
        let mut warned_at = self.warned_at.lock();
        let due = warned_at.is_none_or(|at| now.duration_since(at) >= WARN_EVERY);
        if due {
            *warned_at = Some(now);
        }
        due
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

/// Who stands behind `peer`: the last one that no trusted hop speaks for.
fn behind(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    let lines: Vec<&str> =
        headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(parsed).take(HOPS_MAX);
    let mut address = peer;
    while proxies.include(address) {
        match hops.next() {
            Some(Some(hop)) => address = hop,
            Some(None) | None => break,
        }
    }
    address
}

/// An address as proxies write it: bare, or with a port.
fn parsed(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(peer: &str, forwarded: &[&'static str], proxies: &[&str]) -> String {
        let proxies = proxies.iter().map(|text| text.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        behind(peer.parse().expect("an address"), &headers, &Proxies::new(proxies)).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_configured() {
        assert_eq!(client("192.0.2.1", &["198.51.100.9"], &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["198.51.100.9"], &["10.0.0.0/8"]), "192.0.2.1");
    }

    #[test]
    fn what_a_client_writes_itself_is_not_believed() {
        let forged = "203.0.113.1, 198.51.100.9";
        assert_eq!(client("10.0.0.1", &[forged], &["10.0.0.0/8"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.1", "198.51.100.9"], &["10.0.0.0/8"]), "198.51.100.9");
    }

    #[test]
    fn several_proxies_are_walked_through() {
        let hops = "203.0.113.1, 198.51.100.9, 10.0.0.2";
        assert_eq!(client("10.0.0.1", &[hops], &["10.0.0.0/8"]), "198.51.100.9");
    }

    #[test]
    fn a_hop_that_cannot_be_read_ends_the_walk_at_the_proxy_that_wrote_it() {
        assert_eq!(client("10.0.0.1", &["198.51.100.9, unknown"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn addresses_may_have_ports_and_brackets() {
        assert_eq!(client("10.0.0.1", &["198.51.100.9:4711"], &["10.0.0.1"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"], &["10.0.0.1"]), "2001:db8::1");
        assert_eq!(client("::1", &["[2001:db8::1]"], &["::1"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["::ffff:198.51.100.9"], &["10.0.0.1"]), "198.51.100.9");
    }

    #[test]
    fn a_claim_that_is_not_believed_is_logged_once_an_hour() {
        let (proxies, start) = (Proxies::new(Vec::new()), Instant::now());
        let at = |minutes: u64| proxies.is_time_to_warn(start + Duration::from_secs(60 * minutes));
        assert_eq!([0, 1, 59, 60, 61].map(at), [true, false, false, true, false]);
    }
}
