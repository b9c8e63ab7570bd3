//! A conversation to the prompt text of a model, by the model's own chat template.
//!
//! The templates are written for Python's jinja2 as transformers sets it up; this sets up minijinja alike: the
//! same white space rules, variables, filters and string methods. A render is pure, since its caller passes
//! the time, and bounded by fuel, since a template comes from the model's publisher.
//! Deliberately absent: the token positions of the assistant's own text, which training asks for.

mod continued;
mod python_json;
mod python_methods;
mod sources;
#[cfg(test)]
mod tests;

use std::path::Path;

use jiff::ZonedDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use serde_json::{Map, Value as Json, json};

use continued::{mark_end, up_to_mark};
use sources::{NamedSources, find_sources, replace_generation_tags, sources_in};

use super::gguf::GgufText;
use super::{Conversation, Message, Opening, TextError, ThoughtTags, Tokenizer, Tool, ToolForm, files};

/// Bounds a render: about this many template instructions, or 64 times as many bytes. A long conversation of
/// a thousand messages takes less than a tenth.
const FUEL_MAX: u64 = 4_000_000;

const NAME_PLAIN: &str = "default";
const NAME_TOOLS: &str = "tool_use";
const NAME_DOCUMENTS: &str = "rag";
/// Texts that end a model's turn where its template writes them, whether or not a file calls them end tokens.
const TURN_ENDS: [&str; 9] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<|return|>",
    "<|call|>",
    "<|end|>",
];
/// The one of them that ends a message of gpt-oss and not its turn.
const MESSAGE_END: &str = "<|end|>";

/// A model's chat template, or its several: one for conversations with tools, one for those with documents.
#[derive(Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
    named_tokens: Vec<(&'static str, String)>,
    turn_ends: Vec<&'static str>,
    tool_form: Option<ToolForm>,
    thought_tags: Option<ThoughtTags>,
    absent_content: Json,
}

/// What a template is given, in the form that it knows.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) messages: Json,
    /// A list, or null.
    pub(super) tools: Json,
    /// Likewise.
    pub(super) documents: Json,
    pub(super) opening: Opening,
    pub(super) variables: Map<String, Json>,
}

