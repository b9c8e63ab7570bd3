//! What `streamGenerateContent?alt=sse` answers.

use proptest::prelude::*;
use wire::gemini::Reader;
use wire::reply::{Delta, FaultKind, FinishReason, Open, Unreadable};
use wire::sse::{self, Event};

use crate::deltas::{lines, read_all};

/// The events of chunks that were split into pieces of `size` bytes.
fn split(chunks: &[&str], size: usize) -> Vec<Event> {
    let bytes: String = chunks.iter().flat_map(|chunk| ["data: ", chunk, "\r\n\r\n"]).collect();
    let mut reader = sse::Reader::new(1 << 20);
    let mut events = Vec::new();
    for piece in bytes.as_bytes().chunks(size) {
        reader.push(piece);
        while let Some(frame) = reader.next_frame().expect("within the limit") {
            events.extend(frame.event);
        }
    }
    events
}

fn deltas(chunks: &[&str]) -> Vec<Delta> {
    read_all(&mut Reader::new(), &split(chunks, 1 << 20)).expect("a good stream")
}

fn parts(parts: &str) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"role":"model","parts":[{parts}]}},"index":0}}],"responseId":"r-1"}}"#
    )
}

fn finish(reason: &str) -> String {
    format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":""}}]}},"finishReason":"{reason}"}}]}}"#)
}

/// Thoughts, text in pieces, parallel calls of which the first is signed, and counts that grow.
const FULL: [&str; 5] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"**Plan**","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":20,"cachedContentTokenCount":16,"thoughtsTokenCount":9,"totalTokenCount":29},"modelVersion":"gemini-3.1-pro-preview","responseId":"r-1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":" Read it.","thought":true}],"role":"model"},"index":0}],"responseId":"r-1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"I lo"}],"role":"model"},"index":0}],"responseId":"r-1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"ok."},{"functionCall":{"name":"read","args":{"path":"a"},"id":"fc-1"},"thoughtSignature":"U0lHMQ=="},{"functionCall":{"name":"list","args":{}}}],"role":"model"},"index":0}],"responseId":"r-1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":20,"cachedContentTokenCount":16,"candidatesTokenCount":12,"thoughtsTokenCount":9,"totalTokenCount":41},"responseId":"r-1"}"#,
];

// Rule 8
#[test]
fn a_stream_with_everything_becomes_these_deltas() {
    insta::assert_snapshot!(lines(&deltas(&FULL)));
}

// Complaint 14
#[test]
fn only_a_stream_that_said_why_it_ends_has_an_end() {
    let events = split(&FULL, 1 << 20);
    for end in 0..=events.len() {
        let deltas = read_all(&mut Reader::new(), &events[..end]).expect("a good stream");
        assert_eq!(deltas.last() == Some(&Delta::End), end == events.len(), "{end} events");
    }
}

#[test]
fn a_signature_seals_the_thoughts_that_led_to_its_part() {
    let thought = parts(r#"{"text":"Hm.","thought":true}"#);
    let call = parts(r#"{"functionCall":{"name":"read"},"thoughtSignature":"U0lH"}"#);
    let deltas = deltas(&[&thought, &call, &finish("STOP")]);
    assert_eq!(
        deltas[1..8],
        [
            Delta::Open(Open::Reasoning),
            Delta::Append("Hm.".to_owned()),
            Delta::Seal("U0lH".to_owned()),
            Delta::Close,
            Delta::Open(Open::ToolCall { id: "call_0_r-1".to_owned(), name: "read".to_owned() }),
            Delta::Append("{}".to_owned()),
            Delta::Close,
        ]
    );
}

#[test]
fn a_signature_without_words_is_a_block_of_its_own() {
    let signed = parts(r#"{"text":"","thoughtSignature":"U0lH"}"#);
    let deltas = deltas(&[&parts(r#"{"text":"Done."}"#), &signed, &finish("STOP")]);
    assert_eq!(
        deltas[1..7],
        [
            Delta::Open(Open::Text),
            Delta::Append("Done.".to_owned()),
            Delta::Close,
            Delta::Open(Open::RedactedReasoning),
            Delta::Seal("U0lH".to_owned()),
            Delta::Close,
        ]
    );
}

#[test]
fn signed_words_and_unsigned_ones_are_not_joined() {
    let signed = parts(r#"{"text":"b","thoughtSignature":"U0lH"}"#);
    let deltas = deltas(&[&parts(r#"{"text":"a"}"#), &signed, &parts(r#"{"text":"c"}"#), &finish("STOP")]);
    let opened: Vec<&Delta> = deltas.iter().filter(|delta| matches!(delta, Delta::Open(_))).collect();
    assert_eq!(
        opened,
        [&Delta::Open(Open::Text), &Delta::Open(Open::RedactedReasoning), &Delta::Open(Open::Text)]
    );
}

// Complaint 16
#[test]
fn calls_without_ids_get_their_own_and_the_same_again() {
    let ids = |response_id: &str| {
        let call = r#"{"functionCall":{"name":"read","args":{"path":"a"}}}"#;
        let chunk = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{call},{call}]}}}}],"responseId":"{response_id}"}}"#
        );
        let deltas = deltas(&[&chunk, &finish("STOP")]);
        let id = |delta: Delta| match delta {
            Delta::Open(Open::ToolCall { id, .. }) => Some(id),
            _ => None,
        };
        deltas.into_iter().filter_map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids("a-b_c"), ["call_0_a-b_c", "call_1_a-b_c"]);
    assert_eq!(ids("a/b"), ["call_0_ab", "call_1_ab"]);
    let made = ids("");
    assert_eq!(made, ids(""), "of what the answer says, and nothing else");
    assert_ne!(made[0], made[1]);
}

// Rule 9
#[test]
fn every_reason_to_finish_has_a_meaning_and_calls_are_never_dropped() {
    let reason = |chunks: &[&str]| {
        deltas(chunks).into_iter().find_map(|delta| match delta {
            Delta::Finish(finish) => Some(finish.reason),
            _ => None,
        })
    };
    let check = |word: &str, expected| assert_eq!(reason(&[&finish(word)]), expected, "{word}");
    check("STOP", Some(FinishReason::Stop));
    check("MAX_TOKENS", Some(FinishReason::Length));
    for word in ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "MODEL_ARMOR"] {
        check(word, Some(FinishReason::ContentFilter));
    }
    for word in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "A_LATER_WORD"] {
        check(word, Some(FinishReason::Other));
    }
    check("FINISH_REASON_UNSPECIFIED", None);
    let call = parts(r#"{"functionCall":{"name":"read"}}"#);
    assert_eq!(reason(&[&call, &finish("STOP")]), Some(FinishReason::ToolCalls));
    assert_eq!(reason(&[&call, &finish("MAX_TOKENS")]), Some(FinishReason::Length));
}

