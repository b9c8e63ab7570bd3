//! What `config.json` says of quantised weights: which methods are read, and which are not.
//!
//! FP8 and MXFP4 describe themselves: a tensor's type and the scales beside it say how it is read. The config adds
//! the size of FP8's blocks. Everything else it may say is about activations or about which modules were left as
//! they are.

use serde_json::json;

use crate::model::ModelError;
use crate::model::config::Config;

/// How the weights of a checkpoint were quantised.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quantization {
    /// Rows and columns of an FP8 weight that share a scale, if it has blocks.
    pub(super) fp8_block: Option<[usize; 2]>,
}

/// Fields that say which modules were not quantised or how activations would be: neither matters to a reader of
/// weights.
const WITHOUT_EFFECT: &[&str] = &[
    "activation_scheme",
    "dequantize",
    "exclude_modules",
    "global_compression_ratio",
    "ignore",
    "ignored_layers",
    "kv_cache_quant_algo",
    "kv_cache_scheme",
    "modules_to_not_convert",
    "producer",
    "quantization_status",
    "scale_fmt",
    "sparsity_config",
    "transform_config",
    "version",
];

const SUPPORTED: &str = "fp8, mxfp4, compressed-tensors and modelopt with FP8 weights; or take the original \
                         checkpoint and quantise it while it is loaded (q8_0, q4_k), or a GGUF of the model";

impl Quantization {
    /// Reads `quantization_config`, if there is one.
    pub(crate) fn read(config: &Config) -> Result<Self, ModelError> {
        let Some(settings) = config.find_object("quantization_config")? else { return Ok(Self::default()) };
        settings.ignore(WITHOUT_EFFECT);
        let method = settings.find_word("quant_method")?.unwrap_or_default();
        let fp8_block = match method.as_str() {
            "mxfp4" => None,
            "fp8" => {
                settings.only("fmt", &json!("e4m3"))?;
                block(settings.find_sizes("weight_block_size")?.as_deref())?
            }
            "modelopt" => {
                settings.only("quant_algo", &json!("FP8"))?;
                settings.ignore(&["config_groups"]);
                None
            }
            "compressed-tensors" => compressed(&settings)?,
            other => return Err(unsupported(&format!("quant_method {other:?}"))),
        };
        settings.finish()?;
        Ok(Self { fp8_block })
    }
}

fn unsupported(what: &str) -> ModelError {
    ModelError::Unsupported { what: format!("quantization_config: {what}"), supported: SUPPORTED.to_owned() }
}

fn block(sizes: Option<&[usize]>) -> Result<Option<[usize; 2]>, ModelError> {
    match sizes {
        None => Ok(None),
        Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok(Some([rows, columns])),
        Some(other) => Err(unsupported(&format!("weight_block_size {other:?}"))),
    }
}

/// The FP8 of compressed-tensors: one scale for a tensor, for each row, or for each block.
fn compressed(settings: &Config) -> Result<Option<[usize; 2]>, ModelError> {
    match settings.find_word("format")?.as_deref() {
        Some("float-quantized" | "naive-quantized") => {}
        other => return Err(unsupported(&format!("format {:?}", other.unwrap_or("none")))),
    }
    let groups = settings.find_object("config_groups")?;
    let groups = groups.ok_or_else(|| unsupported("no config_groups"))?;
    let mut found = None;
    for name in groups.keys() {
        let Some(group) = groups.find_object(&name)? else { continue };
        group.ignore(&["format", "input_activations", "output_activations", "targets"]);
        let weights = group.find_object("weights")?.ok_or_else(|| unsupported("a group without weights"))?;
        weights.ignore(&[
            "actorder",
            "dynamic",
            "group_size",
            "observer",
            "observer_kwargs",
            "scale_dtype",
            "zp_dtype",
        ]);
        weights.only("num_bits", &json!(8))?;
        weights.only("type", &json!("float"))?;
        weights.only("symmetric", &json!(true))?;
        match weights.find_word("strategy")?.as_deref() {
            Some("tensor" | "channel" | "block") => {}
            other => return Err(unsupported(&format!("strategy {:?}", other.unwrap_or("none")))),
        }
        found = block(weights.find_sizes("block_structure")?.as_deref())?.or(found);
        weights.finish()?;
        group.finish()?;
    }
    groups.finish()?;
    Ok(found)
}
