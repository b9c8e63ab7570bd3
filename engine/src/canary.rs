//! One token or one vector, asked for by the ordinary path: the proof that an engine answers.
//!
//! That a thread is alive proves little, and neither does a step that ends: a model of nothing but NaN steps well. What
//! an answer says does not matter here, only that there is one.

use crate::encoder::{EncodeError, Input, Overflow};
use crate::events::Event;
use crate::request::{Ending, NewTokens, Prompt, Report, Request, SubmitError};
use crate::sampler::Sampling;
use crate::{Encoder, Engine, Handle};

/// A token that every vocabulary has.
const TOKEN: u32 = 0;

/// Why an engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// It did not take the question.
    #[error("it takes no request: {0}")]
    Submit(#[source] SubmitError),
    /// The model failed on it.
    #[error("the model fails on a single token")]
    Failed,
}

impl Engine {
    /// Asks the model for one token or vector. An engine that is too full to be asked counts as one that answers.
    ///
    /// # Errors
    /// Returns [`CanaryError`] if there is no answer. Waits as long as it takes.
    pub async fn canary(&self) -> Result<(), CanaryError> {
        match self {
            Self::Generator(handle) => generator(handle).await,
            Self::Encoder(encoder) => self::encoder(encoder).await,
        }
    }
}

async fn generator(handle: &Handle) -> Result<(), CanaryError> {
    let request = Request {
        prompt: Prompt::Tokens(vec![TOKEN]),
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        ending: Ending::default(),
        new_tokens: NewTokens::AtMost(1),
        constraint: None,
        report: Report::default(),
        now: jiff::ZonedDateTime::now(),
    };
    let mut events = match handle.submit(request).await {
        Ok(events) => events,
        Err(SubmitError::Overloaded) => return Ok(()),
        Err(error) => return Err(CanaryError::Submit(error)),
    };
    loop {
        match events.next().await {
            Some(Event::Finished { .. }) => return Ok(()),
            Some(Event::Failed) | None => return Err(CanaryError::Failed),
            Some(_) => {}
        }
    }
}

async fn encoder(encoder: &Encoder) -> Result<(), CanaryError> {
    match encoder.run(vec![Input::Tokens(vec![TOKEN])], Overflow::Refuse).await {
        Ok(_) | Err(EncodeError::Overloaded) => Ok(()),
        Err(EncodeError::Stopped) => Err(CanaryError::Submit(SubmitError::Stopped)),
        Err(_) => Err(CanaryError::Failed),
    }
}
