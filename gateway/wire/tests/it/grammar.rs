//! The grammar of deltas, checked; and streams that keep it, made up.

mod check;

use proptest::prelude::*;
use wire::Usage;
use wire::reply::{Begin, Delta, Finish, FinishReason, Open};

pub(crate) use self::check::fault;

/// # Panics
/// If `deltas` break the grammar.
#[track_caller]
pub(crate) fn check(deltas: &[Delta]) {
    if let Some(fault) = fault(deltas) {
        panic!("{fault}");
    }
}

/// Returns whether the stream came to its own end.
pub(crate) fn is_whole(deltas: &[Delta]) -> bool {
    deltas.last() == Some(&Delta::End)
}

/// Joins what was appended in pieces, and leaves out what says nothing: pings and all but the last report of usage.
pub(crate) fn joined(deltas: &[Delta]) -> Vec<Delta> {
    let mut joined: Vec<Delta> = Vec::new();
    let last_usage = deltas.iter().rposition(|delta| matches!(delta, Delta::Usage(_)));
    for (index, delta) in deltas.iter().enumerate() {
        match (delta, joined.last_mut()) {
            (Delta::Ping, _) => {}
            (Delta::Usage(_), _) if Some(index) != last_usage => {}
            (Delta::Append(more), Some(Delta::Append(text))) => text.push_str(more),
            (Delta::Append(more), _) if more.is_empty() => {}
            _ => joined.push(delta.clone()),
        }
    }
    joined
}

/// Made-up text, with what could be taken for the format around it.
pub(crate) fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{1,8}",
        Just("[DONE]".to_owned()),
        Just("\n\ndata: [DONE]\n\n".to_owned()),
        Just("é\u{2028}\r\"\\🦀".to_owned()),
        Just("event: error\n".to_owned()),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    let count = || proptest::option::of(0..1000_u64);
    (0..1_000_000_u64, 0..1_000_000_u64, count(), count(), count()).prop_map(
        |(prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens)| Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            cache_write_tokens,
            reasoning_tokens,
        },
    )
}

/// Arguments in pieces, which together are a JSON object or nothing.
fn arguments() -> impl Strategy<Value = Vec<String>> {
    let whole = prop_oneof![
        Just(String::new()),
        Just("{}".to_owned()),
        words().prop_map(|text| serde_json::json!({ "a": { "b": [text] } }).to_string()),
    ];
    (whole, any::<prop::sample::Index>()).prop_map(|(whole, at)| {
        let at = (0..=at.index(whole.len() + 1)).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        [&whole[..at], &whole[at..]].map(str::to_owned).into_iter().filter(|text| !text.is_empty()).collect()
    })
}

/// One block without the id of its call, and its pieces.
fn block() -> impl Strategy<Value = (Open, Vec<Delta>)> {
    let said = || proptest::collection::vec(words(), 1..4);
    let appended = |texts: Vec<String>| texts.into_iter().map(Delta::Append).collect::<Vec<_>>();
    let call = |name: String| Open::ToolCall { id: String::new(), name };
    prop_oneof![
        said().prop_map(move |texts| (Open::Text, appended(texts))),
        said().prop_map(move |texts| (Open::Refusal, appended(texts))),
        (said(), proptest::option::of("[a-zA-Z0-9+/]{4,12}")).prop_map(move |(texts, seal)| {
            (Open::Reasoning, appended(texts).into_iter().chain(seal.map(Delta::Seal)).collect())
        }),
        "[a-zA-Z0-9+/]{4,12}".prop_map(|seal| (Open::RedactedReasoning, vec![Delta::Seal(seal)])),
        ("[a-z_]{1,8}", arguments()).prop_map(move |(name, pieces)| (call(name), appended(pieces))),
    ]
}

/// Whole streams that keep the grammar.
pub(crate) fn streams() -> impl Strategy<Value = Vec<Delta>> {
    let reason = prop_oneof![
        Just(FinishReason::Stop),
        Just(FinishReason::Length),
        Just(FinishReason::ContentFilter),
        Just(FinishReason::ToolCalls),
        Just(FinishReason::Paused),
        Just(FinishReason::Other),
    ];
    let blocks = proptest::collection::vec((block(), any::<bool>()), 0..5);
    (blocks, reason, proptest::option::of(usage())).prop_map(|(blocks, reason, usage)| {
        let mut deltas = vec![Delta::Begin(Begin { id: Some("id1".into()), usage: None })];
        for (number, ((open, pieces), pings)) in blocks.into_iter().enumerate() {
            deltas.push(Delta::Open(match open {
                Open::ToolCall { name, .. } => Open::ToolCall { id: format!("call_{number}"), name },
                other => other,
            }));
            deltas.extend(pieces);
            deltas.extend(pings.then_some(Delta::Ping));
            deltas.push(Delta::Close);
        }
        deltas.push(Delta::Finish(Finish::from(reason)));
        deltas.extend(usage.map(Delta::Usage));
        deltas.push(Delta::End);
        deltas
    })
}

#[test]
fn the_checker_finds_what_is_out_of_place() {
    let (begin, finish) = (|| Delta::Begin(Begin::default()), || Delta::Finish(FinishReason::Stop.into()));
    let call = |id: &str, name: &str| Delta::Open(Open::ToolCall { id: id.into(), name: name.into() });
    let text = || Delta::Open(Open::Text);
    let broken = [
        vec![text()],
        vec![begin(), begin()],
        vec![begin(), text(), text()],
        vec![begin(), Delta::Append("a".into())],
        vec![begin(), Delta::Close],
        vec![begin(), text(), Delta::Seal("s".into())],
        vec![begin(), text(), finish()],
        vec![begin(), finish(), text()],
        vec![begin(), finish(), finish()],
        vec![begin(), Delta::End],
        vec![begin(), finish(), Delta::End, Delta::Ping],
        vec![begin(), call("", "f")],
        vec![begin(), call("c", "")],
        vec![begin(), call("c", "f"), Delta::Close, call("c", "f")],
    ];
    for deltas in broken {
        assert!(fault(&deltas).is_some(), "{deltas:?}");
    }
}

proptest! {
    #[test]
    fn made_up_streams_keep_the_grammar(deltas in streams()) {
        prop_assert_eq!(fault(&deltas), None);
        prop_assert!(is_whole(&deltas));
        for cut in 0..deltas.len() {
            prop_assert_eq!(fault(&deltas[..cut]), None);
        }
    }
}
