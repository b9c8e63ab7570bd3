//! The door of the engine: checks a request, renders and tokenises it, queues it. Tokens for those who ask for no
//! reply come from here too, by the same code.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::ZonedDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::codec::{Codec, Encoded};
use crate::constrain::{Compiler, Constraint, ConstraintError, Matcher, ToolDemand};
use crate::events::{Events, Progress, Telling};
use crate::pace::Pace;
use crate::request::{
    CHOICES_MAX, Claim, EndTokens, Ending, NewTokens, Prompt, Report, Request, SpecialTokens, SubmitError,
};
use crate::sampler::Sampler;
use crate::schedule::queue::Lane;
use crate::stats::{Closing, Counters, Stats};
use crate::text::{Conversation, Output, Spelling, Thinking, Tool};

/// A request on its way to the engine thread.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) lane: Lane,
    pub(crate) prompt: Vec<u32>,
    /// 0 if only the prompt is put through the model.
    pub(crate) new_max: usize,
    pub(crate) sampler: Sampler,
    pub(crate) ending: Ending,
    pub(crate) report: Report,
    /// Holds the reply to its constraint.
    pub(crate) matcher: Option<Matcher>,
    pub(crate) progress: mpsc::Sender<Progress>,
    /// Held until the sequence ends: the bound on requests in the engine.
    pub(crate) place: OwnedSemaphorePermit,
}

/// A clonable way to one engine.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) codec: Arc<Codec>,
    pub(crate) compiler: Arc<Compiler>,
    pub(crate) mailbox: mpsc::Sender<Submission>,
    pub(crate) places: Arc<Semaphore>,
    /// How many places there are.
    pub(crate) requests_max: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pace: Arc<Pace>,
    /// The longest sequence, in tokens: the model's context or what the whole cache holds, if that is less.
    pub(crate) capacity_tokens: usize,
    /// V, the tokens that the model has an embedding for.
    pub(crate) vocabulary: usize,
}

impl Handle {
    /// Queues a request of nobody in particular and returns its reply to be.
    ///
    /// # Errors
    /// As [`Self::submit_as`].
    pub async fn submit(&self, request: Request) -> Result<Events, SubmitError> {
        self.submit_as(&Claim::of(""), request, 1).await?.pop().ok_or(SubmitError::NothingAsked)
    }

