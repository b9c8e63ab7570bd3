//! Of streams of chat completions, whatever they say.

use proptest::prelude::*;
use wire::openai::chat::{Reader, Writer, read_reply, write_reply};
use wire::openai::completions;
use wire::reply::{Begin, Delta, Finish, FinishReason, Open, Shown, StreamWriter};
use wire::{Usage, UsageChunk};

use crate::grammar;
use crate::support::{assembled, envelope, events, events_of_pieces, read, split, write};

/// What is left of `deltas` once the dialect has said them: no seals, withheld thoughts or foreign reasons.
fn sayable(deltas: &[Delta]) -> Vec<Delta> {
    let calls = deltas.iter().any(|delta| matches!(delta, Delta::Open(Open::ToolCall { .. })));
    let mut said = Vec::new();
    let mut open = None;
    for delta in grammar::joined(deltas) {
        match delta {
            Delta::Begin(_) => {
                said.push(Delta::Begin(Begin { id: Some("chatcmpl-01".into()), usage: None }));
            }
            Delta::Seal(_) => {}
            Delta::Open(Open::RedactedReasoning) => open = Some(Open::RedactedReasoning),
            Delta::Open(kind) => {
                // Blocks of one kind that follow each other are one: the dialect does not separate them.
                let is_word = !matches!(kind, Open::ToolCall { .. });
                if is_word && said.last() == Some(&Delta::Close) && last_open(&said) == Some(&kind) {
                    said.pop();
                } else {
                    said.push(Delta::Open(kind.clone()));
                }
                open = Some(kind);
            }
            Delta::Close if open == Some(Open::RedactedReasoning) => {}
            Delta::Close if matches!(said.last(), Some(Delta::Open(Open::ToolCall { .. }))) => {
                said.extend([Delta::Append("{}".into()), Delta::Close]);
            }
            Delta::Finish(Finish { reason, .. }) => {
                let reason = if calls { reason.with_tool_calls() } else { reason };
                said.push(Delta::Finish(Finish::from(match reason {
                    FinishReason::Paused | FinishReason::Other => FinishReason::Stop,
                    other => other,
                })));
            }
            other => said.push(other),
        }
    }
    grammar::joined(&said)
}

fn last_open(deltas: &[Delta]) -> Option<&Open> {
    deltas.iter().rev().find_map(|delta| if let Delta::Open(open) = delta { Some(open) } else { None })
}

