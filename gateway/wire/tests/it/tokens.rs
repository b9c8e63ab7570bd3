//! Several choices and the tokens of each, in the shapes of chat and of completions, whole and streamed.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use wire::openai::{chat, completions};
use wire::reply::{
    Alternative, Begin, Delta, Envelope, FinishReason, Open, Reply, Shown, StreamWriter, Token,
};
use wire::{Usage, UsageChunk};

use crate::support::{assembled, envelope, text, write};

const ALL: Shown = Shown { logprobs: true, echo: true, token_ids: true };
const LOGPROBS: Shown = Shown { logprobs: true, echo: false, token_ids: false };

fn alternative(id: u32, bytes: &[u8], logprob: f32) -> Alternative {
    Alternative { id, bytes: bytes.to_vec(), logprob }
}

fn token(id: u32, bytes: &[u8], logprob: Option<f32>, alternatives: &[Alternative]) -> Token {
    Token { id, bytes: bytes.to_vec(), logprob, alternatives: alternatives.to_vec() }
}

/// Two choices, one after the other's beginning; a character in two tokens, an end token without text, a token that
/// was drawn although it is not likely, one that is not possible.
fn deltas() -> Vec<Delta> {
    let rocket = "🚀".as_bytes();
    let likely = [alternative(5, b" a", -0.25), alternative(6, b" b", -1.5)];
    vec![
        Delta::Begin(Begin::default()),
        Delta::Prompt(vec![token(1, b"Hi", None, &[]), token(2, b" you", Some(-2.5), &likely)]),
        Delta::Open(Open::Text),
        Delta::Append("Hi you".into()),
        Delta::Token(token(5, b" a", Some(-0.25), &likely)),
        Delta::Append(" a".into()),
        Delta::Choice(1),
        Delta::Prompt(vec![token(9, "é".as_bytes(), None, &[])]),
        Delta::Open(Open::Text),
        Delta::Append("é".into()),
        Delta::Choice(0),
        Delta::Token(token(7, &rocket[..2], Some(-3.5), &likely)),
        Delta::Token(token(8, &rocket[2..], Some(f32::NEG_INFINITY), &[])),
        Delta::Append("🚀".into()),
        Delta::Choice(1),
        Delta::Token(token(6, b" b", Some(-1.5), &likely)),
        Delta::Append(" b".into()),
        Delta::Close,
        Delta::Finish(FinishReason::Length.into()),
        Delta::Choice(0),
        Delta::Close,
        Delta::Token(token(0, b"<|end|>", Some(-0.125), &[alternative(0, b"<|end|>", -0.125)])),
        Delta::Finish(FinishReason::Stop.into()),
        Delta::Usage(Usage::of(3, 5)),
        Delta::End,
    ]
}

fn pretty(body: &Bytes) -> String {
    let value: Value = serde_json::from_slice(body).expect("answers are JSON");
    serde_json::to_string_pretty(&value).expect("JSON can be written")
}

#[test]
fn a_chat_answer_has_its_choices_and_their_tokens() {
    insta::assert_snapshot!(pretty(&chat::write_reply(&assembled(&deltas()), &envelope(), ALL)));
}

#[test]
fn a_chat_stream_has_its_choices_and_their_tokens() {
    let writer = |shown| chat::Writer::new(&envelope(), UsageChunk::Wanted).showing(shown);
    insta::assert_snapshot!(write(writer(ALL), &deltas()));
}

#[test]
fn a_completion_has_its_choices_and_their_tokens() {
    insta::assert_snapshot!(pretty(&completions::write_reply(&assembled(&deltas()), &envelope(), ALL)));
}

#[test]
fn a_streamed_completion_has_its_choices_and_their_tokens() {
    insta::assert_snapshot!(write(completions::Writer::new(&envelope(), UsageChunk::Wanted, ALL), &deltas()));
}

