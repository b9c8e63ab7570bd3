//! What the policy decides by: facts of the request, and what its sender says about it.

use axum::http::{HeaderMap, HeaderName};
use policy::{Facts, Workflow};

use crate::clock;
use crate::error::ApiError;
use crate::question::Question;
use crate::record::tokens_estimate;

/// How a caller says what a call is for.
const TASK_HEADER: HeaderName = HeaderName::from_static("x-portcullis-task");

/// Longest label of a task, in bytes.
const TASK_BYTES_MAX: usize = 64;

/// Gathers what `workflow` may ask of a call.
pub(crate) fn facts<Q: Question>(
    workflow: &Workflow,
    question: &Q,
    headers: &HeaderMap,
) -> Result<Facts, ApiError> {
    Ok(Facts {
        model: question.model().to_owned(),
        input_tokens: tokens_estimate(question),
        tools: question.offered_tools(),
        images: workflow.asks_about_images() && question.has_images(),
        task: task(headers)?,
        now: clock::unix_s(),
    })
}

fn task(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let wrong = || {
        let message = format!(
            "the header {TASK_HEADER} is one label of at most {TASK_BYTES_MAX} visible ASCII characters"
        );
        ApiError::invalid("task_invalid", message)
    };
    let mut values = headers.get_all(TASK_HEADER).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong());
    }
    let label = first.to_str().map_err(|_| wrong())?;
    let is_label = (1..=TASK_BYTES_MAX).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic());
    if is_label { Ok(Some(label.to_owned())) } else { Err(wrong()) }
}
