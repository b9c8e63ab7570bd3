//! An answer of a model that this process serves itself.

use axum::http::HeaderMap;
use engine::{ConstraintError, Engine, Prompt, SubmitError};
use policy::Hop;
use routing::Failure;
use tokio::time::timeout_at;
use wire::Request;

use super::choices::{Choice, EngineSource};
use super::claim::claim;
use super::streaming::{Source, collected, streamed};
use super::to_engine::Question;
use super::{Conversation, to_engine};
use crate::error::ApiError;
use crate::fleet::{Lease, LeaseEnd};
use crate::pipeline::{Attempt, Back, Call};
use crate::record::Record;

/// Sends the call to the engine of `hop`'s model.
pub(crate) async fn attempt(call: Call<Request>, hop: &Hop, mut record: Record) -> (Attempt, Back<Request>) {
    let (answers, conversation) = match submit(&call, hop, &mut record).await {
        Ok(submitted) => submitted,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    let mut source = Source::Engine(Box::new(answers));
    let seen = match source.begin(call.deadline).await {
        Ok(seen) => seen,
        Err(error) => return (Attempt::Failed(error), Some((call, record))),
    };
    let is_streamed = call.question.is_streamed();
    let holding = super::holding(call, hop, conversation, record);
    if is_streamed {
        return (Attempt::began(streamed(source, seen, holding, HeaderMap::new())), None);
    }
    // The record is closed in any case; nothing is left to fall back with.
    let collected = collected(source, seen, holding).await;
    (collected.map_or_else(Attempt::Refused, Attempt::began), None)
}

/// The engine of a model that writes text, and the end of the leave to ask it.
pub(crate) async fn generator<Q>(call: &Call<Q>, hop: &Hop) -> Result<(engine::Handle, LeaseEnd), Attempt> {
    let Lease { engine, end } = lease(call, hop).await?;
    match engine {
        Engine::Generator(generator) => Ok((generator, end)),
        Engine::Encoder(_) => Err(wrong_kind(hop)),
    }
}

/// Leave to ask the engine of `hop`'s model; without it, another model may be asked.
pub(super) async fn lease<Q>(call: &Call<Q>, hop: &Hop) -> Result<Lease, Attempt> {
    let resident = call.active.resident(hop.model()).ok_or_else(|| Attempt::Failed(ApiError::internal()))?;
    resident.lease(call.deadline).await.map_err(Attempt::Failed)
}

/// What a call hears whose engine was given up.
pub(super) fn given_up() -> ApiError {
    ApiError::unavailable("engine_failed", "the model was taken away while it answered; try again")
}

async fn submit(
    call: &Call<Request>,
    hop: &Hop,
    record: &mut Record,
) -> Result<(EngineSource, Conversation), Attempt> {
    let (generator, mut end) = generator(call, hop).await?;
    let asked = to_engine::asked(call).map_err(Attempt::Refused)?;
    let Question { conversation, requests, choices, lost } = asked;
    super::must_survive(call, hop, &lost).map_err(Attempt::Failed)?;
    record.lost(&lost);
    let claim = claim(call);
    let asked = async {
        let mut answers = Vec::with_capacity(requests.len() * choices);
        for request in requests {
            let echo = match (&request.prompt, conversation.shown.echo) {
                (Prompt::Text(text), true) => Some(text.clone()),
                (Prompt::Tokens(tokens), true) => Some(generator.detokenize(tokens.clone()).await?),
                _ => None,
            };
            let events = generator.submit_as(&claim, request, choices).await?;
            answers.extend(events.into_iter().map(|events| Choice::new(events, echo.clone())));
        }
        Ok(answers)
    };
    let answers = tokio::select! {
        answers = timeout_at(call.deadline, asked) => match answers {
            Ok(answers) => answers.map_err(|error| refusal(&error))?,
            Err(_) => return Err(Attempt::Failed(super::timed_out())),
        },
        () = end.come() => return Err(Attempt::Failed(given_up())),
    };
    Ok((EngineSource::new(answers, choices, end), conversation))
}

/// Another model of the route may well be of the right kind.
fn wrong_kind(hop: &Hop) -> Attempt {
    let text = format!(
        "the model `{}` cannot chat: it turns texts into vectors or labels; name another model, or send texts to /v1/embeddings",
        hop.model()
    );
    Attempt::Failed(ApiError::invalid("model_does_not_chat", text).with_param("model"))
}

/// Why the engine did not take a request, in the client's terms.
pub(crate) fn refusal(error: &SubmitError) -> Attempt {
    let text = error.to_string();
    let refused = |code, text, param| Attempt::Refused(ApiError::invalid(code, text).with_param(param));
    match error {
        SubmitError::Overloaded => Attempt::Failed(ApiError::unavailable("engine_overloaded", text)),
        SubmitError::TooLate { retry_after, .. } => {
            let error =
                ApiError::too_late("engine_too_slow", text).meaning(Failure::Pressed(Some(*retry_after)));
            Attempt::Failed(error.with_retry_after(retry_after.as_secs() + 1))
        }
        SubmitError::Stopped => Attempt::Failed(ApiError::unavailable("engine_stopped", text)),
        SubmitError::NeverFits { .. } => {
            let hint = format!("{text}; shorten the conversation or ask for fewer tokens");
            refused("context_length_exceeded", hint, "messages")
        }
        SubmitError::NothingAsked => refused("invalid_value", text, "max_tokens"),
        SubmitError::TooManyChoices { .. } => refused("invalid_value", text, "n"),
        SubmitError::Sampling(wrong) => refused("invalid_value", text, wrong.setting),
        SubmitError::UnknownToken(_) | SubmitError::EmptyPrompt => refused("invalid_value", text, "messages"),
        SubmitError::Text(_) => refused("template_refused", text, "messages"),
        SubmitError::Constraint(wrong) => match wrong {
            ConstraintError::NoTools | ConstraintError::UnknownTool(_) | ConstraintError::NoToolForm => {
                refused("invalid_value", text, "tool_choice")
            }
            ConstraintError::Invalid { what, .. } | ConstraintError::TooLarge { what, .. }
                if what.contains("tool") =>
            {
                refused("invalid_value", text, "tools")
            }
            _ => refused("invalid_value", text, "response_format"),
        },
    }
}
