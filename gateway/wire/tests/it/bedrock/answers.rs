//! What Converse answers as a whole, and its errors.

use wire::bedrock::{read_fault, read_reply};
use wire::reply::{FaultKind, Unreadable};

const ANSWER: &str = r#"{
    "metrics": { "latencyMs": 900 },
    "output": { "message": { "role": "assistant", "content": [
        { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "c2ln" } } },
        { "reasoningContent": { "redactedContent": "cmVk" } },
        { "text": "I look." },
        { "toolUse": { "toolUseId": "tooluse_1", "name": "read", "input": { "path": "a" } } },
        { "toolUse": { "toolUseId": "tooluse_2", "name": "list", "input": {} } },
        { "aLaterBlock": {} }
    ] } },
    "stopReason": "tool_use",
    "usage": { "inputTokens": 7, "outputTokens": 11, "totalTokens": 18, "cacheReadInputTokens": 0 }
}"#;

#[test]
fn a_whole_answer_is_read() {
    insta::assert_debug_snapshot!(read_reply(ANSWER.as_bytes(), "aws").expect("an answer"));
}

#[test]
fn what_is_no_answer_is_malformed() {
    for body in ["<html>", "{}", r#"{"output":{"message":{"content":[{"text":1}]}},"stopReason":"end_turn"}"#]
    {
        assert!(matches!(read_reply(body.as_bytes(), "aws"), Err(Unreadable::Malformed(_))), "{body}");
    }
}

// Rule 18
#[test]
fn an_errors_kind_stands_in_its_header() {
    let check = |body: &str, header: Option<&str>, kind: FaultKind, code: &str| {
        let fault = read_fault(body.as_bytes(), header).expect(body);
        assert_eq!((fault.kind, fault.code.as_deref()), (kind, Some(code)), "{header:?}");
    };
    let said = r#"{"message":"Too many tokens, please wait before trying again."}"#;
    check(said, Some("ThrottlingException"), FaultKind::RateLimit, "ThrottlingException");
    let long = Some("AccessDeniedException:http://internal.amazon.com/coral/com.amazon.bedrock/");
    check(said, long, FaultKind::Permission, "AccessDeniedException");
    check(said, Some("ResourceNotFoundException"), FaultKind::NotFound, "ResourceNotFoundException");
    check(said, Some("ModelTimeoutException"), FaultKind::Timeout, "ModelTimeoutException");
    check(said, Some("ModelNotReadyException"), FaultKind::Overloaded, "ModelNotReadyException");
    check(said, Some("ModelErrorException"), FaultKind::Server, "ModelErrorException");
    check(said, None, FaultKind::Server, "unknown");
    let typed = r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","Message":"no"}"#;
    check(typed, None, FaultKind::Authentication, "UnrecognizedClientException");
    assert_eq!(read_fault(typed.as_bytes(), None).expect("an error").message, "no");
    let long = r#"{"message":"Input is too long for requested model."}"#;
    check(long, Some("ValidationException"), FaultKind::InvalidRequest, "context_length_exceeded");
}

#[test]
fn what_is_no_error_of_the_api_is_none() {
    for body in ["<html>", "", "{}", "[]", r#"{"message":7}"#] {
        assert_eq!(read_fault(body.as_bytes(), None), None, "{body}");
    }
}
