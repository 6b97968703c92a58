//! The addresses that a callback may be sent to: those of the public internet.
//!
//! A partner chooses the URL of its callbacks, and the service is inside a network that the partner must not
//! reach. So the address of the connection is checked, not the name, which can resolve to any address. The
//! blocks are from IANA's registries of special-purpose addresses (RFC 6890 and its updates).

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Special-purpose blocks of IPv4.
const SPECIAL_V4: &[Ipv4Net] = &[
    v4([0, 0, 0, 0], 8),       // this network, unspecified
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // carriers' NAT
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local: clouds' metadata services
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 31, 196, 0], 24), // AS112
    v4([192, 52, 193, 0], 24), // AMT
    v4([192, 88, 99, 0], 24),  // 6to4 relays
    v4([192, 168, 0, 0], 16),  // private
    v4([192, 175, 48, 0], 24), // AS112
    v4([198, 18, 0, 0], 15),   // benchmarks
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 4),     // multicast
    v4([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// The one block of IPv6 from which global unicast addresses are given. Outside it lie the unspecified,
/// loopback, IPv4-mapped, NAT64, unique local, link-local and multicast addresses, and future uses.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// Special-purpose blocks within [`GLOBAL_V6`].
const SPECIAL_V6: &[Ipv6Net] = &[
    v6([0x2001, 0, 0], 23),         // protocol assignments, Teredo, ORCHID, benchmarks
    v6([0x2001, 0xdb8, 0], 32),     // documentation
    v6([0x2002, 0, 0], 16),         // 6to4: an IPv4 address inside
    v6([0x2620, 0x4f, 0x8000], 48), // AS112
    v6([0x3fff, 0, 0], 20),         // documentation
];

const fn v4([a, b, c, d]: [u8; 4], prefix_length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_length)
}

const fn v6([a, b, c]: [u16; 3], prefix_length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix_length)
}

/// True for an address of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|block| block.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|block| block.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:81b::200e",
            "3ffe::1",
        ] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn every_other_address_is_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",       // IPv4-compatible
            "::ffff:127.0.0.1",  // IPv4-mapped
            "::ffff:8.8.8.8",    // even of a public one: it is another way to write it
            "::ffff:0:10.0.0.1", // IPv4-translated
            "64:ff9b::10.0.0.1", // NAT64
            "64:ff9b:1::a00:1",  // NAT64, local use
            "100::1",            // discard
            "2001::1",           // Teredo
            "2001:2::1",         // benchmarks
            "2001:10::1",        // ORCHID
            "2001:20::1",        // ORCHIDv2
            "2001:db8::1",       // documentation
            "2002:a00:1::1",     // 6to4 of 10.0.0.1
            "3fff::1",           // documentation
            "5f00::1",           // segment routing
            "fc00::1",           // unique local
            "fd12:3456:789a::1", // unique local
            "fe80::1",           // link-local
            "febf::1",           // link-local
            "fec0::1",           // site-local
            "ff02::1",           // multicast
        ] {
            assert!(!public(address), "{address}");
        }
    }
}
