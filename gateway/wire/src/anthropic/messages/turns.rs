//! The conversation as the API wants it: instructions apart, roles in alternation, results right after their calls.
//!
//! Instructions in the middle of a conversation join those before it. Only the newest models take them where they
//! stand, and as a user's words they would lose their authority; their order among themselves stays.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::block::{Source, Written, input_of, raw};
use crate::call::{
    Block, Call, Content, Document, Image, Lost, Reasoning, Role, Source as From, ToolCall, ToolKind,
    ToolResult,
};

/// Types of pictures that the API takes.
const IMAGE_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// One message.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) role: &'static str,
    pub(super) content: Vec<Written<'a>>,
}

/// Writes the turns of a call for one provider.
pub(super) struct Turns<'a, 'b> {
    call: &'a Call,
    provider: &'b str,
    /// The results of calls that come later, so that they can follow their call; in order for each id.
    results: HashMap<&'a str, VecDeque<&'a Block>>,
    /// The results that have followed their call already, by their place in the call.
    placed: HashSet<*const Block>,
    /// The calls of the assistant's message that is being written.
    awaited: Vec<&'a str>,
    system: Vec<Written<'a>>,
    messages: Vec<Message<'a>>,
}

impl<'a, 'b> Turns<'a, 'b> {
    /// Writes the instructions and the messages of `call`.
    pub(super) fn write(
        call: &'a Call,
        provider: &'b str,
        lost: &mut Lost,
    ) -> (Vec<Written<'a>>, Vec<Message<'a>>) {
        let mut turns = Self {
            call,
            provider,
            results: results_of(call),
            placed: HashSet::new(),
            awaited: Vec::new(),
            system: Vec::new(),
            messages: Vec::new(),
        };
        for turn in &call.turns {
            lost.note_if("name", turn.name.as_ref());
            match turn.role {
                Role::System => turns.write_instructions(&turn.blocks, lost),
                Role::User => turns.write_user(&turn.blocks, lost),
                Role::Assistant => turns.write_assistant(&turn.blocks, lost),
            }
        }
        turns.write_results(lost);
        turns.trim_end();
        (turns.system, turns.messages)
    }

    fn write_instructions(&mut self, blocks: &'a [Block], lost: &mut Lost) {
        if !self.messages.is_empty() {
            lost.note("system.position");
        }
        for block in blocks {
            match &block.content {
                Content::Text(text) => self.system.extend(text_of(text, block)),
                other => lost.note(&format!("content.{}", other.kind())),
            }
        }
    }

    fn write_assistant(&mut self, blocks: &'a [Block], lost: &mut Lost) {
        for block in blocks {
            let written = match &block.content {
                Content::ToolCall(call) => {
                    self.awaited.push(&call.id);
                    Some(self.tool_use(call, block))
                }
                Content::Reasoning(reasoning) => self.thinking(reasoning, lost),
                Content::Refusal(text) => text_of(text, block),
                _ => plain(block, lost),
            };
            self.push("assistant", written);
        }
    }

    fn write_user(&mut self, blocks: &'a [Block], lost: &mut Lost) {
        self.write_results(lost);
        for block in blocks {
            let written = match &block.content {
                Content::ToolResult(_) if self.placed.contains(&std::ptr::from_ref(block)) => None,
                // Nobody has called for it. The API says so more clearly than we could.
                Content::ToolResult(result) => Some(tool_result(result, block, lost)),
                _ => plain(block, lost),
            };
            self.push("user", written);
        }
    }

    /// Writes the results of the calls before them first thing in the user's message, in the order of the calls.
    fn write_results(&mut self, lost: &mut Lost) {
        for id in std::mem::take(&mut self.awaited) {
            let block = self.results.get_mut(id).and_then(VecDeque::pop_front);
            if let Some((Content::ToolResult(result), block)) = block.map(|block| (&block.content, block)) {
                self.placed.insert(std::ptr::from_ref(block));
                let written = tool_result(result, block, lost);
                self.push("user", Some(written));
            }
        }
    }

    fn push(&mut self, role: &'static str, block: Option<Written<'a>>) {
        let Some(block) = block else { return };
        match self.messages.last_mut() {
            Some(message) if message.role == role => message.content.push(block),
            _ => self.messages.push(Message { role, content: vec![block] }),
        }
    }

