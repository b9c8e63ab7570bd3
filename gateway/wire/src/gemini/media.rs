//! Pictures, files and sound as parts.
//!
//! `fileData` takes what Google can get at: its own stores, and since January 2026 any public or signed URL
//! (blog.google, "Increased file size limits and expanded inputs support in Gemini API"). It wants the type of the bytes, of which a
//! URL tells only its ending.

use serde_json::{Value, json};

use crate::call::{Source, Untranslatable};

/// Writes the bytes or the place of a picture or file.
pub(super) fn part(kind: &str, source: &Source) -> Result<Value, Untranslatable> {
    match source {
        Source::Inline { media_type, data } => {
            Ok(json!({ "inlineData": { "mimeType": media_type, "data": data } }))
        }
        Source::Url(uri) => Ok(file(kind, uri)),
        Source::Stored(uri) if uri.starts_with("gs://") || uri.starts_with("https://") => Ok(file(kind, uri)),
        Source::Stored(_) => Err(Untranslatable::new(
            &format!("content.{kind}"),
            format!(
                "a block of the kind {kind} is in another provider's store: send its bytes instead of an id"
            ),
        )),
    }
}

/// Writes sound.
pub(super) fn audio(format: &str, data: &str) -> Value {
    json!({ "inlineData": { "mimeType": format!("audio/{format}"), "data": data } })
}

fn file(kind: &str, uri: &str) -> Value {
    let media_type = of_ending(uri).unwrap_or(if kind == "image" { "image/jpeg" } else { "application/pdf" });
    json!({ "fileData": { "mimeType": media_type, "fileUri": uri } })
}

fn of_ending(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "html" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        _ => return None,
    })
}
