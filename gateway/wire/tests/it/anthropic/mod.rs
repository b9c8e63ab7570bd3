//! The Anthropic Messages dialect: what clients of it send and get, what the API is sent and answers.

pub(crate) mod agent;
mod count;
mod faults;
mod properties;
mod reader;
mod reply;
mod request;
mod results;
mod thinking;
mod writer;
mod written;

use serde_json::Value;
use wire::anthropic::messages::{Host, Reader, Writer, read_call, write_call};
use wire::call::{Block, Call, Role, Target, Turn};
use wire::json::{Limits, check};
use wire::reply::{Delta, EventReader, Unreadable};
use wire::sse;

use crate::support::{self, envelope, events};

/// Reads a request that is good.
#[track_caller]
fn read(body: &str) -> Call {
    check(body.as_bytes(), Limits::default()).expect("the test's body is JSON");
    read_call(body.as_bytes()).unwrap_or_else(|error| panic!("refused: {error}"))
}

/// Reads a request of one message, with more members.
fn read_with(members: &str) -> Call {
    read(&format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"hi"}}],{members}}}"#
    ))
}

/// A call that a caller of another dialect makes of `turns`.
fn call_of(turns: Vec<Turn>) -> Call {
    Call { model: "m".into(), turns, ..Call::default() }
}

fn user(text: &str) -> Turn {
    Turn::new(Role::User, vec![Block::text(text)])
}

/// Writes `call` for the API's `model` and returns the body and the names of what is lost.
#[track_caller]
fn write(call: &Call, model: &str) -> (Value, Vec<String>) {
    let outgoing = write_call(call, Target { provider: "cloud", model }, Host::Direct);
    let outgoing = outgoing.unwrap_or_else(|error| panic!("refused: {error}"));
    let body = serde_json::from_slice(&outgoing.body).expect("the body is JSON");
    (body, outgoing.lost.names().map(str::to_owned).collect())
}

/// Shows what `call` becomes for the API's `model`, for a snapshot.
#[track_caller]
fn shown(call: &Call, model: &str) -> String {
    let (body, lost) = write(call, model);
    format!("{}\nlost: {lost:?}", serde_json::to_string_pretty(&body).expect("JSON can be written"))
}

fn try_read_stream(events: &[sse::Event]) -> Result<Vec<Delta>, Unreadable> {
    let (mut reader, mut deltas) = (Reader::new(), Vec::new());
    for event in events {
        reader.read(event, &mut deltas)?;
    }
    Ok(deltas)
}

/// Reads the events of a stream whose data are the lines of `data`, and checks the grammar.
#[track_caller]
fn read_stream(data: &str) -> Vec<Delta> {
    let bytes: String = data.lines().map(|line| ["data: ", line.trim(), "\n\n"].concat()).collect();
    let deltas = try_read_stream(&events(bytes.as_bytes())).expect("the stream can be read");
    crate::grammar::check(&deltas);
    deltas
}

fn write_stream(deltas: &[Delta]) -> String {
    support::write(Writer::new(&envelope()), deltas)
}
