//! Every dialect of a client with every API of a provider: the request that is sent, and the answer that comes back.
//!
//! One golden file for each pair, with the same cases in each; what a pair cannot carry is named in it. The cases are
//! in `asked` and `streams` and `replies`, in the words of their own dialects.

pub(crate) mod asked;
mod replies;
mod streams;

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use wire::call::Target;
use wire::client::{Asked, write_fault};
use wire::openai::{chat, responses};
use wire::reply::{Fault, FaultKind, Unreadable};
use wire::sse::Event;
use wire::{Api, Dialect, Request, gemini};

use crate::grammar;
use crate::support::{envelope, text};

const CLIENTS: [Dialect; 3] = [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages];

const PROVIDERS: [(&str, Api); 5] = [
    ("chat", Api::Chat(chat::Server::OpenAi)),
    ("responses", Api::Responses(responses::Host::OpenAi)),
    ("messages", Api::Messages),
    ("converse", Api::Converse),
    ("gemini", Api::Gemini(gemini::Host::GeminiApi)),
];

const TARGET: Target<'_> = Target { provider: "cloud", model: "up-1" };

/// Each pair with its name.
fn pairs() -> impl Iterator<Item = (String, Dialect, Api)> {
    CLIENTS.into_iter().flat_map(|client| {
        let client_name = asked::name(client);
        PROVIDERS.into_iter().map(move |(name, api)| (format!("{client_name}_to_{name}"), client, api))
    })
}

fn asked(client: Dialect, body: &Value) -> Asked {
    let request = Request::parse(client, Bytes::from(body.to_string())).expect("a request");
    let call = request.call().unwrap_or_else(|error| panic!("{error}: {body}"));
    Asked::of(&request, call)
}

/// The members of a document, the elements of its longer lists a line each.
fn lines(out: &mut String, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).expect("bodies are JSON");
    for (name, value) in body.as_object().expect("an object") {
        match value {
            Value::Array(elements) if !elements.is_empty() => {
                writeln!(out, "{name}:").expect("a string takes anything");
                for element in elements {
                    writeln!(out, "  {element}").expect("a string takes anything");
                }
            }
            other => writeln!(out, "{name}: {other}").expect("a string takes anything"),
        }
    }
}

/// What the client gets of `events`, whether they end or were cut.
fn translated(asked: &Asked, api: Api, events: &[Event]) -> String {
    let mut reader = api.stream_reader();
    let mut writer = asked.stream_writer(&envelope());
    let (mut deltas, mut outcome) = (Vec::new(), Ok(()));
    for event in events {
        outcome = reader.read(event, &mut deltas);
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() {
        reader.end(&mut deltas);
    }
    grammar::check(&deltas);
    let mut out = BytesMut::new();
    for delta in &deltas {
        writer.write(delta, &mut out);
    }
    let cut = || Fault::new(FaultKind::Server, "provider_failed", "the provider's stream broke off");
    match outcome {
        Err(Unreadable::Fault(fault)) => writer.fail(&fault, &mut out),
        Err(Unreadable::Malformed(what)) => panic!("malformed: {what}"),
        Ok(()) if !grammar::is_whole(&deltas) => writer.fail(&cut(), &mut out),
        Ok(()) => {}
    }
    text(&out)
}

#[test]
fn each_pair_carries_the_request() {
    for (pair, client, api) in pairs() {
        let mut out = String::new();
        for (case, body) in asked::cases(client) {
            writeln!(out, "== {case}").unwrap();
            match api.write_call(asked(client, &body).call(), TARGET, &[]) {
                Ok(outgoing) => {
                    lines(&mut out, &outgoing.body);
                    let lost: Vec<_> = outgoing.lost.names().collect();
                    writeln!(out, "lost: {}\n", lost.join(", ")).unwrap();
                }
                Err(error) => writeln!(out, "refused: {}: {error}\n", error.param).unwrap(),
            }
        }
        insta::assert_snapshot!(format!("request_{pair}"), out);
    }
}

// Rules 5 to 14
#[test]
fn each_pair_carries_the_stream() {
    for (pair, client, api) in pairs() {
        let body = &asked::cases(client)[1].1;
        let asked = asked(client, body);
        let mut out = String::new();
        for (case, events) in streams::cases(api) {
            writeln!(out, "== {case}\n{}", translated(&asked, api, &events)).unwrap();
        }
        insta::assert_snapshot!(format!("stream_{pair}"), out);
    }
}

#[test]
fn each_pair_carries_the_whole_answer() {
    for (pair, client, api) in pairs() {
        let asked = asked(client, &asked::cases(client)[1].1);
        let mut out = String::new();
        for (case, body) in replies::cases(api) {
            writeln!(out, "== {case}").unwrap();
            let reply = api.read_reply(body.to_string().as_bytes(), "cloud").expect(case);
            lines(&mut out, &asked.write_reply(&reply, &envelope()));
            out.push('\n');
        }
        insta::assert_snapshot!(format!("reply_{pair}"), out);
    }
}

// Rules 17 and 18
#[test]
fn each_pair_carries_the_error() {
    let mut out = String::new();
    for (pair, client, api) in pairs() {
        let (status, body) = replies::error(api);
        let fault = api.read_fault(status, body.to_string().as_bytes(), Some("ThrottlingException"));
        let written = write_fault(client, &fault.expect("an error of the API"), "req_1");
        writeln!(out, "{pair} {status}\n  {}", text(&written)).unwrap();
    }
    insta::assert_snapshot!(out);
}

// Complaint 14
#[test]
fn no_pair_makes_a_cut_stream_look_finished() {
    let ends = ["data: [DONE]", "event: response.completed", "event: message_stop"];
    for (pair, client, api) in pairs() {
        let asked = asked(client, &asked::cases(client)[1].1);
        for (case, events) in streams::cases(api) {
            for cut in 0..events.len() {
                let mut reader = api.stream_reader();
                let mut deltas = Vec::new();
                if events[..cut].iter().any(|event| reader.read(event, &mut deltas).is_err()) {
                    continue;
                }
                reader.end(&mut deltas);
                // Behind the reason some APIs have nothing that must follow.
                if !grammar::is_whole(&deltas) {
                    let written = translated(&asked, api, &events[..cut]);
                    let said = ends.iter().find(|end| written.contains(**end));
                    assert_eq!(said, None, "{pair} {case} cut at {cut}: {written}");
                }
            }
        }
    }
}
