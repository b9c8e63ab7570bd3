//! The model that is judged: an OpenAI-compatible server, asked one sample at a time.
//!
//! Asks at temperature 0, not streamed. Proxies from the environment and redirects are not followed: a suite may hold
//! what must not leave, and its answers must come from the server that was named.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use wire::Usage;
use wire::openai::chat;

use crate::score::{Answer, ToolCall};
use crate::suite::Sample;

/// Longest wait for one answer, from the connection to its last byte.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(120);
/// Most tokens of an answer; every target of a suite is far shorter.
const ANSWER_TOKENS_MAX: u32 = 256;
/// Most bytes of a response that are read.
const RESPONSE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most characters of a server's own words in an error.
const QUOTE_CHARS_MAX: usize = 300;

/// Where the model is, and which one.
#[derive(Debug)]
pub struct Endpoint {
    agent: ureq::Agent,
    url: String,
    model: String,
    key: Option<Key>,
}

/// A secret for the `authorization` header; no output ever holds it.
pub struct Key(String);

/// What came back for one sample.
#[derive(Debug)]
pub struct Reply {
    /// The answer to be scored.
    pub answer: Answer,
    /// The tokens that the server counted, if it did.
    pub usage: Option<Usage>,
}

/// Why there is no answer; none of this is the model's fault.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No response, or a broken one.
    #[error("no response: {0}")]
    Transport(#[from] ureq::Error),
    /// The server refused.
    #[error("status {status}: {body}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// How the body begins.
        body: String,
    },
    /// The response is not a chat completion.
    #[error("not a chat completion: {0}")]
    Shape(#[from] serde_json::Error),
    /// The response has no choice.
    #[error("a chat completion without choices")]
    NoChoice,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    tool_calls: Option<Vec<WrittenCall>>,
}

#[derive(Deserialize)]
struct WrittenCall {
    function: WrittenFunction,
}

#[derive(Deserialize)]
struct WrittenFunction {
    name: String,
    arguments: String,
}

impl Endpoint {
    /// Names the model `model` at `base_url`, such as `http://127.0.0.1:8080/v1`. Nothing is sent yet.
    pub fn new(base_url: &str, model: &str, key: Option<Key>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT_MAX))
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        let url = format!("{}/chat/completions", base_url.trim_end_matches('/'));
        Self { agent: config.new_agent(), url, model: model.to_owned(), key }
    }

    /// Asks one sample and waits for the whole answer.
    ///
    /// # Errors
    /// Returns [`AskError`] if the answer did not come; a wrong answer is none.
    pub fn ask(&self, sample: &Sample) -> Result<Reply, AskError> {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(Key(key)) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send(self.body(sample).to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(RESPONSE_BYTES_MAX).read_to_vec()?;
        if status != 200 {
            let text: String = String::from_utf8_lossy(&body).chars().take(QUOTE_CHARS_MAX).collect();
            return Err(AskError::Status { status, body: text });
        }
        let completion: Completion = serde_json::from_slice(&body)?;
        let choice = completion.choices.into_iter().next().ok_or(AskError::NoChoice)?;
        let usage = chat::read_reply(&body).ok().and_then(|reply| reply.usage);
        Ok(Reply { answer: choice.message.into(), usage })
    }

    fn body(&self, sample: &Sample) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": sample.messages,
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS_MAX,
        });
        // Some servers refuse an empty list of tools.
        if !sample.tools.is_empty() {
            body["tools"] = json!(sample.tools);
        }
        body
    }
}

impl Key {
    /// Reads a key from the text of its file, which may end in a line break.
    pub fn from_file_text(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key(…)")
    }
}

impl From<Message> for Answer {
    fn from(message: Message) -> Self {
        let tool_calls = message.tool_calls.unwrap_or_default().into_iter().map(|call| {
            let WrittenFunction { name, arguments } = call.function;
            // Arguments that are not JSON are the model's mistake: they stay text, which equals no target.
            let arguments = serde_json::from_str(&arguments).unwrap_or(Value::String(arguments));
            ToolCall { name, arguments }
        });
        Self { text: message.content.unwrap_or_default(), tool_calls: tool_calls.collect() }
    }
}
