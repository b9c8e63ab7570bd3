//! The metadata of a GGUF file as the `config.json` that the families read.
//!
//! llama.cpp and the hub name the same facts differently. Only the names change here: what a field means, and
//! whether it is supported, stays with the family. What llama.cpp fixes in its code instead of the file is added.

use serde_json::{Map, Value, json};

use super::Gguf;
use crate::model::ModelError;
use crate::model::config::Config;

/// One architecture of llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    /// Llama, Mistral, and Mixtral if there are experts.
    Llama,
    Qwen2,
    Qwen3,
    Qwen3Moe,
    /// `DeepSeek` V2 and V3, and what is built like them.
    DeepSeek2,
    GptOss,
}

const ARCHITECTURES: &[(&str, Architecture)] = &[
    ("deepseek2", Architecture::DeepSeek2),
    ("gpt-oss", Architecture::GptOss),
    ("llama", Architecture::Llama),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
    ("qwen3moe", Architecture::Qwen3Moe),
];

/// Keys of an architecture that say nothing that the tensors or other keys do not say.
const WITHOUT_EFFECT: &[&str] = &["vocab_size", "tensor_data_layout", "expert_group_scale"];

/// The largest number that is taken for a size. Some become lists, so a damaged file must not choose them freely;
/// contexts of 10 million tokens are the largest that exist.
const SIZE_MAX: usize = 1 << 26;
/// The most layers, experts, heads or elements of a head.
const COUNT_MAX: usize = 1 << 14;
/// Keys that [`COUNT_MAX`] bounds.
const COUNTS: &[&str] = &[
    "block_count",
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_group_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_mla",
    "attention.value_length_mla",
    "attention.kv_lora_rank",
    "attention.q_lora_rank",
    "rope.dimension_count",
];

/// The router's scores, as llama.cpp numbers them.
const GATING_SOFTMAX: usize = 1;
const GATING_SIGMOID: usize = 2;

impl Architecture {
    pub(super) fn of(gguf: &Gguf) -> Result<Self, ModelError> {
        let name = gguf.architecture()?;
        let known = ARCHITECTURES.iter().find(|(known, _)| *known == name);
        known.map(|(_, architecture)| *architecture).ok_or_else(|| ModelError::Architecture {
            name: format!("{name} (of GGUF)"),
            supported: ARCHITECTURES.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The config of a file.
pub(super) fn translate(gguf: &Gguf) -> Result<Config, ModelError> {
    let kind = Architecture::of(gguf)?;
    let reader = Reader { gguf, prefix: gguf.architecture()? };
    let mut fields = reader.common(kind)?;
    match kind {
        Architecture::Llama => reader.llama(&mut fields)?,
        Architecture::Qwen2 => architecture(&mut fields, "Qwen2ForCausalLM"),
        Architecture::Qwen3 => architecture(&mut fields, "Qwen3ForCausalLM"),
        Architecture::Qwen3Moe => reader.qwen3_moe(&mut fields)?,
        Architecture::DeepSeek2 => reader.deepseek2(&mut fields)?,
        Architecture::GptOss => reader.gpt_oss(&mut fields)?,
    }
    for key in WITHOUT_EFFECT {
        gguf.metadata.skip(&reader.key(key));
    }
    gguf.metadata.finish(&reader.key(""))?;
    Ok(Config::of(fields))
}

type Fields = Map<String, Value>;

fn architecture(fields: &mut Fields, name: &str) {
    fields.insert("architectures".to_owned(), json!([name]));
}

fn extend<const N: usize>(fields: &mut Fields, more: [(&str, Value); N]) {
    // `null` is an absent field.
    fields.extend(
        more.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)),
    );
}

/// The metadata with the architecture's prefix in front of every key.
struct Reader<'a> {
    gguf: &'a Gguf,
    prefix: &'a str,
}

impl Reader<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn size(&self, key: &str) -> Result<usize, ModelError> {
        let expected = "a whole number";
        self.find_size(key)?.ok_or_else(|| ModelError::Metadata { name: self.key(key), expected })
    }

