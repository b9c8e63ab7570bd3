//! Requests for embeddings and their answers.

use std::fmt::Write as _;

use bytes::Bytes;
use wire::openai::embeddings::{Answer, Encoding, Input, Request, Truncation, usage_of};
use wire::openai::error::ErrorBody;

fn parse(body: &str) -> Request {
    Request::parse(Bytes::from(body.to_owned())).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("bodies are text")
}

#[test]
fn each_form_of_input_is_read() {
    let input = |input: &str| parse(&format!(r#"{{"model":"m","input":{input}}}"#)).input;
    assert_eq!(input(r#""a\u0062""#), Input::Texts(vec!["ab".into()]));
    assert_eq!(input(r#"["a"," "]"#), Input::Texts(vec!["a".into(), " ".into()]));
    assert_eq!(input("[1,0,4294967295]"), Input::Tokens(vec![vec![1, 0, u32::MAX]]));
    assert_eq!(input("[[1],[2,3]]"), Input::Tokens(vec![vec![1], vec![2, 3]]));
}

#[test]
fn every_field_that_is_used_is_read_and_has_its_default() {
    let request = parse(r#"{"model":"m","input":"a"}"#);
    assert_eq!((request.encoding, request.dimensions), (Encoding::Float, None));
    assert_eq!((request.truncation, request.user), (Truncation::Refuse, None));
    let request = parse(
        r#"{"input":"a","x":[{}],"model":"m","encoding_format":"base64","dimensions":256,"user":"u","truncate_prompt_tokens":-1}"#,
    );
    assert_eq!((request.encoding, request.dimensions), (Encoding::Base64, Some(256)));
    assert_eq!((request.truncation, request.user.as_deref()), (Truncation::ToModel, Some("u")));
    assert_eq!(request.fields().nth(1), Some("x"));
    let null = parse(
        r#"{"input":"a","model":"m","encoding_format":null,"dimensions":null,"truncate_prompt_tokens":8}"#,
    );
    assert_eq!((null.encoding, null.truncation), (Encoding::Float, Truncation::To(8)));
}

#[test]
fn each_bad_body_gets_an_error_that_says_what_to_do() {
    let many = format!(r#"{{"model":"m","input":[{}"a"]}}"#, r#""a","#.repeat(2048));
    let deep = format!(r#"{{"model":"m","input":"a","x":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    let bodies = [
        "[]",
        r#"{"model":"m"}"#,
        r#"{"input":"secret"}"#,
        r#"{"model":"m","input":""}"#,
        r#"{"model":"m","input":[]}"#,
        r#"{"model":"m","input":[[]]}"#,
        r#"{"model":"m","input":["a",""]}"#,
        r#"{"model":"m","input":["secret",1]}"#,
        r#"{"model":"m","input":[1,"secret"]}"#,
        r#"{"model":"m","input":[[1],[-2]]}"#,
        r#"{"model":"m","input":[1.5]}"#,
        r#"{"model":"m","input":[4294967296]}"#,
        r#"{"model":"m","input":{"text":"secret"}}"#,
        r#"{"model":"m","input":[{"text":"secret"}]}"#,
        r#"{"model":"m","input":"a","encoding_format":"int8"}"#,
        r#"{"model":"m","input":"a","dimensions":0}"#,
        r#"{"model":"m","input":"a","dimensions":"8"}"#,
        r#"{"model":"m","input":"a","truncate_prompt_tokens":0}"#,
        r#"{"model":"m","input":"a","truncate_prompt_tokens":-2}"#,
        r#"{"model":"m","input":"a","input":"b"}"#,
        r#"{"model":"m","input":"a","x":[{"k":1,"\u006b":2}]}"#,
        &many,
        &deep,
    ];
    let mut out = String::new();
    for body in bodies {
        let Err(error) = Request::parse(Bytes::from(body.to_owned())) else { panic!("accepted: {body}") };
        let shown: String = body.chars().take(100).collect();
        let answer = text(&ErrorBody::from(&error).to_json());
        assert!(!answer.contains("secret"), "{answer}");
        writeln!(out, "{shown}\n  {answer}").expect("a string can be written to");
    }
    insta::assert_snapshot!(out);
}

#[test]
fn forwarding_changes_the_model_and_no_other_byte() {
    let body = "{ \"input\" : [\"\\\"model\\\":\\\"m\\\"\", \"b\"],\n\"model\":\"m\" , \"x\":1.50 }";
    let forwarded = parse(body).forward_body("text-embedding-3-small");
    assert_eq!(text(&forwarded), body.replace(":\"m\" ,", ":\"text-embedding-3-small\" ,"));
}

#[test]
fn no_text_of_a_request_is_in_its_debug_form() {
    let shown = format!("{:?}", parse(r#"{"model":"m","input":["secret"],"user":"secret"}"#));
    assert!(!shown.contains("secret") && shown.contains("Texts(1)"), "{shown}");
}

fn answer(encoding: Encoding) -> String {
    let vectors = vec![vec![0.1, -1.0, 1e-8], vec![0.0, 0.333_333_34, 2.5]];
    text(&Answer { model: "bge".into(), vectors, encoding, prompt_tokens: 9 }.to_json())
}

#[test]
fn an_answer_has_the_shape_that_clients_index() {
    insta::assert_snapshot!(answer(Encoding::Float), @r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-1.0,1e-8]},{"object":"embedding","index":1,"embedding":[0.0,0.33333334,2.5]}],"model":"bge","usage":{"prompt_tokens":9,"total_tokens":9}}"#);
    insta::assert_snapshot!(answer(Encoding::Base64), @r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"zczMPQAAgL93zCsy"},{"object":"embedding","index":1,"embedding":"AAAAAKuqqj4AACBA"}],"model":"bge","usage":{"prompt_tokens":9,"total_tokens":9}}"#);
}

#[test]
fn usage_is_read_where_an_upstream_reports_it() {
    let usage = usage_of(br#"{"object":"list","data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#);
    assert_eq!(usage.map(|usage| (usage.prompt_tokens, usage.total_tokens())), Some((8, 8)));
    for silent in [
        "",
        "[]",
        "{}",
        r#"{"usage":null}"#,
        r#"{"usage":{"total_tokens":8}}"#,
        r#"{"usage":{"prompt_tokens":-1}}"#,
    ] {
        assert_eq!(usage_of(silent.as_bytes()), None, "{silent}");
    }
}
