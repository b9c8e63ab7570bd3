//! What compiled constraints let through, without a model; and what is too much for the compiler.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::text::{Calls, Emission, Output, ReplyForm, Thinking, ThoughtTags, Tokenizer, Tool, ToolForm};

/// V of the demo model.
const VOCABULARY: usize = 2048;

pub(super) fn tokenizer() -> Arc<Tokenizer> {
    static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
    let load = || Tokenizer::load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo")).unwrap();
    TOKENIZER.get_or_init(|| Arc::new(load())).clone()
}

fn compiler() -> Arc<Compiler> {
    static COMPILER: OnceLock<Arc<Compiler>> = OnceLock::new();
    COMPILER.get_or_init(|| Arc::new(Compiler::new(tokenizer(), VOCABULARY, Some(ToolForm::Hermes)))).clone()
}

pub(super) async fn compile(constraint: Constraint, tools: &[Tool]) -> Result<Matcher, ConstraintError> {
    compiler().compile(constraint, tools.to_vec(), Thinking::Never).await
}

/// How a grammar took a text.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It may end there.
    Whole,
    /// More has to follow.
    Part,
    /// Not all of it.
    No,
}

fn take(matcher: &mut Matcher, text: &str) -> Taken {
    take_of(&tokenizer(), VOCABULARY, matcher, text)
}

/// The same, of another vocabulary.
fn take_of(tokenizer: &Tokenizer, vocabulary: usize, matcher: &mut Matcher, text: &str) -> Taken {
    for token in tokenizer.encode(text).unwrap() {
        match matcher.take(token) {
            Ok(Progress::Open) => {}
            Ok(Progress::Complete) => return Taken::Whole,
            Err(Broken) => return Taken::No,
        }
    }
    let mut logits = vec![0.0; vocabulary];
    matcher.mask(&mut logits).unwrap();
    let ends = tokenizer.end_tokens().any(|end| logits[end as usize].is_finite());
    if ends { Taken::Whole } else { Taken::Part }
}

async fn check(constraint: Constraint, tools: &[Tool], texts: &[(&str, Taken)]) {
    for (text, expected) in texts {
        let mut matcher = compile(constraint.clone(), tools).await.unwrap();
        assert_eq!(take(&mut matcher, text), *expected, "{text:?} of {constraint:?}");
    }
}

fn tools() -> Vec<Tool> {
    let tool = |name: &str, parameters| Tool { name: name.to_owned(), description: None, parameters };
    let city =
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    vec![tool("weather", city), tool("say \"hi\"", Value::Null)]
}

const CALL: &str = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}\n</tool_call>";
const OTHER: &str = "<tool_call>\n{\"name\": \"say \\\"hi\\\"\", \"arguments\": {}}\n</tool_call>";

#[tokio::test]
async fn a_free_reply_holds_to_the_form_once_it_calls() {
    let demand = |calls| Constraint::Tools { demand: ToolDemand::Auto, calls };
    let both = format!("I look.\n{CALL}\n{OTHER}\nDone.");
    check(
        demand(CallLimit::Any),
        &tools(),
        &[
            ("", Taken::Whole),
            ("Just text with < and <tool and 天 😀.\n\n{\"a\": 1}", Taken::Whole),
            (CALL, Taken::Whole),
            (&both, Taken::Whole),
            ("I look.\n<tool_call>", Taken::Part),
            ("<tool_call>\n{\"name\": \"weather\", \"arguments\": {}", Taken::No),
            ("<tool_call>\n{\"name\": \"clock\"", Taken::No),
            ("I say <tool_call> and go on", Taken::No),
        ],
    )
    .await;
    check(demand(CallLimit::One), &tools(), &[(&both, Taken::No), (&format!("a {CALL} b"), Taken::Whole)])
        .await;
}

