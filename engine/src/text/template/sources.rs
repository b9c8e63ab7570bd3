//! Where a model keeps its chat templates, under which names, and what has to be replaced in them.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::super::{TextError, files};
use super::NAME_PLAIN;

/// Where the templates are that are not the default one.
pub(super) const FOLDER_OF_OTHERS: &str = "additional_chat_templates";

/// Templates by name.
pub(super) type NamedSources = Vec<(String, String)>;

/// The templates of a folder by name, and the file that they are from.
pub(super) fn find_sources(folder: &Path) -> Result<(PathBuf, NamedSources), TextError> {
    let path = folder.join("chat_template.jinja");
    if let Some(bytes) = files::read_if_present(&path)? {
        let text = |path: &Path, bytes| String::from_utf8(bytes).map_err(|error| files::invalid(path, error));
        let mut sources = vec![(NAME_PLAIN.to_owned(), text(&path, bytes)?)];
        for (name, path) in files::list_if_present(&folder.join(FOLDER_OF_OTHERS), "jinja")? {
            sources.push((name, text(&path, files::read(&path)?)?));
        }
        return Ok((path, sources));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if let Some(sources) = sources_in(&path, &files::read_json_if_present(&path)?)? {
            return Ok((path, sources));
        }
    }
    Err(TextError::NoTemplate { folder: folder.to_owned() })
}

/// The templates under `chat_template`, if there are any.
pub(super) fn sources_in(path: &Path, settings: &Json) -> Result<Option<NamedSources>, TextError> {
    match &settings["chat_template"] {
        Json::Null => Ok(None),
        Json::String(source) => Ok(Some(vec![(NAME_PLAIN.to_owned(), source.clone())])),
        list => named_sources(list).map(Some).ok_or_else(|| {
            files::invalid(path, "chat_template is neither a text nor a list that names a default one")
        }),
    }
}

/// Reads `[{"name": "default", "template": "..."}, ...]`; `None` if it is not of this form.
fn named_sources(list: &Json) -> Option<NamedSources> {
    let text = |entry: &Json, key| Some(entry[key].as_str()?.to_owned());
    let sources: Option<NamedSources> =
        list.as_array()?.iter().map(|entry| Some((text(entry, "name")?, text(entry, "template")?))).collect();
    sources.filter(|sources| sources.iter().any(|(name, _)| name == NAME_PLAIN))
}

/// Puts a condition that always holds for transformers' `{% generation %}` tags, which mark the assistant's
/// text for training and which minijinja does not know. The white space rules of the tags stay in force.
pub(super) fn replace_generation_tags(source: &str) -> String {
    let mut replaced = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        replaced.push_str(before);
        replaced.push_str("{%");
        rest = tag;
        let Some((inside, _)) = tag.split_once("%}") else { continue };
        let word = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let statement = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        replaced.push_str(&inside.replacen(word, statement, 1));
        rest = &tag[inside.len()..];
    }
    replaced + rest
}
