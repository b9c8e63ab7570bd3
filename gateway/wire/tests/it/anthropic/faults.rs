//! Errors, both ways.

use wire::anthropic::error::status;
use wire::anthropic::messages::{read_call, read_fault, write_fault};
use wire::reply::{Fault, FaultKind};

const KINDS: [FaultKind; 11] = [
    FaultKind::InvalidRequest,
    FaultKind::Authentication,
    FaultKind::Billing,
    FaultKind::Permission,
    FaultKind::NotFound,
    FaultKind::Conflict,
    FaultKind::TooLarge,
    FaultKind::RateLimit,
    FaultKind::Server,
    FaultKind::Timeout,
    FaultKind::Overloaded,
];

fn written(fault: &Fault) -> String {
    String::from_utf8(write_fault(fault, "req_1").to_vec()).expect("errors are text")
}

#[test]
fn every_class_of_error_has_its_status_and_its_word() {
    // Rule 18
    let lines =
        KINDS.map(|kind| format!("{} {}", status(kind), written(&Fault::new(kind, "code", "message"))));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_is_written_is_read_back_as_the_same_class() {
    for kind in KINDS {
        let read = read_fault(&write_fault(&Fault::new(kind, "code", "message"), "req_1")).unwrap();
        assert_eq!((read.kind, read.message.as_str()), (kind, "message"));
    }
}

#[test]
fn a_prompt_that_is_too_long_is_known_by_its_code_here_and_by_its_words_there() {
    // Rule 15
    let upstream = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#;
    let fault = read_fault(upstream.as_bytes()).unwrap();
    assert_eq!(fault.code.as_deref(), Some("context_length_exceeded"));
    assert!(written(&fault).contains(r#""message":"prompt is too long: 210000 tokens > 200000 maximum""#));
    let other = Fault::new(FaultKind::InvalidRequest, "context_length_exceeded", "the context has 9 tokens");
    assert!(written(&other).contains(r#""message":"prompt is too long: the context has 9 tokens""#));
}

#[test]
fn the_precise_error_of_newer_versions_is_the_code() {
    let upstream = r#"{"type":"error","error":{"type":"rate_limit_error","message":"m",
        "details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    let fault = read_fault(upstream.as_bytes()).unwrap();
    assert_eq!(
        (fault.kind, fault.code.as_deref()),
        (FaultKind::RateLimit, Some("enforced_spend_limit_reached"))
    );
}

#[test]
fn an_error_of_a_request_names_the_field_in_its_message() {
    let error = read_call(br#"{"model":"m","messages":[{"role":"user","content":7}]}"#).unwrap_err();
    insta::assert_snapshot!(
        written(&Fault::from(&error)),
        @r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages[0].content: must be a string or a list of blocks, not a number"},"request_id":"req_1"}"#
    );
}

#[test]
fn what_is_not_the_apis_error_is_none() {
    // Complaint 11
    let bodies = ["", "<html>502</html>", "[]", "{}", r#"{"error":"x"}"#, r#"{"error":{"message":"x"}}"#];
    for body in bodies {
        assert_eq!(read_fault(body.as_bytes()), None, "{body}");
    }
    let later = read_fault(br#"{"type":"error","error":{"type":"later_error","message":"m"}}"#).unwrap();
    assert_eq!((later.kind, later.code.as_deref()), (FaultKind::Server, Some("later_error")));
}
