//! Embeddings from somebody else's API: bytes pass through.

use policy::{Api as Kind, Destination, Hop};
use wire::openai::chat::Server;
use wire::openai::embeddings::{Request, usage_of};
use wire::{Api, Dialect};

use super::upstream::{document, head};
use super::{headers, way};
use crate::error::ApiError;
use crate::pipeline::{Attempt, Back, Call};
use crate::record::{Completion, Record};

/// In which API errors come, and whose headers: that of everything else at the same provider.
const API: Api = Api::Chat(Server::OpenAi);

/// Sends the call to `hop`'s provider.
pub(crate) async fn attempt(
    call: Call<Request>,
    hop: &Hop,
    destination: &Destination,
    mut record: Record,
) -> (Attempt, Back<Request>) {
    let kind = destination.api();
    if !matches!(kind, Kind::OpenAi(_) | Kind::AzureOpenAi { .. }) {
        return (Attempt::Failed(does_not_embed(hop, kind)), Some((call, record)));
    }
    let outbound = egress::Outbound {
        path: way::openai_path("/embeddings", kind, hop.upstream_model()),
        headers: call.headers.clone(),
        body: call.question.forward_body(hop.upstream_model()),
        deadline: call.deadline,
        passage: record.passage(),
    };
    let dialect = Dialect::OpenAiEmbeddings;
    let reply = match head(&call, hop, outbound, (API, dialect), &mut record).await {
        Ok(reply) => reply,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    let (status, named) = (reply.status, headers::to_client(&reply.headers, dialect));
    let document = match document(reply).await {
        Ok(document) => document,
        Err(attempt) => return (attempt, Some((call, record))),
    };
    record.output();
    let completion = Completion { status: status.as_u16(), finish: None, usage: usage_of(&document) };
    match record.complete(completion).await {
        Ok(()) => (Attempt::began(super::json(status, document, named)), None),
        // The record is closed already; nothing is left to fall back with.
        Err(unrecorded) => (Attempt::Refused(unrecorded), None),
    }
}

/// Another model of the route may well be of the right kind.
fn does_not_embed(hop: &Hop, kind: &Kind) -> ApiError {
    let text = format!(
        "the model `{}` is served by a provider of kind `{}`, which has no embeddings in this form; name an embedding model",
        hop.model(),
        kind.as_str()
    );
    ApiError::invalid("model_does_not_embed", text).with_param("model")
}
