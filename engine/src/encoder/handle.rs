//! The door of an encoder: checks a request, tokenises it, queues its texts, and collects their answers.
//!
//! Dropping the future of a call cancels it: the thread sees the closed channel before its next batch.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::pooling::normalise;
use super::request::{Classifications, EmbedRequest, Embeddings, EncodeError, Input, Overflow};
use super::tokenizer::Tokenizer;
use super::worker::{Answer, Submission};
use crate::stats::{Closing, Counters, Stats};

/// Texts in one request; more are refused.
const TEXTS_MAX: usize = 2048;

/// The widths that a model's vectors can have.
#[derive(Debug)]
pub(super) struct Widths {
    /// Its own.
    pub(super) whole: usize,
    pub(super) shorter: Shorter,
    /// Whether vectors have length 1, a shortened one too.
    pub(super) normalised: bool,
}

/// The widths to which a model was trained to be shortened.
#[derive(Debug)]
pub(super) enum Shorter {
    None,
    Any,
    These(Vec<usize>),
}

impl Widths {
    fn choose(&self, asked: Option<usize>) -> Result<usize, EncodeError> {
        let Some(asked) = asked else { return Ok(self.whole) };
        let whole = self.whole;
        let (is_offered, offered) = match &self.shorter {
            _ if asked == whole => return Ok(whole),
            Shorter::None => (false, format!("{whole} and was not trained to be shortened")),
            Shorter::Any => ((1..=whole).contains(&asked), format!("1 to {whole}")),
            Shorter::These(widths) => {
                let list = widths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                (asked < whole && widths.contains(&asked), list)
            }
        };
        if is_offered { Ok(asked) } else { Err(EncodeError::Dimensions { asked, offered }) }
    }
}

/// What a model gives for a text.
#[derive(Debug)]
pub(super) enum Gives {
    Vectors(Widths),
    Labels(Vec<String>),
}

/// What the door has to know of the model.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) tokenizer: Tokenizer,
    /// Stands before every text.
    pub(super) prompt: String,
    /// The longest text, in tokens.
    pub(super) capacity_tokens: usize,
    /// V, the tokens that the model has an embedding for.
    pub(super) vocabulary: usize,
    pub(super) gives: Gives,
}

/// A clonable way to one encoder.
#[derive(Clone, Debug)]
pub struct Encoder {
    pub(super) facts: Arc<Facts>,
    pub(super) mailbox: mpsc::Sender<Submission>,
    pub(super) places: Arc<Semaphore>,
    pub(super) counters: Arc<Counters>,
}

impl Encoder {
    /// Turns texts into vectors.
    ///
    /// # Errors
    /// Returns [`EncodeError`] if the request is wrong, if the model is a classifier, or if the engine is full, gone
    /// or failed.
    pub async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, EncodeError> {
        let Gives::Vectors(widths) = &self.facts.gives else { return Err(EncodeError::DoesNotEmbed) };
        let width = widths.choose(request.dimensions)?;
        let (mut vectors, prompt_tokens) = self.run(request.inputs, request.overflow).await?;
        if width < widths.whole {
            for vector in &mut vectors {
                vector.truncate(width);
                if widths.normalised {
                    normalise(vector);
                }
            }
        }
        Ok(Embeddings { vectors, prompt_tokens })
    }

    /// Turns texts into the probabilities of the model's labels.
    ///
    /// # Errors
    /// Returns [`EncodeError`] if the request is wrong, if the model has no labels, or if the engine is full, gone or
    /// failed.
    pub async fn classify(
        &self,
        inputs: Vec<Input>,
        overflow: Overflow,
    ) -> Result<Classifications, EncodeError> {
        if !matches!(self.facts.gives, Gives::Labels(_)) {
            return Err(EncodeError::DoesNotClassify);
        }
        let (probabilities, prompt_tokens) = self.run(inputs, overflow).await?;
        Ok(Classifications { probabilities, prompt_tokens })
    }

    /// The labels of a classifier, in the order of their probabilities; none for a model that embeds.
    pub fn labels(&self) -> &[String] {
        match &self.facts.gives {
            Gives::Labels(labels) => labels,
            Gives::Vectors(_) => &[],
        }
    }

