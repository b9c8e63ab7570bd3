//! What a request of chat completions may hold.

use super::IndirectKind::{FileId, HostedTool, StoredState, UnknownPart, UnknownTool};
use super::shape::Name::{Begins, Is};
use super::shape::Shape::{Asks, Bytes, Data, Either, Foreign, List, Object, Scalar, Schema, Switch, Url};
use super::shape::{Field, Shape, Type, Union, never};

/// The members of a request, beside those that only open servers know.
pub(super) static REQUEST: &[Field] = &[
    ("model", Scalar),
    ("messages", List(&MESSAGE)),
    ("audio", Object(&[("format", Scalar), ("voice", Either(&Scalar, &Asks(FileId, &Data)))])),
    ("frequency_penalty", Scalar),
    ("function_call", Data),
    ("functions", List(&FUNCTION)),
    ("logit_bias", Data),
    ("logprobs", Scalar),
    ("max_completion_tokens", Scalar),
    ("max_tokens", Scalar),
    ("metadata", Data),
    ("modalities", Data),
    ("moderation", Data),
    ("n", Scalar),
    ("parallel_tool_calls", Scalar),
    ("prediction", Object(&[("type", Scalar), ("content", CONTENT)])),
    ("presence_penalty", Scalar),
    ("prompt_cache_key", Scalar),
    ("prompt_cache_options", Data),
    ("prompt_cache_retention", Scalar),
    ("reasoning_effort", Scalar),
    ("response_format", Schema),
    ("safety_identifier", Scalar),
    ("seed", Scalar),
    ("service_tier", Scalar),
    ("stop", Data),
    ("store", Switch(StoredState)),
    ("stream", Scalar),
    ("stream_options", Data),
    ("temperature", Scalar),
    ("tool_choice", Either(&Scalar, &Shape::Union(&CHOICE))),
    ("tools", List(&Shape::Union(&TOOL))),
    ("top_logprobs", Scalar),
    ("top_p", Scalar),
    ("user", Scalar),
    ("verbosity", Scalar),
    ("web_search_options", Asks(HostedTool, &Data)),
];

/// What servers send, clients send back: so the members of answers are here too, and those of servers that think.
static MESSAGE: Shape = Object(&[
    ("role", Scalar),
    ("content", CONTENT),
    ("annotations", Data),
    (
        "audio",
        Object(&[
            ("id", Asks(FileId, &Data)),
            ("data", Bytes),
            ("expires_at", Scalar),
            ("transcript", Scalar),
        ]),
    ),
    ("cache_control", Data),
    ("function_call", Data),
    ("name", Scalar),
    ("prefix", Scalar),
    ("reasoning", Scalar),
    ("reasoning_content", Scalar),
    ("reasoning_details", Data),
    ("refusal", Scalar),
    ("tool_call_id", Scalar),
    ("tool_calls", List(&TOOL_CALL)),
]);

const CONTENT: Shape = Either(&Scalar, &List(&Shape::Union(&PART)));

static PART: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: &[("cache_control", Data), ("prompt_cache_breakpoint", Data)],
    types: &[
        (Is("text"), Object(&[("text", Scalar), ("annotations", Data)])),
        (Is("refusal"), Object(&[("refusal", Scalar)])),
        (Is("image_url"), Object(&[("image_url", LINK), ("uuid", Scalar)])),
        (Is("video_url"), Object(&[("video_url", LINK), ("uuid", Scalar)])),
        (Is("audio_url"), Object(&[("audio_url", LINK), ("uuid", Scalar)])),
        (
            Is("input_audio"),
            Object(&[("input_audio", Object(&[("data", Bytes), ("format", Scalar)])), ("uuid", Scalar)]),
        ),
        (Is("file"), Object(&[("file", FILE)])),
    ],
};

/// A URL, which some servers take without the object around it.
const LINK: Shape = Either(&Url, &Object(&[("url", Url), ("detail", Scalar), ("format", Scalar)]));

const FILE: Shape = Object(&[
    ("file_data", Bytes),
    ("file_id", Asks(FileId, &Data)),
    ("filename", Scalar),
    ("format", Scalar),
]);

static TOOL_CALL: Shape = Object(&[
    ("id", Scalar),
    ("type", Scalar),
    ("index", Scalar),
    ("function", Object(&[("name", Scalar), ("arguments", Data), ("parsed_arguments", Data)])),
    ("custom", Object(&[("name", Scalar), ("input", Scalar)])),
    // The seals of a provider's thoughts.
    ("extra_content", Data),
]);

static FUNCTION: Shape =
    Object(&[("name", Scalar), ("description", Scalar), ("parameters", Schema), ("strict", Scalar)]);

static TOOL: Union = Union {
    tag: "type",
    untyped: |_| Some("function"),
    unknown: UnknownTool,
    common: &[("cache_control", Data)],
    types: &[
        (
            Is("function"),
            Object(&[(
                "function",
                Object(&[
                    ("name", Scalar),
                    ("description", Scalar),
                    ("parameters", Schema),
                    ("strict", Scalar),
                ]),
            )]),
        ),
        (
            Is("custom"),
            Object(&[("custom", Object(&[("name", Scalar), ("description", Scalar), ("format", Data)]))]),
        ),
        hosted("web_search"),
        hosted("file_search"),
        hosted("code_interpreter"),
        hosted("code_execution"),
        hosted("computer"),
        hosted("image_generation"),
        hosted("google_"),
        hosted("mcp"),
        hosted("retrieval"),
        hosted("url_context"),
        hosted("web_fetch"),
    ],
};

static CHOICE: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownTool,
    common: &[],
    types: &[(Is("function"), Data), (Is("custom"), Data), (Is("allowed_tools"), Data), hosted("web_search")],
};

/// A tool that the backend runs. The dialect has none of its own; its servers have those of others.
const fn hosted(begins: &'static str) -> Type {
    (Begins(begins), Asks(HostedTool, &Foreign))
}
