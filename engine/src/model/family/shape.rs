//! What the families have in common: Llama's shape, and the config fields that several of them write.

use kernels::{Activation, Gating, Reach, RopePairs, Weighted};

use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::describe::{
    Attention, Dense, Description, ExpertLayer, ExpertNames, FeedForward, HeadNorm, Heads, Layer, NormKind,
    Scales,
};
use crate::model::rope::{self, Rope};

/// Plain query, key and value heads, as `config` sizes them.
pub(super) fn heads(config: &Config) -> Result<Heads, ModelError> {
    let (width, query) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let key_value = config.find_size("num_key_value_heads")?.unwrap_or(query);
    let dim = config.find_size("head_dim")?.unwrap_or(width / query.max(1));
    grouped(query, key_value, dim)
}

/// Plain heads of the given numbers.
pub(super) fn grouped(query: usize, key_value: usize, dim: usize) -> Result<Heads, ModelError> {
    if key_value == 0 || !query.is_multiple_of(key_value) {
        return Err(ModelError::Unsupported {
            what: format!("{query} query heads over {key_value} key/value heads"),
            supported: "a whole number of query heads per key/value head".to_owned(),
        });
    }
    Ok(Heads {
        query,
        key_value,
        dim,
        scale: 1.0 / (dim as f32).sqrt(),
        norm: HeadNorm::None,
        pairs: RopePairs::Halves,
        bias: false,
        output_bias: false,
        sinks: false,
        soft_cap: None,
        clamp: None,
    })
}

/// Llama's network around these heads and feed-forwards: every layer sees everything and turns its heads.
pub(super) fn llama(
    config: &Config,
    heads: Heads,
    feed_forwards: Vec<FeedForward>,
) -> Result<Description, ModelError> {
    let rope = rope::read(config, heads.dim, rope::Defaults::LLAMA)?;
    network(config, Attention::Grouped(heads), rope, feed_forwards)
}

/// The same around any attention and rope.
pub(super) fn network(
    config: &Config,
    attention: Attention,
    rope: Rope,
    feed_forwards: Vec<FeedForward>,
) -> Result<Description, ModelError> {
    config.only("hidden_act", &"silu".into())?;
    let layer = |feed_forward| Layer {
        attention,
        reach: Reach::All,
        rope: Some(0),
        query_growth: rope.query_growth,
        feed_forward,
    };
    Ok(Description {
        vocabulary: config.size("vocab_size")?,
        width: config.size("hidden_size")?,
        context: config.size("max_position_embeddings")?,
        norm: NormKind::Rms,
        norm_eps: config.number("rms_norm_eps")? as f32,
        post_norms: false,
        tied: config.flag("tie_word_embeddings", false)?,
        head_bias: false,
        scales: Scales::NONE,
        layers: feed_forwards.into_iter().map(layer).collect(),
        ropes: vec![rope.table],
        draft_layers: 0,
        left_out: &[],
        left_out_parameters: 0,
    })
}

/// A dense feed-forward of `inner` in Llama's names.
pub(super) fn dense(inner: usize) -> FeedForward {
    FeedForward::Dense(Dense { inner, activation: Activation::Silu, module: "mlp" })
}

/// A dense feed-forward of the config's `intermediate_size` in each layer.
pub(super) fn all_dense(config: &Config) -> Result<Vec<FeedForward>, ModelError> {
    Ok(vec![dense(config.size("intermediate_size")?); config.size("num_hidden_layers")?])
}

/// Experts of the plain kind: `SwiGLU`, weighted by the router, without a shared one.
pub(super) fn experts(count: usize, inner: usize, gating: Gating, names: ExpertNames) -> ExpertLayer {
    let (activation, weighted) = (Activation::Silu, Weighted::Output);
    ExpertLayer { count, inner, gating, activation, weighted, names, shared: None }
}

/// Experts in the layers where `is_sparse` says so, and a dense feed-forward in the others.
pub(super) fn sparse(
    config: &Config,
    experts: ExpertLayer,
    is_sparse: impl Fn(usize) -> bool,
) -> Result<Vec<FeedForward>, ModelError> {
    let inner = config.find_size("intermediate_size")?;
    let layer = |i: usize| match inner {
        _ if is_sparse(i) => Ok(FeedForward::Experts(experts)),
        Some(inner) => Ok(dense(inner)),
        None => Err(ModelError::Field { name: "intermediate_size".to_owned(), expected: "a whole number" }),
    };
    (0..config.size("num_hidden_layers")?).map(layer).collect()
}

