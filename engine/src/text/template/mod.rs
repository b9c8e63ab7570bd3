//! A conversation to the prompt text of a model, by the model's own chat template.
//!
//! The templates are written for Python's jinja2 as transformers sets it up; this sets up minijinja alike: the
//! same white space rules, variables, filters and string methods. A render is pure, since its caller passes
//! the time, and bounded by fuel, since a template comes from the model's publisher.
//! Deliberately absent: rendering parts of a reply to continue it, and variables chosen by the client.

mod python_json;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::ZonedDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Value as Json, json};

use super::gguf::GgufText;
use super::{Conversation, Message, THINK_CLOSE, TextError, Tokenizer, Tool, files};

/// Bounds a render: about this many template instructions, or 64 times as many bytes. A long conversation of
/// a thousand messages takes less than a tenth.
const FUEL_MAX: u64 = 4_000_000;

const NAME_PLAIN: &str = "default";
const NAME_TOOLS: &str = "tool_use";

/// A model's chat template, or its two, one of them for conversations with tools.
#[derive(Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
    named_tokens: Vec<(&'static str, String)>,
    has_tool_use: bool,
    hermes_form: bool,
    thinks: bool,
    absent_content: Json,
}

/// What a template said by `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Template {
    /// Loads the chat template of a model folder: `chat_template.jinja`, else `chat_template.json`, else the
    /// one in `tokenizer_config.json`. The names of special tokens in it are those of the tokenizer.
    ///
    /// # Errors
    /// Returns that the folder has no template, or which file is damaged or no template.
    pub(crate) fn load(folder: &Path, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let (path, sources) = find_sources(folder)?;
        Self::new(&path, &sources, tokenizer)
    }

    /// The chat template of a GGUF file.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn of_gguf(gguf: &GgufText, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let sources = sources_in(&gguf.path, &gguf.settings)?;
        let sources = sources.ok_or_else(|| TextError::NoTemplate { folder: gguf.path.clone() })?;
        Self::new(&gguf.path, &sources, tokenizer)
    }

    fn new(path: &Path, sources: &NamedSources, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let mut environment = new_environment();
        let mut has_tool_use = false;
        for (name, source) in sources {
            has_tool_use |= name == NAME_TOOLS;
            environment
                .add_template_owned(name.clone(), replace_generation_tags(source))
                .map_err(|error| files::invalid(path, error))?;
        }
        let written = |text: &str| sources.iter().any(|(_, source)| source.contains(text));
        Ok(Self {
            environment,
            named_tokens: tokenizer.named_tokens().map(|(name, text)| (name, text.to_owned())).collect(),
            has_tool_use,
            // Others put XML between the same tags.
            hermes_form: written("<tool_call>") && !written("<function=") && !written("<arg_key>"),
            thinks: written(THINK_CLOSE),
            absent_content: if sources.iter().any(|(_, source)| asks_for_null_content(source)) {
                Json::Null
            } else {
                Json::from("")
            },
        })
    }

    /// Renders a conversation up to where the assistant's reply begins. `now` is what the template may write
    /// as the date.
    ///
    /// # Errors
    /// Returns [`TextError::Template`] if the template refuses the conversation.
    pub(crate) fn render(
        &self,
        conversation: &Conversation,
        now: &ZonedDateTime,
    ) -> Result<String, TextError> {
        let messages = conversation.messages.iter().map(|message| self.message(message)).collect();
        let tools = match conversation.tools.as_slice() {
            [] => Json::Null,
            tools => tools.iter().map(tool).collect(),
        };
        self.render_json(messages, tools, now)
    }

    /// Whether the model is told to call tools as JSON between `<tool_call>` tags.
    pub(crate) fn calls_tools_in_hermes_form(&self) -> bool {
        self.hermes_form
    }

    /// Whether the model is known to think before it answers.
    pub(crate) fn thinks(&self) -> bool {
        self.thinks
    }

    /// Renders what is already in the form that templates know.
    pub(super) fn render_json(
        &self,
        messages: Json,
        tools: Json,
        now: &ZonedDateTime,
    ) -> Result<String, TextError> {
        let name = if self.has_tool_use && !tools.is_null() { NAME_TOOLS } else { NAME_PLAIN };
        let now = now.clone();
        let strftime_now = move |format: &str| {
            jiff::fmt::strtime::format(format, &now).map_err(|error| {
                Error::new(ErrorKind::InvalidOperation, "strftime_now failed").with_source(error)
            })
        };
        let variables = [
            ("messages", Value::from(Serde(messages))),
            ("tools", Value::from(Serde(tools))),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
            ("strftime_now", Value::from_function(strftime_now)),
        ];
        let named_tokens = self.named_tokens.iter().map(|(name, text)| (*name, Value::from(text.as_str())));
        let context = Value::from_pairs(variables.into_iter().chain(named_tokens));
        let template = self.environment.get_template(name).map_err(|error| refused(&error))?;
        template.render(context).map_err(|error| refused(&error))
    }

    fn message(&self, message: &Message) -> Json {
        let mut fields = json!({ "role": message.role.as_str(), "content": message.content });
        if let Some(name) = &message.name {
            fields["name"] = Json::from(name.as_str());
        }
        if !message.tool_calls.is_empty() {
            if message.content.is_empty() {
                fields["content"] = self.absent_content.clone();
            }
            let calls = message.tool_calls.iter().map(|call| {
                // Templates write the arguments by `tojson`, which would quote a text once more.
                let arguments = match serde_json::from_str(&call.arguments) {
                    Ok(Json::Object(arguments)) => Json::Object(arguments),
                    _ => Json::from(call.arguments.as_str()),
                };
                let function = json!({ "name": call.name, "arguments": arguments });
                json!({ "type": "function", "id": call.id, "function": function })
            });
            fields["tool_calls"] = calls.collect();
        }
        if let Some(id) = &message.tool_call_id {
            fields["tool_call_id"] = Json::from(id.as_str());
        }
        fields
    }
}

