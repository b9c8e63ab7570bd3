//! Networks in which addresses may be that are not on the public internet.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::diagnostic::{Findings, Position, Spanned};

/// Networks that no one on the public internet answers in.
const PRIVATE: [&str; 7] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"];
/// Networks that nothing is served from, and that hold instance metadata, multicast or mapped addresses.
const NEVER: [&str; 9] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fe80::/10",
    "ff00::/8",
];

/// Checks networks and brings them into one order; `whose` says what is in them, such as "the provider's servers".
pub(super) fn networks(written: &[Spanned<IpNet>], whose: &str, findings: &mut Findings) -> Vec<IpNet> {
    for Spanned { value: network, at } in written {
        check(network, *at, whose, findings);
    }
    let mut networks: Vec<IpNet> = written.iter().map(|network| network.value).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// Returns whether an address lies in a network of somebody's own.
pub(super) fn is_private(address: IpAddr) -> bool {
    PRIVATE.iter().map(parse).any(|network| network.contains(&address))
}

fn check(network: &IpNet, at: Position, whose: &str, findings: &mut Findings) {
    let overlapping = |other: &IpNet| other.contains(network) || network.contains(other);
    if let Some(never) = NEVER.iter().map(parse).find(overlapping) {
        let message = format!("`{network}` overlaps `{never}`, where nothing is served from");
        findings.error_with_hint(at, message, format!("write the network that {whose} are in"));
    } else if !PRIVATE.iter().map(parse).any(|private| private.contains(network)) {
        let hint = "make sure that all of it is yours: it counts as part of your own network";
        findings.warning(at, format!("`{network}` is public address space"), hint);
    }
}

fn parse(text: &&str) -> IpNet {
    text.parse().expect("the networks of this file are well-formed")
}
