//! The items of an answer, while they grow and as they stand on the wire.

use serde::Serialize;

use crate::call::{Call, Namespace, Seal, ToolKind};
use crate::reply::{Envelope, Open};

/// What items need to know of the call and of the answer as a whole.
pub(super) struct Names {
    unique: String,
    provider: String,
    custom_tools: Vec<String>,
    namespaces: Vec<Namespace>,
}

/// One item as far as it has come.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) content: ItemContent,
}

/// What an item says.
pub(super) enum ItemContent {
    Text(String),
    Refusal(String),
    Reasoning {
        text: String,
        is_redacted: bool,
        sealed: String,
    },
    FunctionCall {
        tool: ToolName,
        arguments: String,
    },
    /// The input is still wrapped in the argument of a function until the item is complete.
    CustomCall {
        tool: ToolName,
        input: String,
    },
}

/// Which tool is called, in the caller's words.
pub(super) struct ToolName {
    call_id: String,
    name: String,
    namespace: Option<String>,
}

/// How far an item is.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

/// An item on the wire.
#[derive(Serialize)]
pub(super) struct ItemBody<'a> {
    id: &'a str,
    #[serde(flatten)]
    content: ContentBody<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentBody<'a> {
    Message {
        status: Status,
        content: Vec<PartBody<'a>>,
        role: &'static str,
    },
    Reasoning {
        summary: Vec<PartBody<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
    FunctionCall {
        status: Status,
        arguments: &'a str,
        #[serde(flatten)]
        tool: ToolBody<'a>,
    },
    CustomToolCall {
        status: Status,
        input: &'a str,
        #[serde(flatten)]
        tool: ToolBody<'a>,
    },
}

#[derive(Serialize)]
struct ToolBody<'a> {
    call_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

/// A part of an item on the wire.
#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartBody<'a> {
    OutputText { annotations: [(); 0], logprobs: [(); 0], text: &'a str },
    Refusal { refusal: &'a str },
    SummaryText { text: &'a str },
}

impl Names {
    pub(super) fn new(envelope: Envelope, call: &Call) -> Self {
        let is_custom = |kind: &ToolKind| matches!(kind, ToolKind::Custom { .. });
        let custom = call.tools.iter().filter(|tool| is_custom(&tool.kind));
        Self {
            unique: envelope.unique,
            provider: envelope.provider,
            custom_tools: custom.map(|tool| tool.name.clone()).collect(),
            namespaces: call.namespaces.clone(),
        }
    }

    /// Creates the empty item that `open` begins, the `index`th of the answer.
    pub(super) fn open(&self, open: &Open, index: usize) -> Item {
        let (prefix, content) = match open {
            Open::Text => ("msg", ItemContent::Text(String::new())),
            Open::Refusal => ("msg", ItemContent::Refusal(String::new())),
            Open::Reasoning => ("rs", self.reasoning(false)),
            Open::RedactedReasoning => ("rs", self.reasoning(true)),
            Open::ToolCall { id, name } => {
                let tool = self.tool_name(id, name);
                if self.custom_tools.contains(name) {
                    ("ctc", ItemContent::CustomCall { tool, input: String::new() })
                } else {
                    ("fc", ItemContent::FunctionCall { tool, arguments: String::new() })
                }
            }
        };
        Item { id: format!("{prefix}_{}_{index}", self.unique), content }
    }

    /// Returns what the client gets as the seal `data`; an empty one still says whose reasoning it is.
    pub(super) fn sealed(&self, data: &str) -> String {
        Seal::of(&self.provider, data).to_client()
    }

    fn reasoning(&self, is_redacted: bool) -> ItemContent {
        ItemContent::Reasoning { text: String::new(), is_redacted, sealed: self.sealed("") }
    }

    fn tool_name(&self, id: &str, flat: &str) -> ToolName {
        let (namespace, name) = Namespace::find(&self.namespaces, flat).unzip();
        ToolName {
            call_id: id.to_owned(),
            name: name.unwrap_or(flat).to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }
}

impl Item {
    /// Adds to the text, arguments or input.
    pub(super) fn append(&mut self, more: &str) {
        match &mut self.content {
            ItemContent::Text(text) | ItemContent::Refusal(text) | ItemContent::Reasoning { text, .. } => {
                text
            }
            ItemContent::FunctionCall { arguments: text, .. }
            | ItemContent::CustomCall { input: text, .. } => text,
        }
        .push_str(more);
    }

    /// Sets the seal as the client gets it, if this is reasoning.
    pub(super) fn seal(&mut self, data: String) {
        if let ItemContent::Reasoning { sealed, .. } = &mut self.content {
            *sealed = data;
        }
    }

    /// Makes what has come valid: no arguments are an empty object, and the input of a custom tool stands alone.
    pub(super) fn complete(&mut self) {
        match &mut self.content {
            ItemContent::FunctionCall { arguments, .. } if arguments.trim().is_empty() => {
                "{}".clone_into(arguments);
            }
            ItemContent::CustomCall { input, .. } => *input = free_text(input),
            _ => {}
        }
    }

    /// Returns the item as it stands on the wire.
    pub(super) fn body(&self, status: Status) -> ItemBody<'_> {
        let content = match &self.content {
            ItemContent::Text(_) | ItemContent::Refusal(_) => {
                ContentBody::Message { status, content: self.parts(status), role: "assistant" }
            }
            ItemContent::Reasoning { sealed, .. } => {
                let is_known = !matches!(status, Status::InProgress);
                let encrypted_content = is_known.then_some(sealed.as_str());
                ContentBody::Reasoning { summary: self.parts(status), encrypted_content }
            }
            ItemContent::FunctionCall { tool, arguments } => {
                ContentBody::FunctionCall { status, arguments, tool: tool.body() }
            }
            ItemContent::CustomCall { tool, input } => {
                // What has come until now is wrapped, and nothing that a client could use.
                let input = if matches!(status, Status::InProgress) { "" } else { input };
                ContentBody::CustomToolCall { status, input, tool: tool.body() }
            }
        };
        ItemBody { id: &self.id, content }
    }

    /// Returns the only part of the item, if it is one that has parts.
    pub(super) fn part(&self) -> Option<PartBody<'_>> {
        match &self.content {
            ItemContent::Text(text) => Some(PartBody::OutputText { annotations: [], logprobs: [], text }),
            ItemContent::Refusal(refusal) => Some(PartBody::Refusal { refusal }),
            ItemContent::Reasoning { text, is_redacted: false, .. } => Some(PartBody::SummaryText { text }),
            _ => None,
        }
    }

    fn parts(&self, status: Status) -> Vec<PartBody<'_>> {
        // An item begins without parts, which are then announced.
        if matches!(status, Status::InProgress) { Vec::new() } else { self.part().into_iter().collect() }
    }
}

impl ToolName {
    fn body(&self) -> ToolBody<'_> {
        ToolBody { call_id: &self.call_id, name: &self.name, namespace: self.namespace.as_deref() }
    }
}

/// Returns the free text that a model wrote for a custom tool, also if an API could ask for it only as the argument
/// of a function.
pub(super) fn free_text(arguments: &str) -> String {
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments);
    let wrapped = object.ok().filter(|object| object.len() == 1);
    match wrapped.and_then(|mut object| object.remove(ToolKind::CUSTOM_INPUT)) {
        Some(serde_json::Value::String(text)) => text,
        _ => arguments.to_owned(),
    }
}
