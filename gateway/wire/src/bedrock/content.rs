//! Blocks of a call as `ContentBlock`s.
//!
//! A picture or file that only its URL or an id names cannot be told to Bedrock, unless the URL is that of an object in S3. The
//! call is refused then, and not sent without it: an answer to a question about a picture that the model never saw would
//! be worse than none.

use serde_json::{Value, json};

use super::message::Piece;
use super::model::Family;
use super::tool;
use crate::call::{
    Block, CacheMark, Content, Document, Image, Lost, Reasoning, Source, Target, ToolResult, Untranslatable,
};

/// Writes blocks, and remembers what it could not write and which names it gave.
pub(super) struct Blocks<'a> {
    pub(super) target: Target<'a>,
    pub(super) family: Family,
    pub(super) lost: Lost,
    documents: Vec<String>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(target: Target<'a>) -> Self {
        let family = Family::of(target.model);
        Self { target, family, lost: Lost::default(), documents: Vec::new() }
    }

    /// Writes the blocks of one turn.
    pub(super) fn pieces(&mut self, blocks: &[Block]) -> Result<Vec<Piece>, Untranslatable> {
        let mut pieces = Vec::with_capacity(blocks.len());
        for block in blocks {
            let is_result = matches!(block.content, Content::ToolResult(_));
            let mut values: Vec<Value> = self.block(&block.content)?.into_iter().collect();
            if !values.is_empty() {
                values.extend(self.cache_point(block.cache));
                pieces.push(Piece { values, is_result });
            }
        }
        Ok(pieces)
    }

    /// Writes the mark behind a prefix that is to be cached.
    pub(super) fn cache_point(&mut self, cache: Option<CacheMark>) -> Option<Value> {
        let cache = cache?;
        let lives_long = match self.family {
            Family::Claude(claude) => claude.keeps_an_hour,
            Family::Nova => false,
            Family::Other => {
                self.lost.note("cache_control");
                return None;
            }
        };
        match cache {
            CacheMark::OneHour if lives_long => {
                return Some(json!({ "cachePoint": { "type": "default", "ttl": "1h" } }));
            }
            CacheMark::OneHour => self.lost.note("cache_control.ttl"),
            CacheMark::Default => {}
        }
        Some(json!({ "cachePoint": { "type": "default" } }))
    }

    /// Writes the mark behind a tool, which Nova does not take.
    pub(super) fn tool_cache_point(&mut self, cache: Option<CacheMark>) -> Option<Value> {
        if self.family == Family::Nova {
            self.lost.note_if("cache_control", cache.as_ref());
            return None;
        }
        self.cache_point(cache)
    }

    fn block(&mut self, content: &Content) -> Result<Option<Value>, Untranslatable> {
        Ok(match content {
            // The API refuses blank text.
            Content::Text(text) | Content::Refusal(text) => {
                (!text.trim().is_empty()).then(|| json!({ "text": text }))
            }
            Content::Image(image) => Some(self.image(image)?),
            Content::Document(document) => Some(self.document(document)?),
            Content::Audio { format, data } => {
                Some(json!({ "audio": { "format": format, "source": { "bytes": data } } }))
            }
            Content::ToolCall(call) => Some(json!({ "toolUse": {
                "toolUseId": tool::id(&call.id),
                "name": call.name,
                "input": call.arguments_object(),
            } })),
            Content::ToolResult(result) => Some(self.tool_result(result)?),
            Content::Reasoning(reasoning) => self.reasoning(reasoning),
            Content::Other { kind, .. } => self.lose(kind),
        })
    }

    fn image(&mut self, image: &Image) -> Result<Value, Untranslatable> {
        if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.lost.note("content.image.detail");
        }
        let format = match &image.source {
            Source::Inline { media_type, .. } => match media_type.as_str() {
                "image/png" => "png",
                "image/jpeg" | "image/jpg" => "jpeg",
                "image/gif" => "gif",
                "image/webp" => "webp",
                _ => return Err(refused("image", "has to be PNG, JPEG, GIF or WebP")),
            },
            Source::Url(url) => format_of_name(url, &["png", "jpeg", "gif", "webp"]).unwrap_or("jpeg"),
            Source::Stored(_) => "",
        };
        Ok(json!({ "image": { "format": format, "source": source("image", &image.source)? } }))
    }

    fn document(&mut self, document: &Document) -> Result<Value, Untranslatable> {
        const FORMATS: [&str; 9] = ["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"];
        let format = match &document.source {
            Source::Inline { media_type, .. } => format_of_type(media_type)
                .ok_or_else(|| refused("document", "has to be PDF, text, HTML, CSV, Word or Excel"))?,
            Source::Url(url) => format_of_name(url, &FORMATS).unwrap_or("pdf"),
            Source::Stored(_) => "",
        };
        let name = self.document_name(document.name.as_deref());
        Ok(
            json!({ "document": { "format": format, "name": name, "source": source("document", &document.source)? } }),
        )
    }

    /// A name that the API accepts: letters, digits, hyphens, brackets and single spaces, and no other document's.
    fn document_name(&mut self, name: Option<&str>) -> String {
        let allowed = |character: char| {
            if character.is_ascii_alphanumeric() || "-()[]".contains(character) { character } else { ' ' }
        };
        let name: String = name.unwrap_or_default().chars().map(allowed).take(150).collect();
        let words: Vec<&str> = name.split_whitespace().collect();
        let name = if words.is_empty() { "document".to_owned() } else { words.join(" ") };
        let mut unique = name.clone();
        let mut count = 1;
        while self.documents.contains(&unique) {
            count += 1;
            unique = format!("{name} ({count})");
        }
        self.documents.push(unique.clone());
        unique
    }

    fn tool_result(&mut self, result: &ToolResult) -> Result<Value, Untranslatable> {
        let mut content = Vec::new();
        for block in &result.content {
            match &block.content {
                Content::Text(_) | Content::Image(_) | Content::Document(_) => {
                    content.extend(self.block(&block.content)?);
                }
                other => drop(self.lose(&format!("tool_result.{}", other.kind()))),
            }
        }
        let mut written = json!({ "toolUseId": tool::id(&result.call_id), "content": content });
        if result.is_error {
            // Only these two families take a status; the text of the error reaches the others too.
            match self.family {
                Family::Other => self.lost.note("tool_result.is_error"),
                Family::Claude(_) | Family::Nova => written["status"] = json!("error"),
            }
        }
        Ok(json!({ "toolResult": written }))
    }

    fn reasoning(&mut self, reasoning: &Reasoning) -> Option<Value> {
        let Some(seal) = reasoning.seal.as_ref().and_then(|seal| seal.data_for(self.target.provider)) else {
            return self.lose("reasoning");
        };
        let written = if reasoning.is_redacted {
            json!({ "redactedContent": seal })
        } else {
            json!({ "reasoningText": { "text": reasoning.text, "signature": seal } })
        };
        Some(json!({ "reasoningContent": written }))
    }

    fn lose(&mut self, kind: &str) -> Option<Value> {
        self.lost.note(&format!("content.{kind}"));
        None
    }
}

