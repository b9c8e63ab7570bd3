//! Which upstream a call goes to: the policy's words, the call and the clock, in the terms of `routing`.
//!
//! What is known of upstreams lives as long as the process; a new policy only changes who is asked and by what rule.
//! An upstream is known by the names of its provider and its model.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use egress::{DialFailure, FailureKind, Retry, SendError};
use policy::{Admitted, Hop, Policy, Provider, Target};
use routing::{Conversation, Failure, Order, Plan, Prefix, RetryRule, Routes, Snapshot, Step, Tokens};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::question::Question;
use crate::record::tokens_estimate;

/// Tokens that an answer is taken to have when prices are compared; nobody knows before it is there.
const ANSWER_TOKENS: u64 = 1000;

/// Headers in which agents name their conversation.
const SESSION_HEADERS: [&str; 3] = ["x-session-id", "session_id", "session-id"];

/// Everything that is known of upstreams, and the clock that it is measured by.
pub(crate) struct Router {
    routes: Routes,
    origin: Instant,
}

/// What of a call decides where it goes.
pub(crate) struct Asked<'a, Q> {
    pub(crate) admitted: &'a Admitted,
    pub(crate) question: &'a Q,
    /// Workflow and caller.
    pub(crate) owner: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) deadline: Instant,
}

impl Router {
    pub(crate) fn new() -> Self {
        let bytes = *uuid::Uuid::now_v7().as_bytes();
        let seed = bytes.into_iter().fold(0_u64, |seed, byte| seed.rotate_left(8) ^ u64::from(byte));
        Self { routes: Routes::new(seed), origin: Instant::now() }
    }

    /// The time, as `routing` counts it.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Plans the tries of a call.
    pub(crate) fn plan<Q: Question>(&self, asked: &Asked<'_, Q>) -> Plan {
        let Asked { admitted, question, owner, headers, deadline } = asked;
        let hops: Vec<routing::Hop<'_>> = admitted.hops().iter().map(to_hop).collect();
        let order = match admitted.order() {
            policy::Order::Listed => Order::Listed,
            policy::Order::Split(weights) => Order::Split(weights),
            policy::Order::Balance(balance) => Order::Balance(match balance {
                policy::Balance::LeastInflight => routing::Balance::LeastInflight,
                policy::Balance::Latency => routing::Balance::Latency,
                policy::Balance::Cost => routing::Balance::Cost,
                policy::Balance::Prefix => routing::Balance::Prefix,
            }),
        };
        // Both cost a look at the whole body: only who needs one pays for it.
        let conversation = match order {
            Order::Split(_) => conversation(*question, owner, headers),
            _ => Conversation::named(&[], &[]),
        };
        let prefix = match order {
            Order::Balance(routing::Balance::Prefix) => {
                Prefix::of(admitted.workflow().as_ref().as_bytes(), question.prompt())
            }
            _ => Prefix::EMPTY,
        };
        let policy::Retry { attempts, budget_percent } = admitted.retry();
        let question = routing::Question {
            hops: &hops,
            order,
            conversation,
            prefix: &prefix,
            tokens: Tokens { input: tokens_estimate(*question), output: ANSWER_TOKENS },
            retry: RetryRule { attempts, budget_percent },
            deadline: deadline.saturating_duration_since(self.origin),
        };
        self.routes.begin(&question, self.now())
    }

    /// Waits for the next try of a plan; without one, says whether anything was tried at all.
    pub(crate) async fn next(&self, plan: &mut Plan) -> Result<routing::Attempt, NoTry> {
        loop {
            match plan.next(self.now()) {
                Step::Try(attempt) => return Ok(attempt),
                Step::Wait(until) => sleep_until(self.origin + until).await,
                Step::Spent => return Err(NoTry::Spent),
                Step::Barred(until) => return Err(NoTry::Barred(until.saturating_sub(self.now()))),
            }
        }
    }

    /// Leave to send a copy of a call to `hop`.
    pub(crate) fn shadow(&self, hop: &Hop) -> Option<routing::Shadow> {
        self.routes.shadow(&to_hop(hop), self.now())
    }

    /// Takes a policy over: meets those it names, probes those that it wants probed, and forgets the others.
    pub(crate) fn adopt(&self, policy: &Policy) {
        let probed = policy.providers().filter_map(|provider| match provider {
            Provider::Http(destination) => {
                Some((destination.provider().as_ref(), destination.health()?.interval))
            }
            Provider::Engine { .. } => None,
        });
        self.routes.retain(|provider, model| {
            policy
                .models()
                .any(|known| known.name().as_ref() == model && known.provider().as_ref() == provider)
        });
        let upstreams: Vec<routing::Hop<'_>> = policy
            .models()
            .map(|model| routing::Hop {
                provider: model.provider().as_ref(),
                model: model.name().as_ref(),
                price: None,
                breaker: to_rule(policy::BreakerRule::default()),
            })
            .collect();
        self.routes.meet(&upstreams, self.now());
        self.routes.watch(probed, self.now());
    }

