//! Whole answers, both ways.

use wire::Usage;
use wire::anthropic::messages::{read_reply, write_reply};
use wire::call::{Block, Content, Reasoning, Seal, ToolCall};
use wire::reply::{Assembler, FaultKind, Finish, FinishReason, Reply, Told, Unreadable, deltas_of};

use super::{envelope, events, try_read_stream, write_stream};

const BODY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5",
    "content":[
      {"type":"thinking","thinking":"Hm.","signature":"c2ln"},
      {"type":"redacted_thinking","data":"ZGF0YQ=="},
      {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}},
      {"type":"text","text":"I look.","citations":null},
      {"type":"tool_use","id":"toolu_1","name":"look","input":{"n": 1.50}},
      {"type":"tool_use","id":"toolu_2","name":"now","input":{}}],
    "stop_reason":"tool_use","stop_sequence":null,
    "usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":3000,"output_tokens":89}}"#;

#[test]
fn an_answer_of_the_api_is_read_and_written_as_its_clients_expect_it() {
    let reply = read_reply(BODY.as_bytes(), "cloud").unwrap();
    insta::assert_debug_snapshot!(reply);
    let written = write_reply(&reply, &envelope());
    insta::assert_snapshot!(String::from_utf8(written.to_vec()).unwrap());
}

#[test]
fn an_answer_streamed_and_whole_is_the_same() {
    let whole = read_reply(BODY.as_bytes(), "cloud").unwrap();
    let stream = write_stream(&deltas_of(whole.clone()));
    let mut assembler = Assembler::default();
    for delta in try_read_stream(&events(stream.as_bytes())).unwrap() {
        assembler.push(delta, &envelope());
    }
    let streamed = assembler.finish().unwrap();
    assert_eq!((streamed.finish, streamed.usage), (whole.finish.clone(), whole.usage));
    let plain = |reply: &Reply| -> Vec<Block> {
        let seal = |seal: &Option<Seal>| seal.as_ref().map(|seal| Seal::from_client(&seal.data).data);
        let blocks = reply.blocks.iter().map(|block| match &block.content {
            Content::Reasoning(reasoning) => {
                let seal = seal(&reasoning.seal).map(|data| Seal::of("cloud", data));
                Content::Reasoning(Reasoning { seal, ..reasoning.clone() }).into()
            }
            _ => block.clone(),
        });
        blocks.collect()
    };
    assert_eq!(plain(&Reply { blocks: streamed.blocks, ..whole.clone() }), plain(&whole));
}

#[test]
fn an_answer_of_another_dialect_is_written_whole() {
    let reasoning = Content::Reasoning(Reasoning { text: "Hm.".into(), ..Reasoning::default() });
    let call = |id: &str, arguments: &str| {
        Content::ToolCall(ToolCall { id: id.into(), name: "f".into(), arguments: arguments.into() }).into()
    };
    let reply = Reply {
        id: Some("chatcmpl-1".into()),
        blocks: vec![
            Block::text(""),
            Content::Reasoning(Reasoning::default()).into(),
            reasoning.into(),
            call("a", ""),
            call("b", "no json"),
        ],
        finish: Finish { reason: FinishReason::Stop, stop_sequence: Some("x".into()) },
        usage: None,
        told: Told::default(),
        others: Vec::new(),
    };
    insta::assert_snapshot!(
        String::from_utf8(write_reply(&reply, &envelope()).to_vec()).unwrap(),
        @r#"{"id":"msg_01","type":"message","role":"assistant","model":"demo","content":[{"type":"thinking","thinking":"Hm.","signature":"pc1.cloud."},{"type":"tool_use","id":"a","name":"f","input":{}},{"type":"tool_use","id":"b","name":"f","input":{"input":"no json"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"output_tokens":0}}"#
    );
}

#[test]
fn a_refusal_is_text_and_the_reason() {
    let reply = Reply {
        id: None,
        blocks: vec![Content::Refusal("No.".into()).into()],
        finish: FinishReason::Stop.into(),
        usage: Some(Usage::of(3, 4)),
        told: Told::default(),
        others: Vec::new(),
    };
    let written = String::from_utf8(write_reply(&reply, &envelope()).to_vec()).unwrap();
    assert!(
        written.contains(r#""content":[{"type":"text","text":"No."}],"stop_reason":"refusal""#),
        "{written}"
    );
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    let read = |body: &str| read_reply(body.as_bytes(), "cloud");
    for body in ["", "[]", "<html>", "{}", r#"{"content":"x"}"#, r#"{"content":[{"type":"text"}]}"#] {
        assert!(matches!(read(body), Err(Unreadable::Malformed(_))), "{body}");
    }
    let error = r#"{"type":"error","error":{"type":"api_error","message":"m"},"request_id":"r"}"#;
    let Err(Unreadable::Fault(fault)) = read(error) else { panic!("no fault") };
    assert_eq!(fault.kind, FaultKind::Server);
    let short = read(r#"{"content":[{"type":"later"}]}"#).unwrap();
    assert_eq!((short.blocks, short.finish.reason, short.usage), (vec![], FinishReason::Other, None));
}
