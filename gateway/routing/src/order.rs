//! In which order the hops of an entry are tried.
//!
//! | order | first comes | source |
//! |---|---|---|
//! | listed | the first in the file | |
//! | split | the hop with the least `-ln(u) / weight`, where `u` in (0, 1) is a hash of conversation and hop; then by weight | weighted rendezvous hashing: Thaler and Ravishankar 1998; weights as Schindelhauer and Schomaker 2005 |
//! | least in flight | the fewest calls on their way | |
//! | latency | the least `average time to an answer x (calls on their way + 1)` | peak-EWMA, as in Finagle |
//! | cost | the least `input x price + output x price`; without a price last; then the fewest calls | |
//! | prefix | the one that has seen the longest beginning of the prompt, unless it has more than `1.5 x least + 8` calls on their way, where `least` is the fewest of any; then the fewest calls | the idea of `SGLang`'s cache-aware router: affinity until the load is uneven |
//!
//! A split depends on nothing but conversation, hops and weights: not on load, time or the order of calls. A hop whose
//! weight goes up takes conversations from the others, and no two others exchange any. A weight of 0 is only a
//! fallback. In a balance, hops to which nothing may be sent now come last; ties are broken by chance.

use std::time::Duration;

use crate::chance;
use crate::conversation::{Conversation, Prefix};
use crate::prefixes::Prefixes;
use crate::price::{Price, Tokens};
use crate::upstream::Upstream;

/// How many times the calls of the least busy replica one with the right prefix may have, before it is too busy.
const OVERLOAD_FACTOR: f64 = 1.5;
/// Calls that it may have on top: a replica computes a few at once for nearly the price of one.
const OVERLOAD_SLACK: f64 = 8.0;

/// How an entry chooses among its hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'a> {
    /// As they are listed.
    Listed,
    /// Each conversation to one of them, by these weights, one for each hop.
    Split(&'a [u32]),
    /// By what is known of each at the moment.
    Balance(Balance),
}

/// What is balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Calls on their way.
    LeastInflight,
    /// The time to an answer.
    Latency,
    /// The price of the call.
    Cost,
    /// The part of the prompt that a replica has seen before.
    Prefix,
}

/// What orders can be made from, beside the hops.
pub(crate) struct Basis<'a> {
    pub(crate) conversation: Conversation,
    pub(crate) prefix: &'a Prefix,
    pub(crate) tokens: Tokens,
    pub(crate) prefixes: &'a Prefixes,
    pub(crate) seed: u64,
    pub(crate) now: Duration,
}

/// A hop with its price, if it has one.
pub(crate) type Candidate<'a> = (&'a Upstream, Option<Price>);

/// What a hop is sorted by, the most important first, and its number.
type Rank = (f64, f64, f64, usize);

/// Puts the hops in order, by their numbers.
pub(crate) fn arrange(order: Order<'_>, hops: &[Candidate<'_>], basis: &Basis<'_>) -> Vec<usize> {
    let mut ranks: Vec<Rank> = match order {
        Order::Listed => return (0..hops.len()).collect(),
        Order::Split(weights) => split(weights, hops, basis.conversation),
        Order::Balance(balance) => balanced(balance, hops, basis),
    };
    ranks.sort_unstable_by(|a, b| {
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
    });
    ranks.into_iter().map(|rank| rank.3).collect()
}

fn split(weights: &[u32], hops: &[Candidate<'_>], conversation: Conversation) -> Vec<Rank> {
    let weight = |index: usize| f64::from(weights.get(index).copied().unwrap_or(0));
    let mut ranks: Vec<Rank> = (0..hops.len()).map(|index| (1.0, -weight(index), 0.0, index)).collect();
    let distance = |index: usize| {
        let unit = chance::unit(chance::pair(conversation.number(), hops[index].0.id()));
        // Nothing by a weight of 0 is infinite: never the nearest.
        -unit.ln() / weight(index)
    };
    let nearest = (0..hops.len()).map(|index| (distance(index), index)).min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, index)) = nearest {
        ranks[index].0 = 0.0;
    }
    ranks
}

fn balanced(balance: Balance, hops: &[Candidate<'_>], basis: &Basis<'_>) -> Vec<Rank> {
    let glances: Vec<_> = hops.iter().map(|(upstream, _)| upstream.glance(basis.now)).collect();
    let depths = match balance {
        Balance::Prefix => {
            basis.prefixes.depths(basis.prefix, hops.iter().map(|(upstream, _)| upstream.id()))
        }
        _ => Vec::new(),
    };
    let open = glances.iter().filter(|glance| !glance.is_barred);
    let least = open.map(|glance| glance.inflight).min().unwrap_or(0);
    let busy = f64::from(least) * OVERLOAD_FACTOR + OVERLOAD_SLACK;
    let ranks = glances.iter().enumerate().map(|(index, glance)| {
        let inflight = f64::from(glance.inflight);
        let (first, second) = match balance {
            Balance::LeastInflight => (inflight, 0.0),
            Balance::Latency => (glance.load, 0.0),
            Balance::Cost => {
                (hops[index].1.map_or(f64::INFINITY, |price| price.of(basis.tokens) as f64), inflight)
            }
            Balance::Prefix if inflight > busy => (0.0, inflight),
            Balance::Prefix => (-(depths[index] as f64), inflight),
        };
        let first = if glance.is_barred { f64::INFINITY } else { first };
        (first, second, chance::unit(chance::pair(basis.seed, index as u64)), index)
    });
    ranks.collect()
}
