//! Errors, written and read.

use serde_json::{Value, json};
use wire::openai::responses::{read_fault, write_fault};
use wire::reply::{Fault, FaultKind};

// Rule 17
#[test]
fn an_error_has_all_four_keys() {
    let fault =
        Fault { param: Some("input".into()), ..Fault::new(FaultKind::InvalidRequest, "invalid_value", "no") };
    let body: Value = serde_json::from_slice(&write_fault(&fault, "req_1")).unwrap();
    assert_eq!(
        body,
        json!({ "error": { "message": "no", "type": "invalid_request_error", "param": "input",
            "code": "invalid_value" } })
    );
    let bare = Fault { kind: FaultKind::Server, code: None, message: "down".into(), param: None };
    let body: Value = serde_json::from_slice(&write_fault(&bare, "req_1")).unwrap();
    assert_eq!((&body["error"]["param"], &body["error"]["code"]), (&Value::Null, &Value::Null));
}

#[test]
fn each_error_of_a_provider_is_put_into_its_class() {
    let kind = |kind: &str, code: Value| {
        let body = json!({ "error": { "message": "m", "type": kind, "param": null, "code": code } });
        read_fault(body.to_string().as_bytes()).map(|fault| fault.kind)
    };
    let cases = [
        ("invalid_request_error", json!(null), FaultKind::InvalidRequest),
        ("invalid_request_error", json!("context_length_exceeded"), FaultKind::InvalidRequest),
        ("invalid_request_error", json!("invalid_api_key"), FaultKind::Authentication),
        ("invalid_request_error", json!("model_not_found"), FaultKind::NotFound),
        ("insufficient_quota", json!("insufficient_quota"), FaultKind::Billing),
        ("tokens", json!("rate_limit_exceeded"), FaultKind::RateLimit),
        ("service_unavailable_error", json!("server_is_overloaded"), FaultKind::Overloaded),
        ("BadRequestError", json!(400), FaultKind::InvalidRequest),
        ("error", json!(429), FaultKind::RateLimit),
        ("unheard_of", json!(null), FaultKind::Server),
    ];
    for (word, code, expected) in cases {
        assert_eq!(kind(word, code.clone()), Some(expected), "{word} {code}");
    }
}

#[test]
fn a_page_of_a_proxy_is_no_error_of_the_api() {
    assert_eq!(read_fault(b"<html>Bad Gateway</html>"), None);
    assert_eq!(read_fault(br#"{"detail":"Not Found"}"#), None);
}
