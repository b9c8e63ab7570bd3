//! What every form has in common: an example of it, any cut of any text, and text that is not of it.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::*;
use crate::text::Emission;
use crate::text::tests::joined;

pub(in crate::text) fn tools() -> Tools {
    let tool = |name: &str, parameters| Tool { name: name.to_owned(), description: None, parameters };
    let properties = json!({
        "city": { "type": "string" },
        "days": { "type": "integer" },
        "exact": { "type": "boolean" },
        "tags": { "type": "array", "items": { "type": "string" } },
        "note": { "type": ["string", "null"] },
        "level": { "allOf": [{ "$ref": "#/$defs/level" }], "description": "how much" },
    });
    Arc::new([
        tool(
            "weather",
            json!({
                "type": "object", "properties": properties, "$defs": { "level": { "enum": [1, 2] } },
            }),
        ),
        tool("clock", json!({ "type": "object" })),
    ])
}

/// What a reply becomes, cut into such pieces.
pub(in crate::text) fn parse<'a>(form: ToolForm, pieces: impl IntoIterator<Item = &'a str>) -> Vec<Emission> {
    let mut reader = form.reader(tools());
    let mut all: Vec<Emission> = Vec::new();
    for piece in pieces {
        let mut out = Emissions::default();
        reader.push(piece, &mut out);
        all.extend(Vec::from(out));
    }
    let mut out = Emissions::default();
    reader.finish(&mut out);
    all.extend(Vec::from(out));
    joined(all)
}

fn text(text: &str) -> Emission {
    Emission::Text(text.to_owned())
}

fn call(name: &str, arguments: &str) -> [Emission; 3] {
    let begin = Emission::CallBegin { name: name.to_owned() };
    [begin, Emission::Arguments(arguments.to_owned()), Emission::CallEnd]
}

