//! The check between an address and a connection to it.
//!
//! [`Guard::check`] is the only maker of a [`Checked`], and a socket is opened to a [`Checked`] address only, so
//! no connection can skip the check. It judges a whole answer at once: one bad address among good ones means
//! that somebody else has a hand in the answer, so none of it is used.
//!
//! Deliberately absent: names. By the time an address is judged, its name has played its part.

use std::net::SocketAddr;

use ipnet::IpNet;
use policy::{Destination, Locality, Proxy};

use crate::address::{Block, classify};

/// Ports of cluster control planes: no model server, and a request there could do great harm.
const CONTROL_PLANE_PORTS: [u16; 5] = [2379, 2380, 6443, 10250, 10255];

/// Addresses that one destination may be dialled at. Never empty.
#[derive(Debug)]
pub(crate) struct Checked(Vec<SocketAddr>);

impl Checked {
    /// Returns the addresses in the order in which to try them.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Why an answer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no address to dial.
    #[error("the name has no address")]
    Empty,
    /// No address of the answer may be dialled; this is the first.
    #[error("{address} may not be dialled: {reason}")]
    Address {
        /// The first address refused.
        address: SocketAddr,
        /// Why.
        reason: Reason,
    },
    /// Some addresses of the answer may be dialled, but not all, so none is.
    #[error("mixed answer: {address} may not be dialled, so none of its neighbours is: {reason}")]
    Mixed {
        /// The first address refused.
        address: SocketAddr,
        /// Why.
        reason: Reason,
    },
}

/// Why one address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not a public address, and not one that the provider's networks can permit or do permit.
    #[error("the address is {0}")]
    Blocked(Block),
    /// The provider is local and the address is outside its networks.
    #[error("the address is outside the provider's cidrs")]
    OutsideCidrs,
    /// This process listens there: the request would come back in.
    #[error("it is this gateway's own listener")]
    OwnListener,
    /// The port belongs to a cluster's control plane.
    #[error("the port belongs to a cluster control plane")]
    ControlPlanePort,
}

/// Judges addresses for one destination.
#[derive(Debug)]
pub(crate) struct Guard {
    locality: Locality,
    cidrs: Vec<IpNet>,
    own: Vec<SocketAddr>,
}

impl Guard {
    /// Makes the guard of `destination`; `own` are the addresses on which this process listens.
    pub(crate) fn new(destination: &Destination, own: &[SocketAddr]) -> Self {
        Self { locality: destination.locality(), cidrs: destination.cidrs().to_vec(), own: own.to_vec() }
    }

    /// Makes the guard of a proxy: its address is public, unless its own networks say otherwise.
    pub(crate) fn of_proxy(proxy: &Proxy, own: &[SocketAddr]) -> Self {
        Self { locality: Locality::Hosted, cidrs: proxy.cidrs().to_vec(), own: own.to_vec() }
    }

    /// Makes the guard of a local destination in one network.
    #[cfg(test)]
    pub(crate) fn within(network: &str) -> Self {
        Self { locality: Locality::Local, cidrs: vec![network.parse().unwrap()], own: Vec::new() }
    }

    /// Makes the guard of an agent's own connection: to public addresses, and to those inside `cidrs`.
    pub(crate) fn of_tunnel(cidrs: &[IpNet], own: &[SocketAddr]) -> Self {
        Self { locality: Locality::Hosted, cidrs: cidrs.to_vec(), own: own.to_vec() }
    }

    /// Checks a whole answer.
    pub(crate) fn check(&self, answer: Vec<SocketAddr>) -> Result<Checked, Refusal> {
        let mut refused = None;
        let mut permitted = 0_usize;
        for &address in &answer {
            match self.judge(address) {
                Ok(()) => permitted += 1,
                Err(reason) => refused = refused.or(Some((address, reason))),
            }
        }
        match refused {
            Some((address, reason)) if permitted > 0 => Err(Refusal::Mixed { address, reason }),
            Some((address, reason)) => Err(Refusal::Address { address, reason }),
            None if permitted == 0 => Err(Refusal::Empty),
            None => Ok(Checked(answer)),
        }
    }

    /// Says whether an established connection turned out to lead back into this process.
    ///
    /// A listener on a wildcard address is reached under any address of the machine. [`check`](Self::check)
    /// cannot know them all; a connected socket does, because both its ends then have the same address.
    pub(crate) fn is_own(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let same_machine = local.ip() == peer.ip();
        same_machine && self.own.iter().any(|own| own.ip().is_unspecified() && own.port() == peer.port())
    }

    fn judge(&self, address: SocketAddr) -> Result<(), Reason> {
        let block = classify(address.ip());
        let inside = self.cidrs.iter().any(|net| net.contains(&address.ip()));
        match block {
            Some(block) if !block.is_permittable() => return Err(Reason::Blocked(block)),
            // What makes a destination local is that its networks say so, for public addresses too.
            _ if self.locality == Locality::Local && !inside => return Err(Reason::OutsideCidrs),
            Some(block) if !inside => return Err(Reason::Blocked(block)),
            _ => {}
        }
        if CONTROL_PLANE_PORTS.contains(&address.port()) {
            return Err(Reason::ControlPlanePort);
        }
        if self.own.iter().any(|&own| leads_to(address, own)) {
            return Err(Reason::OwnListener);
        }
        Ok(())
    }
}

