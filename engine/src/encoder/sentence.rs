//! The files that sentence-transformers puts beside a network: what becomes of its vectors.
//!
//! `modules.json` names the parts, each with a folder of settings. All of it is applied or refused: an unknown part or
//! setting is an error, because a vector that is computed in another way than the documents' looks like any other.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::family::Activation;
use super::pooling::Mode;
use crate::LoadError;
use crate::text::files;

/// A setting of a model's folder that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct SettingError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, or not supported.
    pub reason: String,
}

/// What the files say.
#[derive(Debug)]
pub(super) struct Recipe {
    /// At least one; several stand behind each other.
    pub(super) pooling: Vec<Mode>,
    /// What comes after, in order.
    pub(super) steps: Vec<Step>,
    /// Stands before every text.
    pub(super) prompt: String,
    /// The longest text, in tokens, where the files say so.
    pub(super) tokens_max: Option<usize>,
    /// Whether texts are read in lower case, also where the tokenizer does not do that itself.
    pub(super) lower_case: bool,
}

/// A step after the pooling.
#[derive(Debug)]
pub(super) enum Step {
    Dense(Dense),
    Normalise,
}

/// A product with a function behind it; its weights are in `folder`.
#[derive(Debug)]
pub(super) struct Dense {
    pub(super) folder: PathBuf,
    pub(super) width_in: usize,
    pub(super) width_out: usize,
    pub(super) has_bias: bool,
    pub(super) activation: Activation,
}

impl Recipe {
    /// Reads the files of `folder`. Without `modules.json` the mean is taken, as the reference does.
    pub(super) fn read(folder: &Path) -> Result<Self, LoadError> {
        let network = NetworkFile::read(folder)?;
        let mut recipe = Self {
            pooling: vec![Mode::Mean],
            steps: Vec::new(),
            prompt: String::new(),
            tokens_max: network.max_seq_length,
            lower_case: network.do_lower_case,
        };
        let path = folder.join("modules.json");
        let Some(modules) = read_if_present::<Vec<ModuleEntry>>(&path)? else {
            tracing::info!(
                "the model does not say how it pools: taking the mean of its tokens, without normalisation"
            );
            return Ok(recipe);
        };
        let parts: Vec<(&str, PathBuf)> = modules
            .iter()
            .map(|module| Ok((module.part(), module.folder(folder, &path)?)))
            .collect::<Result<_, SettingError>>()?;
        match parts.as_slice() {
            [("Transformer", place), ("Pooling", pooling), rest @ ..] if place == folder => {
                recipe.pooling = read_pooling(pooling)?;
                recipe.steps = rest
                    .iter()
                    .map(|(part, place)| read_step(part, place, &path))
                    .collect::<Result<_, _>>()?;
            }
            _ => {
                let found: Vec<&str> = parts.iter().map(|(part, _)| *part).collect();
                let supported =
                    "Transformer in the folder itself, then Pooling, then any of Dense and Normalize";
                return Err(refused(
                    &path,
                    format!("has the parts {}; supported: {supported}", found.join(", ")),
                )
                .into());
            }
        }
        recipe.prompt = read_prompt(folder)?;
        Ok(recipe)
    }

    /// Whether the vectors have length 1.
    pub(super) fn normalises(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Normalise))
    }
}

fn refused(path: &Path, reason: impl Into<String>) -> SettingError {
    SettingError { path: path.to_owned(), reason: reason.into() }
}

