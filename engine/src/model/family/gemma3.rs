//! Gemma 3, its text model: five layers of sliding window to one of full attention, each kind with a rope of its
//! own; norms before and after each half of a layer; a scaled, tied embedding.

use kernels::{Activation, Reach};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{Attention, Dense, FeedForward, HeadNorm, Heads, Layer, NormKind, Scales};
use crate::model::rope::{Base, Rope, from_settings};

const GLOBAL_THETA: f64 = 1_000_000.0;
const LOCAL_THETA: f64 = 10_000.0;

/// Released configs leave out what agrees with the defaults of the first model of the family.
pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("use_bidirectional_attention", &false.into())?;
    config.only("hidden_activation", &"gelu_pytorch_tanh".into())?;
    config.only("hidden_act", &"gelu_pytorch_tanh".into())?;
    config.ignore(&["cache_implementation"]);
    let size = |key: &str, default: usize| Ok::<_, ModelError>(config.find_size(key)?.unwrap_or(default));
    let cap = |key: &str| Ok::<_, ModelError>(config.find_number(key)?.map(|cap| cap as f32));
    let width = size("hidden_size", 2304)?;
    let context = size("max_position_embeddings", 131_072)?;
    let (query, key_value) = (size("num_attention_heads", 8)?, size("num_key_value_heads", 4)?);
    let heads = shape::grouped(query, key_value, size("head_dim", 256)?)?;
    let bias = config.flag("attention_bias", false)?;
    let heads = Heads {
        scale: (config.find_number("query_pre_attn_scalar")?.unwrap_or(256.0) as f32).sqrt().recip(),
        norm: HeadNorm::PerHead,
        bias,
        output_bias: bias,
        soft_cap: cap("attn_logit_softcapping")?,
        ..heads
    };
    let feed_forward = FeedForward::Dense(Dense {
        inner: size("intermediate_size", 9216)?,
        activation: Activation::GeluTanh,
        module: "mlp",
    });
    let [local, global] = ropes(config, heads.dim, context)?;
    let layer = |(reach, rope)| Layer {
        attention: Attention::Grouped(heads),
        reach,
        rope: Some(rope),
        query_growth: None,
        feed_forward,
    };
    Ok(Description {
        vocabulary: size("vocab_size", 262_208)?,
        width,
        context,
        norm: NormKind::RmsPlusOne,
        norm_eps: config.find_number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
        post_norms: true,
        tied: config.flag("tie_word_embeddings", true)?,
        head_bias: false,
        scales: Scales {
            embedding: (width as f32).sqrt(),
            logits_cap: cap("final_logit_softcapping")?,
            ..Scales::NONE
        },
        ropes: vec![local.table, global.table],
        layers: kinds(config)?.into_iter().map(layer).collect(),
        draft_layers: 0,
        left_out: &[],
        left_out_parameters: 0,
    })
}

/// Each layer's reach and which rope it has.
fn kinds(config: &Config) -> Result<Vec<(Reach, usize)>, ModelError> {
    let window = match shape::sliding_window(config)? {
        Reach::All => Reach::Window(4096),
        window => window,
    };
    let older = config.find_size("sliding_window_pattern")?;
    let pattern = config.find_size("_sliding_window_pattern")?.or(older).unwrap_or(6).max(1);
    let types = shape::layer_types(config, |i| {
        if (i + 1).is_multiple_of(pattern) { "full_attention" } else { "sliding_attention" }
    })?;
    let kind = |kind: String| match kind.as_str() {
        "sliding_attention" => Ok((window, 0)),
        "full_attention" => Ok((Reach::All, 1)),
        other => Err(shape::unknown_layer(other, "sliding_attention, full_attention")),
    };
    types.into_iter().map(kind).collect()
}

/// The ropes of sliding and of full layers: two objects in the new spelling, two bases and a scaling that
/// is for full layers only in the old one.
fn ropes(config: &Config, width: usize, context: usize) -> Result<[Rope; 2], ModelError> {
    let local_theta = config.find_number("rope_local_base_freq")?.unwrap_or(LOCAL_THETA);
    let global_theta = config.find_number("rope_theta")?.unwrap_or(GLOBAL_THETA);
    let local = Base { width, theta: local_theta, context };
    let global = Base { width, theta: global_theta, context };
    let rope = |settings: Option<Config>, base: Base| match settings {
        Some(settings) => from_settings(&settings, base),
        None => Ok(Rope::plain(base)),
    };
    let scaling = config.find_object("rope_scaling")?;
    let Some(both) = config.find_object("rope_parameters")? else {
        return Ok([Rope::plain(local), rope(scaling, global)?]);
    };
    let ropes = [
        rope(both.find_object("sliding_attention")?, local)?,
        rope(both.find_object("full_attention")?, global)?,
    ];
    both.finish()?;
    Ok(ropes)
}