fn tool(tool: &Tool) -> Json {
    let mut function = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        function["description"] = Json::from(description.as_str());
    }
    function["parameters"] = tool.parameters.clone();
    json!({ "type": "function", "function": function })
}

fn new_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the default ones"));
    environment.set_fuel(Some(FUEL_MAX));
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_filter("tojson", python_json::tojson);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception was called")
            .with_source(Raised(message)))
    });
    environment
}

/// Python's answer. minijinja iterates over none as over an empty list, and `tools is iterable` is how some
/// templates ask whether there are tools.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Python's answer: whatever has a length and elements, texts and mappings too.
fn is_sequence(value: &Value) -> bool {
    use minijinja::value::ValueKind::{Map, Seq, String, Undefined};
    matches!(value.kind(), Map | Seq | String | Undefined)
}

/// The client's part of a failed render: what the template said if it raised, else what the engine says.
fn refused(error: &Error) -> TextError {
    let mut causes =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    let raised = causes.find_map(|cause| cause.downcast_ref::<Raised>());
    TextError::Template(raised.map_or_else(|| error.to_string(), Raised::to_string))
}

type NamedSources = Vec<(String, String)>;

/// The templates of a folder by name, and the file that they are from.
fn find_sources(folder: &Path) -> Result<(PathBuf, NamedSources), TextError> {
    let path = folder.join("chat_template.jinja");
    if let Some(bytes) = files::read_if_present(&path)? {
        let source = String::from_utf8(bytes).map_err(|error| files::invalid(&path, error))?;
        return Ok((path, vec![(NAME_PLAIN.to_owned(), source)]));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if let Some(sources) = sources_in(&path, &files::read_json_if_present(&path)?)? {
            return Ok((path, sources));
        }
    }
    Err(TextError::NoTemplate { folder: folder.to_owned() })
}

/// The templates under `chat_template`, if there are any.
fn sources_in(path: &Path, settings: &Json) -> Result<Option<NamedSources>, TextError> {
    match &settings["chat_template"] {
        Json::Null => Ok(None),
        Json::String(source) => Ok(Some(vec![(NAME_PLAIN.to_owned(), source.clone())])),
        list => named_sources(list).map(Some).ok_or_else(|| {
            files::invalid(path, "chat_template is neither a text nor a list that names a default one")
        }),
    }
}

/// Reads `[{"name": "default", "template": "..."}, ...]`; `None` if it is not of this form.
fn named_sources(list: &Json) -> Option<NamedSources> {
    let text = |entry: &Json, key| Some(entry[key].as_str()?.to_owned());
    let sources: Option<NamedSources> =
        list.as_array()?.iter().map(|entry| Some((text(entry, "name")?, text(entry, "template")?))).collect();
    sources.filter(|sources| sources.iter().any(|(name, _)| name == NAME_PLAIN))
}

/// Puts a condition that always holds for transformers' `{% generation %}` tags, which mark the assistant's
/// text for training and which minijinja does not know. The white space rules of the tags stay in force.
fn replace_generation_tags(source: &str) -> String {
    let mut replaced = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        replaced.push_str(before);
        replaced.push_str("{%");
        rest = tag;
        let Some((inside, _)) = tag.split_once("%}") else { continue };
        let word = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let statement = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        replaced.push_str(&inside.replacen(word, statement, 1));
        rest = &tag[inside.len()..];
    }
    replaced + rest
}

/// Whether a template tests `content` for none. Such a template (some of the `DeepSeek` ones) writes tool calls only of
/// messages without content; the others mostly fail on none and want an empty text.
fn asks_for_null_content(source: &str) -> bool {
    source.match_indices("content").any(|(at, word)| {
        let rest = source[at + word.len()..].trim_start_matches(['\'', '"', ']', ')']).trim_start();
        ["is none", "is not none", "== none", "!= none"].iter().any(|test| rest.starts_with(test))
    })
}