/// What a template said by `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Template {
    /// Loads the chat template of a model folder: `chat_template.jinja` and those that stand in a folder beside it, else
    /// `chat_template.json`, else the one in `tokenizer_config.json`. The names of special tokens in it are those of the tokenizer.
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
        for (name, source) in sources {
            environment
                .add_template_owned(name.clone(), replace_generation_tags(source))
                .map_err(|error| files::invalid(path, error))?;
        }
        let texts: Vec<&str> = sources.iter().map(|(_, source)| source.as_str()).collect();
        let tool_form = ToolForm::detect(&texts, |token| tokenizer.token(token).is_some());
        let ends_turn = |end: &&str| {
            let is_written = texts.iter().any(|text| text.contains(end));
            is_written && (*end != MESSAGE_END || tool_form != Some(ToolForm::Harmony))
        };
        Ok(Self {
            environment,
            named_tokens: tokenizer.named_tokens().map(|(name, text)| (name, text.to_owned())).collect(),
            turn_ends: TURN_ENDS.into_iter().filter(ends_turn).collect(),
            tool_form,
            thought_tags: ThoughtTags::in_templates(&texts),
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
    /// Returns [`TextError::Template`] if the template refuses the conversation, or does not write the message that is
    /// to go on.
    pub(crate) fn render(
        &self,
        conversation: &Conversation,
        now: &ZonedDateTime,
    ) -> Result<String, TextError> {
        let messages = conversation.messages.iter().map(|message| self.message(message)).collect();
        self.render_json(
            Given {
                messages,
                tools: present(conversation.tools.iter().map(tool)),
                documents: present(conversation.documents.iter().cloned().map(Json::Object)),
                opening: conversation.opening,
                variables: conversation.variables.clone(),
            },
            now,
        )
    }

    /// What ends the model's turn, as the template writes it.
    pub(crate) fn turn_ends(&self) -> &[&'static str] {
        &self.turn_ends
    }

    /// The same, with calls in this form, whatever the template says.
    pub(crate) fn with_tool_form(self, form: Option<ToolForm>) -> Self {
        Self { tool_form: form.or(self.tool_form), ..self }
    }

    /// How the model writes calls, if that is known.
    pub(crate) fn tool_form(&self) -> Option<ToolForm> {
        self.tool_form
    }

    /// What is around the model's thoughts, if it is known to think before it answers.
    pub(crate) fn thought_tags(&self) -> Option<ThoughtTags> {
        self.thought_tags
    }

    /// Renders what is already in the form that templates know.
    pub(super) fn render_json(&self, mut given: Given, now: &ZonedDateTime) -> Result<String, TextError> {
        if given.opening == Opening::Continued {
            mark_end(&mut given.messages)?;
        }
        let opening = given.opening;
        let rendered = self.render_all(given, now)?;
        if opening == Opening::Continued { up_to_mark(rendered) } else { Ok(rendered) }
    }

    /// Renders the whole conversation.
    fn render_all(&self, given: Given, now: &ZonedDateTime) -> Result<String, TextError> {
        let now = now.clone();
        let strftime_now = move |format: &str| {
            jiff::fmt::strtime::format(format, &now).map_err(|error| {
                Error::new(ErrorKind::InvalidOperation, "strftime_now failed").with_source(error)
            })
        };
        let template = self.choose(&given)?;
        let Given { messages, tools, documents, opening, variables } = given;
        let ours = [
            ("messages", Value::from(Serde(messages))),
            ("tools", Value::from(Serde(tools))),
            ("documents", Value::from(Serde(documents))),
            ("add_generation_prompt", Value::from(opening == Opening::Turn)),
            ("strftime_now", Value::from_function(strftime_now)),
        ];
        let named_tokens = self.named_tokens.iter().map(|(name, text)| (*name, Value::from(text.as_str())));
        // The last one of a name counts: a client may change a token and not what it is part of.
        let theirs = variables.into_iter().map(|(name, value)| (name, Value::from(Serde(value))));
        let named = named_tokens.chain(ours.clone()).map(|(name, value)| (name.to_owned(), value));
        let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
        let context = Value::from_pairs(named.chain(theirs).chain(ours));
        template.render(context).map_err(|error| refused(&error))
    }

    /// The template for what is given, else the default one.
    fn choose(&self, given: &Given) -> Result<minijinja::Template<'_, '_>, TextError> {
        let named = |name: &str, is_wanted: bool| {
            if is_wanted { self.environment.get_template(name).ok() } else { None }
        };
        named(NAME_TOOLS, !given.tools.is_null())
            .or_else(|| named(NAME_DOCUMENTS, given.tools.is_null() && !given.documents.is_null()))
            .map_or_else(|| self.environment.get_template(NAME_PLAIN), Ok)
            .map_err(|error| refused(&error))
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

/// A list, or null if there is nothing in it.
fn present(items: impl Iterator<Item = Json>) -> Json {
    let items: Vec<Json> = items.collect();
    if items.is_empty() { Json::Null } else { Json::Array(items) }
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
    environment.set_unknown_method_callback(python_methods::call);
    environment.set_formatter(write_value);
    environment.add_filter("tojson", python_json::tojson);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception was called")
            .with_source(Raised(message)))
    });
    environment
}

/// Writes a value as Python does. minijinja writes large and small numbers with all their digits.
fn write_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match f64::try_from(value.clone()) {
        Ok(number) if value.is_number() && !value.is_integer() => {
            write!(out, "{}", python_json::float_repr(number)).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
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

/// Whether a template tests `content` for none. Such a template (some of the `DeepSeek` ones) writes tool calls only of
/// messages without content; the others mostly fail on none and want an empty text.
fn asks_for_null_content(source: &str) -> bool {
    source.match_indices("content").any(|(at, word)| {
        let rest = source[at + word.len()..].trim_start_matches(['\'', '"', ']', ')']).trim_start();
        ["is none", "is not none", "== none", "!= none"].iter().any(|test| rest.starts_with(test))
    })
}
