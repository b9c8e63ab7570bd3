//! The way of a request to a provider: as it came, or written anew for the provider's API; and the path there.

use axum::http::HeaderMap;
use bytes::Bytes;
use policy::{Api as Kind, Destination, Hop, Server};
use wire::anthropic::messages;
use wire::call::{Lost, Target, Untranslatable};
use wire::gemini;
use wire::openai::{chat, responses};
use wire::{Api, AskUsage, Dialect, Request};

use crate::error::ApiError;

/// The prefix of a model of Anthropic's on Vertex AI.
const VERTEX_ANTHROPIC: &str = "anthropic/";

/// How one request goes to one provider.
pub(super) struct Way {
    /// In which API the provider is asked, and answers.
    pub(super) api: Api,
    /// Whether the bytes pass through, both ways.
    pub(super) passes: bool,
    /// Below the provider's base URL, with its query.
    pub(super) path: String,
}

impl Way {
    /// Finds the way to `destination`. `is_continued` says that the gateway knows more of the conversation than the
    /// request does.
    pub(super) fn find(
        request: &Request,
        hop: &Hop,
        destination: &Destination,
        is_continued: bool,
    ) -> Result<Self, ApiError> {
        let (api, passes) = match (request.dialect(), destination.api()) {
            (Dialect::OpenAiCompletions, Kind::OpenAi(_) | Kind::AzureOpenAi { .. }) => {
                (Api::Completions, true)
            }
            (Dialect::OpenAiCompletions, other) => return Err(continues_no_text(hop, other)),
            (Dialect::OpenAiChat, Kind::OpenAi(server)) => {
                let server = server_of(*server);
                (Api::Chat(server), server.accepts(request.fields()))
            }
            (Dialect::OpenAiChat, Kind::AzureOpenAi { .. }) => (Api::Chat(chat::Server::OpenAi), true),
            (Dialect::OpenAiResponses, Kind::OpenAi(Server::OpenAi) | Kind::AzureOpenAi { .. }) => {
                (Api::Responses(responses::Host::OpenAi), true)
            }
            (Dialect::OpenAiResponses, Kind::OpenAi(Server::Vllm)) => {
                (Api::Responses(responses::Host::Compatible), true)
            }
            (dialect, kind) => {
                let api = native(kind, hop.upstream_model());
                // At Vertex AI a few members of the body differ, and nothing of the answer.
                let is_same = matches!(api, Api::Messages | Api::MessagesOnVertex);
                (api, is_same && dialect == Dialect::AnthropicMessages)
            }
        };
        let passes = passes && !is_continued && !request.has_translated_seals();
        let path = path(api, destination.api(), hop.upstream_model(), request.is_streamed());
        Ok(Self { api, passes, path })
    }

    /// Returns the body to send, and what it does not say.
    pub(super) fn body(
        &self,
        request: &Request,
        call: &wire::call::Call,
        hop: &Hop,
        headers: &HeaderMap,
    ) -> Result<(Bytes, Lost), ApiError> {
        if self.passes {
            return Ok((self.passed_body(request, hop, headers)?, Lost::default()));
        }
        if call.choices.is_some_and(|choices| choices > 1) {
            let message = "the model's API gives one answer to a request; send several requests";
            return Err(ApiError::invalid("unsupported_parameter", message).with_param("n"));
        }
        let target = Target { provider: hop.provider().as_ref(), model: hop.upstream_model() };
        let outgoing = self.api.write_call(call, target, &betas(headers)).map_err(|error| refused(&error))?;
        Ok((outgoing.body, outgoing.lost))
    }

    /// The client's bytes, with what has to differ at the provider.
    fn passed_body(&self, request: &Request, hop: &Hop, headers: &HeaderMap) -> Result<Bytes, ApiError> {
        let ask = match self.api {
            Api::MessagesOnVertex => {
                return messages::vertex::message_body(request.body(), &betas(headers))
                    .map_err(|error| ApiError::unreadable(&error));
            }
            Api::Chat(server) if !server.takes_stream_options() => AskUsage::AsCaller,
            _ => AskUsage::Always,
        };
        Ok(request.forward_body(hop.upstream_model(), ask))
    }
}

