//! Answers that are not streamed.

use proptest::prelude::*;
use wire::Usage;
use wire::call::{Block, Content, Reasoning};
use wire::openai::chat::read_reply;
use wire::reply::{FaultKind, FinishReason, Reply, Unreadable, deltas_of};

use crate::grammar;
use crate::support::assembled;

fn reply(body: &str) -> Reply {
    read_reply(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn message(message: &str) -> Reply {
    reply(&format!(r#"{{"id":"c1","choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}]}}"#))
}

#[test]
fn text_usage_and_reason_are_read() {
    let reply = reply(
        r#"{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
    );
    assert_eq!((reply.id.as_deref(), reply.usage), (Some("c1"), Some(Usage::of(7, 3))));
    assert_eq!((reply.blocks, reply.finish.reason), (vec![Block::text("Hi")], FinishReason::Length));
}

// Rule 7
#[test]
fn usage_that_nobody_counted_is_absent() {
    assert_eq!(message(r#"{"content":"Hi"}"#).usage, None);
}

#[test]
fn thoughts_text_and_refusals_are_told_apart() {
    let thought =
        |text: &str| Content::Reasoning(Reasoning { text: text.into(), ..Reasoning::default() }).into();
    assert_eq!(
        message(r#"{"content":"so","reasoning_content":"hm"}"#).blocks,
        [thought("hm"), Block::text("so")]
    );
    assert_eq!(
        message(r#"{"content":"","reasoning":"hm","refusal":"no"}"#).blocks,
        [thought("hm"), Content::Refusal("no".into()).into()]
    );
    let parts = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"so"}]}"#;
    assert_eq!(message(parts).blocks, [thought("hm"), Block::text("so")]);
    assert_eq!(message(r#"{"content":null}"#).blocks, []);
    assert_eq!(message(r#"{"content":"so","reasoning":{"new":1}}"#).blocks, [Block::text("so")]);
}

#[test]
fn of_several_choices_the_first_is_read_wherever_it_stands() {
    let reply =
        reply(r#"{"choices":[{"index":1,"message":{"content":"b"}},{"index":0,"message":{"content":"a"}}]}"#);
    assert_eq!((reply.blocks, reply.finish.reason), (vec![Block::text("a")], FinishReason::Other));
}

// Complaint 11: a good status with an error inside.
#[test]
fn an_error_with_a_good_status_is_an_error() {
    let error = read_reply(br#"{"error":{"message":"m","type":"overloaded_error","param":null,"code":"c"}}"#);
    let Err(Unreadable::Fault(fault)) = error else { panic!("{error:?}") };
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Overloaded, "m"));
}

#[test]
fn what_is_no_completion_is_malformed() {
    for body in
        ["", "<html>", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":[{"index":0}]}"#, r#"{"choices":7}"#]
    {
        let error = read_reply(body.as_bytes());
        assert!(matches!(error, Err(Unreadable::Malformed(_))), "{body}: {error:?}");
    }
}

proptest! {
    #[test]
    fn an_answer_taken_apart_and_put_together_is_the_same(deltas in grammar::streams()) {
        let reply = assembled(&deltas);
        let apart = deltas_of(reply.clone());
        prop_assert_eq!(grammar::fault(&apart), None);
        prop_assert_eq!(&grammar::joined(&apart), &grammar::joined(&deltas));
        prop_assert_eq!(assembled(&apart), reply);
    }
}
