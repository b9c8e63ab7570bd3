//! Calls of tools as grammars, in the forms that [`ToolForm`] reads.
//!
//! | form | demanded | held once begun |
//! |---|---|---|
//! | calls as Python writes them | no | no |
//! | channels | yes | no |
//! | every other | yes | yes |
//!
//! XML has its parameters in the order of the schema. Where one may be a string, its value is any text: what is checked
//! of a string in JSON (length, pattern) is not checked there.

use serde_json::{Value, json};

use super::grammar::schema;
use super::spelling::{Spelling, literal};
use super::{CallLimit, ConstraintError, ToolDemand};
use crate::text::{Tool, ToolForm, is_tool_name, may_be_text};

/// What an error calls a tool's schema.
const WHAT: &str = "schema of a tool";

/// The grammar of the calls that are demanded of these tools.
///
/// # Errors
/// Returns [`ConstraintError`] if the tools are not there or the form cannot be held.
pub(super) fn tool_calls(
    (demand, limit): (&ToolDemand, CallLimit),
    tools: &[Tool],
    form: Option<ToolForm>,
    spelling: Spelling<'_>,
) -> Result<String, ConstraintError> {
    let wanted: Vec<&Tool> = match demand {
        ToolDemand::Auto | ToolDemand::Required => tools.iter().collect(),
        ToolDemand::Named(name) => {
            let tool = tools.iter().find(|tool| tool.name == *name);
            vec![tool.ok_or_else(|| ConstraintError::UnknownTool(name.clone()))?]
        }
    };
    if wanted.is_empty() {
        return Err(ConstraintError::NoTools);
    }
    let form = form.ok_or(ConstraintError::NoToolForm)?;
    let mut writer = Writer { form, spelling, lines: Vec::new() };
    writer.start(*demand == ToolDemand::Auto, limit)?;
    let names: Vec<String> = (0..wanted.len()).map(|index| format!("call{index}")).collect();
    writer.lines.push(format!("call: {}", names.join(" | ")));
    for (index, tool) in wanted.into_iter().enumerate() {
        writer.call(index, tool)?;
    }
    Ok(writer.lines.join("\n"))
}

/// Writes the rules of one form.
struct Writer<'a> {
    form: ToolForm,
    spelling: Spelling<'a>,
    lines: Vec<String>,
}

