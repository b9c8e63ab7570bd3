//! Constraints as grammars. Pure: what a client or a tool says becomes the text of a grammar, within limits.

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Value, json};

use super::calls::tool_calls;
use super::spelling::Spelling;
use super::{Constraint, ConstraintError};
use crate::text::{Thinking, Tool, ToolForm};

/// Largest schema, expression or grammar, in bytes of its text.
pub(super) const SOURCE_BYTES_MAX: usize = 64 << 10;
/// Schemas of all tools together, in bytes of their text.
pub(super) const TOOLS_BYTES_MAX: usize = 512 << 10;
/// Deepest nesting of a schema or of brackets in a grammar, in levels.
pub(super) const DEPTH_MAX: usize = 64;
/// Lines of a grammar; a rule takes at least one, and rules may refer to each other in a chain.
pub(super) const LINES_MAX: usize = 2000;
/// White space between two parts of a JSON text: a space, or a new line and its indentation. Small models that were
/// given more wrote nothing else.
const JSON_SPACE: &str = r"\x20|\r?\n[\x20\t]{0,32}";

/// What can be compiled: the text of a grammar and what kind of text it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grammar {
    kind: Kind,
    text: String,
    /// The grammar of what the model thinks before it, if it may.
    thought: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Schema,
    Regex,
    Lark,
}

impl Grammar {
    /// # Errors
    /// Returns [`ConstraintError`] if the constraint exceeds a limit or demands calls of tools that are not there, or in
    /// a form that cannot be held.
    pub(super) fn new(
        constraint: &Constraint,
        tools: &[Tool],
        form: Option<ToolForm>,
        spelling: Spelling<'_>,
    ) -> Result<Self, ConstraintError> {
        let what = constraint.what();
        let (kind, text, bytes_max) = match constraint {
            Constraint::JsonObject => {
                (Kind::Schema, schema(what, &json!({ "type": "object" }))?, SOURCE_BYTES_MAX)
            }
            Constraint::JsonSchema(given) => (Kind::Schema, schema(what, given)?, SOURCE_BYTES_MAX),
            Constraint::Regex(expression) => (Kind::Regex, expression.clone(), SOURCE_BYTES_MAX),
            Constraint::Lark(grammar) => (Kind::Lark, grammar.clone(), SOURCE_BYTES_MAX),
            Constraint::Tools { demand, calls } => {
                (Kind::Lark, tool_calls((demand, *calls), tools, form, spelling)?, TOOLS_BYTES_MAX)
            }
        };
        check(what, "bytes", text.len(), bytes_max)?;
        if let Constraint::Regex(text) | Constraint::Lark(text) = constraint {
            check(what, "levels of brackets", brackets(text), DEPTH_MAX)?;
            check(what, "lines", text.lines().count(), LINES_MAX)?;
        }
        Ok(Self { kind, text, thought: None })
    }

    /// The same, after what the model thinks.
    pub(super) fn after(self, thinking: Thinking, spelling: Spelling<'_>) -> Self {
        Self { thought: spelling.thought(thinking), ..self }
    }

    /// # Errors
    /// Never, since a schema's text was written by us.
    pub(super) fn for_compiler(&self) -> Result<TopLevelGrammar, serde_json::Error> {
        let mut form = match self.kind {
            Kind::Schema => GrammarWithLexer::from_json_schema(serde_json::from_str(&self.text)?),
            Kind::Regex => GrammarWithLexer::from_regex(&self.text),
            Kind::Lark => GrammarWithLexer::from_lark(self.text.clone()),
        };
        let Some(thought) = &self.thought else { return Ok(TopLevelGrammar::from_grammar(form)) };
        form.name = Some("form".to_owned());
        let thought = GrammarWithLexer::from_lark(thought.clone());
        Ok(TopLevelGrammar { grammars: vec![thought, form], max_tokens: None })
    }
}

fn check(what: &'static str, unit: &str, found: usize, max: usize) -> Result<(), ConstraintError> {
    if found <= max {
        return Ok(());
    }
    Err(ConstraintError::TooLarge { what, limit: format!("at most {max} {unit} are taken") })
}

/// A schema with our choices of how JSON is written, in place of any that it came with.
pub(super) fn schema(what: &'static str, schema: &Value) -> Result<String, ConstraintError> {
    check(what, "levels of nesting", depth(schema), DEPTH_MAX)?;
    let mut schema = match schema {
        Value::Object(_) => schema.clone(),
        // Anything goes.
        Value::Bool(true) => json!({}),
        _ => {
            let reason = "it must be an object".to_owned();
            return Err(ConstraintError::Invalid { what, reason });
        }
    };
    schema["x-guidance"] = json!({ "whitespace_pattern": JSON_SPACE });
    Ok(schema.to_string())
}

/// Levels of a JSON value. Its parser has bounded them, so this recursion is bounded.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// At most how deep a reader of the text can nest: brackets in strings count too.
fn brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::{CallLimit, ToolDemand};
    use super::*;

    fn tool(name: &str, parameters: Value) -> Tool {
        Tool { name: name.to_owned(), description: None, parameters }
    }

    fn grammar(constraint: &Constraint, tools: &[Tool]) -> Result<Grammar, ConstraintError> {
        let tokenizer = super::super::tests::tokenizer();
        Grammar::new(constraint, tools, Some(ToolForm::Hermes), Spelling::new(&tokenizer))
    }

    fn refusal(constraint: &Constraint, tools: &[Tool]) -> String {
        grammar(constraint, tools).unwrap_err().to_string()
    }

    #[test]
    fn what_exceeds_a_limit_is_refused_with_it() {
        let nested = (0..70).fold(json!({}), |inner, _| json!({ "items": inner }));
        for (constraint, expected) in [
            (
                Constraint::JsonSchema(nested),
                "the JSON schema is too large: at most 64 levels of nesting are taken",
            ),
            (
                Constraint::JsonSchema(json!({ "description": "x".repeat(70_000) })),
                "the JSON schema is too large: at most 65536 bytes are taken",
            ),
            (
                Constraint::Regex("(".repeat(100)),
                "the regular expression is too large: at most 64 levels of brackets are taken",
            ),
            (
                Constraint::Lark("a: b\n".repeat(3000)),
                "the grammar is too large: at most 2000 lines are taken",
            ),
            (Constraint::JsonSchema(json!([])), "the JSON schema cannot be held: it must be an object"),
        ] {
            assert_eq!(refusal(&constraint, &[]), expected);
        }
    }

    #[test]
    fn calls_of_tools_that_are_not_there_are_refused() {
        let demand = |demand| Constraint::Tools { demand, calls: CallLimit::One };
        assert_eq!(
            refusal(&demand(ToolDemand::Required), &[]),
            "a tool call is demanded and no tool is offered"
        );
        let clock = [tool("clock", json!({}))];
        assert_eq!(
            refusal(&demand(ToolDemand::Named("watch".to_owned())), &clock),
            "a call of the tool `watch` is demanded, which is not offered"
        );
    }

    #[test]
    fn a_client_cannot_choose_how_json_is_written() {
        let schema = json!({ "type": "string", "x-guidance": { "lenient": true } });
        let grammar = grammar(&Constraint::JsonSchema(schema), &[]).unwrap();
        assert!(!grammar.text.contains("lenient"));
    }
}
