//! A Rust file that no `mod` line reaches is not compiled, so it rots without anybody noticing.
//!
//! Works on paths and text: roots are the files that cargo compiles by itself or that a manifest names. `#[path]`
//! and modules inside inline modules are out of scope, and the house uses neither.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;
use crate::{Finding, Rule};

/// Checks that every source is reached from a root; `manifests` are the texts of all manifests, for `path = "…"`.
pub fn check(sources: &[Source], manifests: &[(String, String)]) -> Vec<Finding> {
    let by_path: BTreeMap<&str, &Source> =
        sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let named = named_in(manifests);
    let mut waiting: Vec<&str> =
        by_path.keys().copied().filter(|path| is_root(path) || named.contains(*path)).collect();
    let mut reached: BTreeSet<&str> = waiting.iter().copied().collect();
    while let Some(path) = waiting.pop() {
        for child in children(by_path[path], named.contains(path)) {
            if let Some((path, _)) = by_path.get_key_value(child.as_str())
                && reached.insert(path)
            {
                waiting.push(path);
            }
        }
    }
    let dead = by_path.keys().filter(|path| !reached.contains(*path));
    dead.map(|path| {
        Finding::in_file(path, Rule::DeadFile, "no `mod` line reaches this file: add one, or delete it")
    })
    .collect()
}

/// Returns the files that manifests name as targets.
fn named_in(manifests: &[(String, String)]) -> BTreeSet<String> {
    let in_one = |(path, text): &(String, String)| {
        let folder = path.trim_end_matches("Cargo.toml").to_owned();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("path = \"")?.strip_suffix('"'));
        lines.map(|target| format!("{folder}{target}")).collect::<Vec<_>>()
    };
    manifests.iter().flat_map(in_one).collect()
}

/// Returns whether cargo finds the file by itself.
fn is_root(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (file, folder, above) =
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let is_target_folder = |name: &str| matches!(name, "tests" | "benches" | "examples" | "bin");
    // `src/tests/x.rs` and `src/foo/tests/x.rs` are modules, not targets.
    let in_source = path.split('/').rev().skip(1).any(|part| part == "src");
    match (file, folder, above) {
        ("build.rs", _, _) => !in_source,
        ("lib.rs" | "main.rs", "src", _) | (_, "bin", "src") | ("main.rs", _, "bin") => true,
        ("main.rs", _, above) => is_target_folder(above) && !in_source,
        (_, folder, _) => is_target_folder(folder) && !in_source,
    }
}

/// Returns where the modules that a file declares may lie.
fn children(source: &Source, named: bool) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let owns_folder = named || stem == "mod" || is_root(&source.path);
    let home = if owns_folder { folder.to_owned() } else { format!("{folder}/{stem}") };
    let declared = source.code.lines().filter_map(|line| {
        let name = line.trim().strip_suffix(';')?;
        let (before, name) = name.rsplit_once("mod ").unwrap_or(("x", ""));
        let visible =
            before.trim().is_empty() || before.trim().starts_with("pub") || before.trim().ends_with(']');
        visible.then(|| name.trim().to_owned())
    });
    declared.flat_map(|name| [format!("{home}/{name}.rs"), format!("{home}/{name}/mod.rs")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(*path, *text)).collect();
        let manifest = ("a/Cargo.toml".to_owned(), "[[bench]]\npath = \"speed/all.rs\"\n".to_owned());
        check(&sources, &[manifest]).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn files_that_modules_reach_are_alive() {
        let files = [
            ("a/src/lib.rs", "pub mod one;\npub(crate) mod two;\n#[cfg(test)]\nmod tests;\n"),
            ("a/src/one.rs", "mod deep;\n"),
            ("a/src/one/deep.rs", ""),
            ("a/src/two/mod.rs", "mod deep;"),
            ("a/src/two/deep.rs", ""),
            ("a/src/tests/mod.rs", ""),
            ("a/tests/it/main.rs", "mod case;"),
            ("a/tests/it/case.rs", ""),
            ("a/tests/flat.rs", ""),
            ("a/speed/all.rs", ""),
            ("a/build.rs", ""),
        ];
        assert_eq!(dead(&files), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_a_mod_line_is_dead() {
        let files = [("a/src/lib.rs", "// mod one;\n"), ("a/src/one.rs", ""), ("a/src/tests/x.rs", "")];
        assert_eq!(dead(&files), ["a/src/one.rs", "a/src/tests/x.rs"]);
    }
}
