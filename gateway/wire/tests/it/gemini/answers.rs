//! What `generateContent` answers as a whole, and errors.

use wire::call::{Call, Role, Target, Turn};
use wire::gemini::{Host, read_fault, read_reply, write_call};
use wire::reply::{FaultKind, FinishReason, Unreadable};

use crate::calls::{body, user};

const ANSWER: &str = r#"{
    "candidates": [{
        "content": { "role": "model", "parts": [
            { "text": "Hm.", "thought": true },
            { "text": "I look." },
            { "functionCall": { "name": "read", "args": { "path": "a" } }, "thoughtSignature": "U0lHMQ==" },
            { "functionCall": { "id": "fc-2", "name": "list", "args": {} } }
        ] },
        "finishReason": "STOP",
        "index": 0
    }],
    "usageMetadata": {
        "promptTokenCount": 20, "candidatesTokenCount": 12, "thoughtsTokenCount": 9, "totalTokenCount": 41,
        "cachedContentTokenCount": 16
    },
    "responseId": "r-1"
}"#;

#[test]
fn a_whole_answer_is_read() {
    insta::assert_debug_snapshot!(read_reply(ANSWER.as_bytes(), "google").expect("an answer"));
}

#[test]
fn what_was_answered_is_sent_back_part_by_part() {
    let reply = read_reply(ANSWER.as_bytes(), "google").expect("an answer");
    let turns = vec![user("a"), Turn::new(Role::Assistant, reply.blocks)];
    let call = Call { turns, ..Call::default() };
    let target = Target { provider: "google", model: "gemini-3.1-pro-preview" };
    let outgoing = write_call(&call, target, Host::GeminiApi).expect("a call");
    insta::assert_snapshot!(format!("{:#}", body(&outgoing)["contents"][1]));
}

#[test]
fn what_is_no_answer_is_malformed_and_an_error_is_one() {
    for body in ["<html>", "{}", r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#] {
        assert!(matches!(read_reply(body.as_bytes(), "google"), Err(Unreadable::Malformed(_))), "{body}");
    }
    let error = r#"{"error":{"code":429,"message":"Quota.","status":"RESOURCE_EXHAUSTED"}}"#;
    assert!(matches!(read_reply(error.as_bytes(), "google"), Err(Unreadable::Fault(_))));
}

#[test]
fn an_answer_without_words_is_an_answer() {
    let body = r#"{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":3,"thoughtsTokenCount":9}}"#;
    let reply = read_reply(body.as_bytes(), "google").expect("an answer");
    assert_eq!((reply.blocks.len(), reply.finish.reason), (0, FinishReason::Length));
    assert_eq!(reply.usage.map(|usage| usage.completion_tokens), Some(9));
}

// Rule 18
#[test]
fn errors_are_read_alone_and_in_a_list() {
    let check = |error: &str, kind: FaultKind, code: &str| {
        for body in [format!(r#"{{"error":{error}}}"#), format!(r#"[{{"error":{error}}}]"#)] {
            let fault = read_fault(body.as_bytes()).expect("an error");
            assert_eq!((fault.kind, fault.code.as_deref()), (kind, Some(code)), "{body}");
        }
    };
    let check_status = |status: &str, kind| {
        check(&format!(r#"{{"code":400,"message":"m","status":"{status}"}}"#), kind, status);
    };
    check_status("INVALID_ARGUMENT", FaultKind::InvalidRequest);
    check_status("UNAUTHENTICATED", FaultKind::Authentication);
    check_status("PERMISSION_DENIED", FaultKind::Permission);
    check_status("NOT_FOUND", FaultKind::NotFound);
    check_status("RESOURCE_EXHAUSTED", FaultKind::RateLimit);
    check_status("UNAVAILABLE", FaultKind::Overloaded);
    check_status("DEADLINE_EXCEEDED", FaultKind::Timeout);
    check(r#"{"code":500,"message":"m"}"#, FaultKind::Server, "unknown");
    check(r#"{"code":413,"message":"m","status":"A_LATER_WORD"}"#, FaultKind::TooLarge, "A_LATER_WORD");
    let key = r#"{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"x","reason":"API_KEY_INVALID"}]}"#;
    check(key, FaultKind::Authentication, "INVALID_ARGUMENT");
    let long = r#"{"code":400,"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}"#;
    check(long, FaultKind::InvalidRequest, "context_length_exceeded");
}

#[test]
fn what_is_no_error_of_the_api_is_none() {
    for body in ["<html>", "", "{}", "[]", r#"{"error":"text"}"#, r#"[{"error":{}},{"error":{}}]"#] {
        assert_eq!(read_fault(body.as_bytes()), None, "{body}");
    }
}
