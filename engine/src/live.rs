//! The outside of a live sequence: what is drawn for it, what its reader is told, and when its reply ends.

use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::constrain::{Broken, Matcher, Progress as Form};
use crate::events::{Drawn, Progress};
use crate::handle::Submission;
use crate::lookup::Lookup;
use crate::request::{EndTokens, Ending, Report};
use crate::sampler::{Logprobs, Sampler};
use crate::schedule::sequence::{SeqId, Sequence};
use crate::stats::Counters;
use crate::text::Tokenizer;

/// The outside of a live sequence.
pub(crate) struct Live {
    sampler: Sampler,
    ending: Ending,
    report: Report,
    /// What has been told of the prompt; `None` if nothing is wanted, or all of it has been sent.
    scores: Option<Vec<Logprobs>>,
    /// Nothing is to be drawn: the end of the prompt is the end.
    is_prompt_alone: bool,
    matcher: Option<Matcher>,
    /// Has room for all that can be sent, so sending fails only if the reader has left, which is noticed before the next
    /// step.
    pub(crate) progress: mpsc::Sender<Progress>,
    has_begun: bool,
    pub(crate) lookup: Lookup,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// A request as the scheduler sees it, and the rest of it.
    pub(crate) fn begin(id: SeqId, submission: Submission) -> (Sequence, Self) {
        let Submission { lane, prompt, new_max, sampler, ending, report, matcher, progress, place } =
            submission;
        let scores = report.prompt.alternatives().map(|_| Vec::new());
        let sequence = Sequence::new(id, lane, prompt, new_max.max(1));
        let sequence = if scores.is_some() { sequence.with_scores() } else { sequence };
        let live = Self {
            sampler,
            ending,
            report,
            scores,
            is_prompt_alone: new_max == 0,
            matcher,
            progress,
            has_begun: false,
            lookup: Lookup::default(),
            _place: place,
        };
        (sequence, live)
    }

    /// Tells the reader, once, that the sequence runs.
    pub(crate) fn tell_begin(&mut self, sequence: &Sequence, counters: &Counters) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let cached_tokens = sequence.cached.unwrap_or(0);
            counters.prompt_tokens_cached.fetch_add(cached_tokens as u64, Relaxed);
            let _ = self.progress.try_send(Progress::Begun { cached_tokens });
        }
    }

    /// Keeps the log-probabilities of a prompt's token, given the logits `[V]` before it.
    pub(crate) fn score(&mut self, logits: &[f32], token: u32) {
        if let (Some(scores), Some(alternatives)) = (&mut self.scores, self.report.prompt.alternatives()) {
            scores.push(Logprobs::of(logits, token, alternatives));
        }
    }

    /// The tokens that follow a sequence, given the logits `[V]` after its last token and after each of its draft: as many
    /// as the draft was right, and one more. The second is what ends the reply, if something does.
    pub(crate) fn next_tokens(
        &mut self,
        sequence: &Sequence,
        rows: &mut [Vec<f32>],
        tokenizer: &Tokenizer,
    ) -> (Vec<u32>, Option<Progress>) {
        let mut sampled = Vec::with_capacity(rows.len());
        if self.scores.iter().flatten().any(|score| score.chosen.is_nan()) {
            tracing::error!("the model gave NaN for a prompt, whose reply ends");
            return (sampled, Some(Progress::Failed));
        }
        if let Some(scores) = self.scores.take() {
            let _ = self.progress.try_send(Progress::Prompt(scores));
        }
        if self.is_prompt_alone {
            return (sampled, Some(Progress::LengthReached));
        }
        for (index, logits) in rows.iter_mut().enumerate() {
            let position = sequence.tokens.len() + index;
            let (drawn, form) = match self.next_token(logits, position, tokenizer) {
                Ok(next) => next,
                Err(why) => {
                    tracing::warn!("{why}; its reply ends");
                    return (sampled, Some(Progress::Failed));
                }
            };
            let token = drawn.token;
            if self.ends_at(token, tokenizer) {
                return (sampled, Some(Progress::TurnEnd(drawn)));
            }
            let _ = self.progress.try_send(Progress::Token(drawn));
            sampled.push(token);
            if form == Form::Complete {
                return (sampled, Some(Progress::FormComplete));
            }
            if position + 1 == sequence.len_max {
                return (sampled, Some(Progress::LengthReached));
            }
            if sequence.draft().get(index) != Some(&token) {
                break;
            }
        }
        (sampled, None)
    }

    /// The token at `position`, given its logits `[V]`, and whether its form lets more follow.
    fn next_token(
        &mut self,
        logits: &mut [f32],
        position: usize,
        tokenizer: &Tokenizer,
    ) -> Result<(Drawn, Form), &'static str> {
        // Damaged weights or an overflow: this sequence has no next token, its neighbours have theirs.
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err("the model gave NaN for a sequence");
        }
        let broken = |_: Broken| "a reply left its form or became too complex for it";
        let alternatives = self.report.reply.alternatives();
        // What is told is the model's own distribution, before anybody changes it.
        let raw = alternatives.map(|_| logits.to_vec());
        self.sampler.shape(logits);
        if let Some(matcher) = &mut self.matcher {
            matcher.mask(logits).map_err(broken)?;
        }
        self.sampler.hold_end(logits);
        let token = self.sampler.draw(logits, position);
        let form = match &mut self.matcher {
            None => Form::Open,
            // The mask has an end token only where the form may end.
            Some(_) if tokenizer.is_eos(token) => Form::Complete,
            Some(matcher) => matcher.take(token).map_err(broken)?,
        };
        let logprobs =
            raw.zip(alternatives).map(|(raw, alternatives)| Logprobs::of(&raw, token, alternatives));
        Ok((Drawn { token, logprobs }, form))
    }

    /// Whether the reply ends at the token, which then has no text.
    fn ends_at(&self, token: u32, tokenizer: &Tokenizer) -> bool {
        let is_end = self.ending.eos == EndTokens::End || self.matcher.is_some();
        is_end && tokenizer.is_eos(token) || self.ending.stop_tokens.contains(&token)
    }
}
