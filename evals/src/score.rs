//! Scorers: pure functions from a target and an answer to right or wrong.
//!
//! None of them repairs an answer: a model that wraps its JSON in prose has not answered in JSON.

use serde::Deserialize;
use serde_json::Value;

/// What a right answer is, and by which comparison.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The text, to the last character, surrounding white space apart.
    Exact(String),
    /// A text that the answer holds somewhere.
    Contains(String),
    /// A JSON value; the order of members and white space do not count.
    JsonEqual(Value),
    /// Exactly one call of this tool, with exactly these arguments.
    ToolCall(ToolCall),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments, as a JSON value and not as the text that carries it.
    pub arguments: Value,
}

/// What the model answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The text; empty if there is none.
    pub text: String,
    /// The calls, in the model's order.
    pub tool_calls: Vec<ToolCall>,
}

/// The verdict on one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Score {
    /// The answer is what the target asks for.
    Right,
    /// It is not, for this reason.
    Wrong(String),
}

impl Target {
    /// Compares an answer with the target. Where text is asked for, a tool call is wrong whatever the text says.
    pub fn score(&self, answer: &Answer) -> Score {
        let text = answer.text.trim();
        match self {
            Self::ToolCall(call) => score_tool_call(call, &answer.tool_calls),
            _ if !answer.tool_calls.is_empty() => {
                Score::Wrong(format!("called `{}`", answer.tool_calls[0].name))
            }
            Self::Exact(target) => right_if(text == target, || format!("`{text}` is not `{target}`")),
            Self::Contains(target) => {
                right_if(text.contains(target), || format!("`{text}` does not hold `{target}`"))
            }
            Self::JsonEqual(target) => match serde_json::from_str::<Value>(text) {
                Ok(value) => right_if(value == *target, || format!("{value} is not {target}")),
                Err(error) => Score::Wrong(format!("`{text}` is not JSON: {error}")),
            },
        }
    }
}

fn score_tool_call(target: &ToolCall, calls: &[ToolCall]) -> Score {
    match calls {
        [call] if call == target => Score::Right,
        [call] if call.name != target.name => {
            Score::Wrong(format!("called `{}`, not `{}`", call.name, target.name))
        }
        [call] => Score::Wrong(format!("arguments {} are not {}", call.arguments, target.arguments)),
        calls => Score::Wrong(format!("{} calls, not one", calls.len())),
    }
}

fn right_if(is_right: bool, why_not: impl FnOnce() -> String) -> Score {
    if is_right { Score::Right } else { Score::Wrong(why_not()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Answer {
        Answer { text: text.to_owned(), tool_calls: Vec::new() }
    }

    fn call(name: &str, arguments: Value) -> ToolCall {
        ToolCall { name: name.to_owned(), arguments }
    }

    #[track_caller]
    fn check(target: &Target, answer: &Answer, is_right: bool) {
        let score = target.score(answer);
        assert_eq!(score == Score::Right, is_right, "{score:?}");
    }

    #[test]
    fn exact_means_every_character() {
        let target = Target::Exact("12 + 30 = 42".to_owned());
        check(&target, &text("12 + 30 = 42\n"), true);
        check(&target, &text("12 + 30 = 42."), false);
        check(&target, &text("12 + 30 = 43"), false);
        check(&target, &text(""), false);
    }

    #[test]
    fn contains_means_somewhere() {
        let target = Target::Contains("18 degrees".to_owned());
        check(&target, &text("The result is 18 degrees."), true);
        check(&target, &text("The result is 18."), false);
    }

    #[test]
    fn json_is_compared_as_a_value_and_never_repaired() {
        let target = Target::JsonEqual(json!({"name": "Ada", "age": 36}));
        check(&target, &text("{\"age\":36,\n \"name\":\"Ada\"}"), true);
        check(&target, &text("{\"name\": \"Ada\"}"), false);
        check(&target, &text("{\"name\": \"Ada\", \"age\": \"36\"}"), false);
        check(&target, &text("{\"name\": \"Ada\", \"age\": 36, \"x\": 1}"), false);
        check(&target, &text("Here: {\"name\": \"Ada\", \"age\": 36}"), false);
    }

    #[test]
    fn a_tool_call_has_the_name_the_arguments_and_no_company() {
        let target = Target::ToolCall(call("get_weather", json!({"city": "Lima"})));
        let answer = |tool_calls: Vec<ToolCall>| Answer { text: String::new(), tool_calls };
        let right = call("get_weather", json!({"city": "Lima"}));
        check(&target, &answer(vec![right.clone()]), true);
        check(&target, &answer(vec![call("get_time", json!({"city": "Lima"}))]), false);
        check(&target, &answer(vec![call("get_weather", json!({"city": "lima"}))]), false);
        check(&target, &answer(vec![call("get_weather", json!({"city": "Lima", "unit": "c"}))]), false);
        check(&target, &answer(vec![right.clone(), right]), false);
        check(&target, &text("{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}"), false);
    }

    #[test]
    fn a_call_where_text_is_asked_for_is_wrong() {
        let answer = Answer { text: "hello".to_owned(), tool_calls: vec![call("greet", json!({}))] };
        check(&Target::Exact("hello".to_owned()), &answer, false);
    }
}
