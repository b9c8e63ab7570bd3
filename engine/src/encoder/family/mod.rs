//! What each family of encoders says about its network: a page of facts from `config.json`, and no arithmetic.
//!
//! The networks are candle-transformers'. Where its code and transformers' disagree on a config, the family refuses
//! that config (DeBERTa's convolution and absolute positions, biases in ModernBERT) or avoids the code (DistilBERT runs as the BERT that it
//! is). Heads are ours: they are two products, and we want their scores.

mod bert;
mod deberta_v2;
mod distil_bert;
mod modern_bert;
mod roberta;

use candle_transformers::models as networks;

use crate::model::{Config, ModelError};

/// Everything that a checkpoint's config says about its network.
pub(super) struct Description {
    pub(super) network: Settings,
    /// H, the width of a token's vector.
    pub(super) hidden_size: usize,
    pub(super) attention_heads: usize,
    /// How often the network holds the attention scores `[B, heads, T, T]` of a layer at once, as f32; by measurement.
    pub(super) score_copies: usize,
    /// V, the tokens that there is an embedding for.
    pub(super) vocabulary: usize,
    /// The longest text that the network has positions for, in tokens.
    pub(super) positions: usize,
    /// Fills the rows of a batch behind shorter texts.
    pub(super) pad_token: u32,
    pub(super) naming: Naming,
    pub(super) head: Head,
}

/// The settings of one of candle-transformers' networks.
pub(super) enum Settings {
    Bert(networks::bert::Config),
    Roberta(networks::xlm_roberta::Config),
    ModernBert(networks::modernbert::Config),
    DebertaV2(Box<networks::debertav2::Config>),
}

/// How a checkpoint names the tensors that the network asks for.
pub(super) struct Naming {
    /// Stands before them in a checkpoint that has more than the network.
    pub(super) prefix: &'static str,
    /// A tensor that every network of the family has: whether the prefix stands before it tells if there is one.
    pub(super) probe: &'static str,
    /// The checkpoint's name of what the network asks for, without the prefix.
    pub(super) source: fn(&str) -> Source,
    /// Beginnings of names that may be in a checkpoint and have no part in the result.
    pub(super) unused: &'static [&'static str],
}

/// Where a tensor comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The checkpoint's tensor of this name.
    Tensor(String),
    /// Nowhere: the family does without it, and zeros are what that means.
    Zeros,
}

/// How a classifier of the family makes scores of the tokens' vectors.
pub(super) struct Head {
    pub(super) pools: HeadPooling,
    /// The first product `[H, H]` and whether it has a bias.
    pub(super) dense: (&'static str, Bias),
    pub(super) activation: Activation,
    /// A norm behind it, with its epsilon.
    pub(super) norm: Option<(&'static str, f64)>,
    /// The second product `[L, H]`, always with a bias.
    pub(super) out: &'static str,
}

/// Whether a product has a bias.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    Has,
    HasNot,
}

/// Which vector of a text its head is given.
#[derive(Clone, Copy)]
pub(super) enum HeadPooling {
    FirstToken,
    Mean,
}

/// Functions between two products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    /// Exact, by the error function.
    Gelu,
    /// By the hyperbolic tangent.
    GeluTanh,
    Relu,
    Tanh,
}

impl Activation {
    /// Reads a function by the name that configs use.
    fn read(config: &Config, key: &str) -> Result<Self, ModelError> {
        match config.find_word(key)?.as_deref() {
            None | Some("gelu") => Ok(Self::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh") => Ok(Self::GeluTanh),
            Some("relu") => Ok(Self::Relu),
            Some("tanh") => Ok(Self::Tanh),
            Some(other) => Err(unsupported(format!("{key} = {other}"), "gelu, gelu_new, relu, tanh")),
        }
    }
}

/// Reads a family's part of a config.
type Describe = fn(&Config) -> Result<Description, ModelError>;

/// The families, by the beginning of their architectures' names.
const FAMILIES: [(&str, Describe); 7] = [
    ("Bert", bert::describe),
    ("Camembert", roberta::describe),
    ("DebertaV2", deberta_v2::describe),
    ("DistilBert", distil_bert::describe),
    ("ModernBert", modern_bert::describe),
    ("Roberta", roberta::describe),
    ("XLMRoberta", roberta::describe),
];

/// The ends of their names, by what the checkpoint is for.
const EMBEDS: &str = "Model";
const CLASSIFIES: &str = "ForSequenceClassification";

/// What a checkpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Embed,
    Classify,
}

/// Whether an architecture is an encoder's, supported or not: everything that does not write text.
pub(super) fn is_encoder(architecture: &str) -> bool {
    let of_encoders = [EMBEDS, CLASSIFIES, "ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering"];
    of_encoders.iter().any(|end| architecture.ends_with(end))
}

/// Describes the checkpoint of `config`. The caller finishes the config.
pub(super) fn describe(config: &Config) -> Result<(Description, Purpose), ModelError> {
    let name = config.architecture()?;
    let known = |end| {
        let family = name.strip_suffix(end)?;
        FAMILIES.iter().find(|(known, _)| *known == family).map(|(_, describe)| describe)
    };
    let (describe, purpose) = match (known(EMBEDS), known(CLASSIFIES)) {
        (Some(describe), _) => (describe, Purpose::Embed),
        (None, Some(describe)) => (describe, Purpose::Classify),
        (None, None) => {
            let supported = FAMILIES
                .iter()
                .flat_map(|(family, _)| [EMBEDS, CLASSIFIES].map(|end| format!("{family}{end}")));
            let supported = supported.collect::<Vec<_>>().join(", ");
            return Err(ModelError::Architecture { name: name.to_owned(), supported });
        }
    };
    config.ignore(WITHOUT_EFFECT);
    let description = describe(config)?;
    // Of no heads nothing is a multiple.
    if !description.hidden_size.is_multiple_of(description.attention_heads) {
        let (hidden, heads) = (description.hidden_size, description.attention_heads);
        return Err(unsupported(
            format!("{heads} attention heads for a width of {hidden}"),
            "a whole width each",
        ));
    }
    Ok((description, purpose))
}

/// Fields of encoders' configs that describe training, other tasks or bookkeeping.
const WITHOUT_EFFECT: &[&str] = &[
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "cls_token_id",
    "directionality",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "num_labels",
    "output_past",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "sep_token_id",
    "tie_weights_",
    "tie_word_embeddings",
];

/// What no family here does: reading to the left only, looking at another text, leaving heads out.
fn refuse_other_uses(config: &Config) -> Result<(), ModelError> {
    config.only("is_decoder", &false.into())?;
    config.only("add_cross_attention", &false.into())?;
    config.only("pruned_heads", &serde_json::json!({}))?;
    config.only("position_embedding_type", &"absolute".into())
}

fn pad_token(config: &Config, default: u32) -> Result<u32, ModelError> {
    Ok(config.find_size("pad_token_id")?.map_or(default, |token| token as u32))
}

fn unsupported(what: String, supported: &str) -> ModelError {
    ModelError::Unsupported { what, supported: supported.to_owned() }
}

/// The names of a family whose names are the network's.
fn as_asked(name: &str) -> Source {
    Source::Tensor(name.to_owned())
}
