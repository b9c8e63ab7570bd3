//! What strict JSON accepts and what it refuses, and where it says the fault is.

use proptest::prelude::*;
use wire::json::{JsonError, Limits, Position, check};

fn fault(text: &str) -> JsonError {
    check(text.as_bytes(), Limits::default()).expect_err("the document must be refused")
}

#[test]
fn a_document_of_every_kind_of_value_is_accepted() {
    let text = r#" {"a":[1,-2.5e3,true,false,null,"é\n\u00e9"],"A":{},"":[]} "#;
    assert_eq!(check(text.as_bytes(), Limits::default()), Ok(()));
}

#[test]
fn a_duplicate_key_is_named_with_its_path_and_place() {
    let JsonError::DuplicateKey { path, at } = fault("{\"m\":[{},{\"x\":1,\n\"x\":2}]}") else {
        panic!("a duplicate was expected")
    };
    assert_eq!(path.as_str(), Some("m[1].x"));
    assert_eq!(at, Position { line: 2, column: 3 });
}

#[test]
fn a_duplicate_key_is_found_behind_escapes_and_values_of_other_types() {
    for text in [r#"{"model":"a","mod\u0065l":"b"}"#, r#"{"model":null,"model":{}}"#, r#"[[{"":1,"":1}]]"#] {
        assert!(matches!(fault(text), JsonError::DuplicateKey { .. }), "{text}");
    }
}

#[test]
fn a_duplicate_key_is_found_in_a_large_object_wherever_both_stand() {
    let members = |keys: &mut dyn Iterator<Item = usize>| {
        let members: Vec<_> = keys.map(|key| format!("\"k{key}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(check(members(&mut (0..40)).as_bytes(), Limits::default()), Ok(()));
    for first in 0..40 {
        let text = members(&mut (0..40).chain([first]));
        assert!(matches!(fault(&text), JsonError::DuplicateKey { .. }), "{first}");
    }
}

#[test]
fn the_same_key_in_different_objects_or_another_case_is_no_duplicate() {
    let text = r#"{"a":{"a":[{"a":1},{"a":1}]},"A":1,"a ":1}"#;
    assert_eq!(check(text.as_bytes(), Limits::default()), Ok(()));
}

#[test]
fn a_long_key_is_shortened_in_the_path() {
    let key = "k".repeat(10_000);
    let error = fault(&format!(r#"{{"{key}":1,"{key}":2}}"#)).to_string();
    assert!(error.contains("kkk…") && error.len() < 200, "{error}");
}

#[test]
fn invalid_documents_are_refused() {
    let invalid: [&[u8]; 20] = [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b"{\"a\":1,}",
        b"{a:1}",
        b"{'a':1}",
        b"01",
        b"+1",
        b".5",
        b"NaN",
        b"1e999",
        b"\"\t\"",
        b"\"\\x\"",
        b"\"\\ud800\"",
        b"\"\xff\"",
        b"{} {}",
        b"// c\n{}",
        b"\xef\xbb\xbf{}",
        b"nul",
    ];
    for text in invalid {
        let outcome = check(text, Limits::default());
        assert!(matches!(outcome, Err(JsonError::Syntax { .. })), "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_syntax_error_says_what_and_where() {
    assert_eq!(fault("{\"a\":1,\n  }").to_string(), "trailing comma at line 2 column 3");
}

#[test]
fn depth_is_allowed_up_to_the_limit_and_refused_beyond() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check(nested(64).as_bytes(), Limits::default()), Ok(()));
    assert!(matches!(fault(&nested(65)), JsonError::TooDeep { depth_max: 64, .. }));
    // Neither the stack nor the parser's own limit may be what stops it.
    assert!(matches!(fault(&"{\"a\":".repeat(1_000_000)), JsonError::TooDeep { .. }));
    let generous = Limits { depth_max: 1_000_000, ..Limits::default() };
    let outcome = check(nested(100_000).as_bytes(), generous);
    assert!(matches!(outcome, Err(JsonError::TooDeep { depth_max: 100, .. })), "{outcome:?}");
}

#[test]
fn the_number_of_values_is_limited() {
    let limits = Limits { values_max: 4, ..Limits::default() };
    assert_eq!(check(b"[1,{\"a\":2}]", limits), Ok(()));
    assert!(matches!(check(b"[1,{\"a\":2},3]", limits), Err(JsonError::TooMany { values_max: 4, .. })));
}

proptest! {
    #[test]
    fn anything_accepted_parses_and_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if check(&bytes, Limits::default()).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn near_json_is_judged_as_the_reference_parser_judges_it(text in r#"[\[\]{}:,"a1 \\u0-]{0,24}"#) {
        let reference = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        match check(text.as_bytes(), Limits::default()) {
            Ok(()) => prop_assert!(reference),
            Err(JsonError::Syntax { .. }) => prop_assert!(!reference),
            // The reference parser keeps the last of two equal keys.
            Err(JsonError::DuplicateKey { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