#[tokio::test]
async fn demanded_calls_leave_room_for_nothing_else() {
    let demand = |demand, calls| Constraint::Tools { demand, calls };
    let twice = format!("{CALL}\n{OTHER}");
    check(
        demand(ToolDemand::Required, CallLimit::Any),
        &tools(),
        &[
            ("", Taken::Part),
            ("I look.", Taken::No),
            (CALL, Taken::Whole),
            (&twice, Taken::Whole),
            (&format!("{CALL}\n"), Taken::Part),
        ],
    )
    .await;
    let named = demand(ToolDemand::Named("say \"hi\"".to_owned()), CallLimit::One);
    check(named, &tools(), &[(CALL, Taken::No), (OTHER, Taken::Whole)]).await;
}

#[tokio::test]
async fn json_has_little_space_and_any_escape() {
    check(
        Constraint::JsonObject,
        &[],
        &[
            ("{}", Taken::Whole),
            ("{\n    \"a\": [1, {\"b\": null}], \"\\u001f\\n\": \"天\\\"\"\n}", Taken::Whole),
            ("{\"a\":1", Taken::Part),
            ("{\n\n", Taken::No),
            ("{  ", Taken::No),
            (" {", Taken::No),
            ("[]", Taken::No),
            ("{\"a\": 1,}", Taken::No),
            ("{\"a\": \"\n", Taken::No),
        ],
    )
    .await;
    check(Constraint::JsonSchema(json!(true)), &[], &[("3", Taken::Whole), ("[\"x\"]", Taken::Whole)]).await;
}

#[tokio::test]
async fn a_model_that_thinks_does_so_before_its_form() {
    let after = async |thinking, text: &str| {
        let tools = tools();
        let demand = Constraint::Tools { demand: ToolDemand::Required, calls: CallLimit::One };
        let constraint = if text.contains("tool_call") { demand } else { Constraint::JsonObject };
        take(&mut compiler().compile(constraint, tools, thinking).await.unwrap(), text)
    };
    for (text, possible, begun) in [
        ("{}", Taken::Whole, Taken::Part),
        ("<think>\nHm {\n", Taken::Part, Taken::Part),
        ("<think>\nHm {\n</think>\n\n{}", Taken::Whole, Taken::Whole),
        ("Hm </think>{", Taken::No, Taken::Part),
        ("Hm.\n</think>\n\n{\"a\": 1}", Taken::No, Taken::Whole),
        ("<think></think>no", Taken::No, Taken::No),
        (&format!("<think>\nHm.\n</think>\n\n{CALL}"), Taken::Whole, Taken::Whole),
        (&format!("Hm.</think>\n{CALL}"), Taken::No, Taken::Whole),
    ] {
        assert_eq!(after(Thinking::Possible(ThoughtTags::THINK), text).await, possible, "{text:?}");
        assert_eq!(after(Thinking::Begun(ThoughtTags::THINK), text).await, begun, "{text:?} in a block");
    }
}

#[tokio::test]
async fn a_matcher_that_ran_leaves_the_next_one_fresh() {
    let constraint = Constraint::Regex("ab?".to_owned());
    let mut first = compile(constraint.clone(), &[]).await.unwrap();
    let mut second = compile(constraint, &[]).await.unwrap();
    assert_eq!(take(&mut first, "ab"), Taken::Whole);
    assert_eq!(take(&mut second, "b"), Taken::No);
}

#[tokio::test]
async fn a_special_token_is_never_text() {
    let mut matcher = compile(Constraint::Regex("(?s:.*)".to_owned()), &[]).await.unwrap();
    let mut logits = vec![0.0; VOCABULARY];
    matcher.mask(&mut logits).unwrap();
    let written = |token: u32| tokenizer().written(token).unwrap_or_default();
    for token in 0..VOCABULARY as u32 {
        let may_come = !tokenizer().is_skipped(token) || tokenizer().is_eos(token);
        // A byte in the middle of a character cannot begin a text.
        if may_come != logits[token as usize].is_finite() {
            assert!(
                may_come && tokenizer().decode(&[token]).contains('\u{fffd}'),
                "{token} {:?}",
                written(token)
            );
        }
    }
}