#[test]
fn what_is_not_asked_for_is_not_shown() {
    let reply = assembled(&deltas());
    let chat = text(&chat::write_reply(&reply, &envelope(), Shown::default()));
    let completion = text(&completions::write_reply(&reply, &envelope(), LOGPROBS));
    for absent in ["token_ids", "bytes", "top_logprobs"] {
        assert!(!chat.contains(absent), "{chat}");
    }
    assert!(!completion.contains("token_ids"));
    let completion: Value = serde_json::from_str(&completion).unwrap();
    // The prompt's own stand there only where the prompt does.
    assert_eq!(completion["choices"][1]["logprobs"]["tokens"], serde_json::json!([" b"]));
}

#[test]
fn a_begin_token_that_is_not_in_the_echoed_text_takes_no_room_there() {
    let mut deltas = deltas();
    deltas[1] = Delta::Prompt(vec![token(0, b"<s>", None, &[]), token(1, b"Hi", Some(-1.0), &[])]);
    let whole = completions::write_reply(&assembled(&deltas), &envelope(), ALL);
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["choices"][0]["logprobs"]["text_offset"], serde_json::json!([0, 0, 2, 4, 5, 5]));
}

/// The choices of a stream, put together as a client does.
fn joined(events: &str, word: &str) -> Vec<(String, Vec<Value>, Vec<Value>)> {
    let mut choices = vec![(String::new(), Vec::new(), Vec::new()); 2];
    for chunk in
        events.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]")
    {
        let chunk: Value = serde_json::from_str(chunk).expect("a chunk is JSON");
        for choice in chunk["choices"].as_array().expect("a chunk has choices") {
            let (text, tokens, ids) =
                &mut choices[choice["index"].as_u64().expect("a choice has a number") as usize];
            let more = if word == "content" { &choice["delta"]["content"] } else { &choice["text"] };
            text.push_str(more.as_str().unwrap_or_default());
            tokens.extend(choice["logprobs"][word].as_array().into_iter().flatten().cloned());
            ids.extend(choice["token_ids"].as_array().into_iter().flatten().cloned());
        }
    }
    choices
}

fn whole(reply: &Bytes, word: &str) -> Vec<(String, Vec<Value>, Vec<Value>)> {
    let reply: Value = serde_json::from_slice(reply).expect("a reply is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let choice = |choice: &Value| {
        let text = if word == "content" { &choice["message"]["content"] } else { &choice["text"] };
        (
            text.as_str().expect("a text is a string").to_owned(),
            list(&choice["logprobs"][word]),
            list(&choice["token_ids"]),
        )
    };
    reply["choices"].as_array().expect("a reply has choices").iter().map(choice).collect()
}

fn check<W: StreamWriter>(
    deltas: &[Delta],
    writer: W,
    write_reply: fn(&Reply, &Envelope, Shown) -> Bytes,
    word: &str,
) {
    let whole = whole(&write_reply(&assembled(deltas), &envelope(), ALL), word);
    assert_eq!(joined(&write(writer, deltas), word), whole);
}

proptest! {
    /// However the deltas of two choices interleave.
    #[test]
    fn a_stream_and_a_document_say_the_same_of_each_choice(turns in prop::collection::vec(0_usize..2, 0..40)) {
        let mut choices: [Vec<Delta>; 2] = [Vec::new(), Vec::new()];
        let (mut current, mut frame) = (0, Vec::new());
        for delta in deltas() {
            match delta {
                Delta::Choice(index) => current = index as usize,
                Delta::Begin(_) | Delta::Usage(_) | Delta::End => frame.push(delta),
                delta => choices[current].push(delta),
            }
        }
        let mut left = choices.map(|choice| choice.into_iter().collect::<std::collections::VecDeque<_>>());
        let mut mixed = vec![frame.remove(0)];
        for turn in turns.into_iter().chain([0, 1].into_iter().cycle().take(60)) {
            if let Some(delta) = left[turn].pop_front() {
                mixed.extend([Delta::Choice(turn as u32), delta]);
            }
        }
        mixed.extend(frame);
        let chat_writer = chat::Writer::new(&envelope(), UsageChunk::Wanted).showing(ALL);
        check(&mixed, chat_writer, chat::write_reply, "content");
        let writer = completions::Writer::new(&envelope(), UsageChunk::Wanted, ALL);
        check(&mixed, writer, completions::write_reply, "tokens");
    }
}
