//! What a request of Responses may hold.

use super::IndirectKind::{FileId, HostedTool, StoredState, UnknownPart, UnknownTool};
use super::shape::Name::{Begins, Is};
use super::shape::Shape::{Asks, Bytes, Data, Either, Foreign, List, Object, Scalar, Schema, Switch, Url};
use super::shape::{Field, NOTHING, Shape, Type, Union, never};

/// The members of a request, beside those that only open servers know.
pub(super) static REQUEST: &[Field] = &[
    ("model", Scalar),
    ("input", Either(&Scalar, &List(&Shape::Union(&ITEM)))),
    ("instructions", Scalar),
    ("background", Switch(StoredState)),
    // What an agent says of itself.
    ("client_metadata", Data),
    ("context_management", Data),
    ("conversation", Asks(StoredState, &Data)),
    ("include", Data),
    ("max_output_tokens", Scalar),
    ("max_tool_calls", Scalar),
    ("metadata", Data),
    ("moderation", Data),
    ("parallel_tool_calls", Scalar),
    // Never sent on: the gateway has the answer itself, or refuses.
    ("previous_response_id", Scalar),
    ("prompt", Asks(StoredState, &Data)),
    ("prompt_cache_key", Scalar),
    ("prompt_cache_options", Data),
    ("prompt_cache_retention", Scalar),
    ("reasoning", Data),
    ("safety_identifier", Scalar),
    ("service_tier", Scalar),
    ("store", Switch(StoredState)),
    ("stream", Scalar),
    ("stream_options", Data),
    ("temperature", Scalar),
    ("text", Schema),
    ("tool_choice", Either(&Scalar, &Shape::Union(&CHOICE))),
    ("tools", TOOLS),
    ("top_logprobs", Scalar),
    ("top_p", Scalar),
    ("truncation", Scalar),
    ("user", Scalar),
];

/// The items of a conversation. What a hosted tool left there is no tool, but the provider goes on from it.
static ITEM: Union = Union {
    tag: "type",
    untyped: |item| {
        let is_reference = item.has("id").then_some("item_reference");
        if item.has("role") { Some("message") } else { is_reference }
    },
    unknown: UnknownPart,
    common: &[("id", Scalar), ("status", Scalar), ("phase", Scalar), ("caller", Data)],
    types: &[
        (Is("message"), Object(&[("role", Scalar), ("content", CONTENT)])),
        (Is("reasoning"), Object(&[("summary", Data), ("content", Data), ("encrypted_content", Scalar)])),
        (Is("function_call"), Object(CALL)),
        (Is("custom_tool_call"), Object(CALL)),
        (Is("function_call_output"), Object(RESULT)),
        (Is("custom_tool_call_output"), Object(RESULT)),
        (Is("additional_tools"), Object(&[("role", Scalar), ("tools", TOOLS)])),
        (Is("tool_search_call"), Object(&[("call_id", Scalar), ("execution", Scalar), ("arguments", Data)])),
        (Is("tool_search_output"), Object(&[("call_id", Scalar), ("execution", Scalar), ("tools", TOOLS)])),
        (Is("local_shell_call"), Object(&[("call_id", Scalar), ("action", Data)])),
        (Is("local_shell_call_output"), Object(&[("call_id", Scalar), ("output", Scalar)])),
        (
            Is("shell_call"),
            Object(&[("call_id", Scalar), ("action", Data), ("environment", Shape::Union(&ENVIRONMENT))]),
        ),
        (
            Is("shell_call_output"),
            Object(&[("call_id", Scalar), ("output", Data), ("max_output_length", Scalar)]),
        ),
        (Is("apply_patch_call"), Object(&[("call_id", Scalar), ("operation", Data)])),
        (Is("apply_patch_call_output"), Object(&[("call_id", Scalar), ("output", Scalar)])),
        (Is("compaction"), Object(&[("encrypted_content", Scalar)])),
        (Is("compaction_trigger"), NOTHING),
        (Is("item_reference"), Asks(StoredState, &Data)),
        (
            Is("computer_call_output"),
            Asks(
                HostedTool,
                &Object(&[
                    ("call_id", Scalar),
                    ("output", Shape::Union(&PART)),
                    ("acknowledged_safety_checks", Data),
                ]),
            ),
        ),
        (Is("code_interpreter_call"), Asks(HostedTool, &Foreign)),
        left_by("computer_call"),
        left_by("file_search_call"),
        left_by("image_generation_call"),
        left_by("mcp_"),
        left_by("program"),
        left_by("web_search_call"),
    ],
};

