//! The turns of a call, written as items.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Serialize;
use serde_json::value::RawValue;

use super::item::free_text;
use super::kinds::is_item;
use super::outgoing::{Host, as_written, custom_tools};
use crate::call::{
    Block, Call, Content, Document, Image, Lost, Reasoning, Role, Source, Target, ToolCall, ToolResult, Turn,
    shortened,
};

/// Longest id of a call that the API accepts; ids of other providers, and even its own, are longer.
const CALL_ID_BYTES_MAX: usize = 64;

/// The instructions, and everything else that is said.
pub(super) struct Instructions<'a> {
    pub(super) text: Option<String>,
    pub(super) input: Vec<Item<'a>>,
}

/// One item.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Item<'a> {
    Known(KnownItem<'a>),
    AsWritten(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum KnownItem<'a> {
    Message {
        role: &'static str,
        content: Parts<'a>,
    },
    FunctionCall {
        call_id: Cow<'a, str>,
        name: &'a str,
        arguments: Cow<'a, str>,
    },
    FunctionCallOutput {
        call_id: Cow<'a, str>,
        output: Parts<'a>,
    },
    CustomToolCall {
        call_id: Cow<'a, str>,
        name: &'a str,
        input: String,
    },
    CustomToolCallOutput {
        call_id: Cow<'a, str>,
        output: Parts<'a>,
    },
    Reasoning {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        summary: Vec<Part<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Part<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
}

/// Text alone is written as a string: every implementation understands that.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Parts<'a> {
    Text(&'a str),
    List(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'a> {
    InputText {
        text: &'a str,
    },
    InputImage {
        #[serde(flatten)]
        source: ImageSource<'a>,
        detail: &'a str,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(flatten)]
        source: FileSource<'a>,
    },
    Refusal {
        refusal: &'a str,
    },
    SummaryText {
        text: &'a str,
    },
    ReasoningText {
        text: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ImageSource<'a> {
    ImageUrl(Cow<'a, str>),
    FileId(&'a str),
}

#[derive(Serialize)]
pub(super) enum FileSource<'a> {
    #[serde(rename = "file_data")]
    Data(String),
    #[serde(rename = "file_url")]
    Url(&'a str),
    #[serde(rename = "file_id")]
    Stored(&'a str),
}

/// Writes all turns of `call`.
pub(super) fn write_turns<'a>(
    call: &'a Call,
    target: Target<'a>,
    host: Host,
    lost: &mut Lost,
) -> Instructions<'a> {
    let (leading, rest) = call.split_instructions();
    let is_text = |turn: &Turn| turn.blocks.iter().all(|block| block.as_text().is_some());
    // Pictures have no place among the instructions; then all of them are messages, in their order.
    let (leading, rest) =
        if leading.iter().all(is_text) { (leading, rest) } else { (&[][..], &call.turns[..]) };
    let texts = leading.iter().flat_map(|turn| &turn.blocks).filter_map(Block::as_text);
    let text = texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");
    for turn in leading {
        lose_marks(turn, lost);
    }
    let mut turns = Turns {
        target,
        host,
        custom_tools: custom_tools(call, host),
        custom_calls: HashSet::new(),
        input: Vec::new(),
        lost,
    };
    for turn in rest {
        turns.write(turn);
    }
    Instructions { text: (!text.is_empty()).then_some(text), input: turns.input }
}

struct Turns<'a, 'b> {
    target: Target<'a>,
    host: Host,
    custom_tools: HashSet<&'a str>,
    /// The ids of the calls of custom tools: a result must be of the same kind as its call.
    custom_calls: HashSet<&'a str>,
    input: Vec<Item<'a>>,
    lost: &'b mut Lost,
}

impl<'a> Turns<'a, '_> {
    fn write(&mut self, turn: &'a Turn) {
        lose_marks(turn, self.lost);
        let role = match turn.role {
            // The templates of most open models refuse instructions behind other turns.
            Role::System if self.host == Host::Compatible => "user",
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let mut said: Vec<&'a Block> = Vec::new();
        for block in &turn.blocks {
            match &block.content {
                // Each text of an assistant is a message: a list of them would need the ids of a stored answer.
                Content::Text(text) if turn.role == Role::Assistant => {
                    if !text.is_empty() {
                        self.push(KnownItem::Message { role, content: Parts::Text(text) });
                    }
                }
                Content::Refusal(refusal) => {
                    let content = Parts::List(vec![Part::Refusal { refusal }]);
                    self.push(KnownItem::Message { role: "assistant", content });
                }
                Content::ToolCall(call) => self.tool_call(call),
                Content::ToolResult(result) => {
                    self.message(role, &mut said);
                    self.tool_result(result);
                }
                Content::Reasoning(reasoning) => self.reasoning(reasoning),
                Content::Other { kind, json } => match as_written(json).filter(|_| is_item(kind)) {
                    Some(item) => {
                        self.message(role, &mut said);
                        self.input.push(Item::AsWritten(item));
                    }
                    None => self.lost.note(&format!("content.{kind}")),
                },
                Content::Text(_) | Content::Image(_) | Content::Document(_) | Content::Audio { .. } => {
                    said.push(block);
                }
            }
        }
        self.message(role, &mut said);
    }

    fn push(&mut self, item: KnownItem<'a>) {
        self.input.push(Item::Known(item));
    }

    /// Writes the message that was `said`, if anything was.
    fn message(&mut self, role: &'static str, said: &mut Vec<&'a Block>) {
        let said = std::mem::take(said);
        match parts(&said, self.lost) {
            Parts::List(parts) if parts.is_empty() => {}
            content => self.push(KnownItem::Message { role, content }),
        }
    }

    fn tool_call(&mut self, call: &'a ToolCall) {
        let ToolCall { id, name, arguments } = call;
        let call_id = shortened(id, CALL_ID_BYTES_MAX);
        if self.custom_tools.contains(name.as_str()) {
            self.custom_calls.insert(id);
            self.push(KnownItem::CustomToolCall { call_id, name, input: free_text(arguments) });
        } else {
            let arguments = Cow::Owned(call.arguments_json());
            self.push(KnownItem::FunctionCall { call_id, name, arguments });
        }
    }

    fn tool_result(&mut self, result: &'a ToolResult) {
        if result.is_error {
            self.lost.note("tool_result.is_error");
        }
        let blocks: Vec<&Block> = result.content.iter().collect();
        let output = match parts(&blocks, self.lost) {
            Parts::List(parts) if parts.is_empty() => Parts::Text(""),
            output => output,
        };
        let call_id = shortened(&result.call_id, CALL_ID_BYTES_MAX);
        self.push(if self.custom_calls.contains(result.call_id.as_str()) {
            KnownItem::CustomToolCallOutput { call_id, output }
        } else {
            KnownItem::FunctionCallOutput { call_id, output }
        });
    }

    /// Writes reasoning of the provider's own: sealed for the API's owner, in its words for servers of open models,
    /// which seal nothing and refuse what is sealed.
    fn reasoning(&mut self, reasoning: &'a Reasoning) {
        let seal = reasoning.seal.as_ref();
        let is_own = seal.is_some_and(|seal| seal.issuer.as_deref() == Some(self.target.provider));
        let sealed = seal.and_then(|seal| seal.data_for(self.target.provider));
        let (id, content, summary) = match (reasoning.text.as_str(), self.host, sealed) {
            ("", Host::OpenAi, Some(_)) => (None, Vec::new(), Vec::new()),
            (text, Host::OpenAi, Some(_)) => (None, Vec::new(), vec![Part::SummaryText { text }]),
            (text, Host::Compatible, None) if is_own && !text.is_empty() => {
                // Demanded, and good for nothing without a store.
                let id = format!("rs_{}", self.input.len());
                (Some(id), vec![Part::ReasoningText { text }], Vec::new())
            }
            _ => {
                self.lost.note("content.reasoning");
                return;
            }
        };
        self.push(KnownItem::Reasoning { id, summary, content, encrypted_content: sealed });
    }
}

fn lose_marks(turn: &Turn, lost: &mut Lost) {
    lost.note_if("name", turn.name.as_ref());
    if turn.blocks.iter().any(|block| block.cache.is_some()) {
        lost.note("cache_control");
    }
}

fn parts<'a>(blocks: &[&'a Block], lost: &mut Lost) -> Parts<'a> {
    if let [Block { content: Content::Text(text), .. }] = blocks {
        return Parts::Text(text);
    }
    let mut parts = Vec::with_capacity(blocks.len());
    for block in blocks {
        match part(&block.content) {
            Some(part) => parts.push(part),
            None => lost.note(&format!("content.{}", block.content.kind())),
        }
    }
    Parts::List(parts)
}

fn part(content: &Content) -> Option<Part<'_>> {
    match content {
        Content::Text(text) => Some(Part::InputText { text }),
        Content::Image(image) => Some(Part::InputImage {
            source: image_source(image)?,
            detail: image.detail.as_deref().unwrap_or("auto"),
        }),
        Content::Document(document) => {
            Some(Part::InputFile { filename: filename(document), source: file_source(document)? })
        }
        _ => None,
    }
}

fn image_source(image: &Image) -> Option<ImageSource<'_>> {
    Some(match &image.source {
        Source::Inline { media_type, data } => {
            ImageSource::ImageUrl(Cow::Owned(format!("data:{media_type};base64,{data}")))
        }
        Source::Url(url) => ImageSource::ImageUrl(Cow::Borrowed(url)),
        Source::Stored(id) => ImageSource::FileId(own_file(id)?),
    })
}

fn file_source(document: &Document) -> Option<FileSource<'_>> {
    Some(match &document.source {
        Source::Inline { media_type, data } => FileSource::Data(format!("data:{media_type};base64,{data}")),
        Source::Url(url) => FileSource::Url(url),
        Source::Stored(id) => FileSource::Stored(own_file(id)?),
    })
}

/// The API refuses file data without a name.
fn filename(document: &Document) -> Option<&str> {
    match (&document.source, document.name.as_deref()) {
        (Source::Inline { .. }, None) => Some("document.pdf"),
        (Source::Inline { .. }, name) => name,
        (Source::Url(_) | Source::Stored(_), _) => None,
    }
}

/// Returns the id, if it is one of this API's store: another store writes `file_`.
fn own_file(id: &str) -> Option<&str> {
    id.starts_with("file-").then_some(id)
}
