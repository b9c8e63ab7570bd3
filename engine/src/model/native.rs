//! Mistral's own form of a checkpoint: `params.json` and `consolidated*.safetensors` in place of the hub's files.
//!
//! As with GGUF, it is translated into the config and the names that the families read, so none of them knows
//! of it. Mistral Large 3 is released in this form alone; the older dense models have it beside the hub's.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::ModelError;
use super::config::Config;

/// The file that stands for `config.json`.
pub(super) const PARAMS: &str = "params.json";

/// Tensors outside the layers, and what the hub calls them.
const TOP: &[(&str, &str)] = &[
    ("tok_embeddings.weight", "model.embed_tokens.weight"),
    ("norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Modules of a layer, and what the hub calls them.
const MODULES: &[(&str, &str)] = &[
    ("attention_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attention.kv_a_norm", "self_attn.kv_a_layernorm"),
    ("attention.q_a_norm", "self_attn.q_a_layernorm"),
    ("attention.wkv_a_with_mqa", "self_attn.kv_a_proj_with_mqa"),
    ("attention.wkv_b", "self_attn.kv_b_proj"),
    ("attention.wo", "self_attn.o_proj"),
    ("attention.wq_a", "self_attn.q_a_proj"),
    ("attention.wq_b", "self_attn.q_b_proj"),
    ("feed_forward.w1", "mlp.gate_proj"),
    ("feed_forward.w2", "mlp.down_proj"),
    ("feed_forward.w3", "mlp.up_proj"),
    ("gate", "mlp.gate"),
    ("shared_experts.w1", "mlp.shared_experts.gate_proj"),
    ("shared_experts.w2", "mlp.shared_experts.down_proj"),
    ("shared_experts.w3", "mlp.shared_experts.up_proj"),
];

/// Whether `folder` has a checkpoint in this form and in no other.
pub(super) fn is_in(folder: &Path) -> bool {
    !folder.join("config.json").exists() && folder.join(PARAMS).exists()
}

/// The hub's name of a tensor; one that is not known here keeps its own, and nobody will ask for it.
pub(super) fn hub_name(name: &str) -> String {
    if let Some((_, hub)) = TOP.iter().find(|(own, _)| *own == name) {
        return (*hub).to_owned();
    }
    let layer = || {
        let (number, rest) = name.strip_prefix("layers.")?.split_once('.')?;
        let (module, kind) = rest.rsplit_once('.')?;
        if let Some((_, hub)) = MODULES.iter().find(|(own, _)| *own == module) {
            return Some(format!("model.layers.{number}.{hub}.{kind}"));
        }
        let (expert, projection) = module.strip_prefix("experts.")?.split_once('.')?;
        let projection = match projection {
            "w1" => "gate_proj",
            "w2" => "down_proj",
            "w3" => "up_proj",
            _ => return None,
        };
        Some(format!("model.layers.{number}.mlp.experts.{expert}.{projection}.{kind}"))
    };
    layer().unwrap_or_else(|| name.to_owned())
}

/// The config that the hub would have.
pub(super) fn config(folder: &Path) -> Result<Config, ModelError> {
    let params = Config::open(folder, PARAMS)?;
    let translated = translate(&params)?;
    params.finish()?;
    Ok(Config::of(translated))
}

fn translate(params: &Config) -> Result<Map<String, Value>, ModelError> {
    let missing = |name: &str| ModelError::Unsupported {
        what: format!("{PARAMS} without {name}"),
        supported: "Mistral Large 3; of other models take the hub's config.json".to_owned(),
    };
    // Sizes that follow from others, tokenizer files, and the image encoder beside the text model.
    params.ignore(&["head_dim", "n_kv_heads", "model_type", "vision_encoder"]);
    let moe = params.find_object("moe")?.ok_or_else(|| missing("moe"))?;
    let yarn = params.find_object("yarn")?.ok_or_else(|| missing("yarn"))?;
    let rank = params.find_size("kv_lora_rank")?.ok_or_else(|| missing("kv_lora_rank"))?;
    // How the experts were spread over machines in training.
    moe.ignore(&["expert_model_parallel", "expert_parallel"]);
    moe.only("route_every_n", &json!(1))?;
    yarn.only("apply_scale", &json!(false))?;
    let mut fields = BTreeMap::from([
        ("architectures", json!(["MistralLarge3ForCausalLM"])),
        ("hidden_act", json!("silu")),
        ("hidden_size", json!(params.size("dim")?)),
        ("intermediate_size", json!(params.size("hidden_dim")?)),
        ("num_hidden_layers", json!(params.size("n_layers")?)),
        ("num_attention_heads", json!(params.size("n_heads")?)),
        ("rms_norm_eps", json!(params.number("norm_eps")?)),
        ("vocab_size", json!(params.size("vocab_size")?)),
        ("max_position_embeddings", json!(params.size("max_position_embeddings")?)),
        ("tie_word_embeddings", json!(params.flag("tied_embeddings", false)?)),
        ("q_lora_rank", json!(params.find_size("q_lora_rank")?)),
        ("kv_lora_rank", json!(rank)),
        ("qk_nope_head_dim", json!(params.size("qk_nope_head_dim")?)),
        ("qk_rope_head_dim", json!(params.size("qk_rope_head_dim")?)),
        ("v_head_dim", json!(params.size("v_head_dim")?)),
        ("first_k_dense_replace", json!(moe.size("first_k_dense_replace")?)),
        ("moe_intermediate_size", json!(moe.size("expert_hidden_dim")?)),
        ("n_routed_experts", json!(moe.size("num_experts")?)),
        ("num_experts_per_tok", json!(moe.size("num_experts_per_tok")?)),
        ("n_shared_experts", json!(moe.size("num_shared_experts")?)),
        ("n_group", json!(moe.find_size("num_expert_groups")?)),
        ("topk_group", json!(moe.find_size("num_expert_groups_per_tok")?)),
        ("routed_scaling_factor", json!(moe.number("routed_scale")?)),
        ("scoring_func", json!("softmax")),
        ("norm_topk_prob", json!(true)),
        ("rope_parameters", rope(params, &yarn)?),
    ]);
    if let Some(scaling) = params.find_object("llama_4_scaling")? {
        let original = scaling.number("original_max_position_embeddings")?;
        let growth = json!({"beta": scaling.number("beta")?, "original_max_position_embeddings": original});
        scaling.finish()?;
        fields.insert("llama_4_scaling", growth);
    }
    moe.finish()?;
    yarn.finish()?;
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// `YaRN`'s `beta` and `alpha` are `beta_fast` and `beta_slow`; scores and angles are not scaled.
fn rope(params: &Config, yarn: &Config) -> Result<Value, ModelError> {
    Ok(json!({
        "rope_type": "yarn",
        "rope_theta": params.number("rope_theta")?,
        "factor": yarn.number("factor")?,
        "original_max_position_embeddings": yarn.number("original_max_position_embeddings")?,
        "beta_fast": yarn.number("beta")?,
        "beta_slow": yarn.number("alpha")?,
        "attention_factor": 1.0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_hubs_and_unknown_ones_stay() {
        assert_eq!(hub_name("output.weight"), "lm_head.weight");
        assert_eq!(hub_name("layers.3.gate.weight"), "model.layers.3.mlp.gate.weight");
        let scale = hub_name("layers.12.experts.7.w2.weight_scale");
        assert_eq!(scale, "model.layers.12.mlp.experts.7.down_proj.weight_scale");
        assert_eq!(hub_name("vision_encoder.conv.weight"), "vision_encoder.conv.weight");
        assert_eq!(hub_name("layers.3.experts.7.w4.weight"), "layers.3.experts.7.w4.weight");
    }
}