    pub(crate) fn snapshot(&self) -> Vec<Snapshot> {
        self.routes.snapshot(self.now())
    }
}

/// Why there is no further try.
pub(crate) enum NoTry {
    /// Every hop had its tries.
    Spent,
    /// No hop may be asked, for about so long.
    Barred(Duration),
}

fn to_hop(hop: &Hop) -> routing::Hop<'_> {
    let price = hop.price().map(|price| routing::Price { input: price.input, output: price.output });
    let (price, breaker) = match hop.target() {
        Target::Http(destination) => (price, *destination.breaker()),
        // Nobody sends a bill for what is computed here.
        Target::Engine(_) => (price.or(Some(routing::Price::default())), policy::BreakerRule::default()),
    };
    let breaker = to_rule(breaker);
    routing::Hop { provider: hop.provider().as_ref(), model: hop.model().as_ref(), price, breaker }
}

fn to_rule(rule: policy::BreakerRule) -> routing::BreakerRule {
    let policy::BreakerRule { failures, window, open_for } = rule;
    routing::BreakerRule { failures, window, open_for }
}

/// The conversation that a call is a part of: by the name that the client gives it, or else by how it begins.
fn conversation<Q: Question>(question: &Q, owner: &str, headers: &HeaderMap) -> Conversation {
    let named = SESSION_HEADERS.iter().find_map(|name| headers.get(*name));
    match named {
        Some(name) => Conversation::named(owner.as_bytes(), name.as_bytes()),
        None => Conversation::opening(owner.as_bytes(), question.opening().iter().map(String::as_bytes)),
    }
}

/// What a call without an answer says of the upstream.
pub(crate) fn failure_of_send(error: &SendError) -> Failure {
    match error.kind() {
        // The total may be the workflow's; an upstream that says nothing is late long before it.
        FailureKind::Denied(_)
        | FailureKind::Path(_)
        | FailureKind::Secret(_)
        | FailureKind::TotalTimeout => Failure::Blameless,
        FailureKind::FirstByteTimeout(_) => Failure::Late,
        FailureKind::Redirect(_)
        | FailureKind::Upgrade
        | FailureKind::Compressed
        | FailureKind::Protocol { retry: Retry::Unsafe, .. } => Failure::Broken,
        // The broker's trouble is nobody else's.
        FailureKind::Dial(dial) if dial.failure() == DialFailure::Unavailable => Failure::Blameless,
        FailureKind::Dial(_) => match error.fault() {
            egress::Fault::Policy => Failure::Blameless,
            egress::Fault::Operator | egress::Fault::Upstream => Failure::Unreached,
        },
        FailureKind::Protocol { retry: Retry::Safe, .. } => Failure::Unreached,
    }
}

/// What a status that is no success says of the upstream.
pub(crate) fn failure_of_status(status: StatusCode, headers: &HeaderMap) -> Failure {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let unix_s = clock::unix_s();
    let wait = || {
        let precise = text("retry-after-ms").and_then(routing::retry_after_ms);
        precise.or_else(|| routing::retry_after(text("retry-after")?, unix_s))
    };
    match status.as_u16() {
        429 | 529 => Failure::Pressed(wait()),
        503 => wait().map_or(Failure::Broken, |wait| Failure::Pressed(Some(wait))),
        500.. => Failure::Broken,
        _ => Failure::Blameless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, header: Option<(&'static str, &'static str)>, expected: Failure) {
        let pair = |(name, value)| {
            (axum::http::HeaderName::from_static(name), axum::http::HeaderValue::from_static(value))
        };
        let headers = header.map(pair).into_iter().collect();
        assert_eq!(failure_of_status(StatusCode::from_u16(status).unwrap(), &headers), expected, "{status}");
    }

    #[test]
    fn statuses_blame_the_right_party() {
        let seconds = |seconds| Failure::Pressed(Some(Duration::from_secs(seconds)));
        for status in [400, 401, 403, 404, 408, 413, 422] {
            check(status, None, Failure::Blameless);
        }
        check(429, None, Failure::Pressed(None));
        check(429, Some(("retry-after", "7")), seconds(7));
        check(529, Some(("retry-after-ms", "2000")), seconds(2));
        check(503, Some(("retry-after", "9")), seconds(9));
        check(503, None, Failure::Broken);
        check(503, Some(("retry-after", "soon")), Failure::Broken);
        check(500, Some(("retry-after", "9")), Failure::Broken);
        check(429, Some(("retry-after", "1000000000")), seconds(120));
    }
}
