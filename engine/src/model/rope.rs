//! Reads a checkpoint's rope settings, in the spelling of transformers 4 or 5, into a table.
//!
//! transformers 4 has `rope_theta` and `rope_scaling` at the top, transformers 5 one `rope_parameters`. The
//! inverse frequencies are computed in f32, as the reference does, so that large positions agree.
//!
//! | type | what becomes of the frequencies |
//! |---|---|
//! | `default` | `theta^(-2i / width)` |
//! | `linear` | divided by the factor |
//! | `llama3` | long wavelengths divided, short ones kept, those between blended |
//! | `yarn` | the same by rotations over the original context, and an amplitude (arXiv:2309.00071) |
//! | `longrope` | divided by a list of factors, one for contexts up to the original, one beyond (arXiv:2402.13753) |

use std::f64::consts::PI;

use kernels::RopeTable;

use super::ModelError;
use super::config::Config;
use super::describe::QueryGrowth;

/// What a family means where its config says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// The base of the frequencies.
    pub(crate) theta: f64,
    /// The part of a head that is rotated, in `(0, 1]`.
    pub(crate) part: f64,
}

impl Defaults {
    /// Those of Llama and nearly everybody else.
    pub(crate) const LLAMA: Self = Self { theta: 10_000.0, part: 1.0 };
}

/// A table, and what rope settings say beside it.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    pub(crate) table: RopeTable,
    /// Factor on the scores of latent attention: the square of `YaRN`'s scale at `mscale_all_dim`, otherwise 1.
    pub(crate) score_factor: f32,
    /// Mistral's growth of queries beyond the original context.
    pub(crate) query_growth: Option<QueryGrowth>,
}

/// The size of a table, without its scaling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// R, elements of a head that are rotated.
    pub(crate) width: usize,
    pub(crate) theta: f64,
    /// The longest sequence, in tokens.
    pub(crate) context: usize,
}

/// The rope of heads of `head_dim`, from the settings of the whole config.
pub(crate) fn read(config: &Config, head_dim: usize, defaults: Defaults) -> Result<Rope, ModelError> {
    let top_part = config.find_number("partial_rotary_factor")?;
    let rotary_dim = config.find_size("rotary_dim")?;
    let top_theta = config.find_number("rope_theta")?.unwrap_or(defaults.theta);
    let context = config.size("max_position_embeddings")?;
    let (scaling, parameters) = (config.find_object("rope_scaling")?, config.find_object("rope_parameters")?);
    let settings = parameters.or(scaling);
    let part = match &settings {
        Some(settings) => settings.find_number("partial_rotary_factor")?.or(top_part),
        None => top_part,
    };
    // An explicit width wins: the factor beside it says the same, rounded.
    let width = rotary_dim.unwrap_or((head_dim as f64 * part.unwrap_or(defaults.part)) as usize);
    let base = Base { width, theta: top_theta, context };
    match settings {
        Some(settings) => from_settings(&settings, base),
        None => Ok(Rope::plain(base)),
    }
}

/// The rope of `width` elements that stand apart from the rest of their head; what the config says of parts
/// of a head says the same once more.
pub(crate) fn read_width(config: &Config, width: usize) -> Result<Rope, ModelError> {
    let theta = config.find_number("rope_theta")?.unwrap_or(Defaults::LLAMA.theta);
    let base = Base { width, theta, context: config.size("max_position_embeddings")? };
    let (scaling, parameters) = (config.find_object("rope_scaling")?, config.find_object("rope_parameters")?);
    match parameters.or(scaling) {
        Some(settings) => from_settings(&settings, base),
        None => Ok(Rope::plain(base)),
    }
}

/// The rope that one object of settings describes; a `rope_theta` in it goes before that of `base`.
pub(crate) fn from_settings(settings: &Config, base: Base) -> Result<Rope, ModelError> {
    settings.find_number("partial_rotary_factor")?;
    let base = Base { theta: settings.find_number("rope_theta")?.unwrap_or(base.theta), ..base };
    let old_kind = settings.find_word("type")?;
    let kind = settings.find_word("rope_type")?.or(old_kind).unwrap_or_else(|| "default".to_owned());
    let plain = Rope::plain(base);
    let frequencies = inverse_frequencies(base);
    let scaled = |frequencies| Rope { table: RopeTable::new(frequencies, 1.0), ..plain.clone() };
    let rope = match kind.as_str() {
        "default" => plain,
        "linear" => {
            let factor = settings.number("factor")? as f32;
            scaled(frequencies.into_iter().map(|frequency| frequency / factor).collect())
        }
        "llama3" => scaled(llama3(frequencies, settings)?),
        "yarn" => yarn(&frequencies, settings, base)?,
        "longrope" => Rope { table: longrope(&frequencies, settings, base)?, ..plain },
        other => {
            return Err(ModelError::Unsupported {
                what: format!("rope type {other:?}"),
                supported: "default, linear, llama3, yarn, longrope".to_owned(),
            });
        }
    };
    settings.finish()?;
    Ok(rope)
}