/// A reply with text, a call with arguments of every type, and one without any; and the arguments as they come out.
fn example(form: ToolForm) -> (&'static str, String, &'static str, &'static str) {
    const JSON: &str = r#"{"city": "Köln \"1\" 😀", "days": 3, "exact": true, "tags": ["a", "b"]}"#;
    let empty = "{}";
    let (before, calls) = match form {
        ToolForm::Hermes => (
            "I look.",
            format!(
                "<tool_call>\n{{\"name\": \"weather\", \"arguments\": {JSON}}}\n</tool_call>\n\
                 <tool_call>\n{{\"name\": \"clock\", \"arguments\": {{}}}}\n</tool_call>"
            ),
        ),
        ToolForm::QwenXml => (
            "I look.",
            "<tool_call>\n<function=weather>\n<parameter=city>\nKöln \"1\" 😀\n</parameter>\n\
             <parameter=days>\n3\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n\
             <parameter=tags>\n[\"a\", \"b\"]\n</parameter>\n</function>\n</tool_call>\n\
             <tool_call>\n<function=clock>\n</function>\n</tool_call>"
                .to_owned(),
        ),
        ToolForm::LlamaJson => (
            "",
            format!("{{\"name\": \"weather\", \"parameters\": {JSON}}}; {{\"name\": \"clock\", \"parameters\": {{}}}}"),
        ),
        ToolForm::Pythonic => (
            "",
            "[weather(city='Köln \"1\" 😀', days=3, exact=True, tags=['a', \"b\"]), clock()]".to_owned(),
        ),
        ToolForm::Mistral => (
            "I look.",
            format!("[TOOL_CALLS]weather[ARGS]{JSON}[TOOL_CALLS]clock[CALL_ID]a1b2c3d4e[ARGS]{{}}"),
        ),
        ToolForm::DeepSeek => (
            "I look.",
            format!(
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{JSON}\n```\
                 <｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>clock<｜tool▁sep｜>{{}}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            ),
        ),
        ToolForm::Harmony => (
            "I look.",
            format!(
                "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{JSON}\
                 <|call|><|start|>assistant to=functions.clock<|channel|>commentary<|message|>{{}}<|call|>"
            ),
        ),
        ToolForm::Glm => (
            "I look.",
            "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Köln \"1\" 😀</arg_value>\n\
             <arg_key>days</arg_key>\n<arg_value>3</arg_value>\n<arg_key>exact</arg_key>\n\
             <arg_value>true</arg_value>\n<arg_key>tags</arg_key>\n<arg_value>[\"a\", \"b\"]</arg_value>\n\
             </tool_call>\n<tool_call>clock</tool_call>"
                .to_owned(),
        ),
        ToolForm::Kimi => (
            "I look.",
            format!(
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{JSON}\
                 <|tool_call_end|><|tool_call_begin|>functions.clock:1<|tool_call_argument_begin|>{{}}\
                 <|tool_call_end|><|tool_calls_section_end|>"
            ),
        ),
        ToolForm::MiniMax => (
            "I look.",
            "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Köln \"1\" 😀</parameter>\n\
             <parameter name=\"days\">3</parameter>\n<parameter name=\"exact\">true</parameter>\n\
             <parameter name=\"tags\">[\"a\", \"b\"]</parameter>\n</invoke>\n<invoke name=\"clock\">\n</invoke>\n\
             </minimax:tool_call>"
                .to_owned(),
        ),
    };
    (before, calls, JSON, empty)
}

fn reply(form: ToolForm) -> String {
    let (before, calls, ..) = example(form);
    match form {
        ToolForm::Harmony => format!("<|channel|>commentary<|message|>{before}<|end|>{calls}"),
        _ if before.is_empty() => calls,
        _ => format!("{before}\n\n{calls}"),
    }
}

/// Replies with calls: whole, cut, and with something behind them.
pub(in crate::text) fn replies_of(form: ToolForm) -> [String; 3] {
    let reply = reply(form);
    let half: String = reply.chars().take(reply.chars().count() / 2).collect();
    [format!("{reply}\nDone 天."), half, reply]
}

#[test]
fn every_form_gives_its_calls_with_arguments_in_json() {
    for form in ToolForm::ALL {
        let (before, _, arguments, empty) = example(form);
        let mut expected = Vec::new();
        if !before.is_empty() {
            expected.push(text(before));
        }
        expected.extend(call("weather", arguments));
        expected.extend(call("clock", empty));
        assert_eq!(parse(form, [reply(form).as_str()]), expected, "{form:?}");
        assert!(serde_json::from_str::<Value>(arguments).is_ok());
    }
}

#[test]
fn a_cut_reply_never_ends_a_call_that_the_model_did_not_end() {
    for form in ToolForm::ALL {
        let reply = reply(form);
        let whole = example(form).2;
        for (cut, _) in reply.char_indices() {
            for emission in parse(form, [&reply[..cut]]) {
                let Emission::Arguments(arguments) = emission else { continue };
                let is_whole = serde_json::from_str::<Value>(&arguments).is_ok();
                assert!(!is_whole || arguments == whole || arguments == "{}", "{form:?} {arguments:?}");
            }
        }
    }
}

#[test]
fn arguments_are_passed_on_while_they_are_written() {
    for form in ToolForm::ALL {
        let mut reader = form.reader(tools());
        let reply = reply(form);
        let part = reply.find("\"1\"").or_else(|| reply.find("\\\"1")).unwrap();
        let mut out = Emissions::default();
        reader.push(&reply[..part], &mut out);
        let arguments: String = Vec::from(out)
            .into_iter()
            .filter_map(|emission| match emission {
                Emission::Arguments(text) => Some(text),
                _ => None,
            })
            .collect();
        assert!(arguments.starts_with("{\"city\": \"Köln"), "{form:?} {arguments:?}");
    }
}

#[test]
fn what_is_no_call_comes_out_as_it_was_written() {
    for (form, reply) in [
        (ToolForm::QwenXml, "a <tool_call>\nno function\n</tool_call> b"),
        (ToolForm::QwenXml, "<tool_call>\n<function=two words>\n</function>"),
        (ToolForm::QwenXml, "x\n\n<tool_call>\n<function=weath"),
        (ToolForm::QwenXml, "<tool_call></tool_call>"),
        (ToolForm::QwenXml, "<function=>"),
        (ToolForm::Glm, "<tool_call>{\"name\": \"weather\"}</tool_call>"),
        (ToolForm::Glm, "a <tool_cal"),
        (ToolForm::MiniMax, "<minimax:tool_call>\n<invoke name=\"a\"b\">"),
        (ToolForm::Kimi, "<|tool_calls_section_begin|> none <|tool_calls_section_end|>"),
        (ToolForm::Kimi, "<|tool_call_begin|>functions.clock:0"),
        (
            ToolForm::DeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>two words\n```json\n{}",
        ),
        (ToolForm::DeepSeek, "<｜tool▁call▁begin｜>clock<｜tool▁call▁end｜>"),
        (ToolForm::Mistral, "[TOOL_CALLS] none"),
        (ToolForm::Mistral, "a [TOOL_CALLS] [1, 2]"),
        (ToolForm::Mistral, "[TOOL_CALLS] [{\"city\": 1}]"),
        (ToolForm::LlamaJson, "{\"name\": \"Bob\", \"parameters\": {}}"),
        (ToolForm::LlamaJson, "{\"city\": \"Paris\"} and more"),
        (ToolForm::LlamaJson, "Say {\"name\": \"clock\", \"parameters\": {}}"),
        (ToolForm::LlamaJson, "<|python_tag|>print(1)"),
        (ToolForm::Pythonic, "[1, 2]"),
        (ToolForm::Pythonic, "[other(a=1)]"),
        (ToolForm::Pythonic, "Say [clock()]"),
        (ToolForm::Harmony, "Hello, world."),
    ] {
        assert_eq!(parse(form, [reply]), [text(reply)], "{form:?}");
    }
}

#[test]
fn values_in_xml_have_the_types_of_the_schema() {
    let value = |name: &str, written: &str| {
        let reply = format!(
            "<function=weather>\n<parameter={name}>\n{written}\n</parameter>\n</function>\n</tool_call>"
        );
        let emissions = parse(ToolForm::QwenXml, [reply.as_str()]);
        let [_, Emission::Arguments(arguments), _] = emissions.as_slice() else { panic!("{emissions:?}") };
        let prefix = format!("{{\"{name}\": ");
        arguments.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix('}')).unwrap().to_owned()
    };
    for (name, written, expected) in [
        ("city", "12", "\"12\""),
        ("city", "\"quoted\"", "\"\\\"quoted\\\"\""),
        ("city", "two\n lines\n", "\"two\\n lines\\n\""),
        ("city", "", "\"\""),
        ("city", "a </parameter", "\"a </parameter\""),
        ("days", " 12 ", "12"),
        ("days", "1e400", "1e400"),
        ("days", "many", "\"many\""),
        ("exact", "False", "false"),
        ("tags", "[\"é\"]", "[\"é\"]"),
        ("tags", "a, b", "\"a, b\""),
        ("note", "null", "null"),
        ("note", "None of these", "\"None of these\""),
        ("note", "\"x\"", "\"\\\"x\\\"\""),
        ("level", "1", "1"),
        ("level", "\"1\"", "\"1\""),
        ("unknown", "{\"a\": 1}", "{\"a\": 1}"),
        ("unknown", "plain", "\"plain\""),
    ] {
        assert_eq!(value(name, written), expected, "{name}: {written:?}");
    }
}