    /// The width of a model's vectors; none for a classifier.
    pub fn dimensions(&self) -> Option<usize> {
        match &self.facts.gives {
            Gives::Vectors(widths) => Some(widths.whole),
            Gives::Labels(_) => None,
        }
    }

    /// A reading of the engine's counters; those of the KV cache, which an encoder has not, are 0.
    pub fn stats(&self) -> Stats {
        self.counters.read(&self.places)
    }

    /// The end of the engine's thread.
    pub fn ending(&self) -> Closing {
        self.counters.ending()
    }

    /// The longest text in tokens, its special ones included.
    pub fn capacity_tokens(&self) -> usize {
        self.facts.capacity_tokens
    }

    /// The values of each input, in order, and the tokens of all.
    pub(crate) async fn run(
        &self,
        inputs: Vec<Input>,
        overflow: Overflow,
    ) -> Result<(Vec<Vec<f32>>, usize), EncodeError> {
        let texts = inputs.len();
        if !(1..=TEXTS_MAX).contains(&texts) {
            return Err(EncodeError::Count { texts, texts_max: TEXTS_MAX });
        }
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| EncodeError::Overloaded)?;
        let mut encoded = self.encode(inputs, overflow).await?;
        let prompt_tokens = encoded.iter().map(|(_, tokens)| tokens.len()).sum();
        // Like beside like, so that little padding goes through the model; the longest first.
        encoded.sort_by_key(|(_, tokens)| std::cmp::Reverse(tokens.len()));
        let (answers, mut receiver) = mpsc::channel(texts);
        let submission = Submission { texts: encoded, answers, permit };
        self.mailbox.send(submission).await.map_err(|_| EncodeError::Stopped)?;
        let mut values = vec![Vec::new(); texts];
        for _ in 0..texts {
            // A closed channel without an answer is a dead engine thread.
            let Some(Answer { place, values: Some(answer) }) = receiver.recv().await else {
                return Err(EncodeError::Failed);
            };
            values[place] = answer;
        }
        Ok((values, prompt_tokens))
    }

    /// Tokenises off the async threads: many texts take milliseconds.
    async fn encode(
        &self,
        inputs: Vec<Input>,
        overflow: Overflow,
    ) -> Result<Vec<(usize, Vec<u32>)>, EncodeError> {
        let facts = Arc::clone(&self.facts);
        let encode = move || {
            let numbered = inputs.into_iter().enumerate();
            numbered.map(|(place, input)| Ok((place, facts.encode(place, input, overflow)?))).collect()
        };
        tokio::task::spawn_blocking(encode).await.map_err(|_| EncodeError::Stopped)?
    }
}

impl Facts {
    fn encode(&self, place: usize, input: Input, overflow: Overflow) -> Result<Vec<u32>, EncodeError> {
        let tokens_max = match overflow {
            Overflow::Refuse | Overflow::Cut => self.capacity_tokens,
            Overflow::CutTo(tokens) => tokens.min(self.capacity_tokens),
        };
        let tokens_min = self.tokenizer.tokens_min();
        if overflow != Overflow::Refuse && tokens_max < tokens_min {
            return Err(EncodeError::CutTooShort { tokens_min });
        }
        let mut tokens = match input {
            Input::Text(text) if text.is_empty() => return Err(EncodeError::Empty { place }),
            Input::Tokens(tokens) if tokens.is_empty() => return Err(EncodeError::Empty { place }),
            Input::Tokens(tokens) => tokens,
            Input::Text(text) => {
                let text = format!("{}{text}", self.prompt);
                match overflow {
                    Overflow::Refuse => self.tokenizer.encode(&text)?,
                    Overflow::Cut | Overflow::CutTo(_) => self.tokenizer.encode_cut(&text, tokens_max)?,
                }
            }
        };
        if tokens.is_empty() {
            // A tokenizer without special tokens, and a text of nothing but spaces.
            return Err(EncodeError::Empty { place });
        }
        if tokens.len() > tokens_max {
            if overflow == Overflow::Refuse {
                let capacity_tokens = tokens_max;
                return Err(EncodeError::TooLong { place, tokens: tokens.len(), capacity_tokens });
            }
            tokens.truncate(tokens_max);
        }
        match tokens.iter().find(|token| **token as usize >= self.vocabulary) {
            Some(token) => Err(EncodeError::UnknownToken { place, token: *token }),
            None => Ok(tokens),
        }
    }
}
