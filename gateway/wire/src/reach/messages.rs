//! What a request of Messages may hold, whether it wants an answer or a count.

use super::IndirectKind::{
    CallerDestination, FileId, HostedTool, RemoteUrl, StoredState, UnknownPart, UnknownTool,
};
use super::shape::Name::{Begins, Dated, Is};
use super::shape::Shape::{Asks, Bytes, Data, Either, Foreign, List, Object, Scalar, Schema};
use super::shape::{Field, Shape, Type, Union, never};

/// The members of a request.
pub(super) static REQUEST: &[Field] = &[
    ("model", Scalar),
    ("messages", List(&MESSAGE)),
    ("system", Either(&Scalar, &List(&Shape::Union(&WORDS)))),
    ("cache_control", Data),
    ("container", Asks(FileId, &Data)),
    ("context_management", Data),
    ("diagnostics", Object(&[("previous_message_id", Asks(StoredState, &Data))])),
    ("fallback_credit_token", Scalar),
    ("fallbacks", Asks(CallerDestination, &Data)),
    ("inference_geo", Scalar),
    ("max_tokens", Scalar),
    ("mcp_servers", Asks(HostedTool, &List(&MCP_SERVER))),
    ("metadata", Data),
    ("output_config", Schema),
    ("output_format", Schema),
    ("service_tier", Scalar),
    ("speed", Scalar),
    ("stop_sequences", Data),
    ("stream", Scalar),
    ("temperature", Scalar),
    ("thinking", Data),
    ("tool_choice", Shape::Union(&CHOICE)),
    ("tools", List(&Shape::Union(&TOOL))),
    ("top_k", Scalar),
    ("top_p", Scalar),
];

static MESSAGE: Shape = Object(&[
    ("role", Scalar),
    ("content", Either(&Scalar, &List(&Shape::Union(&BLOCK)))),
    // Agents change their settings on the way.
    ("output_config", Schema),
]);

/// The blocks of a message. What a hosted tool left there is no tool, but the provider goes on from it.
static BLOCK: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: CACHED,
    types: &[
        (Is("text"), Object(TEXT)),
        (Is("image"), Object(IMAGE)),
        (Is("document"), Object(DOCUMENT)),
        (Is("search_result"), Object(SEARCH_RESULT)),
        (Is("tool_use"), Object(&[("id", Scalar), ("name", Scalar), ("input", Data), ("caller", Data)])),
        (
            Is("tool_result"),
            Object(&[
                ("tool_use_id", Scalar),
                ("content", Either(&Scalar, &List(&Shape::Union(&RESULT)))),
                ("is_error", Scalar),
            ]),
        ),
        (Is("thinking"), Object(&[("thinking", Scalar), ("signature", Scalar)])),
        (Is("redacted_thinking"), Object(&[("data", Scalar)])),
        (Is("compaction"), Object(&[("content", Scalar), ("encrypted_content", Scalar)])),
        (Is("mid_conv_system"), Object(&[("content", Either(&Scalar, &List(&Shape::Union(&WORDS))))])),
        (Is("tool_addition"), Object(&[("tool", Data)])),
        (Is("tool_removal"), Object(&[("tool", Data)])),
        (Is("fallback"), Data),
        (Is("container_upload"), Object(&[("file_id", Asks(FileId, &Data))])),
        (Is("server_tool_use"), Shape::Union(&SERVER_TOOL)),
        (Is("tool_search_tool_result"), Data),
        left_by("advisor_"),
        left_by("bash_code_execution_"),
        left_by("code_execution_"),
        left_by("mcp_tool_"),
        left_by("text_editor_code_execution_"),
        left_by("web_fetch_"),
        left_by("web_search_"),
    ],
};

/// The blocks of instructions.
static WORDS: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: CACHED,
    types: &[(Is("text"), Object(TEXT))],
};

/// The blocks that a tool of the client's may give.
static RESULT: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: CACHED,
    types: &[
        (Is("text"), Object(TEXT)),
        (Is("image"), Object(IMAGE)),
        (Is("document"), Object(DOCUMENT)),
        (Is("search_result"), Object(SEARCH_RESULT)),
        (Is("tool_reference"), Object(&[("tool_name", Scalar)])),
    ],
};