impl Writer<'_> {
    fn terms(&self, text: &str) -> String {
        self.spelling.terms(text, self.form.markers())
    }

    /// What begins calls, what follows it, and what is between that and the next beginning, if there may be one.
    fn row(&self, limit: CallLimit) -> Option<(&'static str, String, Option<&'static str>)> {
        let several = |before: &str, between: &str, after: &str| {
            let more = if limit == CallLimit::Any { format!(" ({between} call)*") } else { String::new() };
            format!("{before} call{more} {after}")
        };
        Some(match self.form {
            ToolForm::Hermes | ToolForm::QwenXml | ToolForm::Glm => {
                ("<tool_call>", "call".to_owned(), Some("\n"))
            }
            ToolForm::Mistral if self.spelling.has("[ARGS]") => ("[TOOL_CALLS]", "call".to_owned(), Some("")),
            ToolForm::Mistral => ("[TOOL_CALLS]", several("\" \"? \"[\"", "\", \"", "\"]\""), None),
            ToolForm::DeepSeek => {
                ("<｜tool▁calls▁begin｜>", several("", "\"\\n\"?", &self.terms("<｜tool▁calls▁end｜>")), None)
            }
            ToolForm::Kimi => (
                "<|tool_calls_section_begin|>",
                several("", "", &self.terms("<|tool_calls_section_end|>")),
                None,
            ),
            ToolForm::MiniMax => {
                ("<minimax:tool_call>", several("\"\\n\"", "", &self.terms("</minimax:tool_call>")), None)
            }
            ToolForm::LlamaJson | ToolForm::Pythonic | ToolForm::Harmony => return None,
        })
    }

    /// The rules of a reply, down to a call.
    fn start(&mut self, is_free: bool, limit: CallLimit) -> Result<(), ConstraintError> {
        let any = limit == CallLimit::Any;
        let Some((open, row, again)) = self.row(limit) else { return self.start_unmarked(is_free, limit) };
        if is_free {
            let times = if any { '*' } else { '?' };
            self.lines.push(format!("start: (head row){times} TAIL?"));
            self.lines.push(self.spelling.until("head", open));
            self.lines.push(format!("TAIL: {}", self.spelling.without(open)));
        } else {
            let more = match again {
                Some("") if any => " (open row)*".to_owned(),
                Some(between) if any => format!(" ({} open row)*", literal(between)),
                _ => String::new(),
            };
            self.lines.push(format!("start: open row{more}"));
            self.lines.push(format!("open: {}", self.terms(open)));
        }
        self.lines.push(format!("row: {row}"));
        Ok(())
    }

    /// The same of a form whose calls have no mark before them.
    fn start_unmarked(&mut self, is_free: bool, limit: CallLimit) -> Result<(), ConstraintError> {
        match self.form {
            ToolForm::LlamaJson => {
                let more = if limit == CallLimit::Any { " (\"; \" call)*" } else { "" };
                if is_free {
                    self.lines.push(format!("start: call{more} | TEXT?"));
                    self.lines.push("TEXT: /[ \\n]*[^{ \\n](.|\\n)*/".to_owned());
                } else {
                    self.lines.push(format!("start: call{more}"));
                }
            }
            // Its turn ends with a call.
            ToolForm::Harmony if !is_free && self.spelling.is_special("<|end|>") => {
                self.lines.push("start: (thought block begin)? call".to_owned());
                self.lines.push(format!("thought: {}", self.terms("<|channel|>analysis<|message|>")));
                self.lines.push(self.spelling.until("block", "<|end|>"));
                self.lines.push(format!("begin: {}", self.terms("<|start|>assistant")));
            }
            _ => return Err(ConstraintError::NoToolForm),
        }
        Ok(())
    }

    /// The rules of one tool's call.
    fn call(&mut self, index: usize, tool: &Tool) -> Result<(), ConstraintError> {
        let name = tool.name.as_str();
        let is_quoted = matches!(self.form, ToolForm::Hermes | ToolForm::LlamaJson)
            || self.form == ToolForm::Mistral && !self.spelling.has("[ARGS]");
        if !is_quoted && !is_tool_name(name) {
            return Err(ConstraintError::NoToolForm);
        }
        let quoted = literal(name);
        let of_json = |before: &str, after: &str| {
            let terms = [self.terms(before), format!("arguments{index}"), self.terms(after)];
            terms.into_iter().filter(|term| term != "\"\"").collect::<Vec<_>>().join(" ")
        };
        let rule = match self.form {
            ToolForm::Hermes => {
                of_json(&format!("\n{{\"name\": {quoted}, \"arguments\": "), "}\n</tool_call>")
            }
            ToolForm::LlamaJson => of_json(&format!("{{\"name\": {quoted}, \"parameters\": "), "}"),
            ToolForm::Mistral if is_quoted => of_json(&format!("{{\"name\": {quoted}, \"arguments\": "), "}"),
            ToolForm::Mistral => of_json(&format!("{name}[ARGS]"), ""),
            ToolForm::DeepSeek => {
                let fenced = of_json(&format!("function<｜tool▁sep｜>{name}\n```json\n"), "\n```");
                let plain = of_json(&format!("{name}<｜tool▁sep｜>"), "");
                let [begin, end] =
                    ["<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"].map(|mark| self.terms(mark));
                format!("{begin} ({fenced} | {plain}) {end}")
            }
            ToolForm::Kimi => {
                let begin = self.terms(&format!("<|tool_call_begin|>functions.{name}:"));
                let rest = of_json("<|tool_call_argument_begin|>", "<|tool_call_end|>");
                format!("{begin} /[0-9]+/ {rest}")
            }
            ToolForm::Harmony => of_json(
                &format!("<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"),
                "",
            ),
            ToolForm::QwenXml | ToolForm::Glm | ToolForm::MiniMax => return self.tagged(index, tool),
            ToolForm::Pythonic => return Err(ConstraintError::NoToolForm),
        };
        let schema = schema(WHAT, &arguments(&tool.parameters))?;
        self.lines.push(format!("call{index}: {rule}"));
        self.lines.push(format!("arguments{index}: %json {schema}"));
        Ok(())
    }

    /// The rules of a call in XML.
    fn tagged(&mut self, index: usize, tool: &Tool) -> Result<(), ConstraintError> {
        let name = tool.name.as_str();
        let (before, after) = match self.form {
            ToolForm::QwenXml => (format!("\n<function={name}>\n"), "</function>\n</tool_call>"),
            ToolForm::Glm => (format!("{name}\n"), "</tool_call>"),
            _ => (format!("<invoke name=\"{name}\">\n"), "</invoke>\n"),
        };
        let required = |key: &str| {
            tool.parameters["required"].as_array().is_some_and(|keys| keys.iter().any(|one| one == key))
        };
        let mut terms = vec![self.terms(&before)];
        let mut rules = Vec::new();
        for (place, (key, schema)) in
            tool.parameters["properties"].as_object().into_iter().flatten().enumerate()
        {
            let rule = format!("value{index}_{place}");
            terms.push(format!("{rule}{}", if required(key) { "" } else { "?" }));
            rules.extend(self.parameter(&rule, key, &with_definitions(schema, &tool.parameters))?);
        }
        terms.push(self.terms(after));
        self.lines.push(format!("call{index}: {}", terms.join(" ")));
        self.lines.extend(rules);
        Ok(())
    }

    /// The rules of a parameter.
    fn parameter(&self, rule: &str, key: &str, value: &Value) -> Result<Vec<String>, ConstraintError> {
        let (before, end) = match self.form {
            ToolForm::QwenXml => (format!("<parameter={key}>\n"), "\n</parameter>\n"),
            ToolForm::Glm => (format!("<arg_key>{key}</arg_key>\n<arg_value>"), "</arg_value>\n"),
            _ => (format!("<parameter name=\"{key}\">"), "</parameter>\n"),
        };
        let before = self.terms(&before);
        let words: Option<Vec<&str>> =
            value["enum"].as_array().and_then(|words| words.iter().map(Value::as_str).collect());
        Ok(match words {
            Some(words) if !words.is_empty() => {
                let words: Vec<String> = words.into_iter().map(literal).collect();
                vec![format!("{rule}: {before} ({}) {}", words.join(" | "), self.terms(end))]
            }
            _ if may_be_text(value) => {
                let text = self.spelling.until(&format!("{rule}_text"), end);
                vec![format!("{rule}: {before} {rule}_text"), text]
            }
            _ => vec![
                format!("{rule}: {before} {rule}_json {}", self.terms(end)),
                format!("{rule}_json: %json {}", schema(WHAT, value)?),
            ],
        })
    }
}

/// A parameter's schema with the definitions that it may refer to.
fn with_definitions(schema: &Value, whole: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(fields) = &mut schema {
        for key in ["$defs", "definitions"] {
            if let Some(definitions) = whole.get(key) {
                fields.entry(key).or_insert_with(|| definitions.clone());
            }
        }
    }
    schema
}

/// The schema of a tool's arguments, which are an object also where the tool does not say so.
fn arguments(parameters: &Value) -> Value {
    match parameters {
        Value::Object(fields) if fields.contains_key("type") || fields.contains_key("$ref") => {
            parameters.clone()
        }
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.insert("type".to_owned(), Value::from("object"));
            Value::Object(fields)
        }
        _ => json!({ "type": "object" }),
    }
}
