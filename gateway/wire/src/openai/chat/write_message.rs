//! The turns of a [`Call`] as messages of the chat completions API.

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde::Serialize;
use serde_json::value::RawValue;

use super::compat::Compat;
use super::write_call::raw;
use crate::call::{
    Block, Call, Content, Document, Image, Lost, Role, Source, ToolCall, ToolKind, ToolResult, Turn,
    Untranslatable,
};

/// One message.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    content: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Whole(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text {
        text: &'a str,
    },
    ImageUrl {
        image_url: ImageUrl<'a>,
    },
    InputAudio {
        input_audio: Audio<'a>,
    },
    File {
        file: File<'a>,
    },
    #[serde(untagged)]
    Raw(Cow<'a, RawValue>),
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct Audio<'a> {
    data: &'a str,
    format: &'a str,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Called<'a> {
    Function { id: Cow<'a, str>, function: Function<'a> },
    Custom { id: Cow<'a, str>, custom: Custom<'a> },
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct Custom<'a> {
    name: &'a str,
    input: &'a str,
}

/// Writes all turns; each result of a tool is a message of its own here.
pub(super) fn write_turns<'a>(
    call: &'a Call,
    compat: &Compat,
    lost: &mut Lost,
) -> Result<Vec<Message<'a>>, Untranslatable> {
    let messages = Vec::with_capacity(call.turns.len());
    let mut writer = Writer { call, compat, lost, messages, pictures: Vec::new() };
    let (instructions, _) = call.split_instructions();
    for (number, turn) in call.turns.iter().enumerate() {
        if turn.role != Role::User {
            writer.show_pictures();
        }
        match turn.role {
            Role::System if number < instructions.len() || compat.system_anywhere => {
                writer.spoken("system", turn, &turn.blocks)?;
            }
            Role::System => writer.spoken("user", turn, &turn.blocks)?,
            Role::User => writer.user(turn)?,
            Role::Assistant => writer.assistant(turn)?,
        }
    }
    writer.show_pictures();
    Ok(writer.messages)
}

struct Writer<'a, 'w> {
    call: &'a Call,
    compat: &'w Compat,
    lost: &'w mut Lost,
    messages: Vec<Message<'a>>,
    /// What tools gave and cannot say; it waits until all of their results are written.
    pictures: Vec<Part<'a>>,
}

fn is_result(block: &Block) -> bool {
    matches!(block.content, Content::ToolResult(_))
}