fn leads_to(address: SocketAddr, listener: SocketAddr) -> bool {
    let same_host = if listener.ip().is_unspecified() {
        // Either family: a listener on `::` accepts IPv4 too, unless the system says otherwise.
        address.ip().is_loopback()
    } else {
        address.ip() == listener.ip()
    };
    same_host && address.port() == listener.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(locality: Locality, cidrs: &[&str], own: &[&str]) -> Guard {
        Guard {
            locality,
            cidrs: cidrs.iter().map(|text| text.parse().unwrap()).collect(),
            own: own.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[track_caller]
    fn check(guard: &Guard, answer: &[&str], expected: &Result<(), Refusal>) {
        let answer = answer.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(&guard.check(answer).map(|_| ()), expected);
    }

    fn refused(address: &str, reason: Reason) -> Result<(), Refusal> {
        Err(Refusal::Address { address: address.parse().unwrap(), reason })
    }

    fn mixed(address: &str, reason: Reason) -> Result<(), Refusal> {
        Err(Refusal::Mixed { address: address.parse().unwrap(), reason })
    }

    #[test]
    fn a_hosted_destination_is_public_unless_its_networks_say_otherwise() {
        let plain = guard(Locality::Hosted, &[], &[]);
        check(&plain, &["8.8.8.8:443", "[2606:4700::1]:443"], &Ok(()));
        check(&plain, &["10.0.0.1:443"], &refused("10.0.0.1:443", Reason::Blocked(Block::Private)));
        check(&plain, &["127.0.0.1:443"], &refused("127.0.0.1:443", Reason::Blocked(Block::Loopback)));

        let vpn = guard(Locality::Dedicated, &["10.8.0.0/16"], &[]);
        check(&vpn, &["10.8.1.1:443"], &Ok(()));
        check(&vpn, &["8.8.8.8:443"], &Ok(()));
        check(&vpn, &["10.9.1.1:443"], &refused("10.9.1.1:443", Reason::Blocked(Block::Private)));
    }

    #[test]
    fn a_local_destination_never_leaves_its_networks() {
        let local = guard(Locality::Local, &["10.20.0.0/16", "fd12::/16"], &[]);
        check(&local, &["10.20.0.7:8000", "[fd12::1]:8000"], &Ok(()));
        check(&local, &["8.8.8.8:8000"], &refused("8.8.8.8:8000", Reason::OutsideCidrs));
        check(&local, &["10.21.0.7:8000"], &refused("10.21.0.7:8000", Reason::OutsideCidrs));
        let nowhere = guard(Locality::Local, &[], &[]);
        check(&nowhere, &["10.0.0.1:80"], &refused("10.0.0.1:80", Reason::OutsideCidrs));
    }

    #[test]
    fn no_network_permits_metadata_link_local_or_embedded_addresses() {
        let wide = guard(Locality::Local, &["0.0.0.0/0", "::/0"], &[]);
        for (address, block) in [
            ("169.254.169.254:80", Block::Metadata),
            ("100.100.100.200:80", Block::Metadata),
            ("168.63.129.16:80", Block::Metadata),
            ("[fd00:ec2::254]:80", Block::Metadata),
            ("169.254.1.1:80", Block::LinkLocal),
            ("0.0.0.0:80", Block::Unspecified),
            ("[::]:80", Block::Unspecified),
            ("[::ffff:10.0.0.1]:80", Block::Embedded),
            ("[64:ff9b::a00:1]:80", Block::Embedded),
            ("224.0.0.1:80", Block::Multicast),
            ("240.0.0.1:80", Block::Reserved),
        ] {
            check(&wide, &[address], &refused(address, Reason::Blocked(block)));
        }
    }

    #[test]
    fn one_bad_address_spoils_the_answer_wherever_it_stands() {
        let plain = guard(Locality::Hosted, &[], &[]);
        let bad = mixed("10.0.0.1:443", Reason::Blocked(Block::Private));
        check(&plain, &["8.8.8.8:443", "10.0.0.1:443"], &bad);
        check(&plain, &["10.0.0.1:443", "8.8.8.8:443"], &bad);
        check(&plain, &[], &Err(Refusal::Empty));
    }

    #[test]
    fn the_gateways_own_listeners_and_control_planes_are_refused() {
        let own = guard(Locality::Local, &["127.0.0.0/8", "10.0.0.0/8"], &["127.0.0.1:8080", "0.0.0.0:9090"]);
        check(&own, &["127.0.0.1:8080"], &refused("127.0.0.1:8080", Reason::OwnListener));
        check(&own, &["127.0.0.1:8081"], &Ok(()));
        check(&own, &["127.0.0.9:9090"], &refused("127.0.0.9:9090", Reason::OwnListener));
        check(&own, &["10.0.0.5:6443"], &refused("10.0.0.5:6443", Reason::ControlPlanePort));
        // 10.0.0.5 may or may not be this machine: only the connected socket can tell.
        check(&own, &["10.0.0.5:9090"], &Ok(()));
        let [here, there] = ["10.0.0.5:40000", "10.0.0.6:40000"].map(|text| text.parse().unwrap());
        assert!(own.is_own(here, "10.0.0.5:9090".parse().unwrap()));
        assert!(!own.is_own(there, "10.0.0.5:9090".parse().unwrap()));
        assert!(!own.is_own(here, "10.0.0.5:9091".parse().unwrap()));
    }
}
