//! On whose behalf the engine is asked, how urgently, and how long the client waits.

use std::time::Duration;

use axum::http::HeaderMap;
use engine::Claim;

use crate::pipeline::Call;

/// What a client waits for a first token, as a policy writes durations: `500ms`, `2s`.
const FIRST_TOKEN_WITHIN: &str = "x-portcullis-first-token-within";

/// After what silence the SDKs of hosted APIs give up, in seconds. They say so with every call.
const SDK_TIMEOUTS: [&str; 2] = ["x-stainless-read-timeout", "x-stainless-timeout"];

/// The claim of a call: its workflow shares the engine with others, and finds what it has computed itself.
pub(super) fn claim<Q>(call: &Call<Q>) -> Claim {
    let priority = match call.admitted.priority() {
        policy::Priority::Interactive => engine::Priority::Interactive,
        policy::Priority::Batch => engine::Priority::Batch,
    };
    Claim { tenant: call.admitted.workflow().as_str().into(), priority, patience: patience(&call.headers) }
}

/// How long the client waits, if it says so in words that can be read.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let own = text(FIRST_TOKEN_WITHIN).and_then(policy::read_duration);
    own.or_else(|| {
        let seconds = SDK_TIMEOUTS.iter().find_map(|name| text(name)?.trim().parse().ok())?;
        // The SDKs write 0 for what they do not limit.
        Duration::try_from_secs_f64(seconds).ok().filter(|patience| !patience.is_zero())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        patience(&headers)
    }

    #[test]
    fn the_clients_own_words_count_before_those_of_its_sdk() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("x-stainless-read-timeout", "600.0")]), Some(Duration::from_secs(600)));
        assert_eq!(of(&[("x-stainless-timeout", "60")]), Some(Duration::from_secs(60)));
        let both = [(FIRST_TOKEN_WITHIN, "500ms"), ("x-stainless-timeout", "60")];
        assert_eq!(of(&both), Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        for value in ["None", "-1", "inf", "0", ""] {
            assert_eq!(of(&[("x-stainless-timeout", value)]), None, "{value}");
        }
        assert_eq!(of(&[(FIRST_TOKEN_WITHIN, "2")]), None, "a number without a unit");
    }
}
