//! Reads a checkpoint's rope settings, in the spelling of transformers 4 or 5, into a table.
//!
//! transformers 4 has `rope_theta` and `rope_scaling` at the top, transformers 5 one `rope_parameters`. The
//! inverse frequencies are computed in f32, as the reference does, so that large positions agree.

use std::f64::consts::PI;

use kernels::RopeTable;

use super::ModelError;
use super::config::Config;

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

/// The table for heads of `head_dim`.
pub(crate) fn table(config: &Config, head_dim: usize, defaults: Defaults) -> Result<RopeTable, ModelError> {
    let top_part = config.find_number("partial_rotary_factor")?;
    let rotary_dim = config.find_size("rotary_dim")?;
    // An explicit width wins: the factor beside it says the same, rounded.
    let width = |part: Option<f64>| match rotary_dim {
        Some(width) => width,
        None => (head_dim as f64 * part.or(top_part).unwrap_or(defaults.part)) as usize,
    };
    let top_theta = config.find_number("rope_theta")?;
    let (scaling, parameters) = (config.find_object("rope_scaling")?, config.find_object("rope_parameters")?);
    let Some(settings) = parameters.or(scaling) else {
        let theta = top_theta.unwrap_or(defaults.theta);
        return Ok(RopeTable::new(inverse_frequencies(width(None), theta), 1.0));
    };
    let theta = settings.find_number("rope_theta")?.or(top_theta).unwrap_or(defaults.theta);
    let plain = inverse_frequencies(width(settings.find_number("partial_rotary_factor")?), theta);
    let kind = match settings.find_word("rope_type")? {
        Some(kind) => {
            settings.find_word("type")?;
            kind
        }
        None => settings.find_word("type")?.unwrap_or_else(|| "default".to_owned()),
    };
    let scaled = match kind.as_str() {
        "default" => plain,
        "linear" => {
            let factor = settings.number("factor")? as f32;
            plain.into_iter().map(|frequency| frequency / factor).collect()
        }
        "llama3" => llama3(plain, &settings)?,
        "longrope" => longrope(plain, &settings)?,
        other => {
            return Err(ModelError::Unsupported {
                what: format!("rope type {other:?}"),
                supported: "default, linear, llama3, longrope with one list".to_owned(),
            });
        }
    };
    settings.finish()?;
    Ok(RopeTable::new(scaled, 1.0))
}

/// `theta^(-2i / width)` for each pair `i`.
fn inverse_frequencies(width: usize, theta: f64) -> Vec<f32> {
    let exponent = |i: usize| 2.0 * i as f32 / width as f32;
    (0..width / 2).map(|i| 1.0 / (theta as f32).powf(exponent(i))).collect()
}

/// Each frequency divided by a factor of its own, the same ones for short and for long contexts.
fn longrope(plain: Vec<f32>, settings: &Config) -> Result<Vec<f32>, ModelError> {
    let factors = settings.numbers("short_factor")?;
    let long = settings.numbers("long_factor")?;
    settings.only("attention_factor", &1.0.into())?;
    settings.skip("original_max_position_embeddings");
    if factors != long || factors.len() != plain.len() {
        return Err(ModelError::Unsupported {
            what: format!("longrope of {} factors, which differ for long contexts", factors.len()),
            supported: format!("{} factors, the same ones for short and long contexts", plain.len()),
        });
    }
    Ok(plain.into_iter().zip(factors).map(|(frequency, factor)| frequency / factor as f32).collect())
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
