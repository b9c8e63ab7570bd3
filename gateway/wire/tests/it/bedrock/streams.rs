//! What `ConverseStream` answers.

use proptest::prelude::*;
use wire::bedrock::Reader;
use wire::eventstream::{self, encode_event, encode_exception};
use wire::reply::{Assembler, Delta, Envelope, EventReader, FaultKind, FinishReason, Open, Unreadable};
use wire::sse::Event;

use crate::deltas::{lines, read_all};
use crate::grammar::check;

/// The events of a stream that was split into pieces of `size` bytes.
fn split(stream: &[(&str, &str)], size: usize) -> Vec<Event> {
    let bytes: Vec<u8> = stream.iter().flat_map(|(name, data)| encode_event(name, data).to_vec()).collect();
    let mut reader = eventstream::Reader::new(1 << 20);
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        reader.push(piece);
        while let Some(event) = reader.next_event().expect("our own bytes") {
            events.push(event);
        }
    }
    events
}

fn events(stream: &[(&str, &str)]) -> Vec<Event> {
    split(stream, 1 << 20)
}

fn deltas(stream: &[(&str, &str)]) -> Vec<Delta> {
    read_all(&mut Reader::new(), &events(stream)).expect("a good stream")
}

/// With the padding `p` that AWS adds against readers of lengths.
const START: (&str, &str) = ("messageStart", r#"{"p":"abcdefgh","role":"assistant"}"#);
const METADATA: (&str, &str) = (
    "metadata",
    r#"{"metrics":{"latencyMs":900},"p":"ab","usage":{"cacheReadInputTokens":100,"cacheWriteInputTokens":20,"inputTokens":7,"outputTokens":11,"totalTokens":138}}"#,
);

fn stop(at: u32) -> (&'static str, String) {
    ("contentBlockStop", format!(r#"{{"contentBlockIndex":{at},"p":"a"}}"#))
}

fn delta(at: u32, delta: &str) -> (&'static str, String) {
    ("contentBlockDelta", format!(r#"{{"contentBlockIndex":{at},"delta":{delta},"p":"abc"}}"#))
}

fn tool(at: u32, id: &str) -> (&'static str, String) {
    let start = format!(r#"{{"toolUse":{{"name":"read","toolUseId":"{id}"}}}}"#);
    ("contentBlockStart", format!(r#"{{"contentBlockIndex":{at},"start":{start}}}"#))
}

fn finish(reason: &str) -> (&'static str, String) {
    ("messageStop", format!(r#"{{"p":"abc","stopReason":"{reason}"}}"#))
}

/// Thoughts, text, and two calls whose arguments come in fragments.
fn full() -> Vec<(&'static str, String)> {
    vec![
        delta(0, r#"{"reasoningContent":{"text":"Let me "}}"#),
        delta(0, r#"{"reasoningContent":{"text":"see."}}"#),
        delta(0, r#"{"reasoningContent":{"signature":"c2ln"}}"#),
        stop(0),
        delta(1, r#"{"text":"I lo"}"#),
        delta(1, r#"{"text":"ok."}"#),
        stop(1),
        tool(2, "tooluse_1"),
        delta(2, r#"{"toolUse":{"input":"{\"pa"}}"#),
        delta(2, r#"{"toolUse":{"input":"th\":\"a\"}"}}"#),
        stop(2),
        tool(3, "tooluse_2"),
        stop(3),
        finish("tool_use"),
    ]
}

fn with_ends(middle: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let own = |(name, data): (&'static str, &str)| (name, data.to_owned());
    [vec![own(START)], middle.to_vec(), vec![own(METADATA)]].concat()
}

fn borrowed<'a>(stream: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    stream.iter().map(|(name, data)| (*name, data.as_str())).collect()
}

// Rule 8
#[test]
fn a_stream_with_everything_becomes_these_deltas() {
    insta::assert_snapshot!(lines(&deltas(&borrowed(&with_ends(&full())))));
}

// Rule 12
#[test]
fn cached_tokens_are_part_of_the_prompt() {
    let deltas = deltas(&borrowed(&with_ends(&[finish("end_turn")])));
    let Some(Delta::Usage(usage)) = deltas.iter().find(|delta| matches!(delta, Delta::Usage(_))) else {
        panic!("usage was reported: {deltas:?}");
    };
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (127, 11));
    assert_eq!((usage.cached_tokens, usage.cache_write_tokens), (Some(100), Some(20)));
}

// Complaint 14
#[test]
fn a_cut_at_any_event_is_no_end() {
    let stream = with_ends(&full());
    let whole = events(&borrowed(&stream));
    for end in 0..whole.len() {
        let deltas = read_all(&mut Reader::new(), &whole[..end]).expect("a good stream");
        let has_finished = end + 1 == whole.len();
        assert_eq!(deltas.last() == Some(&Delta::End), has_finished, "{end} events");
    }
}

#[test]
fn an_end_without_usage_is_an_end_and_usage_stays_absent() {
    let stream = [START, ("messageStop", r#"{"stopReason":"end_turn"}"#)];
    let deltas = deltas(&stream);
    assert_eq!(deltas.len(), 3);
    assert_eq!(deltas[2], Delta::End);
}

#[test]
fn usage_may_come_before_the_end() {
    let deltas = deltas(&[START, METADATA, ("messageStop", r#"{"stopReason":"end_turn"}"#)]);
    assert!(matches!(deltas[1..], [Delta::Usage(_), Delta::Finish(_), Delta::End]), "{deltas:?}");
    let strange = ("metadata", r#"{"usage":{"inputTokens":"7"}}"#);
    let deltas = self::deltas(&[START, ("messageStop", r#"{"stopReason":"end_turn"}"#), strange]);
    assert!(matches!(deltas[1..], [Delta::Finish(_), Delta::End]), "{deltas:?}");
}

#[test]
fn withheld_thoughts_and_thoughts_without_words_keep_their_seals() {
    let middle = [
        delta(0, r#"{"reasoningContent":{"redactedContent":"cmVk"}}"#),
        stop(0),
        delta(1, r#"{"reasoningContent":{"signature":"c2"}}"#),
        delta(1, r#"{"reasoningContent":{"signature":"ln"}}"#),
        stop(1),
        finish("end_turn"),
    ];
    let deltas = deltas(&borrowed(&with_ends(&middle)));
    assert_eq!(
        deltas[1..7],
        [
            Delta::Open(Open::RedactedReasoning),
            Delta::Seal("cmVk".to_owned()),
            Delta::Close,
            Delta::Open(Open::Reasoning),
            Delta::Seal("c2ln".to_owned()),
            Delta::Close,
        ]
    );
}

// Rule 9
#[test]
fn every_reason_to_stop_has_a_meaning_and_calls_are_never_dropped() {
    let reason = |middle: &[(&'static str, String)]| {
        let deltas = deltas(&borrowed(&with_ends(middle)));
        deltas.iter().find_map(|delta| match delta {
            Delta::Finish(finish) => Some(finish.reason),
            _ => None,
        })
    };
    let check = |word, expected| assert_eq!(reason(&[finish(word)]), Some(expected), "{word}");
    check("end_turn", FinishReason::Stop);
    check("stop_sequence", FinishReason::Stop);
    check("max_tokens", FinishReason::Length);
    check("model_context_window_exceeded", FinishReason::Length);
    check("guardrail_intervened", FinishReason::ContentFilter);
    check("content_filtered", FinishReason::ContentFilter);
    check("malformed_tool_use", FinishReason::Other);
    check("a_later_word", FinishReason::Other);
    assert_eq!(reason(&[tool(0, "1"), stop(0), finish("end_turn")]), Some(FinishReason::ToolCalls));
    assert_eq!(reason(&[tool(0, "1"), stop(0), finish("max_tokens")]), Some(FinishReason::Length));
}

#[test]
fn the_stop_string_that_was_met_is_told() {
    let met = |fields: &str| {
        let stop = format!(r#"{{"additionalModelResponseFields":{fields},"stopReason":"stop_sequence"}}"#);
        match &deltas(&[START, ("messageStop", &stop), METADATA])[1] {
            Delta::Finish(finish) => finish.stop_sequence.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(met(r#"{"delta":{"stop_sequence":"STOP"}}"#).as_deref(), Some("STOP"));
    assert_eq!(met(r#"{"stop_sequence":"STOP"}"#).as_deref(), Some("STOP"));
    assert_eq!(met(r#"{"stop_sequence":null}"#), None);
    assert_eq!(met("7"), None);
}

// Rule 5
#[test]
fn an_exception_inside_the_stream_is_the_providers_fault() {
    let check = |kind: &str, data: &str, expected: FaultKind, code: &str| {
        let mut reader = eventstream::Reader::new(1 << 20);
        reader.push(&encode_exception(kind, data));
        let event = reader.next_event().expect("our own bytes").expect("one message");
        match Reader::new().read(&event, &mut Vec::new()) {
            Err(Unreadable::Fault(fault)) => {
                assert_eq!((fault.kind, fault.code.as_deref()), (expected, Some(code)), "{kind}");
            }
            other => panic!("{kind}: {other:?}"),
        }
    };
    let said = r#"{"message":"Try again."}"#;
    check("throttlingException", said, FaultKind::RateLimit, "throttlingException");
    check("validationException", said, FaultKind::InvalidRequest, "validationException");
    check("serviceUnavailableException", said, FaultKind::Overloaded, "serviceUnavailableException");
    check("internalServerException", said, FaultKind::Server, "internalServerException");
    check("aLaterException", "", FaultKind::Server, "aLaterException");
    let original = r#"{"message":"m","originalMessage":"o","originalStatusCode":500}"#;
    check("modelStreamErrorException", original, FaultKind::Server, "modelStreamErrorException");
    let long = r#"{"message":"Input is too long for requested model."}"#;
    check("validationException", long, FaultKind::InvalidRequest, "context_length_exceeded");
}

#[test]
fn what_matters_has_its_type_and_the_rest_teaches_nothing() {
    let mut reader = Reader::new();
    let later = [
        START,
        ("aLaterEvent", "[]"),
        ("contentBlockStart", r#"{"start":{"image":{}},"contentBlockIndex":0}"#),
    ];
    assert_eq!(read_all(&mut reader, &events(&later)).map(|deltas| deltas.len()), Ok(1));
    for (name, data) in [
        ("contentBlockDelta", r#"{"contentBlockIndex":"0","delta":{}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{}"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":1}}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"","name":"a"}}}"#),
        ("messageStop", "{}"),
        ("messageStop", "{"),
    ] {
        let read = read_all(&mut Reader::new(), &events(&[START, (name, data)]));
        assert!(matches!(read, Err(Unreadable::Malformed(_))), "{name} {data}");
    }
}

/// The answer that deltas make, to compare streams that came differently.
fn assembled(deltas: Vec<Delta>) -> Option<wire::reply::Reply> {
    let envelope =
        Envelope { unique: "u".to_owned(), created_s: 0, model: "m".to_owned(), provider: "aws".to_owned() };
    let mut assembler = Assembler::default();
    for delta in deltas {
        assembler.push(delta, &envelope);
    }
    assembler.finish()
}

proptest! {
    // Complaint 16
    #[test]
    fn blocks_that_interleave_come_out_one_after_the_other(order in Just(full()).prop_flat_map(shuffled)) {
        let stream = with_ends(&[order, vec![finish("tool_use")]].concat());
        let deltas = deltas(&borrowed(&stream));
        check(&deltas);
        let reply = assembled(deltas).expect("whole");
        let mut blocks: Vec<String> = reply.blocks.iter().map(|block| format!("{block:?}")).collect();
        let mut expected: Vec<String> =
            assembled(self::deltas(&borrowed(&with_ends(&full())))).expect("whole").blocks.iter().map(|block| format!("{block:?}")).collect();
        blocks.sort();
        expected.sort();
        prop_assert_eq!(blocks, expected);
    }

    #[test]
    fn a_stream_split_at_any_byte_gives_the_same_deltas(size in 1usize..400) {
        let stream = with_ends(&full());
        let events = split(&borrowed(&stream), size);
        prop_assert_eq!(read_all(&mut Reader::new(), &events), Ok(deltas(&borrowed(&stream))));
    }

    #[test]
    fn no_payload_makes_the_reader_panic_or_break_the_grammar(
        names in proptest::collection::vec(0usize..6, 0..8),
        data in r#"(\{"(contentBlockIndex|delta|start|stopReason|usage)":[0-9]?(\{\})?("a")?\}|[ -~]{0,30})"#,
    ) {
        let kinds = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
        let stream: Vec<(&str, &str)> = names.iter().map(|name| (kinds[*name], data.as_str())).collect();
        let _ = read_all(&mut Reader::new(), &events(&stream));
    }
}

/// The fragments of `stream` in any order that keeps the order within each block; the last event is left out.
fn shuffled(stream: Vec<(&'static str, String)>) -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let fragments = stream.len() - 1;
    proptest::collection::vec(any::<prop::sample::Index>(), fragments).prop_map(move |picks| {
        let mut blocks: Vec<Vec<(&'static str, String)>> = vec![vec![]; 4];
        for (name, data) in &stream[..fragments] {
            let at = data
                .find("contentBlockIndex\":")
                .map(|at| data.as_bytes()[at + 19] - b'0')
                .expect("a fragment has an index");
            blocks[usize::from(at)].push((name, data.clone()));
        }
        let mut order = Vec::new();
        for pick in picks {
            let at = pick.index(blocks.len());
            order.push(blocks[at].remove(0));
            blocks.retain(|block| !block.is_empty());
        }
        order
    })
}
