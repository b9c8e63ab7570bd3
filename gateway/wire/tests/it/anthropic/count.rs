//! The count of a prompt's tokens.

use wire::anthropic::messages::{
    Host, read_call, read_count, read_count_reply, write_count_call, write_count_reply,
};
use wire::call::Target;

const BODY: &[u8] = br#"{"model":"m","system":"s","messages":[{"role":"user","content":"hi"}],
    "tools":[{"name":"f","input_schema":{"type":"object"}}],"thinking":{"type":"adaptive"},"temperature":0.5}"#;

#[test]
fn a_count_needs_no_limit_of_the_answer() {
    // Rule 24
    assert_eq!(read_count(BODY).unwrap().max_tokens, None);
    assert_eq!(read_call(BODY).unwrap_err().param(), Some("max_tokens"));
}

#[test]
fn a_count_goes_on_with_the_prompt_alone() {
    // Rule 24
    let call = read_count(BODY).unwrap();
    let write = |host| {
        let target = Target { provider: "cloud", model: "claude-opus-4-6" };
        let body = write_count_call(&call, target, host).unwrap().body;
        String::from_utf8(body.to_vec()).unwrap()
    };
    insta::assert_snapshot!(
        write(Host::Direct),
        @r#"{"model":"claude-opus-4-6","system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"thinking":{"type":"adaptive","display":"summarized"}}"#
    );
    insta::assert_snapshot!(
        write(Host::Vertex { betas: &[] }),
        @r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-opus-4-6","system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"thinking":{"type":"adaptive","display":"summarized"}}"#
    );
}

#[test]
fn the_answer_to_a_count_is_one_number() {
    // Rule 24
    assert_eq!(&write_count_reply(2095)[..], br#"{"input_tokens":2095}"#);
    assert_eq!(read_count_reply(br#"{"input_tokens":2095,"context_management":{}}"#), Some(2095));
    for body in ["", "{}", r#"{"input_tokens":-1}"#, r#"{"input_tokens":"9"}"#, "<html>"] {
        assert_eq!(read_count_reply(body.as_bytes()), None, "{body}");
    }
}