#[tokio::test]
async fn what_is_too_much_is_refused_in_time() {
    let chain = |name: &str| {
        let link = |n: usize| format!("{name}{n}: \"a\" {name}{}?\n", n + 1);
        let links: String = (0..1900).map(link).collect();
        format!("start: {name}0\n{links}{name}1900: \"b\"")
    };
    let ends = ("d1500".to_owned(), json!({ "type": "null" }));
    let references: serde_json::Map<String, Value> = (0..1500)
        .map(|n| (format!("d{n}"), json!({ "$ref": format!("#/$defs/d{}", n + 1) })))
        .chain([ends])
        .collect();
    let choices: Vec<Value> = (0..40)
        .map(|n| json!({ "anyOf": [{ "minLength": n }, { "pattern": format!("a{{{n}}}") }] }))
        .collect();
    let constraints = [
        (Constraint::Regex("((a{1,1000}){1,1000}){1,1000}".to_owned()), None),
        (Constraint::Regex("(.*a.{200}|.*b.{300}){1,50}".to_owned()), None),
        (Constraint::Lark(chain("A")), None),
        (Constraint::Lark(chain("a")), None),
        (Constraint::JsonSchema(json!({ "$ref": "#/$defs/d0", "$defs": references })), None),
        (Constraint::JsonSchema(json!({ "type": "string", "allOf": choices })), Some("schema too large")),
        (Constraint::JsonSchema(json!({ "type": "array", "minItems": 1_000_000, "items": {} })), None),
        (Constraint::JsonSchema(json!({ "type": "string", "minLength": 1_000_000 })), None),
        (
            Constraint::JsonSchema(json!({ "enum": (0..8000).map(|n| format!("v{n}")).collect::<Vec<_>>() })),
            None,
        ),
        // Its compiler panics, which it catches itself.
        (
            Constraint::JsonSchema(json!({ "type": "number", "multipleOf": 1e-9 })),
            Some("its compiler failed"),
        ),
    ];
    for (constraint, refusal) in constraints {
        let name: String = format!("{constraint:?}").chars().take(60).collect();
        let began = Instant::now();
        match (compile(constraint, &[]).await, refusal) {
            (Ok(matcher), None) => run(matcher),
            (Err(ConstraintError::Invalid { reason, .. }), Some(refusal)) => {
                assert_eq!(reason, refusal, "{name}");
            }
            (outcome, _) => panic!("{outcome:?} {name}"),
        }
        // A few hundredths of a second on a free machine.
        assert!(began.elapsed() < Duration::from_secs(20), "{name}");
    }
}

/// Whatever compiles has to run on the engine's thread, whose stack is smaller.
pub(super) fn run(mut matcher: Matcher) {
    for _ in 0..20 {
        let mut logits = vec![0.0; VOCABULARY];
        matcher.mask(&mut logits).unwrap();
        let next = logits.iter().rposition(|logit| logit.is_finite()).unwrap();
        if matcher.take(next as u32).unwrap() == Progress::Complete {
            break;
        }
    }
}

/// A vocabulary of pieces: a byte each, a few words, an end.
fn pieces() -> (tempfile::TempDir, Vec<String>) {
    pieces_with(&[])
}

