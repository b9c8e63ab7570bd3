//! `portcullis models inspect`: what a model is and takes, from its config and the heads of its files.

use std::fmt::Write as _;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::{CacheNeed, Inspection, Kind, Size};
use serde_json::{Value, json};

use super::{CommandError, Routes, print_json};
use crate::cli::Inspect;
use crate::error::with_causes;

/// Formats in which weights may be kept, with bits for each of them.
///
/// FP8 has an f32 scale for 128 weights, MXFP4 a byte for 32, the others are those of ggml.
const FORMATS: [(&str, f64); 6] =
    [("f32", 32.0), ("bf16", 16.0), ("fp8", 8.25), ("q8_0", 8.5), ("q4_k", 4.5), ("mxfp4", 4.25)];

/// Bytes of an element of the KV cache as it is published, and as it is served here.
const BF16_BYTES: usize = 2;
const F32_BYTES: usize = 4;

pub(super) fn run(settings: &Inspect) -> Result<ExitCode, CommandError> {
    let path = path_of(settings)?;
    let kind = engine::inspect(&path)
        .map_err(|error| format!("{} cannot be served: {}", path.display(), with_causes(&error)))?;
    let mut out = stdout().lock();
    match (kind, settings.json) {
        (Kind::Generator(inspection), false) => out.write_all(text(&inspection).as_bytes())?,
        (Kind::Generator(inspection), true) => print_json(&mut out, &json(&inspection))?,
        (Kind::Encoder { architecture }, false) => {
            writeln!(out, "{architecture}\n  serves      /v1/embeddings, or labels if it is a classifier")?;
        }
        (Kind::Encoder { architecture }, true) => {
            print_json(&mut out, &json!({"architecture": architecture, "kind": "encoder"}))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The path that is meant: one that exists, or that of a model of the policy.
fn path_of(settings: &Inspect) -> Result<PathBuf, CommandError> {
    let wanted = &settings.model;
    if Path::new(wanted).exists() {
        return Ok(PathBuf::from(wanted));
    }
    let routes = settings.routes.display();
    if !settings.routes.exists() {
        return Err(format!("{wanted} does not exist, and there is no {routes} that could name it").into());
    }
    let policy = Routes::read(&settings.routes)?;
    let found = policy.local().find(|(model, _)| model.name().as_str() == wanted).map(|(_, path)| path);
    found.ok_or_else(|| {
        format!("{wanted} does not exist, and {routes} has no local model of that name").into()
    })
}

fn text(inspection: &Inspection) -> String {
    let Inspection { architecture, parameters, context_tokens, vocabulary, cache, stored, .. } = inspection;
    let (total, active) = (billions(parameters.total), billions(parameters.active));
    let mut text = format!("{architecture}\n");
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:11} {value}").expect("a string takes all that is written");
    };
    line("parameters", &format!("{total} in all; a token is multiplied with {active}"));
    line("", &format!("and looked up among {} of embeddings", billions(parameters.embedding)));
    if inspection.left_out_parameters > 0 {
        let encoder = billions(inspection.left_out_parameters);
        line("", &format!("beside it an image encoder of about {encoder}, which is not served"));
    }
    line("context", &format!("{context_tokens} tokens; vocabulary {vocabulary}"));
    if let Some(stored) = stored {
        let formats = stored.iter().map(|(format, bytes)| format!("{format} {}", Size(*bytes)));
        line("stored", &formats.collect::<Vec<_>>().join(", "));
    }
    let memory =
        FORMATS.iter().map(|(name, bits)| format!("{name} {}", Size(weights_bytes(inspection, *bits))));
    line("weights", &memory.collect::<Vec<_>>().join(", "));
    let elements = inspection.kv_elements_per_token();
    line(
        "KV cache",
        &format!(
            "{} bytes for each token in bf16, {} in f32, as it is served here",
            elements * BF16_BYTES,
            elements * F32_BYTES
        ),
    );
    for CacheNeed { layers, tokens_max, elements_per_token } in cache {
        let bytes = elements_per_token * BF16_BYTES;
        let tokens =
            tokens_max.map_or("every token".to_owned(), |tokens| format!("the last {tokens} tokens at most"));
        line("", &format!("{layers} layers keep {tokens}, {bytes} bytes in bf16 for each"));
    }
    text
}

fn json(inspection: &Inspection) -> Value {
    let memory =
        FORMATS.iter().map(|(name, bits)| ((*name).to_owned(), json!(weights_bytes(inspection, *bits))));
    let cache = inspection.cache.iter().map(|need| {
        json!({
            "layers": need.layers,
            "tokens_max": need.tokens_max,
            "bytes_per_token_bf16": need.elements_per_token * BF16_BYTES,
        })
    });
    let elements = inspection.kv_elements_per_token();
    json!({
        "architecture": inspection.architecture,
        "kind": "generator",
        "parameters": {
            "total": inspection.parameters.total,
            "active": inspection.parameters.active,
            "embedding": inspection.parameters.embedding,
            "left_out": inspection.left_out_parameters,
        },
        "context_tokens": inspection.context_tokens,
        "vocabulary": inspection.vocabulary,
        "stored_bytes": inspection.stored,
        "weights_bytes": memory.collect::<serde_json::Map<_, _>>(),
        "kv_bytes_per_token": {"bf16": elements * BF16_BYTES, "f32": elements * F32_BYTES},
        "cache": cache.collect::<Vec<_>>(),
    })
}

fn weights_bytes(inspection: &Inspection, bits: f64) -> u64 {
    (inspection.parameters.total as f64 * bits / 8.0) as u64
}

fn billions(parameters: u64) -> String {
    match parameters as f64 {
        n if n >= 1e9 => format!("{:.2} billion", n / 1e9),
        n if n >= 1e6 => format!("{:.2} million", n / 1e6),
        n => format!("{n}"),
    }
}
