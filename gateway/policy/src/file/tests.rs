//! The published schema and this reader say the same about every file of the corpus.
//!
//! The schema is for editors and for other people's programs, and it is written by hand; the reader decides. Here a
//! document goes to both: to the reader as it is, and to the schema as the JSON that YAML 1.2 takes it for. What a
//! schema cannot say (names that are not declared, reach, spellings of YAML) stands in `bad/meaning`.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Map, Number, Value};

use super::node::{self, Node, NodeKind};
use super::scalar;
use crate::diagnostic::{Findings, Source};
use crate::policy::Policy;
use crate::schema::{SchemaOf, schema};

fn validator() -> Validator {
    validator_of(SchemaOf::Whole)
}

fn validator_of(file: SchemaOf) -> Validator {
    let schema: Value = serde_json::from_str(&schema(file)).expect("the schema is JSON");
    jsonschema::meta::validate(&schema).expect("the schema is a schema");
    jsonschema::options().build(&schema).expect("the schema compiles")
}

/// Returns the JSON that a document is in YAML 1.2's core schema, if it can be read at all.
fn json(text: &str) -> Option<Value> {
    node::parse(text, &mut Findings::default()).map(|root| value(&root))
}

fn value(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Quoted(text) => Value::String(text.clone()),
        NodeKind::Plain(text) => plain(text),
        NodeKind::List(items) => items.iter().map(value).collect(),
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.value.clone(), value(&entry.value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if !scalar::is_number(text) => Value::String(text.to_owned()),
        _ => number(text),
    }
}

fn number(text: &str) -> Value {
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Number::from);
    let whole = match text.get(..2) {
        Some("0x") => radix(&text[2..], 16),
        Some("0o") => radix(&text[2..], 8),
        _ => text.parse::<i64>().ok().map(Number::from),
    };
    let number = whole.or_else(|| Number::from_f64(text.parse().ok()?));
    number.map_or(Value::Null, Value::Number)
}

/// Returns the files of a folder of the corpus, by name.
fn files(folder: &str) -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let paths = fs::read_dir(&folder).expect("the corpus lies beside the tests");
    let mut paths: Vec<_> = paths.map(|entry| entry.expect("the corpus is readable").path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let source = |path: &Path| Source {
        name: path.display().to_string(),
        text: fs::read_to_string(path).expect("the corpus is text"),
    };
    paths.iter().map(|path| source(path)).collect()
}

fn reader_accepts(source: &Source) -> bool {
    Policy::compile(source).is_ok()
}

#[test]
fn what_loads_fits_the_schema() {
    let schema = validator();
    for source in files("good") {
        assert!(reader_accepts(&source), "{} does not load", source.name);
        let document = json(&source.text).expect("a file that loads can be read");
        let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: the schema refuses it: {errors:#?}", source.name);
    }
}

#[test]
fn what_has_the_wrong_structure_is_refused_by_both() {
    let schema = validator();
    for source in files("bad/structure") {
        assert!(!reader_accepts(&source), "{} loads", source.name);
        let document = json(&source.text).expect("a wrong structure is YAML all the same");
        assert!(!schema.is_valid(&document), "{}: the schema accepts it", source.name);
    }
}

#[test]
fn what_has_the_wrong_meaning_is_refused_by_the_reader_alone() {
    let schema = validator();
    for source in files("bad/meaning") {
        assert!(!reader_accepts(&source), "{} loads", source.name);
        let document = json(&source.text).expect("a wrong meaning is YAML all the same");
        let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        let advice = "it belongs into bad/structure";
        assert!(errors.is_empty(), "{}: {advice}, for the schema says: {errors:#?}", source.name);
    }
}

/// A base and a part that load together.
const BASE: &str = "version: 1
providers: { local: { kind: engine } }
models: { demo: { provider: local, path: x } }
";
const PART: &str = "version: 1
workflows:
  docs: { owner: team, callers: [ { loopback: true } ], egress: { mode: sealed }, route: [ { to: [demo] } ] }
";

/// Bases and parts with one change, and whether they are such a file all the same.
#[test]
fn the_files_of_a_folder_have_schemas_that_agree_with_the_reader() {
    let wiki = PART.replace("docs", "wiki").replace("version: 1\n", "");
    let bases = [
        (BASE.to_owned(), true),
        (format!("{BASE}{wiki}"), true),
        (format!("{BASE}defaults: {{ deny_hosts: [] }}\n"), true),
        (format!("{BASE}workflow: {{}}\n"), false),
        (BASE.replace("version: 1", "version: 2"), false),
        (BASE.replace("models: { demo: { provider: local, path: x } }\n", ""), false),
        (BASE.replace("path: x", "path: [x]"), false),
        (PART.to_owned(), false),
    ];
    let parts = [
        (PART.to_owned(), true),
        ("version: 1\n".to_owned(), false),
        (PART.replace("version: 1\n", ""), false),
        (PART.replace("version: 1", "version: 2"), false),
        (PART.replace("owner: team", "ownr: team"), false),
        (format!("{PART}defaults: {{}}\n"), false),
        (format!("{PART}providers: {{}}\n"), false),
        (format!("{PART}proxies: {{}}\n"), false),
        (BASE.to_owned(), false),
    ];
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let check = |file, text: &str, base: &str, part: &str, is_good: bool| {
        let policy = Policy::compile_parts(&source("routes.yaml", base), &[source("docs.yaml", part)]);
        assert_eq!(policy.is_ok(), is_good, "the reader, of\n{text}\n{:?}", policy.err());
        let document = json(text).expect("all of them are YAML");
        assert_eq!(validator_of(file).is_valid(&document), is_good, "the schema, of\n{text}");
    };
    for (text, is_good) in &bases {
        check(SchemaOf::Base, text, text, PART, *is_good);
    }
    for (text, is_good) in &parts {
        check(SchemaOf::Part, text, BASE, text, *is_good);
    }
}

#[test]
fn what_is_no_yaml_is_refused_by_the_reader_alone() {
    for source in files("bad/yaml") {
        assert!(!reader_accepts(&source), "{} loads", source.name);
        assert_eq!(json(&source.text), None, "{} can be read", source.name);
    }
}

#[test]
fn the_corpus_is_large() {
    let folders = ["good", "bad/structure", "bad/meaning", "bad/yaml"];
    let count: usize = folders.iter().map(|folder| files(folder).len()).sum();
    assert!(count >= 200, "the corpus has only {count} files");
}

#[test]
fn every_key_of_the_schema_is_explained_or_named_after_its_type() {
    let schema: Value = serde_json::from_str(&schema(SchemaOf::Whole)).expect("the schema is JSON");
    let sections = schema["properties"].as_object().expect("the file is a mapping");
    for (key, section) in sections {
        let is_explained = section.get("description").is_some() || section.get("$ref").is_some();
        assert!(is_explained, "`{key}` has no description");
    }
}
