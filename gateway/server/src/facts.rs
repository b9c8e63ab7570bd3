//! What the policy decides by: facts of the request, and what its sender says about it. What costs a look at the whole
//! request is worked out only if the workflow has a rule about it.

use axum::http::{HeaderMap, HeaderName};
use policy::{Facts, Indirect, IndirectKind, Workflow};

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
        content: if workflow.content_rules().refuse_anything() { indirect(question) } else { Vec::new() },
        task: task(headers)?,
        now: clock::unix_s(),
    })
}

/// What the request asks of a backend beyond its own answer, in the policy's words.
fn indirect<Q: Question>(question: &Q) -> Vec<Indirect> {
    let kind = |kind| match kind {
        wire::IndirectKind::RemoteUrl => IndirectKind::RemoteUrl,
        wire::IndirectKind::FileId => IndirectKind::FileId,
        wire::IndirectKind::HostedTool => IndirectKind::HostedTool,
        wire::IndirectKind::CallerDestination => IndirectKind::CallerDestination,
        wire::IndirectKind::StoredState => IndirectKind::StoredState,
        wire::IndirectKind::UnknownField => IndirectKind::UnknownField,
        wire::IndirectKind::UnknownPart => IndirectKind::UnknownPart,
        wire::IndirectKind::UnknownTool => IndirectKind::UnknownTool,
    };
    let found = question.indirect().into_iter();
    found.map(|found| Indirect { kind: kind(found.kind), path: found.path }).collect()
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