fn source(kind: &str, source: &Source) -> Result<Value, Untranslatable> {
    match source {
        Source::Inline { data, .. } => Ok(json!({ "bytes": data })),
        Source::Url(url) if url.starts_with("s3://") => Ok(json!({ "s3Location": { "uri": url } })),
        Source::Url(_) => {
            Err(refused(kind, "is at a URL, which Bedrock does not fetch: send its bytes in the call"))
        }
        Source::Stored(_) => {
            Err(refused(kind, "is in another provider's store: send its bytes in the call instead of an id"))
        }
    }
}

fn refused(kind: &str, reason: &str) -> Untranslatable {
    Untranslatable::new(&format!("content.{kind}"), format!("a block of the kind {kind} {reason}"))
}

fn format_of_type(media_type: &str) -> Option<&'static str> {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    Some(match essence {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/html" => "html",
        "text/markdown" => "md",
        _ if essence.starts_with("text/") => "txt",
        _ => return None,
    })
}

fn format_of_name<'a>(url: &str, formats: &[&'a str]) -> Option<&'a str> {
    let (_, ending) = url.rsplit_once('.')?;
    let ending = if ending.eq_ignore_ascii_case("jpg") { "jpeg" } else { ending };
    formats.iter().find(|format| format.eq_ignore_ascii_case(ending)).copied()
}