impl Rope {
    /// The table without any scaling.
    pub(crate) fn plain(base: Base) -> Self {
        let table = RopeTable::new(inverse_frequencies(base), 1.0);
        Self { table, score_factor: 1.0, query_growth: None }
    }
}

/// `theta^(-2i / width)` for each pair `i`.
fn inverse_frequencies(Base { width, theta, .. }: Base) -> Vec<f32> {
    let exponent = |i: usize| 2.0 * i as f32 / width as f32;
    (0..width / 2).map(|i| 1.0 / (theta as f32).powf(exponent(i))).collect()
}

/// Llama 3.1's smoothing: long wavelengths are divided by the factor, short ones kept, those between blended.
fn llama3(plain: Vec<f32>, settings: &Config) -> Result<Vec<f32>, ModelError> {
    let factor = settings.number("factor")?;
    let (low, high) = (settings.number("low_freq_factor")?, settings.number("high_freq_factor")?);
    let original = settings.number("original_max_position_embeddings")?;
    let scale = |frequency: f32| {
        let frequency = f64::from(frequency);
        let wavelength = 2.0 * PI / frequency;
        let scaled = if wavelength < original / high {
            frequency
        } else if wavelength > original / low {
            frequency / factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        };
        scaled as f32
    };
    Ok(plain.into_iter().map(scale).collect())
}

/// `YaRN`: pairs that turn more than `beta_fast` times over the original context are kept, those that turn less than
/// `beta_slow` times are divided by the factor, and a ramp leads from one to the other.
fn yarn(plain: &[f32], settings: &Config, base: Base) -> Result<Rope, ModelError> {
    let original = settings.number("original_max_position_embeddings")?;
    let factor = settings.find_number("factor")?.unwrap_or(base.context as f64 / original);
    let fast = settings.find_number("beta_fast")?.unwrap_or(32.0);
    let slow = settings.find_number("beta_slow")?.unwrap_or(1.0);
    let (mscale, all_dim) = (settings.find_number("mscale")?, settings.find_number("mscale_all_dim")?);
    let (mscale, all_dim) = (mscale.unwrap_or(0.0), all_dim.unwrap_or(0.0));
    let width = base.width as f64;
    let pair_that_turns = |times: f64| width * (original / (times * 2.0 * PI)).ln() / (2.0 * base.theta.ln());
    let (mut low, mut high) = (pair_that_turns(fast), pair_that_turns(slow));
    if settings.flag("truncate", true)? {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
    if high <= low {
        // One step of the ramp instead of a division by nothing, as the reference has it.
        high = low + 0.001;
    }
    let blend = |(i, frequency): (usize, &f32)| {
        let kept = 1.0 - ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        frequency / factor as f32 * (1.0 - kept) + frequency * kept
    };
    let amplitude = match settings.find_number("attention_factor")? {
        Some(amplitude) => amplitude,
        None if mscale != 0.0 && all_dim != 0.0 => yarn_scale(factor, mscale) / yarn_scale(factor, all_dim),
        None => yarn_scale(factor, 1.0),
    };
    let growth = settings.find_number("llama_4_scaling_beta")?;
    // A repetition of the config's own field.
    settings.find_size("max_position_embeddings")?;
    // A note on how the model was trained.
    settings.flag("finetuned", true)?;
    Ok(Rope {
        table: RopeTable::new(plain.iter().enumerate().map(blend).collect(), amplitude as f32),
        score_factor: if all_dim == 0.0 { 1.0 } else { yarn_scale(factor, all_dim).powi(2) as f32 },
        query_growth: growth.map(|factor| QueryGrowth {
            factor: factor as f32,
            step: original as f32,
            offset: 0.0,
        }),
    })
}

fn yarn_scale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// A factor for each pair. Which list applies is the model's context's affair and not a request's: keys in the cache
/// cannot be turned again when their sequence grows beyond the original length.
fn longrope(plain: &[f32], settings: &Config, base: Base) -> Result<RopeTable, ModelError> {
    let original = settings.number("original_max_position_embeddings")?;
    let long = base.context as f64 > original;
    let mut factors = (settings.numbers("short_factor")?, settings.numbers("long_factor")?);
    let mut scales = (settings.find_number("short_mscale")?, settings.find_number("long_mscale")?);
    if long {
        (factors.0, scales.0) = (factors.1, scales.1);
    }
    let (factors, scale) = (factors.0, scales.0);
    if factors.len() != plain.len() {
        return Err(ModelError::Unsupported {
            what: format!("longrope with {} factors for {} pairs", factors.len(), plain.len()),
            supported: "one factor for each pair".to_owned(),
        });
    }
    let factor = settings.find_number("factor")?.unwrap_or(base.context as f64 / original);
    let amplitude = match settings.find_number("attention_factor")?.or(scale) {
        Some(amplitude) => amplitude,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / original.ln()).sqrt(),
    };
    let scaled = plain.iter().zip(factors).map(|(frequency, factor)| frequency / factor as f32);
    Ok(RopeTable::new(scaled.collect(), amplitude as f32))
}
