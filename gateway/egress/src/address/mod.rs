//! Which IP addresses are not public, and why.
//!
//! The standard library's `is_private`, `is_loopback` and their like miss more than half of what has to be kept
//! away from an outbound client: carrier-grade NAT, metadata services, every IPv6 form that carries an IPv4
//! address inside. So the ranges stand here as a table, after the IANA special-purpose registries.
//!
//! Forms that embed an IPv4 address are refused, never unwrapped: a filter that unwraps one form too few is how
//! `2002:7f00:1::` reaches the loopback. Deliberately absent: what a policy permits in spite of its kind; that is
//! the dial guard's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

#[cfg(test)]
mod tests;

/// Why an address is not an ordinary public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// A cloud's metadata or host service, which hands credentials to whoever asks.
    Metadata,
    /// "This host", "this network".
    Unspecified,
    /// The machine itself.
    Loopback,
    /// The local link.
    LinkLocal,
    /// RFC 1918.
    Private,
    /// Carrier-grade NAT, RFC 6598.
    Cgnat,
    /// IPv6 unique local, RFC 4193.
    UniqueLocal,
    /// IPv6 site local, deprecated but still routed in places.
    SiteLocal,
    /// Many receivers.
    Multicast,
    /// An IPv6 form that carries an IPv4 address, or a relay between the two.
    Embedded,
    /// Set aside for protocols, such as ORCHID and the IPv4 service continuity prefix.
    ProtocolAssignment,
    /// For examples in documents.
    Documentation,
    /// For measurements between devices.
    Benchmark,
    /// Not assigned for global unicast.
    Reserved,
}

impl Block {
    /// Says whether a policy may permit this kind by declaring a network that contains the address.
    ///
    /// The rest is never permitted: no model server legitimately lives there.
    pub fn is_permittable(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::Cgnat | Self::UniqueLocal)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "a cloud metadata service",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
            Self::Cgnat => "carrier-grade NAT",
            Self::UniqueLocal => "unique local",
            Self::SiteLocal => "site-local",
            Self::Multicast => "multicast",
            Self::Embedded => "an IPv6 form that carries an IPv4 address",
            Self::ProtocolAssignment => "reserved for protocol assignments",
            Self::Documentation => "reserved for documentation",
            Self::Benchmark => "reserved for benchmarks",
            Self::Reserved => "reserved",
        })
    }
}

/// Says why `address` is not an ordinary public address, or `None` if it is one.
pub fn classify(address: IpAddr) -> Option<Block> {
    match address {
        IpAddr::V4(address) => V4.iter().find(|(net, _)| net.contains(&address)).map(|&(_, block)| block),
        IpAddr::V6(address) => match V6.iter().find(|(net, _)| net.contains(&address)) {
            Some(&(_, block)) => Some(block),
            // An allow-list at the end: whatever is outside the one range in use for global unicast is not public.
            None if GLOBAL_UNICAST.contains(&address) => None,
            None => Some(Block::Reserved),
        },
    }
}

const fn v4(octets: [u8; 4], prefix_len: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_len)
}

const fn v6(segments: [u16; 8], prefix_len: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix_len)
}

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// First match wins, so the metadata services stand before the ranges that contain them.
const V4: &[(Ipv4Net, Block)] = &[
    (v4([169, 254, 169, 254], 32), Block::Metadata), // most clouds
    (v4([100, 100, 100, 200], 32), Block::Metadata), // Alibaba
    (v4([168, 63, 129, 16], 32), Block::Metadata),   // Azure wire server, a public address by its number
    (v4([192, 0, 0, 192], 32), Block::Metadata),     // Oracle
    (v4([0, 0, 0, 0], 8), Block::Unspecified),
    (v4([10, 0, 0, 0], 8), Block::Private),
    (v4([100, 64, 0, 0], 10), Block::Cgnat),
    (v4([127, 0, 0, 0], 8), Block::Loopback),
    (v4([169, 254, 0, 0], 16), Block::LinkLocal),
    (v4([172, 16, 0, 0], 12), Block::Private),
    (v4([192, 0, 0, 0], 24), Block::ProtocolAssignment),
    (v4([192, 0, 2, 0], 24), Block::Documentation),
    (v4([192, 88, 99, 0], 24), Block::Embedded), // 6to4 relays
    (v4([192, 168, 0, 0], 16), Block::Private),
    (v4([198, 18, 0, 0], 15), Block::Benchmark),
    (v4([198, 51, 100, 0], 24), Block::Documentation),
    (v4([203, 0, 113, 0], 24), Block::Documentation),
    (v4([224, 0, 0, 0], 4), Block::Multicast),
    (v4([240, 0, 0, 0], 4), Block::Reserved),
];

/// First match wins. What is outside [`GLOBAL_UNICAST`] is refused anyway; rows there only give it its name.
const V6: &[(Ipv6Net, Block)] = &[
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), Block::Metadata), // Amazon
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), Block::Metadata), // Google
    (v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), Block::Metadata), // Oracle
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Block::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Block::Loopback),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), Block::Embedded), // IPv4-compatible
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), Block::Embedded), // IPv4-mapped
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), Block::Embedded), // SIIT
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 32), Block::Embedded), // NAT64, well-known and local-use
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), Block::Embedded), // Teredo
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Block::ProtocolAssignment),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Block::Documentation),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Block::Embedded), // 6to4
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Block::Documentation),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Block::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Block::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Block::SiteLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Block::Multicast),
];
