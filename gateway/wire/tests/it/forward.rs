//! The body that an upstream gets differs from the caller's only where it must.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use wire::{AskUsage, Dialect, ParseError, Request};

fn parse(dialect: Dialect, body: &str) -> Result<Request, ParseError> {
    Request::parse(dialect, Bytes::from(body.to_owned()))
}

fn forward(body: &str, ask: AskUsage) -> String {
    let request = parse(Dialect::OpenAiChat, body).unwrap_or_else(|error| panic!("{error}: {body}"));
    String::from_utf8(request.forward_body("up/stream", ask).to_vec()).expect("spliced text stays text")
}

const MESSAGES: &str = r#""messages":[{"role":"user","content":"\"model\":\"m\""}]"#;

#[test]
fn only_the_value_of_the_top_level_model_is_replaced() {
    let rest = format!(r#" , "nested":{{"model":"m"}}, {MESSAGES}, "big":1.0e+2,"é":"\u00e9", "x":null }} "#);
    for written in [r#""m""#, r#""\u006d""#] {
        let body = format!("\n{{ \"model\" :  {written}{rest}");
        assert_eq!(forward(&body, AskUsage::Always), format!("\n{{ \"model\" :  \"up/stream\"{rest}"));
    }
}

#[test]
fn a_model_name_that_needs_escapes_is_escaped() {
    let request = parse(Dialect::OpenAiChat, &format!(r#"{{"model":"m",{MESSAGES}}}"#)).unwrap();
    let body = request.forward_body("a\"b\\\n", AskUsage::Always);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["model"], "a\"b\\\n");
}

#[test]
fn usage_is_asked_for_with_the_smallest_change() {
    let options = [
        (r"", r#","stream_options":{"include_usage":true}"#, r""),
        (r#","stream_options":null"#, r"", r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options": {}"#, r"", r#","stream_options": {"include_usage":true}"#),
        (r#","stream_options":{ "a" :1}"#, r"", r#","stream_options":{"include_usage":true, "a" :1}"#),
        (
            r#","stream_options":{"include_usage":false,"a":1}"#,
            r"",
            r#","stream_options":{"include_usage":true,"a":1}"#,
        ),
        (r#","stream_options":{"include_usage":null}"#, r"", r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"include_usage":true}"#, r"", r#","stream_options":{"include_usage":true}"#),
    ];
    for (written, inserted, changed) in options {
        let body = format!(r#"{{"model":"m"{written},{MESSAGES},"stream":true}}"#);
        let always = format!(r#"{{"model":"up/stream"{inserted}{changed},{MESSAGES},"stream":true}}"#);
        assert_eq!(forward(&body, AskUsage::Always), always);
        let as_caller = format!(r#"{{"model":"up/stream"{written},{MESSAGES},"stream":true}}"#);
        assert_eq!(forward(&body, AskUsage::AsCaller), as_caller);
    }
}

#[test]
fn options_before_the_model_are_spliced_too() {
    let body = format!(r#"{{"stream_options":{{}},"stream":true,{MESSAGES},"model":"m"}}"#);
    let expected = format!(
        r#"{{"stream_options":{{"include_usage":true}},"stream":true,{MESSAGES},"model":"up/stream"}}"#
    );
    assert_eq!(forward(&body, AskUsage::Always), expected);
}

#[test]
fn usage_is_not_asked_for_without_a_stream() {
    for stream in ["", r#","stream":false"#, r#","stream":null,"stream_options":null"#] {
        let body = format!(r#"{{"model":"m",{MESSAGES}{stream}}}"#);
        assert_eq!(
            forward(&body, AskUsage::Always),
            body.replace(r#""model":"m","#, r#""model":"up/stream","#)
        );
    }
}

/// Text between tokens of a document.
fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

/// A value of no meaning to us, written as any client may write it.
fn unknown_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[1-9][0-9]{0,17}",
        "[0-9]\\.[0-9]{1,20}",
        "[1-9]e[+-]?[0-9]",
        r#""([a-z {}:,é]|\\u00e9|\\n){0,8}""#,
        (space(), space()).prop_map(|(before, after)| format!("[{before}{{\"model\":\"m\"}}{after}]")),
        Just("null".to_owned()),
    ]
}

/// `stream_options` as written, and as the upstream must get it when usage is asked for.
fn options() -> impl Strategy<Value = Option<(&'static str, &'static str)>> {
    prop_oneof![
        Just(None),
        Just(Some(("null", r#"{"include_usage":true}"#))),
        Just(Some(("{}", r#"{"include_usage":true}"#))),
        Just(Some((r#"{ "a":[1]}"#, r#"{"include_usage":true, "a":[1]}"#))),
        Just(Some((r#"{"b":1,"include_usage": false }"#, r#"{"b":1,"include_usage": true }"#))),
        Just(Some((r#"{ "include_usage" : true}"#, r#"{ "include_usage" : true}"#))),
    ]
}

proptest! {
    #[test]
    fn the_result_is_the_document_with_the_changes_and_every_other_byte(
        unknown in proptest::collection::btree_map("x_[a-z]{1,6}", unknown_value(), 0..5),
        options in options(),
        stream in any::<bool>(),
        (a, b, c) in (space(), space(), space()),
        order in any::<prop::sample::Index>(),
        ask in prop_oneof![Just(AskUsage::Always), Just(AskUsage::AsCaller)],
    ) {
        let document = |model: &str, options: Option<&str>| {
            let mut members = vec![
                format!("{a}\"model\"{b}:{c}{model}"),
                MESSAGES.to_owned(),
                format!("\"stream\":{stream}"),
            ];
            members.extend(options.map(|options| format!("\"stream_options\":{b}{options}{a}")));
            members.extend(unknown.iter().map(|(name, value)| format!("{c}\"{name}\"{a}:{value}{b}")));
            let count = members.len();
            members.rotate_left(order.index(count));
            format!("{c}{{{}}}{b}", members.join(&format!("{b},{a}")))
        };
        let written = options.map(|(written, _)| written);
        let expected = match options {
            Some((_, asking)) if stream && ask == AskUsage::Always => document("\"up/stream\"", Some(asking)),
            None if stream && ask == AskUsage::Always => {
                document(r#""up/stream","stream_options":{"include_usage":true}"#, None)
            }
            _ => document("\"up/stream\"", written),
        };
        let forwarded = forward(&document("\"m\"", written), ask);
        prop_assert_eq!(&forwarded, &expected);
        prop_assert!(serde_json::from_str::<Value>(&forwarded).is_ok());
    }
}
