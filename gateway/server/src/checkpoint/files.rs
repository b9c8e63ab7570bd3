//! Which files a model consists of: those that can change an answer.
//!
//! Weights, configuration, tokenizer and templates count. Model cards, licences, pictures and weights in formats that
//! the engine does not read do not: they may come and go without the model being another one.

use std::fs;
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// Files that count by their whole name.
const NAMES: [&str; 11] = [
    "config.json",
    "params.json",
    "generation_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "merges.txt",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
    // Embedding models: what is done with the network's output.
    "modules.json",
    "config_sentence_transformers.json",
];
/// Files that count by how their name begins and ends.
const PATTERNS: [(&str, &str); 9] = [
    ("tokenizer", ".json"),
    ("tokenizer", ".model"),
    ("chat_template", ".json"),
    ("chat_template", TEMPLATE),
    ("", ".safetensors"),
    ("", ".safetensors.index.json"),
    ("", ".gguf"),
    // Of embedding models, named after the network's family.
    ("sentence_", "_config.json"),
    // Vocabularies of SentencePiece, under several names.
    ("s", ".model"),
];
/// The folder of further chat templates, and how their names end.
const TEMPLATES: &str = "additional_chat_templates";
const TEMPLATE: &str = ".jinja";

/// The files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelFiles {
    /// The folder that names are relative to.
    folder: PathBuf,
    /// Where the manifest of this model is, if it has one.
    manifest: PathBuf,
    /// Names with `/`, sorted by their bytes, and lengths in bytes.
    files: Vec<(String, u64)>,
}

/// Whether a file, named relative to the model's folder and with `/`, can change an answer.
pub(crate) fn decides(name: &str) -> bool {
    let matches = |file: &str| {
        let by_pattern = |(start, end): &(&str, &str)| file.starts_with(start) && file.ends_with(end);
        NAMES.contains(&file) || PATTERNS.iter().any(by_pattern)
    };
    match name.split_once('/') {
        None => matches(name),
        Some((TEMPLATES, file)) => file.ends_with(TEMPLATE) && !file.contains('/'),
        Some((folder, file)) => {
            is_module(folder) && (file == "config.json" || file.ends_with(".safetensors"))
        }
    }
}

/// Whether a folder is that of a step of an embedding model, such as `1_Pooling`.
fn is_module(folder: &str) -> bool {
    folder.split_once('_').is_some_and(|(number, name)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty()
    })
}

impl ModelFiles {
    /// Lists the files of the model at `path`: a folder, or a single GGUF file.
    ///
    /// # Errors
    /// Returns [`CheckpointError`] if there is no model.
    pub(crate) fn at(path: &Path) -> Result<Self, CheckpointError> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => CheckpointError::Absent { path: path.to_owned() },
            _ => CheckpointError::Read { path: path.to_owned(), source },
        })?;
        let (folder, files) = if metadata.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (path.parent().unwrap_or(Path::new("")).to_owned(), vec![(name, metadata.len())])
        } else {
            (path.to_owned(), in_folder(path)?)
        };
        if files.is_empty() {
            return Err(CheckpointError::Empty { path: path.to_owned() });
        }
        Ok(Self { folder, manifest: super::manifest::place(path, metadata.is_file()), files })
    }

    /// Returns the names, sorted by their bytes, with the lengths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), *bytes))
    }

    /// Returns where a file lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns where the manifest is, if there is one.
    pub(crate) fn manifest_path(&self) -> &Path {
        &self.manifest
    }

    /// Returns the length of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The files that count in a folder and in the folders below that have some.
fn in_folder(folder: &Path) -> Result<Vec<(String, u64)>, CheckpointError> {
    let mut files = Vec::new();
    for name in names(folder)? {
        if name == TEMPLATES || is_module(&name) {
            let below = names(&folder.join(&name)).unwrap_or_default();
            files.extend(below.into_iter().map(|file| format!("{name}/{file}")));
        } else {
            files.push(name);
        }
    }
    files.retain(|name| decides(name));
    files.sort_unstable();
    let with_size = |name: String| {
        let path = folder.join(&name);
        let metadata = fs::metadata(&path).map_err(|source| CheckpointError::Read { path, source })?;
        Ok(metadata.is_file().then_some((name, metadata.len())))
    };
    files.into_iter().map(with_size).filter_map(Result::transpose).collect()
}

fn names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let read = |source| CheckpointError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        // A name that is no text matches nothing that counts.
        if let Ok(name) = entry.map_err(read)?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_an_answer_counts() {
        for name in [
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "tokenizer.model",
            "sentencepiece.bpe.model",
            "spiece.model",
            "chat_template.jinja",
            "chat_template.json",
            "additional_chat_templates/tool_use.jinja",
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "Qwen3-0.6B-Q8_0.gguf",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
        ] {
            assert!(decides(name), "{name}");
        }
    }

    #[test]
    fn what_cannot_change_an_answer_does_not_count() {
        for name in [
            "README.md",
            "LICENSE",
            "portcullis-model.json",
            "model.safetensors.part",
            "model.safetensors.part.json",
            "tokenizer.json.part.json.bak",
            "pytorch_model.bin",
            "onnx/config.json",
            "1_Pooling/README.md",
            "1_Pooling/deep/config.json",
            "additional_chat_templates/a/b.jinja",
            "preprocessor_config.json",
        ] {
            assert!(!decides(name), "{name}");
        }
    }

    #[test]
    fn a_folder_is_listed_with_the_folders_that_count() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1_Pooling", "assets", "model.safetensors.d"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in
            ["config.json", "README.md", "1_Pooling/config.json", "assets/config.json", "a.safetensors"]
        {
            fs::write(folder.path().join(name), "12").unwrap();
        }
        let files = ModelFiles::at(folder.path()).unwrap();
        let names: Vec<_> = files.iter().collect();
        assert_eq!(names, [("1_Pooling/config.json", 2), ("a.safetensors", 2), ("config.json", 2)]);
        assert_eq!(files.bytes(), 6);
    }

    #[test]
    fn a_gguf_file_is_a_model_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.gguf", "b.gguf"] {
            fs::write(folder.path().join(name), "12").unwrap();
        }
        let files = ModelFiles::at(&folder.path().join("a.gguf")).unwrap();
        assert_eq!(files.iter().collect::<Vec<_>>(), [("a.gguf", 2)]);
        assert!(matches!(ModelFiles::at(&folder.path().join("c")), Err(CheckpointError::Absent { .. })));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(ModelFiles::at(empty.path()), Err(CheckpointError::Empty { .. })));
    }
}
