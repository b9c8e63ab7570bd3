//! Llama 4, its text model: layers that see their own chunk and layers without rope that see all, one expert per
//! token weighted on its input, a shared expert.

use kernels::{Activation, GateUp, Gating, Reach, RopePairs, Score, Weighted};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{
    Dense, ExpertLayer, ExpertNames, ExpertTensors, FeedForward, HeadNorm, Heads, QueryGrowth, SharedExpert,
};
use crate::model::weights::Stored;

const MODULE: &str = "feed_forward";

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    // The old switch of a window that these models do not have.
    config.ignore(&["for_llm_compressor", "cache_implementation"]);
    let layers = config.size("num_hidden_layers")?;
    let turned = turned_layers(config, layers)?;
    let types =
        shape::layer_types(config, |i| if turned[i] { "chunked_attention" } else { "full_attention" })?;
    let bias = config.flag("attention_bias", false)?;
    let heads = Heads {
        norm: if config.flag("use_qk_norm", true)? { HeadNorm::AfterRope } else { HeadNorm::None },
        pairs: RopePairs::Neighbours,
        bias,
        output_bias: bias,
        ..shape::heads(config)?
    };
    let mut description = shape::llama(config, heads, feed_forwards(config, layers)?)?;
    let chunk = config.find_size("attention_chunk_size")?.unwrap_or(8192);
    let growth = query_growth(config)?;
    for (i, layer) in description.layers.iter_mut().enumerate() {
        layer.reach = match types[i].as_str() {
            "chunked_attention" => Reach::Chunk(u32::try_from(chunk).unwrap_or(u32::MAX)),
            "full_attention" => Reach::All,
            other => return Err(shape::unknown_layer(other, "chunked_attention, full_attention")),
        };
        if !turned[i] {
            layer.rope = None;
            layer.query_growth = growth;
        }
    }
    Ok(description)
}

/// Which layers turn their heads. The config's list is called `no_rope_layers` and has a 1 for those that do.
fn turned_layers(config: &Config, layers: usize) -> Result<Vec<bool>, ModelError> {
    let interval = config.find_size("no_rope_layer_interval")?.unwrap_or(4).max(1);
    match config.find_sizes("no_rope_layers")? {
        Some(list) if list.len() == layers => Ok(list.iter().map(|turned| *turned != 0).collect()),
        Some(list) if !list.is_empty() => Err(ModelError::Unsupported {
            what: format!("{} no_rope_layers for {layers} layers", list.len()),
            supported: "one for each".to_owned(),
        }),
        _ => Ok((0..layers).map(|i| !(i + 1).is_multiple_of(interval)).collect()),
    }
}

fn query_growth(config: &Config) -> Result<Option<QueryGrowth>, ModelError> {
    let growth = QueryGrowth {
        factor: config.find_number("attn_scale")?.unwrap_or(0.1) as f32,
        step: config.find_number("floor_scale")?.unwrap_or(8192.0) as f32,
        offset: 1.0,
    };
    // A number in early releases, a flag since.
    let tuned = match config.find_number("attn_temperature_tuning") {
        Ok(number) => number.is_none_or(|number| number != 0.0),
        Err(_) => config.flag("attn_temperature_tuning", true)?,
    };
    Ok(tuned.then_some(growth))
}

fn feed_forwards(config: &Config, layers: usize) -> Result<Vec<FeedForward>, ModelError> {
    let inner = config.size("intermediate_size")?;
    let dense = Dense {
        inner: config.find_size("intermediate_size_mlp")?.unwrap_or(16384),
        activation: Activation::Silu,
        module: MODULE,
    };
    let experts = ExpertLayer {
        weighted: Weighted::Input,
        shared: Some(SharedExpert { inner, module: "shared_expert", gate: None }),
        ..shape::experts(
            config.size("num_local_experts")?,
            inner,
            Gating::plain(config.size("num_experts_per_tok")?, Score::Sigmoid),
            ExpertNames {
                module: MODULE,
                router: "router",
                tensors: ExpertTensors::Fused {
                    gate_up: "experts.gate_up_proj",
                    down: "experts.down_proj",
                    stored: Stored::Columns,
                    rows: GateUp::Halves,
                    bias: false,
                },
                ..ExpertNames::MLP
            },
        )
    };
    let step = config.find_size("interleave_moe_layer_step")?.unwrap_or(1).max(1);
    let list = config.find_sizes("moe_layers")?;
    let is_sparse = |i: usize| match &list {
        Some(list) => list.contains(&i),
        None => (i + 1).is_multiple_of(step),
    };
    let layer = |i| if is_sparse(i) { FeedForward::Experts(experts) } else { FeedForward::Dense(dense) };
    Ok((0..layers).map(layer).collect())
}
