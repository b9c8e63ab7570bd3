//! Which files of a repository are loaded. Pure.

use std::path::{Path, PathBuf};

use super::CommandError;
use crate::checkpoint::decides;

/// The end of a single-file model's name.
const GGUF: &str = ".gguf";
/// How the names of weights end that are programs for their reader.
const PICKLES: [&str; 3] = [".bin", ".pt", ".pth"];
/// Names that are shown of a long list.
const SHOWN_MAX: usize = 12;

/// The files to load.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// In the order of loading: what explains a refusal soonest comes first, weights last.
    pub(super) names: Vec<String>,
    is_single: bool,
}

impl Choice {
    /// What the policy's `path` will be if the files go into `folder`.
    pub(super) fn model_path(&self, folder: &Path) -> PathBuf {
        if self.is_single { folder.join(&self.names[0]) } else { folder.to_owned() }
    }
}

/// Chooses from the names of a repository: `file` alone, or what the engine reads.
///
/// Next to the shards of the usual layout some repositories have the same weights again, as `consolidated.safetensors`
/// or in a format of their authors. Only one set is loaded.
pub(super) fn choose<'a>(
    names: impl Iterator<Item = &'a str>,
    file: Option<&str>,
    repository: &str,
) -> Result<Choice, CommandError> {
    let all: Vec<&str> = names.collect();
    if let Some(file) = file {
        return single(&all, file, repository);
    }
    let weights = |name: &&str| name.contains(".safetensors") && !name.contains('/');
    let usual = |name: &&str| weights(name) && name.starts_with("model");
    let has_usual = all.iter().any(usual);
    let is_chosen =
        |name: &&str| decides(name) && !name.ends_with(GGUF) && (!weights(name) || !has_usual || usual(name));
    let mut chosen: Vec<String> = all.iter().copied().filter(is_chosen).map(str::to_owned).collect();
    let has = |wanted: &dyn Fn(&str) -> bool| chosen.iter().any(|name| wanted(name));
    if !has(&|name| name.ends_with(".safetensors")) {
        return Err(no_weights(&all, repository).into());
    }
    // Mistral's own form has the second for the first.
    if !has(&|name| name == "config.json" || name == "params.json") {
        let advice = "its weights are not in the layout of transformers, which the engine reads";
        return Err(format!("{repository} has no config.json: {advice}").into());
    }
    chosen.sort_by_key(|name| (name.ends_with(".safetensors"), name.clone()));
    Ok(Choice { names: chosen, is_single: false })
}

fn single(all: &[&str], file: &str, repository: &str) -> Result<Choice, CommandError> {
    if !file.ends_with(GGUF) {
        return Err(format!(
            "--file is for one GGUF file, and `{file}` is none; without --file the whole model comes"
        )
        .into());
    }
    if all.contains(&file) {
        return Ok(Choice { names: vec![file.to_owned()], is_single: true });
    }
    match list(all) {
        Some(there) => Err(format!("{repository} has no `{file}`; it has {there}").into()),
        None => Err(format!("{repository} has no GGUF files").into()),
    }
}

/// Says what a repository without safetensors has instead.
fn no_weights(all: &[&str], repository: &str) -> String {
    let what = format!("{repository} has no weights as safetensors");
    if let Some(there) = list(all) {
        return format!("{what}, but as GGUF\n  next: choose one with --file: {there}");
    }
    let is_pickle = |name: &&&str| PICKLES.iter().any(|end| name.ends_with(end));
    match all.iter().find(is_pickle) {
        Some(name) => format!(
            "{what}, only files such as `{name}`, which can run code when they are read and are not loaded\n  next: \
             look for a repository of the same model with safetensors"
        ),
        None => what,
    }
}

/// The GGUF files, if there are any.
fn list(all: &[&str]) -> Option<String> {
    let files: Vec<&str> = all.iter().copied().filter(|name| name.ends_with(GGUF)).collect();
    let shown = files.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    match files.len() {
        0 => None,
        count if count > SHOWN_MAX => Some(format!("{shown} and {} more", count - SHOWN_MAX)),
        _ => Some(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], file: Option<&str>) -> Result<Vec<String>, String> {
        let choice = choose(names.iter().copied(), file, "org/x");
        choice.map(|choice| choice.names).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_engine_reads_is_chosen_and_the_weights_come_last() {
        let names = [
            ".gitattributes",
            "README.md",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "config.json",
            "consolidated.safetensors",
            "pytorch_model.bin",
            "original/consolidated.00.pth",
            "x-q8_0.gguf",
        ];
        let expected = [
            "config.json",
            "model.safetensors.index.json",
            "tokenizer.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        assert_eq!(chosen(&names, None).unwrap(), expected);
    }

    #[test]
    fn weights_with_another_name_are_taken_where_there_are_no_usual_ones() {
        let names = ["config.json", "consolidated.safetensors", "1_Pooling/config.json"];
        let expected = ["1_Pooling/config.json", "config.json", "consolidated.safetensors"];
        assert_eq!(chosen(&names, None).unwrap(), expected);
    }

    #[test]
    fn one_gguf_file_is_chosen_by_its_name() {
        let names = ["config.json", "x-q4.gguf", "x-q8.gguf"];
        assert_eq!(chosen(&names, Some("x-q8.gguf")).unwrap(), ["x-q8.gguf"]);
        assert!(chosen(&names, Some("x-q5.gguf")).unwrap_err().contains("it has x-q4.gguf, x-q8.gguf"));
        assert!(chosen(&names, Some("config.json")).unwrap_err().contains("is none"));
        assert!(chosen(&names[..1], Some("x.gguf")).unwrap_err().contains("no GGUF files"));
    }

    #[test]
    fn what_cannot_be_served_is_explained() {
        assert!(chosen(&["config.json", "x.gguf"], None).unwrap_err().contains("--file: x.gguf"));
        assert!(chosen(&["config.json", "pytorch_model.bin"], None).unwrap_err().contains("can run code"));
        assert!(chosen(&["model.safetensors"], None).unwrap_err().contains("no config.json"));
        assert_eq!(chosen(&["README.md"], None).unwrap_err(), "org/x has no weights as safetensors");
    }
}
