//! How an entry chooses among its hops, and how often it tries one.
//!
//! The policy says by which rule; who carries it out knows the load, the times and the conversation. None of that
//! is here.

use std::sync::Arc;

/// How an entry chooses among its hops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// In the order of the list: the next one stands in when the one before it fails.
    Listed,
    /// By weight, the same hop for all calls of one conversation. Weights are in the order of the hops.
    Split(Arc<[u32]>),
    /// By what is known of the hops at the time.
    Balance(Balance),
}

/// What decides between hops that are equally good for the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The hop with the fewest calls in flight.
    LeastInflight,
    /// The hop that answers fastest.
    Latency,
    /// The hop with the lowest price; the policy has a price for each.
    Cost,
    /// The hop that has most likely read the same beginning before.
    Prefix,
}

impl Balance {
    /// Every rule.
    pub(crate) const ALL: [Self; 4] = [Self::LeastInflight, Self::Latency, Self::Cost, Self::Prefix];

    /// Returns the word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastInflight => "least_inflight",
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::Prefix => "prefix",
        }
    }
}

/// How often a call may be sent to one hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts at one hop in all; 1 means that there is no second try.
    pub attempts: u32,
    /// How many of a hundred calls may be second tries, so that an upstream in trouble is not given more work.
    pub budget_percent: u32,
}

impl Default for Retry {
    /// Returns what holds where the policy says nothing: no second try.
    fn default() -> Self {
        Self { attempts: 1, budget_percent: 20 }
    }
}
