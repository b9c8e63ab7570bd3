//! Mistral: Llama's network with an optional sliding window in every layer.

use super::{Config, Description, ModelError};
use super::{mistral4, shape};

/// The text model beside Mistral's image encoder, which is of one of two kinds.
pub(super) fn describe_any(config: &Config) -> Result<Description, ModelError> {
    match config.find_word("model_type")?.as_deref() {
        Some("mistral4") => mistral4::describe(config),
        Some("mistral") => describe(config),
        other => Err(ModelError::Unsupported {
            what: format!("text_config.model_type = {other:?}"),
            supported: "mistral, mistral4".to_owned(),
        }),
    }
}

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let reach = shape::sliding_window(config)?;
    let description = shape::llama(config, shape::heads(config)?, shape::all_dense(config)?)?;
    Ok(shape::with_reach(description, reach))
}