/// The number of experts: transformers 5 writes the common name, checkpoints on the hub the family's own.
pub(super) fn expert_count(config: &Config, own: &'static str) -> Result<usize, ModelError> {
    let common = config.find_size("num_local_experts")?;
    match config.find_size(own)? {
        Some(count) => Ok(count),
        None => common.ok_or(ModelError::Field { name: own.to_owned(), expected: "a whole number" }),
    }
}

/// Qwen's choice of layers: not in `mlp_only_layers`, and `i + 1` a multiple of `decoder_sparse_step`.
pub(super) fn qwen_sparse(config: &Config) -> Result<impl Fn(usize) -> bool, ModelError> {
    let step = config.find_size("decoder_sparse_step")?.unwrap_or(1).max(1);
    let dense_only = config.find_sizes("mlp_only_layers")?.unwrap_or_default();
    Ok(move |i: usize| !dense_only.contains(&i) && (i + 1).is_multiple_of(step))
}

/// The config's `sliding_window`, in keys; 0 is none.
pub(super) fn sliding_window(config: &Config) -> Result<Reach, ModelError> {
    let window = config.find_size("sliding_window")?.filter(|window| *window > 0);
    Ok(window.map_or(Reach::All, |window| Reach::Window(u32::try_from(window).unwrap_or(u32::MAX))))
}

/// Lets every layer see as far as `reach`.
pub(super) fn with_reach(mut description: Description, reach: Reach) -> Description {
    description.layers.iter_mut().for_each(|layer| layer.reach = reach);
    description
}

/// Qwen's switch: the window counts only where `use_sliding_window` is set, which no released model does.
pub(super) fn no_sliding_window(config: &Config) -> Result<(), ModelError> {
    config.only("use_sliding_window", &false.into())?;
    config.find_size("sliding_window")?;
    match config.find_words("layer_types")?.into_iter().flatten().find(|kind| kind != "full_attention") {
        Some(kind) => Err(unknown_layer(&kind, "full_attention")),
        None => Ok(()),
    }
}

/// The config's `layer_types`, one for each layer, or what `default` says of layer `i`.
pub(super) fn layer_types(
    config: &Config,
    default: impl Fn(usize) -> &'static str,
) -> Result<Vec<String>, ModelError> {
    let layers = config.size("num_hidden_layers")?;
    match config.find_words("layer_types")? {
        Some(types) if types.len() != layers => Err(ModelError::Unsupported {
            what: format!("{} layer_types for {layers} layers", types.len()),
            supported: "one for each".to_owned(),
        }),
        Some(types) => Ok(types),
        None => Ok((0..layers).map(|i| default(i).to_owned()).collect()),
    }
}

pub(super) fn unknown_layer(kind: &str, supported: &str) -> ModelError {
    ModelError::Unsupported { what: format!("a layer of type {kind:?}"), supported: supported.to_owned() }
}

/// The text model of a config that has it beside an image encoder, which is left out.
pub(super) fn beside_vision(
    config: &Config,
    describe: impl Fn(&Config) -> Result<Description, ModelError>,
) -> Result<Description, ModelError> {
    let missing = ModelError::Field { name: "text_config".to_owned(), expected: "an object" };
    let text = config.find_object("text_config")?.ok_or(missing)?;
    config.ignore(&[
        "boi_token_index",
        "eoi_token_index",
        "image_token_index",
        "mm_tokens_per_image",
        "multimodal_projector_bias",
        "projector_hidden_act",
        "spatial_merge_size",
        "tie_word_embeddings",
        "vision_feature_layer",
    ]);
    let mut description = describe(&text)?;
    text.finish()?;
    description.left_out_parameters = match config.find_object("vision_config")? {
        Some(encoder) => encoder_parameters(&encoder)?,
        None => 0,
    };
    description.left_out = &[
        "model.multi_modal_projector",
        "model.vision_model",
        "model.vision_tower",
        "multi_modal_projector",
        "vision_model",
        "vision_tower",
    ];
    Ok(description)
}

/// Parameters of an image encoder's layers, without its patches and projections, a few per cent of it.
fn encoder_parameters(encoder: &Config) -> Result<u64, ModelError> {
    let size = |key: &str| Ok::<_, ModelError>(encoder.find_size(key)?.unwrap_or(0));
    let (width, inner) = (size("hidden_size")?, size("intermediate_size")?);
    Ok((size("num_hidden_layers")? * width * (4 * width + 2 * inner)) as u64)
}