proptest! {
    // Rules 1 and 3
    #[test]
    fn what_is_written_is_read_back(deltas in grammar::streams()) {
        let written = write(Writer::new(&envelope(), UsageChunk::Wanted), &deltas);
        let (read, outcome) = read(Reader::new(), &events(written.as_bytes()));
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(grammar::fault(&read), None);
        prop_assert_eq!(grammar::joined(&read), sayable(&deltas));
    }

    // Rule 1
    #[test]
    fn any_split_of_the_bytes_gives_the_same_deltas(
        deltas in grammar::streams(),
        at in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let written = write(Writer::new(&envelope(), UsageChunk::Wanted), &deltas);
        let whole = read(Reader::new(), &events(written.as_bytes()));
        let pieces = split(written.as_bytes(), &at);
        prop_assert_eq!(read(Reader::new(), &events_of_pieces(pieces)), whole.clone());
        let bytewise = written.as_bytes().chunks(1);
        prop_assert_eq!(read(Reader::new(), &events_of_pieces(bytewise)), whole);
    }

    // Complaint 14
    #[test]
    fn a_stream_that_is_cut_anywhere_has_no_end(deltas in grammar::streams(), at in any::<prop::sample::Index>()) {
        let written = write(Writer::new(&envelope(), UsageChunk::Wanted), &deltas);
        // The last byte is the blank line behind `[DONE]`.
        let cut = at.index(written.len());
        let (read, outcome) = read(Reader::new(), &events(&written.as_bytes()[..cut]));
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(grammar::fault(&read), None);
        prop_assert!(!grammar::is_whole(&read));
    }

    // Rule 6
    #[test]
    fn every_chunk_has_what_clients_insist_on(deltas in grammar::streams(), wanted in any::<bool>()) {
        let usage_chunk = if wanted { UsageChunk::Wanted } else { UsageChunk::Unwanted };
        let written = write(Writer::new(&envelope(), usage_chunk), &deltas);
        let events = events(written.as_bytes());
        let (done, chunks) = events.split_last().expect("an end");
        prop_assert_eq!(done.data(), "[DONE]");
        let mut roles = 0;
        let mut called = Vec::new();
        for (index, event) in chunks.iter().enumerate() {
            let chunk: serde_json::Value = serde_json::from_str(event.data()).expect("JSON");
            prop_assert_eq!(&chunk["id"], "chatcmpl-01");
            prop_assert_eq!(&chunk["object"], "chat.completion.chunk");
            prop_assert_eq!(&chunk["created"], 1_700_000_000);
            let choices = chunk["choices"].as_array().expect("choices");
            prop_assert_eq!(chunk.get("usage").is_some(), wanted);
            let is_usage = choices.is_empty();
            prop_assert_eq!(is_usage, wanted && !chunk["usage"].is_null());
            prop_assert!(!is_usage || index + 1 == chunks.len());
            for choice in choices {
                prop_assert!(choice.get("finish_reason").is_some());
                let delta = choice["delta"].as_object().expect("a delta");
                roles += usize::from(delta.contains_key("role"));
                prop_assert!(index > 0 || delta.contains_key("role"));
                for call in delta.get("tool_calls").and_then(|calls| calls.as_array()).into_iter().flatten() {
                    let number = call["index"].as_u64().expect("an index");
                    let is_first = call.get("id").is_some();
                    prop_assert_eq!(is_first, call.get("type").is_some());
                    prop_assert_eq!(is_first, call["function"].get("name").is_some());
                    prop_assert!(call["function"]["arguments"].is_string());
                    if is_first {
                        called.push(number);
                    }
                    prop_assert_eq!(called.last(), Some(&number));
                }
            }
        }
        prop_assert_eq!(roles, 1);
        prop_assert_eq!(&called, &(0..called.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn a_whole_answer_is_read_back(deltas in grammar::streams()) {
        let reply = assembled(&deltas);
        let read = read_reply(&write_reply(&reply, &envelope(), Shown::default())).expect("readable");
        let calls = |blocks: &[wire::call::Block]| -> Vec<wire::call::Block> {
            let is_call = |block: &&wire::call::Block| matches!(block.content, wire::call::Content::ToolCall(_));
            blocks.iter().filter(is_call).cloned().collect()
        };
        let mut expected = calls(&reply.blocks);
        for block in &mut expected {
            if let wire::call::Content::ToolCall(call) = &mut block.content && call.arguments.is_empty() {
                call.arguments = "{}".into();
            }
        }
        prop_assert_eq!(calls(&read.blocks), expected);
        let text = |blocks: &[wire::call::Block]| blocks.iter().filter_map(wire::call::Block::as_text).collect::<String>();
        prop_assert_eq!(text(&read.blocks), text(&reply.blocks));
        prop_assert_eq!(read.usage, reply.usage);
    }

    #[test]
    fn a_completion_is_read_back(texts in proptest::collection::vec(grammar::words(), 0..4), wanted in any::<bool>()) {
        let mut deltas = vec![Delta::Begin(Begin::default()), Delta::Open(Open::Text)];
        deltas.extend(texts.iter().cloned().map(Delta::Append));
        let end = [Delta::Close, Delta::Finish(FinishReason::Length.into()), Delta::Usage(Usage::of(7, 3)), Delta::End];
        deltas.extend(end);
        let usage_chunk = if wanted { UsageChunk::Wanted } else { UsageChunk::Unwanted };
        let written = write(completions::Writer::new(&envelope(), usage_chunk, Shown::default()), &deltas);
        let (read, outcome) = read(completions::Reader::new(), &events(written.as_bytes()));
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(grammar::fault(&read), None);
        let expected = deltas.into_iter().filter(|delta| wanted || !matches!(delta, Delta::Usage(_)));
        let mut expected = grammar::joined(&expected.collect::<Vec<_>>());
        expected[0] = Delta::Begin(Begin { id: Some("cmpl-01".into()), usage: None });
        prop_assert_eq!(grammar::joined(&read), expected);
    }
}

#[test]
fn a_stream_that_was_kept_alive_says_the_same() {
    let mut writer = Writer::new(&envelope(), UsageChunk::Unwanted);
    let mut out = bytes::BytesMut::new();
    writer.keep_alive(&mut out);
    writer.write(&Delta::Begin(Begin::default()), &mut out);
    writer.write(&Delta::Finish(FinishReason::Stop.into()), &mut out);
    writer.keep_alive(&mut out);
    writer.write(&Delta::End, &mut out);
    assert!(grammar::is_whole(&read(Reader::new(), &events(&out)).0));
}