    fn tool_use(&self, call: &'a ToolCall, block: &Block) -> Written<'a> {
        let is_custom =
            self.call.tool(&call.name).is_some_and(|tool| matches!(tool.kind, ToolKind::Custom { .. }));
        let input = if is_custom {
            // Also where the text happens to be a JSON object: the function takes one string.
            raw(serde_json::json!({ ToolKind::CUSTOM_INPUT: call.arguments }).to_string())
        } else {
            input_of(call)
        };
        let cache_control = block.cache.map(Into::into);
        Written::ToolUse { id: id_of(&call.id), name: &call.name, input, cache_control }
    }

    /// Writes reasoning that this provider has sealed; without its seal the API takes none.
    fn thinking(&self, reasoning: &'a Reasoning, lost: &mut Lost) -> Option<Written<'a>> {
        let data = reasoning.seal.as_ref().and_then(|seal| seal.data_for(self.provider));
        let Some(data) = data.map(Cow::Borrowed) else {
            lost.note("content.reasoning");
            return None;
        };
        Some(if reasoning.is_redacted {
            Written::RedactedThinking { data }
        } else {
            Written::Thinking { thinking: &reasoning.text, signature: data }
        })
    }

    /// An answer that the model is to continue must not end in white space, says the API.
    fn trim_end(&mut self) {
        let last = self.messages.last_mut().filter(|message| message.role == "assistant");
        if let Some(Written::Text { text, .. }) = last.and_then(|message| message.content.last_mut()) {
            *text = text.trim_end();
        }
    }
}

/// Collects the results of all calls, by the id of the call, as far as the call stands before them.
fn results_of(call: &Call) -> HashMap<&str, VecDeque<&Block>> {
    let mut results: HashMap<&str, VecDeque<&Block>> = HashMap::new();
    for block in call.turns.iter().flat_map(|turn| &turn.blocks) {
        match &block.content {
            Content::ToolCall(call) => {
                results.entry(&call.id).or_default();
            }
            Content::ToolResult(result) => {
                if let Some(waiting) = results.get_mut(result.call_id.as_str()) {
                    waiting.push_back(block);
                }
            }
            _ => {}
        }
    }
    results
}

/// Writes a block that either side may say and a result may hold.
fn plain<'a>(block: &'a Block, lost: &mut Lost) -> Option<Written<'a>> {
    let cache_control = block.cache.map(Into::into);
    let written = match &block.content {
        Content::Text(text) => return text_of(text, block),
        Content::Image(image) => {
            let detail = image.detail.as_ref().filter(|detail| *detail != "auto");
            lost.note_if("content.image.detail", detail);
            image_source(image).map(|source| Written::Image { source, cache_control })
        }
        Content::Document(document) => document_source(document).map(|source| Written::Document {
            source,
            title: document.name.as_deref(),
            cache_control,
        }),
        _ => None,
    };
    if written.is_none() {
        lost.note(&format!("content.{}", block.content.kind()));
    }
    written
}

/// Writes text, unless it says nothing: the API refuses text that is empty or white space.
fn text_of<'a>(text: &'a str, block: &Block) -> Option<Written<'a>> {
    let cache_control = block.cache.map(Into::into);
    (!text.trim().is_empty()).then_some(Written::Text { text, cache_control })
}

fn image_source(image: &Image) -> Option<Source<'_>> {
    match &image.source {
        From::Inline { media_type, data } => {
            let is_known = IMAGE_TYPES.contains(&media_type.as_str());
            is_known.then_some(Source::Base64 { media_type, data })
        }
        From::Url(url) => Some(Source::Url { url }),
        // The id is one of another provider's store.
        From::Stored(_) => None,
    }
}

fn document_source(document: &Document) -> Option<Source<'_>> {
    match &document.source {
        From::Inline { media_type, data } if media_type == "application/pdf" => {
            Some(Source::Base64 { media_type, data })
        }
        From::Inline { media_type, data } if media_type.starts_with("text/") => {
            let text = String::from_utf8(STANDARD.decode(data).ok()?).ok()?;
            Some(Source::Text { media_type: "text/plain", data: text })
        }
        From::Url(url) => Some(Source::Url { url }),
        From::Inline { .. } | From::Stored(_) => None,
    }
}

fn tool_result<'a>(result: &'a ToolResult, block: &Block, lost: &mut Lost) -> Written<'a> {
    let mut content: Vec<_> = result.content.iter().filter_map(|block| plain(block, lost)).collect();
    if result.is_error {
        // The API takes nothing but text of a tool that failed.
        let all = content.len();
        content.retain(|block| matches!(block, Written::Text { .. }));
        if content.len() < all {
            lost.note("content.image");
        }
    }
    Written::ToolResult {
        tool_use_id: id_of(&result.call_id),
        content,
        is_error: result.is_error,
        cache_control: block.cache.map(Into::into),
    }
}

/// Returns the id with what the API does not allow in one replaced; the same id always becomes the same.
fn id_of(id: &str) -> Cow<'_, str> {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    if id.chars().all(is_allowed) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(id.chars().map(|character| if is_allowed(character) { character } else { '_' }).collect())
}
