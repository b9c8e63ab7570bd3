//! Every rule of `tidy`, over the files of this repository.
//!
//! One test per rule, so that the name of the failing test says which wall broke; each failure lists every place.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use tidy::crates::Manifest;
use tidy::metrics::Naming;
use tidy::repository::Repository;
use tidy::source::Source;
use tidy::{Finding, allowance, crates, documents, metrics, modules, shape, size, walls};

fn repository() -> Repository {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Repository::open(&root).expect("the repository is readable")
}

fn sources(repository: &Repository) -> Vec<Source> {
    let files = repository.read_all(&[".rs"]).expect("sources are readable text");
    assert!(
        files.len() > 20,
        "only {} Rust files: the listing is broken, and every rule would pass",
        files.len()
    );
    files.into_iter().map(|(path, text)| Source::new(path, text)).collect()
}

fn manifests(repository: &Repository) -> Vec<(String, String)> {
    let files = repository.read_all(&["/Cargo.toml"]).expect("manifests are readable text");
    assert!(files.len() >= 10, "only {} manifests", files.len());
    files
}

#[track_caller]
fn nothing(findings: &[Finding]) {
    let list = findings.iter().fold(String::new(), |mut list, finding| {
        let _ = writeln!(list, "  {finding}");
        list
    });
    assert!(findings.is_empty(), "{} place(s):\n{list}", findings.len());
}

#[test]
fn files_have_their_shape_and_keep_to_their_walls() {
    let repository = repository();
    let (sources, manifests) = (sources(&repository), manifests(&repository));
    let mut findings: Vec<Finding> = sources.iter().flat_map(shape::check).collect();
    findings.extend(sources.iter().flat_map(walls::check));
    findings.extend(modules::check(&sources, &manifests));
    // Together, because an allowance may stand for any of them and all are counted.
    nothing(&allowance::apply(&sources, findings));
}

#[test]
fn crates_depend_on_what_the_tables_allow() {
    let files = manifests(&repository());
    let manifests: Vec<_> = files.iter().map(|(path, text)| Manifest { path, text }).collect();
    let mut findings: Vec<Finding> = manifests.iter().copied().flat_map(crates::check).collect();
    findings.extend(crates::absent(&manifests));
    nothing(&findings);
}

#[test]
fn a_clone_stays_small() {
    nothing(&size::check(&repository().sizes().expect("every listed file has a size")));
}

#[test]
fn decisions_are_numbered_and_links_lead_somewhere() {
    let repository = repository();
    let pages = repository.read_all(&[".md"]).expect("documents are readable text");
    let files: BTreeSet<String> = repository.files.iter().cloned().collect();
    let mut findings = documents::decisions(&pages);
    findings.extend(pages.iter().flat_map(|(path, text)| documents::links(path, text, &files)));
    nothing(&findings);
}

#[test]
fn tests_that_documents_name_exist() {
    const NAMES_TESTS: [&str; 2] = ["docs/ARCHITECTURE.md", "docs/wire-rules.md"];
    let repository = repository();
    let sources = sources(&repository);
    let functions = documents::functions(&sources);
    let pages = NAMES_TESTS.map(|path| (path, repository.read(path).expect("the page is readable")));
    let findings: Vec<_> =
        pages.iter().flat_map(|(path, text)| documents::tests(path, text, &functions)).collect();
    nothing(&findings);
}

#[test]
fn metrics_their_table_and_the_dashboards_agree() {
    const TABLE: &str = "docs/metrics.md";
    const CODE: &str = "gateway/server/src/metrics.rs";
    const PROXY: &str = "gateway/server/src/tunnel_metrics.rs";
    let repository = repository();
    let table = repository.read(TABLE).expect("the table of metrics is readable");
    let mut findings = Vec::new();
    let dashboards = repository.read_all(&[".json"]).expect("dashboards are readable text");
    for (path, text) in dashboards.iter().filter(|(path, _)| path.starts_with("docker/")) {
        findings.extend(metrics::dashboard(Naming { path, text }, &table));
    }
    if repository.files.iter().any(|file| file == CODE) {
        let code = [CODE, PROXY].map(|file| repository.read(file).expect("the metrics' source is readable"));
        let code = code.concat();
        findings
            .extend(metrics::table(Naming { path: CODE, text: &code }, Naming { path: TABLE, text: &table }));
    }
    nothing(&findings);
}
