//! Turns as `contents`: the roles are `user` and `model`, and neighbours of one role are one content.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::version::Version;
use super::{Host, media};
use crate::call::{
    Block, Content, Image, Lost, Reasoning, Role, Target, ToolCall, ToolResult, Turn, Untranslatable,
};

/// What stands for the signature of a call that Gemini did not make, or whose signature was lost on the way
/// (ai.google.dev, "Thought signatures", FAQ). Without it, Gemini 3 refuses the call.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes contents, and remembers what it could not write.
pub(super) struct Contents<'a> {
    target: Target<'a>,
    host: Host,
    pub(super) version: Version,
    /// The name of the function of each call, which its result has to repeat.
    names: HashMap<&'a str, &'a str>,
    pub(super) lost: Lost,
}

impl<'a> Contents<'a> {
    pub(super) fn new(target: Target<'a>, host: Host) -> Self {
        let version = Version::of(target.model);
        Self { target, host, version, names: HashMap::new(), lost: Lost::default() }
    }

    /// Writes the conversation. Instructions in its middle join those before it: there is no role for them, and as words of the
    /// user they would lose their authority.
    pub(super) fn write(&mut self, turns: &'a [Turn]) -> Result<Vec<Value>, Untranslatable> {
        let mut contents = Vec::new();
        let spoken: Vec<&Turn> = turns.iter().filter(|turn| turn.role != Role::System).collect();
        for turns in spoken.chunk_by(|a, b| a.role == b.role) {
            for turn in turns {
                self.lost.note_if("name", turn.name.as_ref());
            }
            let blocks = turns.iter().flat_map(|turn| &turn.blocks);
            let is_model = turns[0].role == Role::Assistant;
            let (role, parts) =
                if is_model { ("model", self.model(blocks)?) } else { ("user", self.user(blocks)?) };
            if !parts.is_empty() {
                contents.push(json!({ "role": role, "parts": parts }));
            }
        }
        Ok(contents)
    }

    /// Writes the instructions as the parts of a content.
    pub(super) fn instructions(&mut self, turns: &'a [Turn]) -> Vec<Value> {
        let mut parts = Vec::new();
        let first = turns.iter().position(|turn| turn.role != Role::System).unwrap_or(turns.len());
        for (at, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::System) {
            self.lost.note_if("name", turn.name.as_ref());
            if at > first {
                self.lost.note("system.position");
            }
            for block in &turn.blocks {
                self.cache(block);
                match block.as_text() {
                    Some("") => {}
                    Some(text) => parts.push(json!({ "text": text })),
                    None => drop(self.lose(block.content.kind())),
                }
            }
        }
        parts
    }

    fn model(&mut self, blocks: impl Iterator<Item = &'a Block>) -> Result<Vec<Value>, Untranslatable> {
        let mut parts = Vec::new();
        let mut signature: Option<&str> = None;
        let mut has_calls = false;
        for block in blocks {
            self.cache(block);
            let mut part = match &block.content {
                Content::Reasoning(reasoning) => {
                    if let Some(next) = self.signature(reasoning) {
                        // Two in a row: the first belongs to a part that has nothing else.
                        parts.extend(signature.replace(next).map(empty));
                    }
                    continue;
                }
                Content::ToolCall(call) => {
                    if !has_calls && self.version.is_3() {
                        signature = signature.or(Some(NO_SIGNATURE));
                    }
                    has_calls = true;
                    self.call(call)
                }
                other => match self.plain(other)? {
                    Some(part) => part,
                    None => continue,
                },
            };
            if let Some(signature) = signature.take() {
                part["thoughtSignature"] = json!(signature);
            }
            parts.push(part);
        }
        parts.extend(signature.map(empty));
        Ok(parts)
    }

    /// A result has to follow its call at once, whatever the user says besides.
    fn user(&mut self, blocks: impl Iterator<Item = &'a Block>) -> Result<Vec<Value>, Untranslatable> {
        let (mut results, mut others) = (Vec::new(), Vec::new());
        for block in blocks {
            self.cache(block);
            match &block.content {
                Content::ToolResult(result) => results.push(self.result(result, &mut others)?),
                other => others.extend(self.plain(other)?),
            }
        }
        results.append(&mut others);
        Ok(results)
    }

    fn plain(&mut self, content: &Content) -> Result<Option<Value>, Untranslatable> {
        Ok(match content {
            Content::Text(text) | Content::Refusal(text) => {
                (!text.is_empty()).then(|| json!({ "text": text }))
            }
            Content::Image(image) => Some(self.image(image)?),
            Content::Document(document) => Some(media::part("document", &document.source)?),
            Content::Audio { format, data } => Some(media::audio(format, data)),
            other => self.lose(other.kind()),
        })
    }

    fn image(&mut self, image: &Image) -> Result<Value, Untranslatable> {
        if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.lost.note("content.image.detail");
        }
        media::part("image", &image.source)
    }

    fn call(&mut self, call: &'a ToolCall) -> Value {
        self.names.insert(&call.id, &call.name);
        let mut written = Map::new();
        self.put_id(&call.id, &mut written);
        written.insert("name".to_owned(), json!(call.name));
        written.insert("args".to_owned(), call.arguments_object());
        json!({ "functionCall": written })
    }

    /// Vertex AI matches calls and results by name and order.
    fn put_id(&self, id: &str, written: &mut Map<String, Value>) {
        if self.host == Host::GeminiApi && self.version.is_3() {
            written.insert("id".to_owned(), json!(id));
        }
    }

    /// Writes a result; pictures in it go into it or, where the model does not take that, behind all results.
    fn result(&mut self, result: &ToolResult, others: &mut Vec<Value>) -> Result<Value, Untranslatable> {
        let (mut texts, mut parts) = (Vec::new(), Vec::new());
        for block in &result.content {
            match &block.content {
                Content::Text(text) => texts.push(text.as_str()),
                Content::Image(_) | Content::Document(_) => parts.extend(self.plain(&block.content)?),
                other => drop(self.lose(&format!("tool_result.{}", other.kind()))),
            }
        }
        let name = result.name.as_deref().or_else(|| self.names.get(result.call_id.as_str()).copied());
        let name = name.ok_or_else(|| {
            Untranslatable::new(
                "content.tool_result",
                "a tool result answers a call that is not in the conversation, and the API wants the call's name",
            )
        })?;
        let key = if result.is_error { "error" } else { "output" };
        let mut written = Map::new();
        self.put_id(&result.call_id, &mut written);
        written.insert("name".to_owned(), json!(name));
        written.insert("response".to_owned(), json!({ key: texts.join("\n") }));
        if !parts.is_empty() && self.version.is_3() {
            written.insert("parts".to_owned(), Value::Array(parts));
        } else {
            others.append(&mut parts);
        }
        Ok(json!({ "functionResponse": written }))
    }

    fn signature(&mut self, reasoning: &'a Reasoning) -> Option<&'a str> {
        let signature = reasoning.seal.as_ref().and_then(|seal| seal.data_for(self.target.provider));
        if signature.is_none() {
            self.lost.note("content.reasoning");
        }
        signature
    }

    /// The provider caches by itself, and what it is told to cache is a call of its own.
    fn cache(&mut self, block: &Block) {
        self.lost.note_if("cache_control", block.cache.as_ref());
    }

    fn lose(&mut self, kind: &str) -> Option<Value> {
        self.lost.note(&format!("content.{kind}"));
        None
    }
}

fn empty(signature: &str) -> Value {
    json!({ "text": "", "thoughtSignature": signature })
}