impl<'a> Writer<'a, '_> {
    /// A turn of words and pictures.
    fn spoken(
        &mut self,
        role: &'static str,
        turn: &'a Turn,
        blocks: &'a [Block],
    ) -> Result<(), Untranslatable> {
        let parts = self.parts(blocks)?;
        let name = self.name(turn);
        self.messages.push(Message { name, content: Some(text_of(parts)), ..empty(role) });
        Ok(())
    }

    fn name(&mut self, turn: &'a Turn) -> Option<&'a str> {
        if !self.compat.names {
            self.lost.note_if("messages[].name", turn.name.as_ref());
        }
        turn.name.as_deref().filter(|_| self.compat.names)
    }

    /// Results of tools come first: they have to follow the calls that they answer.
    fn user(&mut self, turn: &'a Turn) -> Result<(), Untranslatable> {
        for block in &turn.blocks {
            if let Content::ToolResult(result) = &block.content {
                self.note_cache(block);
                self.result(result)?;
            }
        }
        if turn.blocks.iter().all(is_result) {
            return Ok(());
        }
        let mut parts = std::mem::take(&mut self.pictures);
        for block in turn.blocks.iter().filter(|block| !is_result(block)) {
            parts.extend(self.part(block)?);
        }
        let name = self.name(turn);
        self.messages.push(Message { name, content: Some(text_of(parts)), ..empty("user") });
        Ok(())
    }

    fn show_pictures(&mut self) {
        if !self.pictures.is_empty() {
            let parts = std::mem::take(&mut self.pictures);
            self.messages.push(Message { content: Some(text_of(parts)), ..empty("user") });
        }
    }

    /// A tool message has text only, so pictures follow as the user's.
    fn result(&mut self, result: &'a ToolResult) -> Result<(), Untranslatable> {
        let mut parts = Vec::new();
        for block in &result.content {
            self.note_cache(block);
            match &block.content {
                Content::Text(text) => parts.push(Part::Text { text }),
                Content::Image(_) | Content::Document(_) => {
                    let part = self.part(block)?;
                    self.pictures.extend(part);
                }
                other => self.lost.note(&format!("content.{}", other.kind())),
            }
        }
        let content = match text_of(parts) {
            Text::Whole(text) => Text::Whole(result.told(text)),
            Text::Parts(parts) => Text::Parts(parts),
        };
        let tool_call_id = Some(self.call_id(&result.call_id));
        self.messages.push(Message { content: Some(content), tool_call_id, ..empty("tool") });
        Ok(())
    }

    fn assistant(&mut self, turn: &'a Turn) -> Result<(), Untranslatable> {
        let (mut parts, mut message) = (Vec::new(), empty("assistant"));
        message.name = self.name(turn);
        for block in &turn.blocks {
            match &block.content {
                Content::ToolCall(called) => {
                    self.note_cache(block);
                    let called = self.called(called);
                    message.tool_calls.push(called);
                }
                Content::Refusal(words) if self.compat.refusals => message.refusal = Some(words),
                Content::Reasoning(reasoning) => match self.compat.reasoning {
                    // Withheld words are in the seal alone, and there is no place for seals.
                    Some(_) if reasoning.is_redacted => self.lost.note("content.reasoning"),
                    Some("reasoning") => {
                        message.reasoning.get_or_insert_default().push_str(&reasoning.text);
                    }
                    Some(_) => message.reasoning_content.get_or_insert_default().push_str(&reasoning.text),
                    None => self.lost.note("content.reasoning"),
                },
                _ => parts.extend(self.part(block)?),
            }
        }
        if self.compat.wants_reasoning && !message.tool_calls.is_empty() {
            message.reasoning_content.get_or_insert_default();
        }
        let is_silent = parts.is_empty() && (!message.tool_calls.is_empty() || message.refusal.is_some());
        message.content = (!is_silent).then(|| text_of(parts));
        self.messages.push(message);
        Ok(())
    }

    fn called(&self, called: &'a ToolCall) -> Called<'a> {
        let id = self.call_id(&called.id);
        let tool = self.call.tool(&called.name);
        let is_custom = tool.is_some_and(|tool| matches!(tool.kind, ToolKind::Custom { .. }));
        if is_custom && self.compat.custom_tools {
            return Called::Custom { id, custom: Custom { name: &called.name, input: &called.arguments } };
        }
        Called::Function { id, function: Function { name: &called.name, arguments: called.arguments_json() } }
    }

    /// Ids that other APIs made are too long for some servers; the same id stays the same.
    fn call_id(&self, id: &'a str) -> Cow<'a, str> {
        let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !self.compat.short_call_ids || fits {
            return Cow::Borrowed(id);
        }
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Cow::Owned(format!("{:09x}", hasher.finish() & 0xF_FFFF_FFFF))
    }

    fn parts(&mut self, blocks: &'a [Block]) -> Result<Vec<Part<'a>>, Untranslatable> {
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            parts.extend(self.part(block)?);
        }
        Ok(parts)
    }

    fn part(&mut self, block: &'a Block) -> Result<Option<Part<'a>>, Untranslatable> {
        self.note_cache(block);
        Ok(Some(match &block.content {
            Content::Text(text) | Content::Refusal(text) => Part::Text { text },
            Content::Image(image) => Part::ImageUrl { image_url: self.image(image)? },
            Content::Document(document) if self.compat.files => Part::File { file: file(document)? },
            Content::Document(_) => {
                let reason = "this provider reads no files; send their text";
                return Err(Untranslatable::new("messages", reason));
            }
            Content::Audio { format, data } => Part::InputAudio { input_audio: Audio { data, format } },
            Content::Other { json, .. } => match raw(json) {
                Some(json) if json.get().contains("\"type\"") => Part::Raw(json),
                _ => return Ok(self.lose(block)),
            },
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => {
                return Ok(self.lose(block));
            }
        }))
    }

    fn lose(&mut self, block: &Block) -> Option<Part<'a>> {
        self.lost.note(&format!("content.{}", block.content.kind()));
        None
    }

    fn image(&self, image: &'a Image) -> Result<ImageUrl<'a>, Untranslatable> {
        let url = match &image.source {
            Source::Inline { media_type, data } => format!("data:{media_type};base64,{data}").into(),
            Source::Url(url) if self.compat.fetches_images => Cow::Borrowed(url.as_str()),
            Source::Url(_) => {
                let reason = "this provider fetches no pictures; send the picture itself, as a data URL";
                return Err(Untranslatable::new("messages", reason));
            }
            Source::Stored(_) => {
                let reason = "the picture is in another provider's store; send the picture itself";
                return Err(Untranslatable::new("messages", reason));
            }
        };
        Ok(ImageUrl { url, detail: image.detail.as_deref() })
    }

    fn note_cache(&mut self, block: &Block) {
        self.lost.note_if("cache_control", block.cache.as_ref());
    }
}

fn empty<'a>(role: &'static str) -> Message<'a> {
    Message {
        role,
        name: None,
        content: None,
        reasoning_content: None,
        reasoning: None,
        refusal: None,
        tool_call_id: None,
        tool_calls: Vec::new(),
    }
}

/// One text stays a string: some servers, and all templates, know nothing else.
fn text_of(mut parts: Vec<Part<'_>>) -> Text<'_> {
    match &parts[..] {
        [] => Text::Whole(Cow::Borrowed("")),
        [Part::Text { text }] => Text::Whole(Cow::Borrowed(text)),
        parts if parts.iter().all(|part| matches!(part, Part::Text { .. })) => {
            let texts = parts.iter().map(|part| if let Part::Text { text } = part { *text } else { "" });
            Text::Whole(texts.collect::<Vec<_>>().join("\n\n").into())
        }
        _ => {
            // An empty text beside a picture says nothing, and some servers refuse it.
            parts.retain(|part| !matches!(part, Part::Text { text: "" }));
            Text::Parts(parts)
        }
    }
}

fn file(document: &Document) -> Result<File<'_>, Untranslatable> {
    let filename = document.name.as_deref();
    match &document.source {
        Source::Inline { media_type, data } => {
            let file_data = Some(format!("data:{media_type};base64,{data}"));
            // The API wants a name with the bytes.
            Ok(File { filename: filename.or(Some("document")), file_data, file_id: None })
        }
        Source::Stored(id) => Ok(File { filename: None, file_data: None, file_id: Some(id) }),
        Source::Url(_) => {
            Err(Untranslatable::new("messages", "this provider fetches no files; send the file itself"))
        }
    }
}
