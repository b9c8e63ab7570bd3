//! Whole runs against a small server on a free port, and the suites that ship.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use evals::endpoint::{Endpoint, Key};
use evals::report::Report;
use evals::run::run;
use evals::suite::Suite;
use serde_json::{Value, json};

/// Answers one request per response, in order, and gives back what it was asked.
fn serve(responses: Vec<(u16, String)>) -> (SocketAddr, JoinHandle<Vec<(String, Value)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let serving = thread::spawn(move || {
        let answer = |(status, body): (u16, String)| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let request = read_request(&stream);
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).expect("the response is sent");
            request
        };
        responses.into_iter().map(answer).collect()
    });
    (address, serving)
}

/// Returns the head in lower case, and the body.
fn read_request(stream: &TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "the head ends early: {head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    reader.read_exact(&mut body).expect("the body");
    (head, serde_json::from_slice(&body).expect("a JSON body"))
}

fn completion(message: &Value) -> String {
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13});
    json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})
        .to_string()
}

fn sample(id: &str, skill: &str, target: &Value) -> String {
    json!({"id": id, "skill": skill, "messages": [{"role": "user", "content": id}], "target": target})
        .to_string()
}

#[test]
fn a_run_counts_right_wrong_and_errored_apart() {
    let call = json!({"name": "get_time", "arguments": {"city": "Oslo"}});
    let lines = [
        sample("right", "text", &json!({"exact": "yes"})),
        sample("wrong", "text", &json!({"exact": "yes"})),
        sample("refused", "text", &json!({"exact": "yes"})),
        sample("call", "tools", &json!({"tool_call": call})),
    ];
    let suite = Suite::parse(&lines.join("\n")).expect("a suite");
    let written = json!({"id": "c", "type": "function", "function": {"name": "get_time", "arguments": "{\"city\": \"Oslo\"}"}});
    let (address, serving) = serve(vec![
        (200, completion(&json!({"role": "assistant", "content": "yes"}))),
        (200, completion(&json!({"role": "assistant", "content": "no"}))),
        (503, "{\"error\": {\"message\": \"overloaded\"}}".to_owned()),
        (200, completion(&json!({"role": "assistant", "content": null, "tool_calls": [written]}))),
    ]);
    let endpoint = Endpoint::new(&format!("http://{address}/v1/"), "demo", None);

    let mut seen = 0;
    let outcomes = run(&suite, &endpoint, |_| seen += 1);

    let requests = serving.join().expect("the server served");
    assert_eq!(seen, 4);
    assert!(requests.iter().all(|(head, _)| head.starts_with("post /v1/chat/completions ")), "{requests:?}");
    assert_eq!(requests[0].1["model"], "demo");
    assert_eq!(requests[0].1["messages"][0]["content"], "right");
    let report = Report::new(&outcomes);
    let counts: Vec<_> =
        report.rows.iter().map(|row| (row.skill.as_str(), row.right, row.answered, row.errored)).collect();
    assert_eq!(counts, [("text", 1, 2, 1), ("tools", 1, 1, 0), ("all", 2, 3, 1)]);
    assert_eq!((report.prompt_tokens, report.completion_tokens), (30, 9));
    assert!(!report.is_complete());
    let refused = outcomes[2].result.as_ref().expect_err("a refusal").to_string();
    assert!(refused.contains("503") && refused.contains("overloaded"), "{refused}");
    assert!(report.to_string().contains("50.0 %"), "{report}");
}

#[test]
fn a_key_is_sent_and_never_shown() {
    let suite = Suite::parse(&sample("one", "text", &json!({"exact": "yes"}))).expect("a suite");
    let (address, serving) = serve(vec![(200, completion(&json!({"content": "yes"})))]);
    let key = Key::from_file_text("pk_one_secret\n");
    let endpoint = Endpoint::new(&format!("http://{address}/v1"), "demo", Some(key));
    let outcomes = run(&suite, &endpoint, |_| {});
    let requests = serving.join().expect("the server served");
    assert!(requests[0].0.contains("authorization: bearer pk_one_secret\r\n"), "{requests:?}");
    assert!(Report::new(&outcomes).is_complete());
    assert!(!format!("{endpoint:?}").contains("secret"));
}

#[test]
fn nobody_at_the_address_is_an_error_and_not_a_wrong_answer() {
    let suite = Suite::parse(&sample("one", "text", &json!({"exact": "yes"}))).expect("a suite");
    let unused = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let endpoint = Endpoint::new(&format!("http://{unused}/v1"), "demo", None);
    let outcomes = run(&suite, &endpoint, |_| {});
    assert!(outcomes[0].result.is_err());
}

#[test]
fn the_demo_suite_is_well_formed_and_asks_every_skill() {
    let suite = Suite::parse(include_str!("../suites/demo.jsonl")).expect("the suite that ships");
    let mut skills: Vec<&str> = suite.samples.iter().map(|sample| sample.skill.as_str()).collect();
    assert!(skills.len() >= 60, "{} samples", skills.len());
    skills.dedup();
    assert_eq!(
        skills,
        [
            "greeting",
            "about",
            "addition",
            "subtraction",
            "repeat",
            "reverse",
            "uppercase",
            "extraction",
            "tool call",
            "tool answer"
        ]
    );
}