#[test]
fn a_blocked_prompt_is_an_answer_that_was_withheld() {
    let blocked = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":8,"totalTokenCount":8},"responseId":"r-2"}"#;
    let deltas = deltas(&[blocked]);
    assert!(deltas.contains(&Delta::Finish(FinishReason::ContentFilter.into())));
    assert_eq!(deltas.last(), Some(&Delta::End));
}

// Rule 12
#[test]
fn thoughts_are_part_of_the_completion_and_later_counts_stand_for_earlier_ones() {
    let usages: Vec<_> = deltas(&FULL)
        .into_iter()
        .filter_map(|delta| match delta {
            Delta::Usage(usage) => {
                Some((usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens))
            }
            _ => None,
        })
        .collect();
    assert_eq!(usages, [(20, 9, Some(9)), (20, 21, Some(9))]);
    let without = deltas(&[&parts(r#"{"text":"a"}"#), &finish("STOP")]);
    assert!(!without.iter().any(|delta| matches!(delta, Delta::Usage(_))), "absent is absent");
}

// Rule 5
#[test]
fn an_error_inside_the_stream_is_the_providers_fault() {
    let error = r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#;
    let read = read_all(&mut Reader::new(), &split(&[FULL[0], error], 1 << 20));
    let Err(Unreadable::Fault(fault)) = read else { panic!("{read:?}") };
    assert_eq!((fault.kind, fault.code.as_deref()), (FaultKind::Overloaded, Some("UNAVAILABLE")));
}

#[test]
fn what_matters_has_its_type_and_the_rest_teaches_nothing() {
    let later = parts(r#"{"aLaterPart":{}},{"executableCode":{"code":"1"}},{"text":"a"}"#);
    let other = r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]}}],"aLaterField":[]}"#;
    let read = deltas(&[&later, other, &finish("STOP")]);
    assert_eq!(read.iter().filter(|delta| matches!(delta, Delta::Append(_))).count(), 1);
    for chunk in [
        "[DONE]",
        "[]",
        r#"{"candidates":{}}"#,
        &parts(r#"{"text":1}"#),
        &parts(r#"{"functionCall":{"args":{}}}"#),
        &parts(r#"{"functionCall":{"name":""}}"#),
        &parts(r#"{"functionCall":{"name":"a","args":[]}}"#),
    ] {
        let read = read_all(&mut Reader::new(), &split(&[chunk], 1 << 20));
        assert!(matches!(read, Err(Unreadable::Malformed(_))), "{chunk}");
    }
}

fn part() -> impl Strategy<Value = String> {
    let text = "[a-z]{0,3}".prop_map(|text| format!(r#""text":"{text}""#));
    let thought = "[a-z]{0,3}".prop_map(|text| format!(r#""text":"{text}","thought":true"#));
    let call = Just(r#""functionCall":{"name":"read","args":{"a":1}}"#.to_owned());
    let signature = prop_oneof![Just(String::new()), Just(r#","thoughtSignature":"U0lH""#.to_owned())];
    (prop_oneof![text, thought, call], signature)
        .prop_map(|(part, signature)| format!("{{{part}{signature}}}"))
}

proptest! {
    #[test]
    fn any_parts_in_any_order_keep_the_grammar(
        chunks in proptest::collection::vec(proptest::collection::vec(part(), 0..4), 0..6),
        early in any::<prop::sample::Index>(),
    ) {
        let mut chunks: Vec<String> = chunks.iter().map(|chunk| parts(&chunk.join(","))).collect();
        // Some versions of the API have said it too early.
        chunks.insert(early.index(chunks.len() + 1), finish("STOP"));
        let borrowed: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let read = deltas(&borrowed);
        prop_assert_eq!(read.last(), Some(&Delta::End));
    }

    #[test]
    fn a_stream_split_at_any_byte_gives_the_same_deltas(size in 1usize..400) {
        prop_assert_eq!(read_all(&mut Reader::new(), &split(&FULL, size)), Ok(deltas(&FULL)));
    }

    #[test]
    fn no_event_makes_the_reader_panic_or_break_the_grammar(
        chunks in proptest::collection::vec(r#"(\{"(candidates|error|usageMetadata)":(\[\{\}\]|\{\}|1)\}|[ -~]{0,30})"#, 0..4),
    ) {
        let borrowed: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let _ = read_all(&mut Reader::new(), &split(&borrowed, 1 << 20));
    }
}