/// The same, with special tokens.
fn pieces_with(special: &[&str]) -> (tempfile::TempDir, Vec<String>) {
    let bytes = (0..=255).map(|byte: u8| format!("<0x{byte:02X}>"));
    let words = ["▁", "{", "}", "▁\"a", "\":", "▁1", "天", "\"", "</s>"].map(str::to_owned);
    let mut tokens: Vec<String> = bytes.chain(words).collect();
    let vocabulary: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let first = tokens.len() - 1;
    tokens.extend(special.iter().map(ToString::to_string));
    let added: Vec<Value> = (first..tokens.len())
        .map(|id| {
            json!({ "id": id, "content": tokens[id], "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false })
        })
        .collect();
    let space =
        |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let file = json!({
        "version": "1.0", "added_tokens": added, "normalizer": space(" ", "▁"),
        "decoder": { "type": "Sequence", "decoders": [space("▁", " "), { "type": "ByteFallback" }, { "type": "Fuse" }] },
        "model": { "type": "BPE", "byte_fallback": true, "vocab": vocabulary, "merges": [] },
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), "{\"eos_token\": \"</s>\"}").unwrap();
    (folder, tokens)
}

#[tokio::test]
async fn a_vocabulary_of_pieces_is_held_by_its_bytes() {
    let (folder, tokens) = pieces();
    let compiler =
        Arc::new(Compiler::new(Arc::new(Tokenizer::load(folder.path()).unwrap()), tokens.len() + 7, None));
    let id = |token: &str| tokens.iter().position(|other| other == token).unwrap() as u32;
    let schema = json!({ "type": "object", "additionalProperties": { "const": "天" } });
    let mut matcher =
        compiler.compile(Constraint::JsonSchema(schema), Vec::new(), Thinking::Never).await.unwrap();
    let mut may_come = |next: &str, expected: &[&str]| {
        let mut logits = vec![0.0; tokens.len() + 7];
        matcher.mask(&mut logits).unwrap();
        for token in expected {
            assert!(logits[id(token) as usize].is_finite(), "{token} before {next}");
        }
        for token in ["</s>", "天", "<0xE5>"].iter().filter(|token| !expected.contains(token)) {
            assert!(logits[id(token) as usize].is_infinite(), "{token} before {next}");
        }
        assert!(logits[tokens.len()..].iter().all(|logit| logit.is_infinite()), "tokens without text");
        matcher.take(id(next)).unwrap()
    };
    may_come("{", &["{", "<0x7B>"]);
    may_come("▁\"a", &["▁\"a", "▁", "}"]);
    // A key may go on with any character, whole or in bytes.
    may_come("天", &["天", "<0xE5>", "\":"]);
    may_come("\":", &["\":", "天", "<0xE5>"]);
    may_come("\"", &["▁", "\""]);
    may_come("<0xE5>", &["天", "<0xE5>"]);
    may_come("<0xA4>", &["<0xA4>"]);
    may_come("<0xA9>", &["<0xA9>"]);
    may_come("\"", &["\"", "<0x22>"]);
    assert_eq!(may_come("}", &["}", "▁"]), Progress::Complete);
}

fn raw_tools() -> Vec<Tool> {
    let tool = |name: &str, parameters| Tool { name: name.to_owned(), description: None, parameters };
    let properties = json!({
        "city": { "type": "string" },
        "days": { "$ref": "#/$defs/days" },
        "unit": { "enum": ["C", "F"] },
    });
    let days = json!({ "days": { "type": "integer", "minimum": 1 } });
    let weather = json!({ "type": "object", "properties": properties, "required": ["city"], "$defs": days });
    vec![tool("weather", weather), tool("clock", json!({ "type": "object", "additionalProperties": false }))]
}

/// A call of each form, two, and one with a wrong type.
fn calls_of(form: ToolForm) -> [String; 3] {
    let good = "{\"city\": \"Köln <b>\", \"days\": 3}";
    let bad = "{\"city\": 3";
    let xml = |days: &str| match form {
        ToolForm::QwenXml => format!(
            "<tool_call>\n<function=weather>\n<parameter=city>\nKöln <b>\n</parameter>\n\
             <parameter=days>\n{days}\n</parameter>\n</function>\n</tool_call>"
        ),
        ToolForm::Glm => format!(
            "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Köln <b></arg_value>\n\
             <arg_key>days</arg_key>\n<arg_value>{days}</arg_value>\n</tool_call>"
        ),
        _ => format!(
            "<invoke name=\"weather\">\n<parameter name=\"city\">Köln <b></parameter>\n\
             <parameter name=\"days\">{days}</parameter>\n</invoke>\n"
        ),
    };
    let one = |arguments: &str| match form {
        ToolForm::Hermes => {
            format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {arguments}}}\n</tool_call>")
        }
        ToolForm::LlamaJson => format!("{{\"name\": \"weather\", \"parameters\": {arguments}}}"),
        ToolForm::Mistral => format!("[TOOL_CALLS]weather[ARGS]{arguments}"),
        ToolForm::DeepSeek => {
            format!("<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>")
        }
        ToolForm::Harmony => {
            format!("<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{arguments}")
        }
        ToolForm::Kimi => format!(
            "<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        ),
        ToolForm::QwenXml | ToolForm::Glm | ToolForm::MiniMax => {
            xml(if arguments == good { "3" } else { "x" })
        }
        ToolForm::Pythonic => "[weather()]".to_owned(),
    };
    let (open, between, close) = match form {
        ToolForm::Hermes | ToolForm::QwenXml | ToolForm::Glm => ("", "\n", ""),
        ToolForm::LlamaJson => ("", "; ", ""),
        ToolForm::DeepSeek => ("<｜tool▁calls▁begin｜>", "\n", "<｜tool▁calls▁end｜>"),
        ToolForm::Kimi => ("<|tool_calls_section_begin|>", "", "<|tool_calls_section_end|>"),
        ToolForm::MiniMax => ("<minimax:tool_call>\n", "", "</minimax:tool_call>"),
        ToolForm::Mistral | ToolForm::Harmony | ToolForm::Pythonic => ("", "", ""),
    };
    let good = one(good);
    [
        format!("{open}{good}{close}"),
        format!("{open}{good}{between}{good}{close}"),
        format!("{open}{}", one(bad)),
    ]
}

/// The tools that a reply calls.
fn called(tokenizer: &Arc<Tokenizer>, form: ToolForm, text: &str) -> Vec<String> {
    let calls = Calls::In(form, raw_tools().into());
    let mut output = Output::new(Arc::clone(tokenizer), Vec::new(), ReplyForm { calls, ..ReplyForm::TEXT });
    let tokens = tokenizer.encode(text).unwrap();
    let mut emissions: Vec<Emission> = tokens.into_iter().flat_map(|token| output.push(token)).collect();
    emissions.extend(output.finish());
    let names = emissions.into_iter().filter_map(|emission| match emission {
        Emission::CallBegin { name } => Some(name),
        _ => None,
    });
    names.collect()
}

async fn check_form(form: ToolForm, tokenizer: Arc<Tokenizer>, vocabulary: usize) {
    let compiler = Arc::new(Compiler::new(Arc::clone(&tokenizer), vocabulary, Some(form)));
    let take = async |demand: &ToolDemand, text: &str| {
        let constraint = Constraint::Tools { demand: demand.clone(), calls: CallLimit::Any };
        let matcher = Arc::clone(&compiler).compile(constraint, raw_tools(), Thinking::Never).await;
        matcher.map(|mut matcher| take_of(&tokenizer, vocabulary, &mut matcher, text))
    };
    let [one, two, wrong] = calls_of(form);
    let required = ToolDemand::Required;
    assert_eq!(take(&required, &one).await, Ok(Taken::Whole), "{form:?} {one:?}");
    assert_eq!(take(&required, &wrong).await, Ok(Taken::No), "{form:?} {wrong:?}");
    assert_eq!(take(&required, "I look.").await, Ok(Taken::No), "{form:?}");
    assert_eq!(take(&ToolDemand::Named("clock".to_owned()), &one).await, Ok(Taken::No), "{form:?}");
    assert_eq!(called(&tokenizer, form, &one), ["weather"], "{form:?}");
    if form == ToolForm::Harmony {
        assert_eq!(take(&ToolDemand::Auto, &one).await, Err(ConstraintError::NoToolForm));
        let thought = "<|channel|>analysis<|message|>Hm, 天.<|end|><|start|>assistant";
        assert_eq!(take(&required, &format!("{thought}{one}")).await, Ok(Taken::Whole));
        return;
    }
    assert_eq!(take(&required, &two).await, Ok(Taken::Whole), "{form:?} {two:?}");
    assert_eq!(called(&tokenizer, form, &two), ["weather", "weather"], "{form:?}");
    assert_eq!(take(&ToolDemand::Auto, &two).await, Ok(Taken::Whole), "{form:?}");
    assert_eq!(take(&ToolDemand::Auto, "I look. 天").await, Ok(Taken::Whole), "{form:?}");
    assert_eq!(take(&ToolDemand::Auto, &wrong).await, Ok(Taken::No), "{form:?}");
}

#[tokio::test]
async fn calls_of_every_form_are_held_by_their_text() {
    for form in ToolForm::ALL {
        // Without a token for the arguments, Mistral's form is the older one.
        if !matches!(form, ToolForm::Pythonic | ToolForm::Harmony | ToolForm::Mistral) {
            check_form(form, tokenizer(), VOCABULARY).await;
        }
    }
}

#[tokio::test]
async fn calls_are_held_by_the_special_tokens_of_their_form() {
    for form in [ToolForm::Mistral, ToolForm::DeepSeek, ToolForm::Harmony, ToolForm::Kimi, ToolForm::Glm] {
        let (folder, tokens) = pieces_with(form.markers());
        check_form(form, Arc::new(Tokenizer::load(folder.path()).unwrap()), tokens.len()).await;
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_held_is_refused() {
    let compiler = |form| Arc::new(Compiler::new(tokenizer(), VOCABULARY, form));
    let demand = || Constraint::Tools { demand: ToolDemand::Required, calls: CallLimit::One };
    for (form, tools) in [
        (None, raw_tools()),
        (Some(ToolForm::Pythonic), raw_tools()),
        // This name cannot stand in XML.
        (Some(ToolForm::QwenXml), tools()),
    ] {
        let refused = compiler(form).compile(demand(), tools, Thinking::Never).await.unwrap_err();
        assert_eq!(refused, ConstraintError::NoToolForm, "{form:?}");
    }
}

#[tokio::test]
async fn mistrals_older_form_is_a_list() {
    let compiler = Arc::new(Compiler::new(tokenizer(), VOCABULARY, Some(ToolForm::Mistral)));
    let call = "{\"name\": \"clock\", \"arguments\": {}}";
    for (text, expected) in [
        (format!("[TOOL_CALLS] [{call}, {call}]"), Taken::Whole),
        (format!("[TOOL_CALLS][{call}"), Taken::Part),
        ("[TOOL_CALLS]clock".to_owned(), Taken::No),
    ] {
        let demand = Constraint::Tools { demand: ToolDemand::Required, calls: CallLimit::Any };
        let mut matcher = Arc::clone(&compiler).compile(demand, raw_tools(), Thinking::Never).await.unwrap();
        assert_eq!(take(&mut matcher, &text), expected, "{text:?}");
    }
}

#[tokio::test]
async fn thoughts_between_special_tokens_come_before_a_form() {
    let tags = ThoughtTags::MISTRAL;
    let (folder, tokens) = pieces_with(&[tags.open, tags.close]);
    let tokenizer = Arc::new(Tokenizer::load(folder.path()).unwrap());
    let compiler = Arc::new(Compiler::new(Arc::clone(&tokenizer), tokens.len(), None));
    for (text, possible, begun) in [
        ("[THINK]Hm {[/THINK]{}", Taken::Whole, Taken::No),
        ("Hm {[/THINK]\n\n{}", Taken::No, Taken::Whole),
        ("{}", Taken::Whole, Taken::Part),
    ] {
        for (thinking, expected) in [(Thinking::Possible(tags), possible), (Thinking::Begun(tags), begun)] {
            let matcher = Arc::clone(&compiler).compile(Constraint::JsonObject, Vec::new(), thinking).await;
            let taken = take_of(&tokenizer, tokens.len(), &mut matcher.unwrap(), text);
            assert_eq!(taken, expected, "{text:?} {thinking:?}");
        }
    }
}
