//! What a request asks others to do beyond answering it.

mod agents;
mod kinds;
mod properties;

use bytes::Bytes;
use serde_json::Value;
use wire::IndirectKind::{
    CallerDestination, FileId, HostedTool, RemoteUrl, StoredState, UnknownField, UnknownPart, UnknownTool,
};
use wire::openai::embeddings;
use wire::{Dialect, Indirect, IndirectKind, Request};

/// Every dialect of a client.
const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiCompletions,
    Dialect::OpenAiEmbeddings,
    Dialect::OpenAiResponses,
    Dialect::AnthropicMessages,
];

/// What is found in a body that the dialect's reader takes.
#[track_caller]
fn found(dialect: Dialect, body: &str) -> Vec<(IndirectKind, String)> {
    let bytes = Bytes::from(body.to_owned());
    let found = if dialect == Dialect::OpenAiEmbeddings {
        embeddings::Request::parse(bytes).map(|request| request.indirect())
    } else {
        Request::parse(dialect, bytes).map(|request| request.indirect())
    };
    let found = found.unwrap_or_else(|error| panic!("{error}: {body}"));
    found.into_iter().map(|Indirect { kind, path }| (kind, path)).collect()
}

/// The least that the dialect takes, with more members.
fn with(dialect: Dialect, members: &str) -> String {
    let least = match dialect {
        Dialect::OpenAiChat => r#""messages":[{"role":"user","content":"hi"}]"#,
        Dialect::OpenAiCompletions => r#""prompt":"hi""#,
        Dialect::OpenAiEmbeddings | Dialect::OpenAiResponses => r#""input":"hi""#,
        Dialect::AnthropicMessages => r#""max_tokens":9,"messages":[{"role":"user","content":"hi"}]"#,
    };
    format!(r#"{{"model":"m",{least},{members}}}"#)
}

/// A conversation with one message of `parts`.
fn said(dialect: Dialect, parts: &str) -> String {
    match dialect {
        Dialect::OpenAiResponses => {
            format!(r#"{{"model":"m","input":[{{"role":"user","content":[{parts}]}}]}}"#)
        }
        _ => {
            format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":[{parts}]}}]}}"#)
        }
    }
}

/// Exactly these things are found.
#[track_caller]
fn check(dialect: Dialect, body: &str, expected: &[(IndirectKind, &str)]) {
    let found = found(dialect, body);
    let found: Vec<_> = found.iter().map(|(kind, path)| (*kind, path.as_str())).collect();
    assert_eq!(found, expected, "{dialect}: {body}");
}

fn parse(body: &str) -> Value {
    serde_json::from_str(body).expect("the test's body is JSON")
}