    fn find_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let most = if COUNTS.contains(&key) { COUNT_MAX } else { SIZE_MAX };
        match self.gguf.metadata.find_size(&self.key(key))? {
            Some(size) if size > most => Err(self.unsupported(key, size, &format!("at most {most}"))),
            size => Ok(size),
        }
    }

    fn find_number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.gguf.metadata.find_number(&self.key(key))
    }

    fn unsupported(&self, key: &str, value: impl std::fmt::Display, supported: &str) -> ModelError {
        ModelError::Unsupported {
            what: format!("{} = {value}", self.key(key)),
            supported: supported.to_owned(),
        }
    }

    /// Demands that `key`, if present, is `value`, which the rest of the file says already.
    fn agrees(&self, key: &str, value: usize) -> Result<(), ModelError> {
        match self.find_size(key)? {
            Some(other) if other != value => Err(self.unsupported(key, other, &value.to_string())),
            _ => Ok(()),
        }
    }

    /// What every decoder has.
    fn common(&self, kind: Architecture) -> Result<Fields, ModelError> {
        let (width, heads) = (self.size("embedding_length")?, self.size("attention.head_count")?);
        if heads == 0 {
            return Err(self.unsupported("attention.head_count", heads, "at least 1"));
        }
        let mut fields = Fields::new();
        extend(
            &mut fields,
            [
                ("hidden_act", json!("silu")),
                ("hidden_size", json!(width)),
                ("num_hidden_layers", json!(self.size("block_count")?)),
                ("num_attention_heads", json!(heads)),
                ("num_key_value_heads", json!(self.find_size("attention.head_count_kv")?.unwrap_or(heads))),
                ("max_position_embeddings", json!(self.size("context_length")?)),
                ("intermediate_size", json!(self.find_size("feed_forward_length")?)),
                (
                    "rms_norm_eps",
                    json!(self.gguf.metadata.number(&self.key("attention.layer_norm_rms_epsilon"))?),
                ),
                ("tie_word_embeddings", json!(!self.gguf.tensors.contains_key("output.weight"))),
                ("vocab_size", json!(self.gguf.vocabulary()?)),
                ("rope_theta", json!(self.find_number("rope.freq_base")?.unwrap_or(10_000.0))),
                ("rope_scaling", self.rope_scaling()?),
            ],
        );
        if kind != Architecture::DeepSeek2 {
            let dim = self.find_size("attention.key_length")?.unwrap_or(width / heads);
            self.agrees("attention.value_length", dim)?;
            self.agrees("rope.dimension_count", dim)?;
            extend(&mut fields, [("head_dim", json!(dim))]);
        }
        Ok(fields)
    }

    /// The scaling of rope, in the hub's spelling.
    fn rope_scaling(&self) -> Result<Value, ModelError> {
        let factors = self.gguf.rope_factors()?;
        let factor = self.find_number("rope.scaling.factor")?;
        let original = self.find_size("rope.scaling.original_context_length")?;
        // Whether it was trained with the scaling; it is the same scaling.
        self.gguf.metadata.skip(&self.key("rope.scaling.finetuned"));
        let kind = self.gguf.metadata.find_text(&self.key("rope.scaling.type"))?.unwrap_or("none");
        let plain = kind == "none" || factor == Some(1.0) || factor.is_none() && kind == "linear";
        Ok(match (kind, factors) {
            // Llama 3's scaling is stored as its result, what each frequency is divided by. This is the hub's way
            // to write such a list.
            (_, Some(factors)) if plain => json!({
                "rope_type": "longrope",
                "short_factor": factors,
                "long_factor": factors,
                "attention_factor": 1.0,
                "original_max_position_embeddings": self.size("context_length")?,
            }),
            (_, Some(_)) => {
                return Err(self.unsupported("rope.scaling.type", kind, "none beside rope_freqs.weight"));
            }
            _ if plain => Value::Null,
            ("linear", None) => json!({ "rope_type": "linear", "factor": factor }),
            ("yarn", None) => self.yarn(factor, original)?,
            (other, None) => return Err(self.unsupported("rope.scaling.type", other, "none, linear, yarn")),
        })
    }

    fn yarn(&self, factor: Option<f64>, original: Option<usize>) -> Result<Value, ModelError> {
        for key in
            ["rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_ext_factor"]
        {
            if let Some(value) = self.find_number(key)?.filter(|value| (value - 1.0).abs() > 1e-6) {
                return Err(self.unsupported(key, value, "1"));
            }
        }
        let mut scaling = json!({
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
            "beta_fast": self.find_number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            "beta_slow": self.find_number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
        });
        // A tenth of `mscale_all_dim`; DeepSeek's checkpoints have the same `mscale` beside it.
        if let Some(multiplier) = self.find_number("rope.scaling.yarn_log_multiplier")? {
            let mscale = (multiplier * 1e5).round() / 1e4;
            scaling["mscale"] = json!(mscale);
            scaling["mscale_all_dim"] = json!(mscale);
        }
        Ok(scaling)
    }

    fn llama(&self, fields: &mut Fields) -> Result<(), ModelError> {
        let window = self.find_size("attention.sliding_window")?;
        extend(fields, [("sliding_window", json!(window))]);
        match (self.find_size("expert_count")?.filter(|count| *count > 0), window) {
            (Some(experts), _) => {
                architecture(fields, "MixtralForCausalLM");
                let used = self.size("expert_used_count")?;
                extend(fields, [("num_local_experts", json!(experts)), ("num_experts_per_tok", json!(used))]);
            }
            (None, Some(_)) => architecture(fields, "MistralForCausalLM"),
            (None, None) => architecture(fields, "LlamaForCausalLM"),
        }
        if fields.get("num_local_experts").is_none() {
            self.gguf.metadata.skip(&self.key("expert_used_count"));
        }
        Ok(())
    }

    fn qwen3_moe(&self, fields: &mut Fields) -> Result<(), ModelError> {
        architecture(fields, "Qwen3MoeForCausalLM");
        let layers = self.size("block_count")?;
        let dense: Vec<usize> = (0..layers).filter(|i| !self.gguf.has_router(*i)).collect();
        extend(
            fields,
            [
                ("num_experts", json!(self.size("expert_count")?)),
                ("num_experts_per_tok", json!(self.size("expert_used_count")?)),
                ("moe_intermediate_size", json!(self.size("expert_feed_forward_length")?)),
                ("mlp_only_layers", json!(dense)),
                // llama.cpp knows no other Qwen3-MoE.
                ("norm_topk_prob", json!(true)),
            ],
        );
        Ok(())
    }

    fn deepseek2(&self, fields: &mut Fields) -> Result<(), ModelError> {
        let rope = self.size("rope.dimension_count")?;
        let latent = self.size("attention.kv_lora_rank")?;
        // Files made for the absorbed product have the true lengths under names of their own.
        let key = match self.find_size("attention.key_length_mla")? {
            Some(key) => {
                self.agrees("attention.key_length", latent + rope)?;
                key
            }
            None => self.size("attention.key_length")?,
        };
        let value = match self.find_size("attention.value_length_mla")? {
            Some(value) => {
                self.agrees("attention.value_length", latent)?;
                value
            }
            None => self.size("attention.value_length")?,
        };
        let nope =
            key.checked_sub(rope).ok_or_else(|| self.unsupported("attention.key_length", key, "more"))?;
        let heads = fields["num_attention_heads"].clone();
        let groups = self.find_size("expert_group_count")?.unwrap_or(1);
        let groups_used = self.find_size("expert_group_used_count")?.unwrap_or(1);
        let sigmoid = match self.find_size("expert_gating_func")?.unwrap_or(GATING_SOFTMAX) {
            GATING_SOFTMAX => false,
            GATING_SIGMOID => true,
            other => return Err(self.unsupported("expert_gating_func", other, "1 (softmax), 2 (sigmoid)")),
        };
        let (name, method) = match (sigmoid, groups) {
            (true, _) => ("DeepseekV3ForCausalLM", "noaux_tc"),
            (false, 1) => ("DeepseekV2ForCausalLM", "greedy"),
            (false, _) => ("DeepseekV2ForCausalLM", "group_limited_greedy"),
        };
        architecture(fields, name);
        extend(
            fields,
            [
                ("num_key_value_heads", heads),
                ("q_lora_rank", json!(self.find_size("attention.q_lora_rank")?)),
                ("kv_lora_rank", json!(latent)),
                ("qk_nope_head_dim", json!(nope)),
                ("qk_rope_head_dim", json!(rope)),
                ("v_head_dim", json!(value)),
                ("first_k_dense_replace", json!(self.find_size("leading_dense_block_count")?.unwrap_or(0))),
                ("n_routed_experts", json!(self.size("expert_count")?)),
                ("n_shared_experts", json!(self.find_size("expert_shared_count")?)),
                ("num_experts_per_tok", json!(self.size("expert_used_count")?)),
                ("moe_intermediate_size", json!(self.size("expert_feed_forward_length")?)),
                ("routed_scaling_factor", json!(self.find_number("expert_weights_scale")?.unwrap_or(1.0))),
                (
                    "norm_topk_prob",
                    json!(self.gguf.metadata.find_flag(&self.key("expert_weights_norm"))?.unwrap_or(false)),
                ),
                ("n_group", json!(groups)),
                ("topk_group", json!(groups_used)),
                ("topk_method", json!(method)),
                ("scoring_func", json!(if sigmoid { "sigmoid" } else { "softmax" })),
            ],
        );
        Ok(())
    }

    /// Where gpt-oss cuts gate and up: the same in every layer, and 7 in every published model.
    fn swiglu_limit(&self) -> Result<f32, ModelError> {
        let key = "swiglu_clamp_exp";
        let limits = self.gguf.metadata.find_numbers(&self.key(key))?.unwrap_or(&[7.0]);
        match limits {
            [limit, others @ ..] if others.iter().all(|other| other.to_bits() == limit.to_bits()) => {
                Ok(*limit)
            }
            _ => Err(self.unsupported(key, "a list", "the same number for every layer")),
        }
    }

    fn gpt_oss(&self, fields: &mut Fields) -> Result<(), ModelError> {
        architecture(fields, "GptOssForCausalLM");
        let layers = self.size("block_count")?;
        let kinds: Vec<&str> =
            (0..layers).map(|i| if i % 2 == 0 { "sliding_attention" } else { "full_attention" }).collect();
        extend(
            fields,
            [
                ("attention_bias", json!(true)),
                ("intermediate_size", json!(self.size("expert_feed_forward_length")?)),
                ("layer_types", json!(kinds)),
                ("num_local_experts", json!(self.size("expert_count")?)),
                ("num_experts_per_tok", json!(self.size("expert_used_count")?)),
                ("sliding_window", json!(self.size("attention.sliding_window")?)),
                ("swiglu_limit", json!(self.swiglu_limit()?)),
            ],
        );
        if let Some(scaling) = fields.get_mut("rope_scaling").filter(|scaling| scaling.is_object()) {
            scaling["truncate"] = json!(false);
        }
        Ok(())
    }
}
