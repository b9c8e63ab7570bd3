//! Settings that only a model of our own is told.
//!
//! The fields and their meaning are those of vLLM's server, `logit_bias` is the API's own. They are read when the call
//! goes to a model of our own, and are [extras](Extra) like any other before: whoever writes the call for a provider
//! names them as lost.

use serde_json::value::RawValue;

use crate::ParseError;
use crate::call::Extra;
use crate::json::read::{self, Object};

/// Most tokens in `logit_bias`.
const BIASED_TOKENS_MAX: usize = 1024;
/// Most tokens in `stop_token_ids`.
const STOP_TOKENS_MAX: usize = 128;

/// The fields that are read here.
const NAMES: [&str; 6] =
    ["repetition_penalty", "logit_bias", "min_tokens", "ignore_eos", "stop_token_ids", "return_token_ids"];

/// What only a model of our own is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Local {
    /// Makes tokens of prompt and answer less likely, if above 1; 0.01 to 100.
    pub repetition_penalty: Option<f64>,
    /// Tokens with what is added to their logits, each -100 to 100.
    pub logit_bias: Vec<(u32, f64)>,
    /// Least number of tokens of the answer.
    pub min_tokens: Option<u32>,
    /// The model's own end tokens end nothing.
    pub ignore_eos: bool,
    /// Tokens that end the answer and are not part of its text.
    pub stop_token_ids: Vec<u32>,
    /// The answer is to have the numbers of its tokens and of the prompt's.
    pub return_token_ids: bool,
}

impl Local {
    /// Takes the fields out of `extras`.
    ///
    /// # Errors
    /// Returns the first field that is wrong.
    pub fn take(extras: &mut Vec<Extra>) -> Result<Self, ParseError> {
        let mut local = Self::default();
        let (own, rest): (Vec<Extra>, _) =
            extras.drain(..).partition(|extra| NAMES.contains(&extra.name.as_str()));
        *extras = rest;
        for extra in own.iter().filter(|extra| extra.says_something()) {
            local.set(extra).map_err(|error| error.under_key(&extra.name))?;
        }
        Ok(local)
    }

    fn set(&mut self, extra: &Extra) -> Result<(), ParseError> {
        let raw: &RawValue =
            serde_json::from_str(&extra.json).map_err(|_| ParseError::bad_value("must be JSON"))?;
        match extra.name.as_str() {
            "repetition_penalty" => self.repetition_penalty = Some(read::number(0.01..=100.0)(raw)?),
            "logit_bias" => self.logit_bias = read_bias(raw)?,
            "min_tokens" => self.min_tokens = Some(read::count(0..=u32::MAX)(raw)?),
            "ignore_eos" => self.ignore_eos = read::boolean(raw)?,
            "stop_token_ids" => {
                self.stop_token_ids = read::each(raw, read::count(0..=u32::MAX))?;
                if self.stop_token_ids.len() > STOP_TOKENS_MAX {
                    let reason = format!("must have at most {STOP_TOKENS_MAX} tokens");
                    return Err(ParseError::bad_value(reason));
                }
            }
            _ => self.return_token_ids = read::boolean(raw)?,
        }
        Ok(())
    }
}

fn read_bias(raw: &RawValue) -> Result<Vec<(u32, f64)>, ParseError> {
    let biases = Object::read(raw)?;
    if biases.members().count() > BIASED_TOKENS_MAX {
        return Err(ParseError::bad_value(format!("must have at most {BIASED_TOKENS_MAX} tokens")));
    }
    let bias = |(token, raw): (&str, &RawValue)| {
        let id = token.parse().map_err(|_| ParseError::bad_value("must have token numbers as its names"))?;
        Ok((id, read::number(-100.0..=100.0)(raw)?))
    };
    biases.members().map(bias).collect()
}