fn read_if_present<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, LoadError> {
    let Some(bytes) = files::read_if_present(path)? else { return Ok(None) };
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|error| refused(path, error.to_string()).into())
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, LoadError> {
    read_if_present(path)?
        .ok_or_else(|| refused(path, "is missing; copy it from the model's publisher").into())
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModuleEntry {
    #[serde(rename = "idx")]
    _place: usize,
    #[serde(rename = "name")]
    _name: String,
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl ModuleEntry {
    /// The class, without the modules that it lies in, which have moved between versions.
    fn part(&self) -> &str {
        match self.kind.strip_prefix("sentence_transformers.") {
            Some(ours) => ours.rsplit('.').next().unwrap_or(ours),
            // A class of the publisher's own, whatever its name.
            None => &self.kind,
        }
    }

    fn folder(&self, root: &Path, file: &Path) -> Result<PathBuf, SettingError> {
        // A name with a separator would reach outside the folder.
        if self.path.is_empty() {
            Ok(root.to_owned())
        } else if Path::new(&self.path).file_name() == Some(self.path.as_ref()) {
            Ok(root.join(&self.path))
        } else {
            Err(refused(file, format!("{:?} is not a plain folder name", self.path)))
        }
    }
}

/// `sentence_bert_config.json`: how texts are cut for the network.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct NetworkFile {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
    transformer_task: Option<String>,
    modality_config: Option<Value>,
    module_output_name: Option<String>,
    unpad_inputs: Option<bool>,
}

impl NetworkFile {
    /// The file had the name of its family once.
    const NAMES: [&str; 7] = ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"];

    fn read(folder: &Path) -> Result<Self, LoadError> {
        for name in Self::NAMES {
            let path = folder.join(format!("sentence_{name}_config.json"));
            if let Some(file) = read_if_present::<Self>(&path)? {
                file.check(&path)?;
                return Ok(file);
            }
        }
        Ok(Self::default())
    }

    /// The newer fields may only say what was always so: text goes in, and the last layer's vectors come out.
    fn check(&self, path: &Path) -> Result<(), SettingError> {
        let text =
            serde_json::json!({"text": {"method": "forward", "method_output_name": "last_hidden_state"}});
        let is = |found: &Option<String>, known: &str| found.as_deref().is_none_or(|found| found == known);
        if !is(&self.transformer_task, "feature-extraction")
            || !is(&self.module_output_name, "token_embeddings")
        {
            return Err(refused(path, "names another task than feature-extraction to token_embeddings"));
        }
        if self.modality_config.as_ref().is_some_and(|config| *config != text) {
            return Err(refused(
                path,
                "modality_config: only text whose last_hidden_state is used is supported",
            ));
        }
        Ok(())
    }
}

/// `1_Pooling/config.json`, in the older spelling with a flag for each mode and in the newer one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are the file's own")]
struct PoolingFile {
    #[serde(rename = "word_embedding_dimension", alias = "embedding_dimension")]
    _width: usize,
    pooling_mode: Option<OneOrMany>,
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn read_pooling(folder: &Path) -> Result<Vec<Mode>, LoadError> {
    let path = folder.join("config.json");
    let file: PoolingFile = read(&path)?;
    if !file.include_prompt {
        return Err(refused(&path, "include_prompt = false is not supported; supported: true").into());
    }
    let flags = [
        file.pooling_mode_cls_token,
        file.pooling_mode_max_tokens,
        file.pooling_mode_mean_tokens,
        file.pooling_mode_mean_sqrt_len_tokens,
        file.pooling_mode_weightedmean_tokens,
        file.pooling_mode_lasttoken,
    ];
    let names = match file.pooling_mode {
        Some(OneOrMany::One(name)) => vec![name],
        Some(OneOrMany::Many(names)) => names,
        None => Mode::ALL
            .iter()
            .zip(flags)
            .filter(|(_, set)| *set)
            .map(|((name, _), _)| (*name).to_owned())
            .collect(),
    };
    let known = |name: &String| {
        let mode = Mode::ALL.iter().find(|(known, _)| known == name).map(|(_, mode)| *mode);
        mode.ok_or_else(|| refused(&path, format!("the pooling mode {name} is not known")))
    };
    let modes: Vec<Mode> = names.iter().map(known).collect::<Result<_, _>>()?;
    // All flags off is the mean, as the reference has it.
    Ok(if modes.is_empty() { vec![Mode::Mean] } else { modes })
}

/// `2_Dense/config.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenseFile {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

fn read_step(part: &str, folder: &Path, modules: &Path) -> Result<Step, LoadError> {
    match part {
        "Dense" => Ok(Step::Dense(read_dense(folder)?)),
        "Normalize" => {
            // Older versions write nothing here; newer ones the names of what goes in and out.
            let path = folder.join("config.json");
            if let Some(settings) = read_if_present::<Map<String, Value>>(&path)? {
                let known = |(key, value): (&String, &Value)| key.ends_with("put_name") && value == SENTENCE;
                if !settings.iter().all(known) {
                    return Err(
                        refused(&path, format!("only a normalisation of {SENTENCE} is supported")).into()
                    );
                }
            }
            Ok(Step::Normalise)
        }
        other => {
            let reason =
                format!("the part {other} is not supported behind Pooling; supported: Dense, Normalize");
            Err(refused(modules, reason).into())
        }
    }
}

/// What the vector of a text is called between the parts.
const SENTENCE: &str = "sentence_embedding";

fn read_dense(folder: &Path) -> Result<Dense, LoadError> {
    let path = folder.join("config.json");
    let file: DenseFile = read(&path)?;
    let is_sentence = |name: &Option<String>| name.as_deref().is_none_or(|name| name == SENTENCE);
    if file.use_residual || !is_sentence(&file.module_input_name) || !is_sentence(&file.module_output_name) {
        return Err(
            refused(&path, "a residual, or another input than the pooled vector, is not supported").into()
        );
    }
    let activation =
        match file.activation_function.as_deref().map(|name| name.rsplit('.').next().unwrap_or(name)) {
            None | Some("Tanh") => Activation::Tanh,
            Some("Identity") => Activation::Identity,
            Some("ReLU") => Activation::Relu,
            Some("GELU") => Activation::Gelu,
            Some(other) => {
                let reason = format!(
                    "activation_function {other} is not supported; supported: Tanh, Identity, ReLU, GELU"
                );
                return Err(refused(&path, reason).into());
            }
        };
    let (width_in, width_out, has_bias) = (file.in_features, file.out_features, file.bias);
    Ok(Dense { folder: folder.to_owned(), width_in, width_out, has_bias, activation })
}

/// `config_sentence_transformers.json`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ModelFile {
    #[serde(rename = "__version__")]
    _version: Option<Value>,
    model_type: Option<String>,
    prompts: Map<String, Value>,
    default_prompt_name: Option<String>,
    #[serde(rename = "similarity_fn_name")]
    _similarity: Option<String>,
}

/// The text before every text. Other prompts are the client's to write: the API has no field that names one.
fn read_prompt(folder: &Path) -> Result<String, LoadError> {
    let path = folder.join("config_sentence_transformers.json");
    let file: ModelFile = read_if_present(&path)?.unwrap_or_default();
    if let Some(other) = file.model_type.filter(|kind| kind != "SentenceTransformer") {
        return Err(refused(
            &path,
            format!("model_type {other} is not supported; supported: SentenceTransformer"),
        )
        .into());
    }
    let Some(name) = file.default_prompt_name else { return Ok(String::new()) };
    match file.prompts.get(&name) {
        Some(Value::String(prompt)) => {
            tracing::info!(prompt_name = name, "the model's default prompt stands before every text");
            Ok(prompt.clone())
        }
        _ => Err(refused(
            &path,
            format!("default_prompt_name is {name:?}, and prompts has no text of that name"),
        )
        .into()),
    }
}
