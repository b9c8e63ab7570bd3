//! What the documents show loads, so that a reader can begin with it.

use policy::{Policy, Source};

/// Returns the policies that a document shows: its blocks of YAML that begin with a version.
fn policies(name: &str, document: &str) -> Vec<Source> {
    let blocks = document.split("```yaml\n").skip(1);
    let texts = blocks.filter_map(|block| block.split("```").next().map(str::to_owned));
    let policies = texts.filter(|text| text.starts_with("version: 1\n"));
    policies.enumerate().map(|(index, text)| Source { name: format!("{name}, {index}"), text }).collect()
}

#[test]
fn every_policy_of_a_document_loads_without_a_finding() {
    let shown = policies("egress.md", include_str!("../../../docs/egress.md"));
    assert_eq!(shown.len(), 4, "a policy for each of its parts");
    for source in shown {
        let policy = Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}"));
        assert_eq!(policy.warnings(), [], "{}", source.name);
    }
}
