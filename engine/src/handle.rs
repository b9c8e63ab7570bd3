//! The door of the engine: checks a request, renders and tokenises it, queues it.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::LoadError;
use crate::events::{Events, Progress};
use crate::model::Gguf;
use crate::sampler::{Sampler, Sampling, SamplingError};
use crate::stats::{Counters, Stats};
use crate::text::{Conversation, GgufText, Output, Template, TextError, Tokenizer};

/// What a client asks of the model.
#[derive(Clone, Debug)]
pub struct Request {
    /// The messages so far and the tools on offer.
    pub conversation: Conversation,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Strings that end the reply; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens after which the reply is cut; `None` is as many as fit.
    pub max_new_tokens: Option<usize>,
    /// When the conversation takes place, for templates that write the date.
    pub now: jiff::ZonedDateTime,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many requests are in the engine as it takes.
    #[error("the engine is full; try again later")]
    Overloaded,
    /// The engine thread is gone.
    #[error("the engine has stopped")]
    Stopped,
    /// The request is longer than the model or its cache can ever hold.
    #[error(
        "{prompt_tokens} prompt tokens and {new_tokens} new tokens do not fit the {capacity_tokens} tokens that a sequence can have"
    )]
    NeverFits {
        /// Tokens of the rendered conversation.
        prompt_tokens: usize,
        /// Tokens asked for, at least 1.
        new_tokens: usize,
        /// The longest sequence.
        capacity_tokens: usize,
    },
    /// `max_new_tokens` is 0.
    #[error("at least one new token must be asked for")]
    NothingAsked,
    /// A sampling setting is out of range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The template refused the conversation.
    #[error(transparent)]
    Text(TextError),
    /// The tokenizer knows a token for which the model has no embedding.
    #[error("token {0} of the prompt is unknown to the model")]
    UnknownToken(u32),
}

/// A model's tokenizer and template.
#[derive(Debug)]
pub(crate) struct Codec {
    pub(crate) tokenizer: Arc<Tokenizer>,
    template: Template,
}

impl Codec {
    /// Of a folder as the hub has it, or of a GGUF file.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        if Gguf::is_named_by(path) {
            let text = GgufText::read(&Gguf::open(path)?)?;
            let tokenizer = Arc::new(Tokenizer::of_gguf(&text)?);
            let template = Template::of_gguf(&text, &tokenizer)?;
            return Ok(Self { tokenizer, template });
        }
        let tokenizer = Arc::new(Tokenizer::load(path)?);
        let template = Template::load(path, &tokenizer)?;
        Ok(Self { tokenizer, template })
    }
}

/// A request on its way to the engine thread.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) prompt: Vec<u32>,
    pub(crate) new_max: usize,
    pub(crate) sampler: Sampler,
    pub(crate) progress: mpsc::Sender<Progress>,
    /// Held until the sequence ends: the bound on requests in the engine.
    pub(crate) place: OwnedSemaphorePermit,
}

/// A clonable way to one engine.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) codec: Arc<Codec>,
    pub(crate) mailbox: mpsc::Sender<Submission>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) counters: Arc<Counters>,
    /// The longest sequence, in tokens: the model's context or what the whole cache holds, if that is less.
    pub(crate) capacity_tokens: usize,
    /// V, the tokens that the model has an embedding for.
    pub(crate) vocabulary: usize,
}

impl Handle {
    /// Queues a request and returns its reply to be.
    ///
    /// # Errors
    /// Returns [`SubmitError`] if the request is wrong, can never fit, or the engine is full or gone.
    pub async fn submit(&self, request: Request) -> Result<Events, SubmitError> {
        request.sampling.validate()?;
        if request.max_new_tokens == Some(0) {
            return Err(SubmitError::NothingAsked);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| SubmitError::Overloaded)?;
        let parse_tools =
            !request.conversation.tools.is_empty() && self.codec.template.calls_tools_in_hermes_form();
        let prompt = self.encode(request.conversation, request.now).await?;
        let new_max = self.new_max(prompt.len(), request.max_new_tokens)?;
        if let Some(unknown) = prompt.iter().find(|token| **token as usize >= self.vocabulary) {
            return Err(SubmitError::UnknownToken(*unknown));
        }
        // One message per token and one for the end, so the engine thread never finds the channel full.
        let (progress, receiver) = mpsc::channel(new_max + 1);
        let output = Output::new(Arc::clone(&self.codec.tokenizer), request.stop, parse_tools);
        let events = Events::new(receiver, output, prompt.len());
        let sampler = Sampler::new(request.sampling, rand::random());
        let submission = Submission { prompt, new_max, sampler, progress, place };
        self.mailbox.send(submission).await.map_err(|_| SubmitError::Stopped)?;
        Ok(events)
    }

    /// A reading of the engine's counters.
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// The longest sequence, prompt and reply together, in tokens.
    pub fn capacity_tokens(&self) -> usize {
        self.capacity_tokens
    }

    /// Renders and tokenises off the async threads: a long conversation takes milliseconds.
    async fn encode(
        &self,
        conversation: Conversation,
        now: jiff::ZonedDateTime,
    ) -> Result<Vec<u32>, SubmitError> {
        let codec = Arc::clone(&self.codec);
        let encode = move || {
            let text = codec.template.render(&conversation, &now)?;
            codec.tokenizer.encode(&text)
        };
        let prompt = tokio::task::spawn_blocking(encode).await.map_err(|_| SubmitError::Stopped)?;
        prompt.map_err(SubmitError::Text)
    }

    fn new_max(&self, prompt_tokens: usize, asked: Option<usize>) -> Result<usize, SubmitError> {
        let capacity_tokens = self.capacity_tokens;
        let new_tokens = asked.unwrap_or(1);
        if prompt_tokens == 0 || prompt_tokens + new_tokens > capacity_tokens {
            return Err(SubmitError::NeverFits { prompt_tokens, new_tokens, capacity_tokens });
        }
        Ok(asked.unwrap_or(capacity_tokens - prompt_tokens))
    }
}
