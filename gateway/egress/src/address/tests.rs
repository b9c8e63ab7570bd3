//! The classifier's vectors: every range at its first and last address, and its neighbours just outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Block, classify};

#[track_caller]
fn check(expected: Option<Block>, addresses: &[&str]) {
    for text in addresses {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(classify(address), expected, "{text}");
    }
}

#[test]
fn metadata_services_are_named_even_inside_other_ranges() {
    check(
        Some(Block::Metadata),
        &[
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
        ],
    );
}

#[test]
fn ipv4_ranges_that_are_not_public_are_recognised_at_both_ends() {
    check(Some(Block::Unspecified), &["0.0.0.0", "0.1.2.3", "0.255.255.255"]);
    check(Some(Block::Loopback), &["127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255"]);
    check(Some(Block::Private), &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"]);
    check(Some(Block::Private), &["192.168.0.0", "192.168.255.255"]);
    check(Some(Block::Cgnat), &["100.64.0.0", "100.64.0.1", "100.127.255.255"]);
    check(Some(Block::LinkLocal), &["169.254.0.0", "169.254.170.2", "169.254.255.255"]);
    check(Some(Block::ProtocolAssignment), &["192.0.0.0", "192.0.0.170", "192.0.0.255"]);
    check(Some(Block::Documentation), &["192.0.2.1", "198.51.100.7", "203.0.113.255"]);
    check(Some(Block::Embedded), &["192.88.99.0", "192.88.99.1", "192.88.99.255"]);
    check(Some(Block::Benchmark), &["198.18.0.1", "198.19.255.255"]);
    check(Some(Block::Multicast), &["224.0.0.1", "239.255.255.255"]);
    check(Some(Block::Reserved), &["240.0.0.1", "255.255.255.254", "255.255.255.255"]);
}

#[test]
fn ipv6_forms_that_carry_an_ipv4_address_are_refused_not_unwrapped() {
    check(
        Some(Block::Embedded),
        &[
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "64:ff9b:1:ffff::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:ffff:ffff::1",
            "2001::1",
            "2001:0:ffff::7f00:1",
        ],
    );
}

#[test]
fn ipv6_ranges_that_are_not_public_are_recognised_at_both_ends() {
    check(Some(Block::Unspecified), &["::"]);
    check(Some(Block::Loopback), &["::1"]);
    check(Some(Block::UniqueLocal), &["fc00::1", "fd12:3456::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    check(Some(Block::LinkLocal), &["fe80::1", "febf::1"]);
    check(Some(Block::SiteLocal), &["fec0::1", "feff::1"]);
    check(Some(Block::Multicast), &["ff02::1", "ff0e::1"]);
    check(Some(Block::ProtocolAssignment), &["2001:10::1", "2001:20::1", "2001:1ff:ffff::1"]);
    check(Some(Block::Documentation), &["2001:db8::1", "3fff::1", "3fff:fff:ffff::1"]);
    check(Some(Block::Reserved), &["100::1", "5f00::1", "4000::1", "8000::1", "fe00::1", "1fff:ffff::1"]);
}

#[test]
fn public_addresses_and_the_neighbours_of_blocked_ranges_pass() {
    check(
        None,
        &[
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ],
    );
}

#[test]
fn only_networks_a_company_may_own_can_be_permitted() {
    let permittable = [Block::Loopback, Block::Private, Block::Cgnat, Block::UniqueLocal];
    let never = [
        Block::Metadata,
        Block::Unspecified,
        Block::LinkLocal,
        Block::SiteLocal,
        Block::Multicast,
        Block::Embedded,
        Block::ProtocolAssignment,
        Block::Documentation,
        Block::Benchmark,
        Block::Reserved,
    ];
    assert!(permittable.iter().all(|block| block.is_permittable()));
    assert!(!never.iter().any(|block| block.is_permittable()));
}

/// What the standard library knows. It is not enough, but all of it must be covered.
fn std_says_not_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            a.is_private()
                || a.is_loopback()
                || a.is_link_local()
                || a.is_unspecified()
                || a.is_broadcast()
                || a.is_multicast()
                || a.is_documentation()
        }
        IpAddr::V6(a) => {
            a.is_loopback()
                || a.is_unspecified()
                || a.is_multicast()
                || a.is_unique_local()
                || a.is_unicast_link_local()
                || a.to_ipv4().is_some()
        }
    }
}

/// Every way known to write an IPv4 address into an IPv6 one.
fn embedded_forms(a: Ipv4Addr) -> [Ipv6Addr; 7] {
    let bits = u128::from(a.to_bits());
    let low = [0, 0xffff << 32, 0xffff << 48, 0x64_ff9b << 96, 0x64_ff9b_0001 << 80].map(|high| bits | high);
    let six_to_four = (0x2002 << 112) | (bits << 80);
    let teredo = (0x2001_0000 << 96) | (!bits & 0xffff_ffff);
    let [compatible, mapped, siit, nat64, local_nat64] = low;
    [compatible, mapped, siit, nat64, local_nat64, six_to_four, teredo].map(Ipv6Addr::from_bits)
}

proptest! {
    #[test]
    fn whatever_the_standard_library_knows_is_known_here(v4: u32, v6: u128) {
        for address in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
            prop_assert!(!std_says_not_public(address) || classify(address).is_some(), "{address}");
        }
    }

    #[test]
    fn no_ipv4_address_gets_through_inside_an_ipv6_one(inner: u32) {
        for address in embedded_forms(inner.into()) {
            let block = classify(address.into());
            prop_assert!(block.is_some_and(|block| !block.is_permittable() || address.is_loopback()), "{address}");
        }
    }

    #[test]
    fn outside_2000_slash_3_no_ipv6_address_is_public(bits: u128) {
        prop_assume!(bits >> 125 != 1);
        prop_assert!(classify(Ipv6Addr::from_bits(bits).into()).is_some());
    }
}