static CALL: &[Field] =
    &[("call_id", Scalar), ("name", Scalar), ("namespace", Scalar), ("arguments", Data), ("input", Data)];

static RESULT: &[Field] =
    &[("call_id", Scalar), ("name", Scalar), ("namespace", Scalar), ("output", CONTENT)];

const CONTENT: Shape = Either(&Scalar, &List(&Shape::Union(&PART)));

static PART: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: &[("prompt_cache_breakpoint", Data)],
    types: &[
        (Is("input_text"), Object(TEXT)),
        (Is("output_text"), Object(TEXT)),
        (Is("text"), Object(TEXT)),
        (Is("summary_text"), Object(TEXT)),
        (Is("reasoning_text"), Object(TEXT)),
        (Is("refusal"), Object(&[("refusal", Scalar)])),
        (Is("input_image"), Object(IMAGE)),
        (Is("computer_screenshot"), Object(IMAGE)),
        (
            Is("input_file"),
            Object(&[
                ("file_data", Bytes),
                ("file_id", Asks(FileId, &Data)),
                ("file_url", Url),
                ("filename", Scalar),
                ("detail", Scalar),
            ]),
        ),
        (Is("input_audio"), Object(&[("input_audio", Object(&[("data", Bytes), ("format", Scalar)]))])),
    ],
};

static TEXT: &[Field] = &[("text", Scalar), ("annotations", Data), ("logprobs", Data)];

static IMAGE: &[Field] = &[
    ("image_url", Either(&Url, &Object(&[("url", Url), ("detail", Scalar)]))),
    ("file_id", Asks(FileId, &Data)),
    ("detail", Scalar),
];

const TOOLS: Shape = List(&Shape::Union(&TOOL));

/// The tools on offer. Shells, patches and searches among the tools themselves are the client's to run, or look no
/// further than the request.
static TOOL: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownTool,
    common: COMMON,
    types: &[
        (Is("function"), Object(FUNCTION)),
        (Is("custom"), Object(CUSTOM)),
        (
            Is("namespace"),
            Object(&[("name", Scalar), ("description", Scalar), ("tools", List(&Shape::Union(&MEMBER)))]),
        ),
        (
            Is("tool_search"),
            Object(&[("execution", Scalar), ("description", Scalar), ("parameters", Schema)]),
        ),
        (Is("local_shell"), NOTHING),
        (Is("apply_patch"), NOTHING),
        (Is("shell"), Object(&[("environment", Shape::Union(&ENVIRONMENT))])),
        hosted("code_interpreter"),
        hosted("computer"),
        hosted("file_search"),
        hosted("image_generation"),
        hosted("mcp"),
        hosted("programmatic_tool_calling"),
        hosted("web_search"),
    ],
};

static MEMBER: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownTool,
    common: COMMON,
    types: &[(Is("function"), Object(FUNCTION)), (Is("custom"), Object(CUSTOM))],
};

static COMMON: &[Field] = &[("allowed_callers", Data), ("defer_loading", Scalar)];

static FUNCTION: &[Field] = &[
    ("name", Scalar),
    ("description", Scalar),
    ("parameters", Schema),
    ("output_schema", Schema),
    ("strict", Scalar),
];

static CUSTOM: &[Field] = &[("name", Scalar), ("description", Scalar), ("format", Data)];

/// Where a shell runs: at the client, or in a container of the provider's.
static ENVIRONMENT: Union =
    Union { tag: "type", untyped: never, unknown: HostedTool, common: &[], types: &[(Is("local"), Data)] };

static CHOICE: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownTool,
    common: &[],
    types: &[
        (Is("function"), Data),
        (Is("custom"), Data),
        (Is("allowed_tools"), Data),
        (Is("apply_patch"), Data),
        (Is("local_shell"), Data),
        (Is("shell"), Data),
        (Is("tool_search"), Data),
        hosted("code_interpreter"),
        hosted("computer"),
        hosted("file_search"),
        hosted("image_generation"),
        hosted("mcp"),
        hosted("programmatic_tool_calling"),
        hosted("web_search"),
    ],
};

/// A tool that the provider runs.
const fn hosted(begins: &'static str) -> Type {
    (Begins(begins), Asks(HostedTool, &Foreign))
}

/// What such a tool left in the conversation: words of an earlier answer.
const fn left_by(begins: &'static str) -> Type {
    (Begins(begins), Asks(HostedTool, &Data))
}
