//! The parts of messages and of tool results, read into blocks.

use serde_json::value::RawValue;

use super::extras::Extras;
use crate::ParseError;
use crate::call::{Block, CacheMark, Content, Document, Image, Source};
use crate::json::read::{self, Object};

/// Reads a string or a list of parts; `place` is the path of a part for the names of extras.
pub(super) fn read_content(
    raw: &RawValue,
    place: &str,
    extras: &mut Extras,
) -> Result<Vec<Block>, ParseError> {
    match read::type_name(raw) {
        "a string" => Ok(vec![Block::text(read::string(raw)?)]),
        "a list" => {
            let parts = read::each(raw, Ok)?;
            let read =
                |(index, part)| read_part(part, place, extras).map_err(|error| error.under_index(index));
            parts.into_iter().enumerate().map(read).collect()
        }
        other => Err(ParseError::wrong_type("a string or a list of parts", other)),
    }
}

fn read_part(raw: &RawValue, place: &str, extras: &mut Extras) -> Result<Block, ParseError> {
    let part = Object::read(raw)?;
    let kind = part.required("type", read::string)?;
    let (content, known): (Content, &[&str]) = match kind.as_str() {
        // Annotations and log-probabilities describe text of an earlier answer and add nothing to it.
        "input_text" | "output_text" | "text" => {
            (Content::Text(part.required("text", read::string)?), &["text", "annotations", "logprobs"])
        }
        "refusal" => (Content::Refusal(part.required("refusal", read::string)?), &["refusal"]),
        "input_image" => (Content::Image(read_image(&part)?), &["image_url", "file_id", "detail"]),
        "input_file" => {
            (Content::Document(read_document(&part)?), &["file_data", "file_id", "file_url", "filename"])
        }
        "input_audio" => (part.required("input_audio", read_audio)?, &["input_audio"]),
        _ => return Ok(Content::Other { kind, json: raw.get().to_owned() }.into()),
    };
    let known: Vec<&str> = known.iter().chain(&["type", "prompt_cache_breakpoint"]).copied().collect();
    extras.keep_rest(place, &part, &known);
    Ok(Block { content, cache: part.optional("prompt_cache_breakpoint", read_cache_mark)? })
}

fn read_image(part: &Object<'_>) -> Result<Image, ParseError> {
    let stored = part.optional("file_id", read::non_empty_string)?;
    let source = match part.optional("image_url", read_url)? {
        Some(source) => source,
        None => Source::Stored(stored.ok_or_else(|| ParseError::missing().under_key("image_url"))?),
    };
    Ok(Image { source, detail: part.optional("detail", read::string)? })
}

fn read_document(part: &Object<'_>) -> Result<Document, ParseError> {
    let name = part.optional("filename", read::string)?;
    let stored = part.optional("file_id", read::non_empty_string)?;
    let url = part.optional("file_url", read_url)?;
    let source = match (part.optional("file_data", read_file_data)?, url, stored) {
        (Some(inline), ..) => inline,
        (None, Some(url), _) => url,
        (None, None, Some(id)) => Source::Stored(id),
        (None, None, None) => return Err(ParseError::missing().under_key("file_data")),
    };
    Ok(Document { source, name })
}

fn read_audio(raw: &RawValue) -> Result<Content, ParseError> {
    let audio = Object::read(raw)?;
    Ok(Content::Audio {
        format: audio.required("format", read::string)?,
        data: audio.required("data", read::non_empty_string)?,
    })
}

fn read_url(raw: &RawValue) -> Result<Source, ParseError> {
    let url = read::non_empty_string(raw)?;
    match url.strip_prefix("data:") {
        Some(data) => inline(data),
        None => Ok(Source::Url(url)),
    }
}

/// Reads a data URL, or base64 alone, which can only be a PDF: the API knew no other kind of file when it took that.
fn read_file_data(raw: &RawValue) -> Result<Source, ParseError> {
    let text = read::non_empty_string(raw)?;
    match text.strip_prefix("data:") {
        Some(data) => inline(data),
        None => Ok(Source::Inline { media_type: "application/pdf".to_owned(), data: text }),
    }
}

/// Reads what stands behind `data:` in a URL.
fn inline(data: &str) -> Result<Source, ParseError> {
    let not_base64 =
        || ParseError::bad_value("must be a data URL of the form `data:<media type>;base64,<data>`");
    let (head, data) = data.split_once(',').ok_or_else(not_base64)?;
    let head = head.strip_suffix(";base64").ok_or_else(not_base64)?;
    let media_type = head.split(';').next().unwrap_or_default();
    if media_type.is_empty() || data.is_empty() {
        return Err(not_base64());
    }
    Ok(Source::Inline { media_type: media_type.to_owned(), data: data.to_owned() })
}

fn read_cache_mark(raw: &RawValue) -> Result<CacheMark, ParseError> {
    let ttl = Object::read(raw)?.optional("ttl", read::string)?;
    // The API's longer time is half a day; an hour is the longest that others offer.
    Ok(if ttl.as_deref() == Some("12h") { CacheMark::OneHour } else { CacheMark::Default })
}
