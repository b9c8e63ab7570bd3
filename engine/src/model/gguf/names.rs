//! The tensors of a GGUF file under the names and in the layout that the hub has for them.
//!
//! A tensor whose name is not known here keeps it. Nobody asks for it then, and the model is refused.

use std::collections::BTreeMap;

use super::config::Architecture;
use super::{Gguf, Tensor};
use crate::model::ModelError;
use crate::model::weights::{Place, Rows, Slice};

/// The most experts of a layer: each gets a name.
const EXPERTS_MAX: usize = 1 << 14;

/// Tensors outside the layers.
const TOP: &[(&str, &str)] = &[
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Modules of a layer that differ in nothing but the name.
const MODULES: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_q_a", "self_attn.q_a_proj"),
    ("attn_q_a_norm", "self_attn.q_a_layernorm"),
    ("attn_q_b", "self_attn.q_b_proj"),
    ("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"),
    ("attn_kv_a_norm", "self_attn.kv_a_layernorm"),
    ("attn_kv_b", "self_attn.kv_b_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("ffn_gate_shexp", "mlp.shared_experts.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_experts.up_proj"),
    ("ffn_down_shexp", "mlp.shared_experts.down_proj"),
];

/// How the hub names what llama.cpp names alike in all architectures.
struct Experts {
    router: &'static str,
    module: &'static str,
    /// Gate, up and down of one expert.
    projections: [&'static str; 3],
}

const MLP: Experts =
    Experts { router: "mlp.gate", module: "mlp.experts", projections: ["gate_proj", "up_proj", "down_proj"] };
const BLOCK_SPARSE: Experts = Experts {
    router: "block_sparse_moe.gate",
    module: "block_sparse_moe.experts",
    projections: ["w1", "w3", "w2"],
};
const GPT_OSS: Experts = Experts { router: "mlp.router", ..MLP };

/// Finds the tensors of a model.
pub(super) fn translate(gguf: &Gguf) -> Result<BTreeMap<String, Place>, ModelError> {
    let architecture = Architecture::of(gguf)?;
    let mut names = Names { left: gguf.tensors.clone(), found: BTreeMap::new() };
    for (ggml, hub) in TOP {
        names.rename(ggml, (*hub).to_owned());
    }
    // It is part of the config.
    names.left.remove("rope_freqs.weight");
    let layers = gguf.metadata.size(&format!("{}.block_count", gguf.architecture()?))?;
    // A file cannot have more layers than tensors, whatever it says.
    for i in 0..layers.min(gguf.tensors.len()) {
        let layer = Layer { ggml: format!("blk.{i}."), hub: format!("model.layers.{i}.") };
        if architecture == Architecture::Llama {
            let dim = head_dim(gguf)?;
            names.heads(&layer, "attn_q", "self_attn.q_proj", dim)?;
            names.heads(&layer, "attn_k", "self_attn.k_proj", dim)?;
        }
        names.layer(&layer, architecture)?;
    }
    let left = std::mem::take(&mut names.left);
    names
        .found
        .extend(left.into_iter().map(|(name, tensor)| (name, Place::plain(tensor.shape, tensor.stored))));
    Ok(names.found)
}

fn head_dim(gguf: &Gguf) -> Result<usize, ModelError> {
    let dim = gguf.config()?.size("head_dim")?;
    if dim == 0 || !dim.is_multiple_of(2) {
        return Err(ModelError::Unsupported {
            what: format!("heads of {dim}"),
            supported: "heads of an even width".to_owned(),
        });
    }
    Ok(dim)
}

/// How a layer's names begin.
struct Layer {
    ggml: String,
    hub: String,
}

struct Names {
    left: BTreeMap<String, Tensor>,
    found: BTreeMap<String, Place>,
}

impl Names {
    fn rename(&mut self, ggml: &str, hub: String) {
        if let Some(Tensor { shape, stored }) = self.left.remove(ggml) {
            self.found.insert(hub, Place::plain(shape, stored));
        }
    }

    fn layer(&mut self, layer: &Layer, architecture: Architecture) -> Result<(), ModelError> {
        let Layer { ggml, hub } = layer;
        for (from, to) in MODULES {
            for kind in ["weight", "bias"] {
                self.rename(&format!("{ggml}{from}.{kind}"), format!("{hub}{to}.{kind}"));
            }
        }
        self.rename(&format!("{ggml}attn_sinks.weight"), format!("{hub}self_attn.sinks"));
        self.latent(layer)?;
        let experts = match architecture {
            Architecture::Llama => &BLOCK_SPARSE,
            Architecture::GptOss => &GPT_OSS,
            _ => &MLP,
        };
        let router = format!("{hub}{}", experts.router);
        for kind in ["weight", "bias"] {
            self.rename(&format!("{ggml}ffn_gate_inp.{kind}"), format!("{router}.{kind}"));
        }
        self.rename(&format!("{ggml}exp_probs_b.bias"), format!("{router}.e_score_correction_bias"));
        if architecture == Architecture::GptOss {
            return self.fused(layer, experts);
        }
        for (from, to) in ["gate", "up", "down"].into_iter().zip(experts.projections) {
            let named = |expert: usize| format!("{hub}{}.{expert}.{to}.weight", experts.module);
            self.split(&format!("{ggml}ffn_{from}_exps.weight"), named)?;
            // Older files have one tensor for each expert.
            for expert in 0.. {
                let name = format!("{ggml}ffn_{from}.{expert}.weight");
                if !self.left.contains_key(&name) {
                    break;
                }
                self.rename(&name, named(expert));
            }
        }
        Ok(())
    }

    /// Queries or keys, whose rows llama.cpp has in another order.
    fn heads(&mut self, layer: &Layer, from: &str, to: &str, dim: usize) -> Result<(), ModelError> {
        for kind in ["weight", "bias"] {
            let name = format!("{}{from}.{kind}", layer.ggml);
            let Some(Tensor { shape, mut stored }) = self.left.remove(&name) else { continue };
            if shape.len() == 1 {
                (stored.rows, stored.width) = (stored.width, 1);
            }
            if !stored.rows.is_multiple_of(dim) || stored.format.check(stored.width).is_err() {
                return Err(wrong(&name, format!("has {} rows, which are no heads of {dim}", stored.rows)));
            }
            let rows = Rows::Heads { stored, dim };
            self.found.insert(format!("{}{to}.{kind}", layer.hub), Place { shape, rows, by_rows: false });
        }
        Ok(())
    }

    /// The experts of one tensor `[E, rows, width]`, each under a name of its own.
    fn split(&mut self, ggml: &str, named: impl Fn(usize) -> String) -> Result<(), ModelError> {
        let Some(Tensor { shape, stored }) = self.left.remove(ggml) else { return Ok(()) };
        let [count, rows, width] = three(ggml, &shape)?;
        if count > EXPERTS_MAX {
            return Err(wrong(ggml, format!("has {count} experts, at most {EXPERTS_MAX} are read")));
        }
        for expert in 0..count {
            let part = stored.part(expert * rows..(expert + 1) * rows);
            self.found.insert(named(expert), Place::plain(vec![rows, width], part));
        }
        Ok(())
    }

    /// gpt-oss: the gate's and the up projection's rows alternate in one tensor of the hub.
    fn fused(&mut self, layer: &Layer, experts: &Experts) -> Result<(), ModelError> {
        let Layer { ggml, hub } = layer;
        let module = format!("{hub}{}", experts.module);
        let down = format!("{ggml}ffn_down_exps.weight");
        if let Some(Tensor { shape, stored }) = self.left.remove(&down) {
            let place = Place { shape, rows: Rows::InOrder(stored), by_rows: true };
            self.found.insert(format!("{module}.down_proj"), place);
        }
        self.rename(&format!("{ggml}ffn_down_exps.bias"), format!("{module}.down_proj_bias"));
        for (kind, hub) in [("weight", "gate_up_proj"), ("bias", "gate_up_proj_bias")] {
            let (gate, up) = (format!("{ggml}ffn_gate_exps.{kind}"), format!("{ggml}ffn_up_exps.{kind}"));
            let Some(Tensor { mut shape, stored: gate_stored }) = self.left.remove(&gate) else { continue };
            let Some(other) = self.left.remove(&up).filter(|other| other.shape == shape) else {
                return Err(wrong(&up, format!("is missing or not of the shape {shape:?} of {gate}")));
            };
            let mut both = [gate_stored, other.stored];
            if let [_, inner] = shape[..] {
                for Slice { rows, width, .. } in &mut both {
                    (*rows, *width) = (*rows * inner, 1);
                }
            }
            if both.iter().any(|stored| stored.format.check(stored.width).is_err()) {
                return Err(wrong(&gate, "is a bias in blocks".to_owned()));
            }
            *shape.get_mut(1).ok_or_else(|| wrong(&gate, "has one dimension".to_owned()))? *= 2;
            let place = Place { shape, rows: Rows::Alternate(both), by_rows: true };
            self.found.insert(format!("{module}.{hub}"), place);
        }
        Ok(())
    }

    /// Latent attention: newer files have the expansion of keys and of values apart, the keys' turned.
    fn latent(&mut self, layer: &Layer) -> Result<(), ModelError> {
        let (keys, values) =
            (format!("{}attn_k_b.weight", layer.ggml), format!("{}attn_v_b.weight", layer.ggml));
        let (Some(key), Some(value)) = (self.left.get(&keys), self.left.get(&values)) else { return Ok(()) };
        let ([heads, latent, key_rows], [value_heads, value_rows, value_latent]) =
            (three(&keys, &key.shape)?, three(&values, &value.shape)?);
        if (heads, latent) != (value_heads, value_latent) {
            return Err(wrong(&keys, format!("is of shape {:?}, {values} of {:?}", key.shape, value.shape)));
        }
        let shape = vec![heads * (key_rows + value_rows), latent];
        let rows = Rows::Latent { keys: key.stored.clone(), values: value.stored.clone(), heads };
        self.found.insert(
            format!("{}self_attn.kv_b_proj.weight", layer.hub),
            Place { shape, rows, by_rows: false },
        );
        self.left.remove(&keys);
        self.left.remove(&values);
        Ok(())
    }
}

fn three(name: &str, shape: &[usize]) -> Result<[usize; 3], ModelError> {
    shape
        .try_into()
        .map_err(|_| wrong(name, format!("has the shape {shape:?}, three dimensions are expected")))
}

fn wrong(name: &str, detail: String) -> ModelError {
    ModelError::Tensor { name: name.to_owned(), detail }
}