static CACHED: &[Field] = &[("cache_control", Data)];
static TEXT: &[Field] = &[("text", Scalar), ("citations", Data)];
static IMAGE: &[Field] = &[("source", Shape::Union(&SOURCE))];
static DOCUMENT: &[Field] =
    &[("source", Shape::Union(&SOURCE)), ("title", Scalar), ("context", Scalar), ("citations", Data)];
// Its source is a name that answers quote, and nobody's to fetch.
static SEARCH_RESULT: &[Field] =
    &[("source", Scalar), ("title", Scalar), ("content", List(&Shape::Union(&WORDS))), ("citations", Data)];

/// Where the bytes of a picture or a document are.
static SOURCE: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: &[],
    types: &[
        (Is("base64"), Object(&[("media_type", Scalar), ("data", Bytes)])),
        (Is("text"), Object(&[("media_type", Scalar), ("data", Scalar)])),
        (Is("content"), Object(&[("content", Either(&Scalar, &List(&Shape::Union(&PAGE))))])),
        (Is("url"), Object(&[("url", Asks(RemoteUrl, &Scalar))])),
        (Is("file"), Object(&[("file_id", Asks(FileId, &Scalar))])),
    ],
};

/// The blocks of a document that is written into the request.
static PAGE: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: CACHED,
    types: &[(Is("text"), Object(TEXT)), (Is("image"), Object(&[("source", Shape::Union(&PICTURE))]))],
};

static PICTURE: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownPart,
    common: &[],
    types: &[
        (Is("base64"), Object(&[("media_type", Scalar), ("data", Bytes)])),
        (Is("url"), Object(&[("url", Asks(RemoteUrl, &Scalar))])),
        (Is("file"), Object(&[("file_id", Asks(FileId, &Scalar))])),
    ],
};

/// The calls of tools that the provider ran. One of them looks no further than the request.
static SERVER_TOOL: Union = Union {
    tag: "name",
    untyped: never,
    unknown: HostedTool,
    common: &[],
    types: &[(Begins("tool_search_tool_"), Data)],
};

/// The tools on offer. Of those that the API defines, the client runs `bash`, `text_editor`, `computer` and `memory`;
/// searches among the tools look no further than the request.
static TOOL: Union = Union {
    tag: "type",
    untyped: |_| Some("custom"),
    unknown: UnknownTool,
    common: &[
        ("name", Scalar),
        ("allowed_callers", Data),
        ("cache_control", Data),
        ("defer_loading", Scalar),
        ("input_examples", Data),
        ("strict", Scalar),
    ],
    types: &[
        (
            Is("custom"),
            Object(&[("description", Scalar), ("input_schema", Schema), ("eager_input_streaming", Scalar)]),
        ),
        (Dated("bash"), Object(&[])),
        (Dated("text_editor"), Object(&[("max_characters", Scalar)])),
        (Dated("memory"), Object(&[])),
        (
            Dated("computer"),
            Object(&[
                ("display_height_px", Scalar),
                ("display_width_px", Scalar),
                ("display_number", Scalar),
                ("enable_zoom", Scalar),
            ]),
        ),
        (Begins("tool_search_tool_"), Object(&[])),
        hosted("advisor"),
        hosted("code_execution"),
        hosted("mcp"),
        hosted("web_fetch"),
        hosted("web_search"),
    ],
};

static MCP_SERVER: Shape = Object(&[
    ("type", Scalar),
    ("name", Scalar),
    ("url", Asks(CallerDestination, &Data)),
    ("authorization_token", Scalar),
    ("tool_configuration", Data),
]);

static CHOICE: Union = Union {
    tag: "type",
    untyped: never,
    unknown: UnknownTool,
    common: &[],
    types: &[(Is("auto"), Data), (Is("any"), Data), (Is("tool"), Data), (Is("none"), Data)],
};

/// A tool that the provider runs.
const fn hosted(begins: &'static str) -> Type {
    (Begins(begins), Asks(HostedTool, &Foreign))
}

/// What such a tool left in the conversation: words of an earlier answer.
const fn left_by(begins: &'static str) -> Type {
    (Begins(begins), Asks(HostedTool, &Data))
}
