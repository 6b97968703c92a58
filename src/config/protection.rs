//! Protection of the HTTP edge: rate limits, trusted proxies, rules for browsers.

use super::duration::{parse_duration, parse_lifetime};
use clap::Args;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// The largest networks that can be an installation's own: 10.0.0.0/8, and more than a provider assigns.
const PREFIX_MIN_V4: u8 = 8;
const PREFIX_MIN_V6: u8 = 16;

/// The largest [`Bound`]: each process remembers that many transactions of a user.
const BOUND_MAX: usize = 10_000;

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Protection")]
pub struct Protection {
    /// Requests of one logged-in user, `number/time` or `off`. All of them may come at once; they are then
    /// restored evenly over the time. This limit and those below count in each process: two instances allow
    /// twice as many.
    #[arg(long, env = "OFFERS_RATE_LIMIT_USER", default_value = "600/1m")]
    pub rate_limit_user: RateLimit,
    /// Requests of one partner, whatever key it uses.
    #[arg(long, env = "OFFERS_RATE_LIMIT_PARTNER", default_value = "6000/1m")]
    pub rate_limit_partner: RateLimit,
    /// Requests without credentials, or with wrong ones, from one address (IPv6: one /64). Above the limit,
    /// partners' keys from that address are not checked either.
    #[arg(long, env = "OFFERS_RATE_LIMIT_ADDRESS", default_value = "600/1m")]
    pub rate_limit_address: RateLimit,
    /// Logins and refreshes from one address. Too few: an office behind one address cannot work.
    #[arg(long, env = "OFFERS_RATE_LIMIT_LOGIN", default_value = "120/1m")]
    pub rate_limit_login: RateLimit,
    /// Purchases of one user that are under way at the same time, or `off`. Beyond it the next one is refused until
    /// one is final. A purchase that a partner makes for a user does not count. In each process, too.
    #[arg(long, env = "OFFERS_UNFINISHED_PER_USER", default_value = "100")]
    pub unfinished_per_user: Bound,
    /// Purchases that one user begins. Free offers cost nothing but the space that their history takes.
    #[arg(long, env = "OFFERS_PURCHASES_PER_USER", default_value = "600/1h")]
    pub purchases_per_user: RateLimit,
    /// The backlog at which new purchases are refused (503): how long the oldest purchase has waited for its first call
    /// while others succeed, or a new one would wait at the present pace. From a third of it on each account gets its share
    /// alone. An outage of the activation system is no backlog. Less than usual pauses of this system:
    /// purchases are refused without need. Too much: customers wait that long.
    #[arg(long, env = "OFFERS_BACKLOG", default_value = "30s", value_parser = parse_lifetime)]
    pub backlog: Option<Duration>,
    /// Connections that one address (IPv6: one /64) may have open; further ones are closed at once. Trusted
    /// proxies have no such limit. Too few: an office behind one address cannot work.
    #[arg(long, env = "OFFERS_CONNECTIONS_PER_ADDRESS", default_value = "1000")]
    pub connections_per_address: Option<NonZeroU32>,
    /// Proxies whose `X-Forwarded-For` is trusted, as addresses or networks (`10.0.0.0/8`). Behind any other
    /// proxy all clients share its address.
    #[arg(long, env = "OFFERS_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// Web pages that may call this API from a browser, as origins (`https://shop.example`).
    #[arg(long, env = "OFFERS_CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<Origin>,
    /// Tells browsers to use only TLS for this time (`Strict-Transport-Security`). Only for an installation that
    /// is reached over TLS alone: it cannot be revoked.
    #[arg(long, env = "OFFERS_HSTS", value_parser = parse_duration)]
    pub hsts: Option<Duration>,
}

/// A rate, or no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit(Option<Rate>);

/// A number of requests in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub requests: u32,
    /// Whole seconds, at least one.
    pub window: Duration,
}

impl RateLimit {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// `requests` in `window`, which must be a second or more.
    #[must_use]
    pub fn of(requests: u32, window: Duration) -> Self {
        Self(Some(Rate { requests, window }))
    }

    #[must_use]
    pub fn rate(self) -> Option<Rate> {
        self.0
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a rate: write like 600/1m, or off");
        if text == "off" {
            return Ok(Self::OFF);
        }
        let (requests, window) = text.split_once('/').ok_or_else(expected)?;
        let requests = requests.parse().ok().filter(|requests| *requests > 0).ok_or_else(expected)?;
        let window = parse_duration(window).map_err(|_| expected())?;
        let whole_seconds = window.as_secs() > 0 && window.subsec_nanos() == 0;
        whole_seconds.then(|| Self::of(requests, window)).ok_or_else(expected)
    }
}

/// A largest number, or no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound(Option<usize>);

impl Bound {
    #[must_use]
    pub fn of(largest: usize) -> Self {
        Self(Some(largest))
    }

    #[must_use]
    pub fn largest(self) -> Option<usize> {
        self.0
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let largest = text.parse().ok().filter(|largest| (1..=BOUND_MAX).contains(largest));
        largest.map(Self::of).ok_or_else(|| format!("{text:?} is not a number from 1 to {BOUND_MAX}, or off"))
    }
}

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet =
            network.map_err(|_| format!("{text:?} is not a network like 10.0.0.0/8 or 2001:db8::/32"))?;
        let shortest = match network {
            IpNet::V4(_) => PREFIX_MIN_V4,
            IpNet::V6(_) => PREFIX_MIN_V6,
        };
        if network.prefix_len() < shortest {
            return Err(format!("{text:?} is larger than any network of your own: at most a /{shortest}"));
        }
        Ok(Self(network))
    }
}

/// The origin of a web page: scheme, host, port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url {
            // As browsers write it: in small letters, without a path, and without the scheme's own port.
            Some(url) if url.origin().ascii_serialization() == text => Ok(Self(text.to_owned())),
            _ => Err(format!("{text:?} is not an origin like https://shop.example")),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_requests_in_a_time() {
        assert_eq!("600/1m".parse(), Ok(RateLimit::of(600, Duration::from_secs(60))));
        assert_eq!("off".parse(), Ok(RateLimit::OFF));
        for wrong in ["", "600", "0/1m", "600/", "600/0s", "600/250ms", "-1/1m", "600/1m/1m", "OFF"] {
            assert!(wrong.parse::<RateLimit>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_bound_is_a_number_or_off() {
        assert_eq!(("100".parse(), "off".parse()), (Ok(Bound::of(100)), Ok(Bound::default())));
        for wrong in ["", "0", "-1", "10001", "1.5", "OFF"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_network_is_an_address_with_or_without_its_length() {
        let inside = |network: &str, address: &str| {
            network.parse::<Network>().expect(network).contains(address.parse().expect(address))
        };
        assert!(inside("10.0.0.0/8", "10.1.2.3") && !inside("10.0.0.0/8", "11.1.2.3"));
        assert!(inside("192.0.2.7", "192.0.2.7") && !inside("192.0.2.7", "192.0.2.8"));
        assert!(inside("2001:db8::/32", "2001:db8::1") && !inside("10.0.0.0/8", "::1"));
        for wrong in ["10.0.0.0/33", "proxy", "0.0.0.0/0", "::/0", "10.0.0.0/7", "2000::/15"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_has_no_path_and_is_never_everybody() {
        for right in ["https://shop.example", "http://127.0.0.1:3000", "http://[::1]:3000"] {
            assert!(right.parse::<Origin>().is_ok(), "{right}");
        }
        for wrong in [
            "*",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://A.example",
            "https://shop.example:99999",
            "https://shop.example:443",
            "ftp://shop.example",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
