//! What loads, what does not, and what the reader of the message is told.
//!
//! Every file in `good` compiles without a finding. Every file in `bad` is refused with the messages of its snapshot:
//! those in `bad` itself hold many mistakes each, and show that one run reports them all; those in its folders hold
//! one each. `structure` is what the published schema refuses too, `meaning` what it cannot see, `yaml` what nobody
//! can read (`src/file/tests.rs` holds the schema to that).

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use policy::{Policy, Severity, Source};
use proptest::prelude::*;
use proptest::sample::Index;

/// Returns the files of a folder beside this test, in the order of their names.
fn corpus(folder: &str) -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let read = |entry: io::Result<fs::DirEntry>| {
        let path = entry?.path();
        if path.is_dir() {
            return Ok(None);
        }
        let name = path.file_name().expect("an entry has a name").display().to_string();
        Ok(Some(Source { name, text: fs::read_to_string(path)? }))
    };
    let entries = fs::read_dir(folder).expect("the corpus lies beside this test");
    let mut sources: Vec<Source> = entries
        .filter_map(|entry| read(entry).transpose())
        .collect::<io::Result<_>>()
        .expect("the corpus is readable");
    assert!(!sources.is_empty(), "the corpus was not found");
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

fn source(text: impl Into<String>) -> Source {
    Source { name: "routes.yaml".to_owned(), text: text.into() }
}

#[test]
fn good_files_load_without_a_finding() {
    for source in corpus("good") {
        let policy = Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"));
        assert_eq!(policy.warnings(), [], "{}", source.name);
    }
}

#[test]
fn bad_files_are_refused_with_every_mistake() {
    for source in corpus("bad") {
        let findings = Policy::compile(&source).expect_err(&source.name);
        let has_error = findings.list().iter().any(|finding| finding.severity == Severity::Error);
        assert!(has_error, "{}: refused for nothing", source.name);
        let name = source.name.trim_end_matches(".yaml");
        insta::assert_snapshot!(name, findings);
    }
}

#[test]
fn a_file_with_one_mistake_is_told_where_it_is_and_what_to_do() {
    for folder in ["structure", "meaning", "yaml"] {
        let told: Vec<String> = corpus(&format!("bad/{folder}"))
            .iter()
            .map(|source| Policy::compile(source).expect_err(&source.name).to_string())
            .collect();
        insta::assert_snapshot!(format!("one-{folder}"), told.join("\n"));
    }
}

#[test]
fn every_finding_says_what_to_do() {
    for folder in ["bad", "bad/structure", "bad/meaning", "bad/yaml"] {
        for source in corpus(folder) {
            for finding in Policy::compile(&source).unwrap_err().list() {
                let has_hint = finding.hint.as_deref().is_some_and(|hint| !hint.is_empty());
                assert!(has_hint, "no hint: {}", finding.render(&source.name));
            }
        }
    }
}

#[test]
fn a_file_that_only_warns_loads() {
    let text = "
version: 1
providers:
  shop: { kind: openai, base_url: 'https://api.shop.example/v1', locality: hosted }
  lab: { kind: openai, base_url: 'http://lab.example/v1', locality: local, cidrs: [8.8.8.0/24] }
models: {}
workflows: {}
";
    insta::assert_snapshot!("warnings", warnings(text));
}

/// Compiles a file that loads and returns what it is warned of.
fn warnings(text: &str) -> String {
    let policy = Policy::compile(&source(text)).unwrap_or_else(|findings| panic!("{findings}"));
    let shown: Vec<String> = policy.warnings().iter().map(|warning| warning.render("routes.yaml")).collect();
    shown.join("\n")
}