#[test]
fn a_parameter_that_is_written_twice_counts_once() {
    let reply = "<tool_call>weather<arg_key>city</arg_key><arg_value>A</arg_value>\
                 <arg_key>city</arg_key><arg_value>B</arg_value></tool_call>";
    assert_eq!(parse(ToolForm::Glm, [reply]), call("weather", "{\"city\": \"A\"}"));
}

#[test]
fn a_list_of_objects_is_mistrals_older_form() {
    let reply = "[TOOL_CALLS] [{\"name\": \"clock\", \"arguments\": {\"a\": [1]}, \"id\": \"x\"}, \
                 {\"arguments\": {}, \"name\": \"weather\"}] Done";
    let expected =
        [&call("clock", "{\"a\": [1]}")[..], &call("weather", "{}")[..], &[text("Done")][..]].concat();
    assert_eq!(parse(ToolForm::Mistral, [reply]), expected);
    assert_eq!(parse(ToolForm::Mistral, ["[TOOL_CALLS]clock{\"a\": 1}"]), call("clock", "{\"a\": 1}"));
}

#[test]
fn python_literals_become_json() {
    let value = |written: &str| {
        let reply = format!("[clock(a={written})]");
        let emissions = parse(ToolForm::Pythonic, [reply.as_str()]);
        let [_, Emission::Arguments(arguments), _] = emissions.as_slice() else { panic!("{emissions:?}") };
        arguments.strip_prefix("{\"a\": ").and_then(|rest| rest.strip_suffix('}')).unwrap().to_owned()
    };
    for (written, expected) in [
        ("'it\\'s'", "\"it's\""),
        ("\"a\\n\\x41\\u00e9\\q\"", "\"a\\nAé\\\\q\""),
        ("[True, None, -1.5e3]", "[true, null, -1.5e3]"),
        ("{'k': ('x', 1), 2: {}}", "{\"k\": [\"x\", 1], \"2\": {}}"),
        ("name", "\"name\""),
    ] {
        assert_eq!(value(written), expected, "{written}");
    }
}

#[test]
fn channels_part_thoughts_from_text() {
    let reply =
        "<|channel|>analysis<|message|>Hm <b>.<|end|>\n<|start|>assistant<|channel|>final<|message|>Noon.";
    let expected = [Emission::Reasoning("Hm <b>.".to_owned()), text("Noon.")];
    assert_eq!(parse(ToolForm::Harmony, [reply]), expected);
    let unknown = "<|channel|>commentary to=functions.other<|message|>{}<|call|>";
    assert_eq!(parse(ToolForm::Harmony, [unknown]), [text("{}")]);
}