/// The API of a provider's models, whatever the client's dialect.
pub(crate) fn native(kind: &Kind, model: &str) -> Api {
    match kind {
        Kind::OpenAi(server) => Api::Chat(server_of(*server)),
        Kind::AzureOpenAi { .. } => Api::Chat(chat::Server::OpenAi),
        Kind::Anthropic => Api::Messages,
        Kind::Bedrock => Api::Converse,
        Kind::Vertex if model.starts_with(VERTEX_ANTHROPIC) => Api::MessagesOnVertex,
        Kind::Vertex => Api::Gemini(gemini::Host::Vertex),
        Kind::Gemini => Api::Gemini(gemini::Host::GeminiApi),
    }
}

/// The name of a model of Anthropic's without the publisher that the policy writes before it for Vertex AI.
pub(crate) fn without_publisher(model: &str) -> &str {
    model.strip_prefix(VERTEX_ANTHROPIC).unwrap_or(model)
}

/// The experiments of the provider that the caller switched on.
fn betas(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|beta| beta.trim().to_owned()).collect()
}

fn refused(error: &Untranslatable) -> ApiError {
    ApiError::invalid("unsupported_parameter", error.to_string()).with_param(&error.param)
}

fn continues_no_text(hop: &Hop, kind: &Kind) -> ApiError {
    let text = format!(
        "the model `{}` is served by a provider of kind `{}`, which continues no bare text; send messages to /v1/chat/completions",
        hop.model(),
        kind.as_str()
    );
    ApiError::invalid("model_does_not_complete", text).with_param("model")
}

fn server_of(server: Server) -> chat::Server {
    match server {
        Server::OpenAi => chat::Server::OpenAi,
        Server::Vllm => chat::Server::Vllm,
        Server::Sglang => chat::Server::Sglang,
        Server::Ollama => chat::Server::Ollama,
        Server::DeepSeek => chat::Server::DeepSeek,
        Server::Mistral => chat::Server::Mistral,
        Server::LlamaCpp => chat::Server::LlamaCpp,
        Server::Compatible => chat::Server::Compatible,
    }
}

/// The path of an endpoint of `OpenAI`'s API, which Azure serves under two other forms.
pub(super) fn openai_path(endpoint: &str, kind: &Kind, model: &str) -> String {
    match kind {
        Kind::AzureOpenAi { api_version: Some(version) } => {
            let deployment = egress::path_segment(model);
            format!("/openai/deployments/{deployment}{endpoint}?api-version={version}")
        }
        Kind::AzureOpenAi { api_version: None } => format!("/openai/v1{endpoint}"),
        _ => endpoint.to_owned(),
    }
}

fn path(api: Api, kind: &Kind, model: &str, is_streamed: bool) -> String {
    let form = |whole: &'static str, streamed: &'static str| if is_streamed { streamed } else { whole };
    match api {
        Api::Chat(_) => openai_path("/chat/completions", kind, model),
        Api::Completions => openai_path("/completions", kind, model),
        // Azure serves them at one place for all deployments.
        Api::Responses(_) => match kind {
            Kind::AzureOpenAi { api_version: Some(version) } => {
                format!("/openai/responses?api-version={version}")
            }
            _ => openai_path("/responses", kind, model),
        },
        Api::Messages => "/v1/messages".to_owned(),
        Api::MessagesOnVertex => {
            anthropic_on_vertex(without_publisher(model), form("rawPredict", "streamRawPredict"))
        }
        Api::Converse => bedrock(model, form("converse", "converse-stream")),
        Api::Gemini(host) => google(host, model, form("generateContent", "streamGenerateContent?alt=sse")),
    }
}

/// The path at which a prompt's tokens are counted, for the APIs that count.
pub(crate) fn counting_path(api: Api, model: &str) -> Option<String> {
    match api {
        Api::Messages => Some("/v1/messages/count_tokens".to_owned()),
        // One path for all models; the body says which.
        Api::MessagesOnVertex => Some(anthropic_on_vertex("count-tokens", "rawPredict")),
        Api::Converse => Some(bedrock(model, "count-tokens")),
        Api::Gemini(host) => Some(google(host, model, "countTokens")),
        Api::Chat(_) | Api::Completions | Api::Responses(_) => None,
    }
}

fn anthropic_on_vertex(model: &str, method: &str) -> String {
    format!("/publishers/anthropic/models/{}:{method}", egress::path_segment(model))
}

fn bedrock(model: &str, method: &str) -> String {
    format!("/model/{}/{method}", egress::path_segment(model))
}

fn google(host: gemini::Host, model: &str, method: &str) -> String {
    let publisher = match host {
        gemini::Host::Vertex => "/publishers/google",
        gemini::Host::GeminiApi => "",
    };
    format!("{publisher}/models/{}:{method}", egress::path_segment(model))
}