#[test]
fn a_base_url_from_the_wrong_line_of_a_manual_is_warned_of() {
    let mut text = "version: 1\nmodels: {}\nworkflows: {}\nproviders:\n".to_owned();
    for (index, (kind, base_url)) in [
        ("openai", "https://api.openai.com"),
        ("openai", "https://api.shop.example/v1/chat/completions"),
        ("anthropic", "https://api.anthropic.com/v1"),
        ("anthropic", "https://api.anthropic.com/v1/messages"),
        ("azure_openai", "https://corp.openai.azure.com/openai"),
        ("azure_openai", "https://corp.openai.azure.com/openai/v1/"),
        ("azure_openai", "https://corp.openai.azure.com/openai/deployments/gpt-5"),
        ("bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com/model"),
        ("vertex", "https://us-east5-aiplatform.googleapis.com"),
        ("vertex", "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east4"),
        ("vertex", "https://aiplatform.googleapis.com/v1/projects/p/locations/us-east4"),
        ("vertex", "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google"),
        ("gemini", "https://generativelanguage.googleapis.com"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/models"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
        // These are what they should be, behind a company's own proxy too.
        ("openai", "https://api.shop.example"),
        ("anthropic", "https://llm.corp.example/anthropic"),
        ("azure_openai", "https://llm.corp.example/azure"),
        ("vertex", "https://llm.corp.example/google/v1/projects/p/locations/us-east4"),
        ("vertex", "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/p/locations/eu"),
        ("gemini", "https://llm.corp.example/gemini/v1beta"),
    ]
    .iter()
    .enumerate()
    {
        let provider = format!("kind: {kind}, base_url: '{base_url}', locality: hosted, region: us");
        writeln!(text, "  p{index}: {{ {provider} }}").unwrap();
    }
    let sigv4 = "sigv4: { region: us-east-1, access_key_id_env: ID, secret_access_key_env: KEY }";
    for (name, host) in [
        ("near", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("far", "bedrock-runtime.eu-west-3.amazonaws.com"),
        ("fips", "bedrock-runtime-fips.us-west-2.amazonaws.com"),
        ("private", "vpce-0a1b.bedrock-runtime.us-west-2.vpce.amazonaws.com"),
        ("proxied", "llm.corp.example"),
    ] {
        let provider = format!("kind: bedrock, base_url: 'https://{host}', locality: hosted, region: us");
        writeln!(text, "  {name}: {{ {provider}, auth: {{ {sigv4} }} }}").unwrap();
    }
    insta::assert_snapshot!("habits", warnings(&text));
}

#[test]
fn a_secret_that_was_written_into_the_file_is_not_repeated() {
    for source in ["bad", "bad/structure", "bad/meaning", "bad/yaml"].into_iter().flat_map(corpus) {
        let shown = Policy::compile(&source).unwrap_err().to_string();
        assert!(!shown.contains("hunter2") && !shown.contains("sk-secret"), "{shown}");
    }
}

#[test]
fn a_file_has_at_most_a_mebibyte() {
    let minimal = include_str!("good/minimal.yaml");
    let fill = 1024 * 1024 - minimal.len() - 1;
    let largest = format!("{minimal}#{}", "x".repeat(fill));
    assert!(Policy::compile(&source(largest.clone())).is_ok());
    let findings = Policy::compile(&source(largest + "x")).unwrap_err();
    assert!(findings.to_string().contains("more than 1048576"), "{findings}");
}

#[test]
fn nesting_and_the_number_of_findings_are_limited() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = format!("providers: {}{}", open.repeat(100_000), close.repeat(100_000));
        assert_eq!(Policy::compile(&source(deep)).unwrap_err().list().len(), 1);
    }
    let wrong: Vec<String> = (0..5000).map(|n| format!("key{n}: 1\n")).collect();
    let findings = Policy::compile(&source(wrong.concat())).unwrap_err();
    assert_eq!(findings.list().len(), 100);
    assert!(findings.to_string().ends_with("more findings are not shown"), "{findings}");
}

/// A place in the text, how many characters go there, and what comes instead.
fn edit() -> impl Strategy<Value = (Index, usize, String)> {
    let inserted = "[a-z0\\[\\]{}:,#&*!|>'\"%@?~<\\-\n\t ]{0,4}";
    (any::<Index>(), 0..20_usize, inserted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_compiler_panic(hosted: bool, edits in prop::collection::vec(edit(), 1..4)) {
        let mut text: Vec<char> = if hosted { include_str!("good/hosted.yaml") } else { include_str!("good/complete.yaml") }
            .chars()
            .collect();
        for (index, removed, inserted) in edits {
            let start = index.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(findings) = Policy::compile(&source(text)) {
            prop_assert!(!findings.list().is_empty());
        }
    }
}