#[test]
fn a_form_is_told_from_the_template_or_from_the_vocabulary() {
    let none = |_: &str| false;
    for (template, form) in [
        ("<tool_call>{{ call | tojson }}</tool_call>", Some(ToolForm::Hermes)),
        ("<tool_call><function=a><parameter=b>", Some(ToolForm::QwenXml)),
        ("<tool_call>a<arg_key>b</arg_key>", Some(ToolForm::Glm)),
        ("<minimax:tool_call>", Some(ToolForm::MiniMax)),
        ("<|tool_call_begin|>", Some(ToolForm::Kimi)),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", Some(ToolForm::DeepSeek)),
        ("<|start|>assistant<|channel|>final<|message|>", Some(ToolForm::Harmony)),
        ("[TOOL_CALLS]", Some(ToolForm::Mistral)),
        ("<|python_tag|> {\"name\": a, \"parameters\": b}", Some(ToolForm::LlamaJson)),
        ("[func_name1(param=value)]", Some(ToolForm::Pythonic)),
        ("<tool_call><function=clock></function>", None),
        ("{{ messages[0].content }}", None),
    ] {
        assert_eq!(ToolForm::detect(&[template], none), form, "{template}");
    }
    let kimi = |token: &str| token == "<|tool_call_begin|>";
    assert_eq!(ToolForm::detect(&["{{ tools }}"], kimi), Some(ToolForm::Kimi));
    assert_eq!(ToolForm::detect(&["{{ messages }}"], kimi), None);
    for form in ToolForm::ALL {
        assert_eq!(ToolForm::named(form.name()), Some(form));
    }
}

/// Pieces of a form's texts, whole and torn.
fn fragment(form: ToolForm) -> impl Strategy<Value = String> {
    let reply = reply(form);
    let len = reply.chars().count();
    let slice = (0..len, 0..len).prop_map(move |(one, other)| {
        let (from, to) = (one.min(other), one.max(other));
        reply.chars().skip(from).take(to - from).collect::<String>()
    });
    let marker = prop::sample::select(form.markers()).prop_map(str::to_owned);
    prop_oneof![
        3 => slice,
        3 => marker,
        2 => "[<>\\[\\]{}()|\"'\\\\/=:;,a1é😀 \n_]{0,8}",
        1 => Just("</parameter>".to_owned()),
        1 => Just("{\"name\": \"clock\", \"arguments\": {\"a\": ".to_owned()),
        1 => Just("[ARGS]".to_owned()),
        1 => "[ \n]{60,70}",
    ]
}

fn replies(form: ToolForm) -> impl Strategy<Value = (String, Vec<usize>)> {
    let texts = prop::collection::vec(fragment(form), 0..8).prop_map(|parts| parts.concat());
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
    (texts, cuts).prop_map(|(reply, cuts)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(reply.len() + 1)).collect();
        cuts.retain(|&cut| reply.is_char_boundary(cut));
        cuts.extend([0, reply.len()]);
        cuts.sort_unstable();
        (reply, cuts)
    })
}

/// A call begins, has its arguments and ends, before anything else.
fn check_grammar(emissions: &[Emission]) -> Result<(), TestCaseError> {
    let mut within = false;
    for emission in emissions {
        match emission {
            Emission::CallBegin { name } => {
                prop_assert!(!within && !name.is_empty());
                within = true;
            }
            Emission::Arguments(text) => prop_assert!(within && !text.is_empty()),
            Emission::CallEnd => {
                prop_assert!(within);
                within = false;
            }
            Emission::Text(text) | Emission::Reasoning(text) => prop_assert!(!within && !text.is_empty()),
        }
    }
    prop_assert!(!within);
    Ok(())
}

/// 10,000 malformed texts: no form fails on any of them, and no cut makes a difference.
#[test]
fn any_split_of_any_text_gives_what_the_whole_gives() {
    for form in ToolForm::ALL {
        let config = Config {
            cases: 1_000,
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        let outcome = runner.run(&replies(form), |(reply, cuts)| {
            let whole = parse(form, [reply.as_str()]);
            check_grammar(&whole)?;
            let pieces = cuts.windows(2).map(|cut| &reply[cut[0]..cut[1]]);
            prop_assert_eq!(parse(form, pieces), whole.clone());
            let characters = reply.char_indices().map(|(at, c)| &reply[at..at + c.len_utf8()]);
            prop_assert_eq!(parse(form, characters), whole);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{form:?}: {error}");
        }
    }
}

/// Text without any of a form's beginnings is not touched.
#[test]
fn text_without_a_marker_is_unchanged() {
    for form in ToolForm::ALL {
        let config = Config {
            cases: 200,
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&"[a-z<>/_|\\[ \n{}\"]{1,80}", |reply| {
            prop_assert_eq!(parse(form, [reply.as_str()]), [text(&reply)]);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{form:?}: {error}");
        }
    }
}