    /// Queues a request so many times and returns the replies to be, each with its own seed (see
    /// [`Sampling::seed`](crate::Sampling::seed)). All of them are taken or none is.
    ///
    /// # Errors
    /// Returns [`SubmitError`] if the request is wrong, can never fit, would come too late, or the engine is full or gone;
    /// and for no choice or more than [`CHOICES_MAX`].
    pub async fn submit_as(
        &self,
        claim: &Claim,
        request: Request,
        choices: usize,
    ) -> Result<Vec<Events>, SubmitError> {
        request.validate(self.vocabulary)?;
        let mut places = self.take_places(choices)?;
        let special = request.prompt.special_tokens();
        let tools = request.offered_tools();
        let Request { sampling, stop, ending, report, .. } = request;
        let Encoded { tokens: prompt, form } = self.encode(request.prompt, special, request.now).await?;
        let new_max = self.new_max(prompt.len(), request.new_tokens)?;
        self.pace.admits(prompt.len(), claim.priority, claim.patience)?;
        let mut matcher = match request.constraint {
            Some(constraint) => self.held(constraint, tools, form.thinking).await?,
            None => None,
        };
        let fresh_seed: u64 = rand::random();
        let mut replies = Vec::with_capacity(choices);
        for index in 0..choices as u64 {
            let place = places.split(1).ok_or(SubmitError::Overloaded)?;
            // One message per token, and three for the beginning, the prompt and the end, so the engine thread never
            // finds the channel full.
            let (progress, receiver) = mpsc::channel(new_max + 3);
            let tokenizer = || Arc::clone(&self.codec.tokenizer);
            let output = Output::new(tokenizer(), stop.clone(), form.clone());
            let telling = Telling::new(report, &prompt, || Spelling::new(tokenizer()));
            replies.push(Events::new(receiver, output, telling, prompt.len()).with_least(ending.min_tokens));
            let mut sampling = sampling.clone();
            sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(index));
            let sampler = Sampler::new(sampling, fresh_seed.wrapping_add(index), &prompt)
                .with_least(ending.min_tokens, self.ends(&ending));
            // A fork has caches of its own to fill; the last choice takes the one that is there.
            let is_last = index + 1 == choices as u64;
            let matcher = if is_last { matcher.take() } else { matcher.as_ref().map(Matcher::fork) };
            let (prompt, ending) = (prompt.clone(), ending.clone());
            let lane = Lane { priority: claim.priority, tenant: Arc::clone(&claim.tenant) };
            let submission =
                Submission { lane, prompt, new_max, sampler, ending, report, matcher, progress, place };
            self.mailbox.send(submission).await.map_err(|_| SubmitError::Stopped)?;
        }
        Ok(replies)
    }

    fn take_places(&self, choices: usize) -> Result<OwnedSemaphorePermit, SubmitError> {
        let max = CHOICES_MAX.min(self.requests_max);
        if choices > max {
            return Err(SubmitError::TooManyChoices { asked: choices, max });
        }
        if choices == 0 {
            return Err(SubmitError::NothingAsked);
        }
        let places = Arc::clone(&self.places).try_acquire_many_owned(choices as u32);
        places.map_err(|_| SubmitError::Overloaded)
    }

    /// The tokens at which a reply ends.
    fn ends(&self, ending: &Ending) -> Vec<u32> {
        let own = self.codec.tokenizer.end_tokens().filter(|_| ending.eos == EndTokens::End);
        own.chain(ending.stop_tokens.iter().copied()).collect()
    }

    /// The tokens of a prompt. [`Prompt::Tokens`] are only checked.
    ///
    /// # Errors
    /// Returns [`SubmitError`] if the template or the tokenizer refuses the prompt, or the model does not know one
    /// of its tokens. A prompt that is too long for the model is none.
    pub async fn tokenize(
        &self,
        prompt: Prompt,
        special: SpecialTokens,
        now: ZonedDateTime,
    ) -> Result<Vec<u32>, SubmitError> {
        Ok(self.encode(prompt, special, now).await?.tokens)
    }

    /// How many tokens a conversation is: the number that the usage of its reply will have.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn count(&self, conversation: Conversation, now: ZonedDateTime) -> Result<usize, SubmitError> {
        let prompt = Prompt::Conversation(conversation);
        let special = prompt.special_tokens();
        Ok(self.tokenize(prompt, special, now).await?.len())
    }

    /// Each token as the vocabulary writes it, which is not the text that it stands for; empty for a token that the
    /// vocabulary does not have.
    ///
    /// # Errors
    /// Returns [`SubmitError::Stopped`] if the process is ending.
    pub async fn token_text(&self, tokens: Vec<u32>) -> Result<Vec<String>, SubmitError> {
        self.off_thread(move |codec| {
            tokens.iter().map(|token| codec.tokenizer.written(*token).unwrap_or_default()).collect()
        })
        .await
    }

    /// The text of tokens, special ones included.
    ///
    /// # Errors
    /// Returns [`SubmitError::UnknownToken`] with the first token that the vocabulary does not have.
    pub async fn detokenize(&self, tokens: Vec<u32>) -> Result<String, SubmitError> {
        self.off_thread(move |codec| {
            match tokens.iter().find(|token| codec.tokenizer.written(**token).is_none()) {
                Some(unknown) => Err(SubmitError::UnknownToken(*unknown)),
                None => Ok(codec.tokenizer.decode_whole(&tokens)),
            }
        })
        .await?
    }

    /// A reading of the engine's counters.
    pub fn stats(&self) -> Stats {
        self.counters.read(&self.places)
    }

    /// The end of the engine's thread.
    pub fn ending(&self) -> Closing {
        self.counters.ending()
    }

    /// The longest sequence, prompt and reply together, in tokens.
    pub fn capacity_tokens(&self) -> usize {
        self.capacity_tokens
    }

    async fn encode(
        &self,
        prompt: Prompt,
        special: SpecialTokens,
        now: ZonedDateTime,
    ) -> Result<Encoded, SubmitError> {
        let encoded = self.off_thread(move |codec| codec.encode(prompt, special, &now)).await?;
        let encoded = encoded.map_err(SubmitError::Text)?;
        match encoded.tokens.iter().find(|token| **token as usize >= self.vocabulary) {
            Some(unknown) => Err(SubmitError::UnknownToken(*unknown)),
            None => Ok(encoded),
        }
    }

    /// The matcher of a constraint; none if what is only wished for cannot be had.
    async fn held(
        &self,
        constraint: Constraint,
        tools: Vec<Tool>,
        thinking: Thinking,
    ) -> Result<Option<Matcher>, ConstraintError> {
        let is_wish = matches!(constraint, Constraint::Tools { demand: ToolDemand::Auto, .. });
        match self.matcher(constraint, tools, thinking).await {
            Ok(matcher) => Ok(Some(matcher)),
            Err(_) if is_wish => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn matcher(
        &self,
        constraint: Constraint,
        tools: Vec<Tool>,
        thinking: Thinking,
    ) -> Result<Matcher, ConstraintError> {
        let matcher = Arc::clone(&self.compiler).compile(constraint, tools, thinking).await?;
        self.counters.constrained_requests.fetch_add(1, Relaxed);
        Ok(matcher)
    }

    /// Runs `work` off the async threads: a long conversation takes milliseconds.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Codec) -> T + Send + 'static,
    ) -> Result<T, SubmitError> {
        let codec = Arc::clone(&self.codec);
        tokio::task::spawn_blocking(move || work(&codec)).await.map_err(|_| SubmitError::Stopped)
    }

    fn new_max(&self, prompt_tokens: usize, asked: NewTokens) -> Result<usize, SubmitError> {
        let capacity_tokens = self.capacity_tokens;
        let new_tokens = match asked {
            NewTokens::Nothing | NewTokens::Fitting | NewTokens::AtMost(_) => 1,
            NewTokens::Reserved(tokens) => tokens,
        };
        if prompt_tokens == 0 {
            return Err(SubmitError::EmptyPrompt);
        }
        if prompt_tokens.saturating_add(new_tokens) > capacity_tokens {
            return Err(SubmitError::NeverFits { prompt_tokens, new_tokens, capacity_tokens });
        }
        let fitting = capacity_tokens - prompt_tokens;
        Ok(match asked {
            NewTokens::Nothing => 0,
            NewTokens::Fitting => fitting,
            NewTokens::AtMost(tokens) | NewTokens::Reserved(tokens) => tokens.min(fitting),
        })
    }
}
