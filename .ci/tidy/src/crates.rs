//! Rules about the manifests: who may depend on whom, and on what from outside.
//!
//! A crate cannot do what it cannot depend on, so these two tables are the walls of the house. They say the same as
//! the picture in `docs/ARCHITECTURE.md`; a new edge is a decision, and belongs into `docs/decisions` first.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{Finding, Rule};

/// Our crates and the ones of ours that each depends on.
const EDGES: [(&str, &[&str]); 14] = [
    ("wire", &[]),
    ("policy", &[]),
    ("routing", &[]),
    ("audit", &[]),
    ("egress", &["policy"]),
    ("hub", &[]),
    ("seal", &[]),
    ("kernels", &[]),
    ("engine", &["kernels"]),
    ("server", &["audit", "egress", "engine", "hub", "policy", "routing", "seal", "wire"]),
    ("benches", &["engine", "kernels", "wire"]),
    ("evals", &["wire"]),
    ("wire-fuzz", &["wire"]),
    ("tidy", &[]),
];

/// Crates that may have dependencies on one kind of system only, with the reason. The others are the same everywhere.
const OF_ONE_SYSTEM: [(&str, &str); 1] =
    [("seal", "seccomp and Landlock are Linux's, and their crates do not build on another system")];

/// A power that comes with a dependency, and the crates that may have it.
struct Power {
    what: &'static str,
    /// Names of outside crates; a final `*` stands for any ending.
    crates: &'static [&'static str],
    allowed: &'static [&'static str],
}

const POWERS: [Power; 6] = [
    Power {
        what: "an HTTP client",
        crates: &[
            "reqwest",
            "ureq",
            "hf-hub",
            "isahc",
            "surf",
            "curl",
            "attohttpc",
            "minreq",
            "awc",
            "hyper-tls",
        ],
        allowed: &["benches", "evals", "hub"],
    },
    Power {
        what: "a resolver",
        crates: &["hickory-*", "trust-dns-*", "dns-lookup", "async-std-resolver"],
        allowed: &["egress"],
    },
    Power {
        what: "a TLS connector",
        crates: &[
            "rustls",
            "tokio-rustls",
            "hyper-rustls",
            "native-tls",
            "tokio-native-tls",
            "openssl",
            "webpki-roots",
        ],
        allowed: &["egress"],
    },
    Power { what: "HTTP", crates: &["hyper", "hyper-util"], allowed: &["egress", "server", "benches"] },
    Power {
        what: "a web server",
        crates: &["axum*", "tower-http", "warp", "actix-*"],
        allowed: &["server", "benches"],
    },
    Power {
        what: "tensors",
        crates: &["candle-*", "cudarc", "half"],
        allowed: &["kernels", "engine", "benches"],
    },
];

/// One manifest: its path, relative to the repository's root, and its text.
#[derive(Debug, Clone, Copy)]
pub struct Manifest<'a> {
    /// Where it lies.
    pub path: &'a str,
    /// What it says.
    pub text: &'a str,
}

#[derive(Deserialize)]
struct Written {
    package: Package,
    #[serde(default)]
    dependencies: toml::Table,
    #[serde(default, rename = "build-dependencies")]
    build_dependencies: toml::Table,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: toml::Table,
    #[serde(default)]
    target: BTreeMap<String, OfTarget>,
}

#[derive(Default, Deserialize)]
struct OfTarget {
    #[serde(default)]
    dependencies: toml::Table,
    #[serde(default, rename = "build-dependencies")]
    build_dependencies: toml::Table,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: toml::Table,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// Checks one crate's manifest against both tables. Tests may use any outside crate, but keep to our own edges.
pub fn check(manifest: Manifest<'_>) -> Vec<Finding> {
    let report = |rule, message: String| Finding::in_file(manifest.path, rule, message);
    let written: Written = match toml::from_str(manifest.text) {
        Ok(written) => written,
        Err(error) => {
            return vec![report(Rule::Edges, format!("the manifest cannot be read: {}", error.message()))];
        }
    };
    let name = written.package.name.as_str();
    let Some((_, edges)) = EDGES.iter().find(|(known, _)| *known == name) else {
        return vec![report(
            Rule::Edges,
            format!("`{name}` is a new crate: give it a row in `.ci/tidy/src/crates.rs`"),
        )];
    };
    if !written.target.is_empty() && !OF_ONE_SYSTEM.iter().any(|(known, _)| *known == name) {
        return vec![report(Rule::Dependency, "dependencies are the same on every platform".to_owned())];
    }
    let targets = || written.target.values();
    let built: BTreeSet<&str> = names(&written.dependencies)
        .chain(names(&written.build_dependencies))
        .chain(
            targets().flat_map(|target| names(&target.dependencies).chain(names(&target.build_dependencies))),
        )
        .collect();
    let tested: BTreeSet<&str> = names(&written.dev_dependencies)
        .chain(targets().flat_map(|target| names(&target.dev_dependencies)))
        .collect();
    let ours = |names: &BTreeSet<&str>| -> BTreeSet<String> {
        let known = |name: &&&str| EDGES.iter().any(|(ours, _)| ours == *name);
        names.iter().filter(known).map(|name| (*name).to_owned()).collect()
    };
    let mut found = Vec::new();
    let (wanted, has) = (edges.iter().map(|edge| (*edge).to_owned()).collect::<BTreeSet<_>>(), ours(&built));
    for extra in has.union(&ours(&tested)).filter(|edge| !wanted.contains(*edge)) {
        found.push(report(Rule::Edges, format!("`{name}` may not depend on `{extra}`")));
    }
    for missing in wanted.difference(&has) {
        found.push(report(
            Rule::Edges,
            format!("`{name}` no longer depends on `{missing}`: take the edge out of the table"),
        ));
    }
    for power in POWERS.iter().filter(|power| !power.allowed.contains(&name)) {
        for dependency in
            built.iter().filter(|dependency| power.crates.iter().any(|pattern| matches(pattern, dependency)))
        {
            found.push(report(
                Rule::Dependency,
                format!("`{name}` may not have {}: `{dependency}`", power.what),
            ));
        }
    }
    found
}

/// Returns the crates of the table that have no manifest, because a wall that is gone is worth a word.
pub fn absent(manifests: &[Manifest<'_>]) -> Vec<Finding> {
    let has = |name: &str| {
        manifests
            .iter()
            .any(|manifest| manifest.text.lines().any(|line| line.trim() == format!("name = \"{name}\"")))
    };
    let missing = EDGES.iter().filter(|(name, _)| !has(name));
    missing
        .map(|(name, _)| {
            Finding::in_file(
                "Cargo.toml",
                Rule::Edges,
                format!("crate `{name}` is in the table but not in the workspace"),
            )
        })
        .collect()
}

/// Names as they are on the registry: a renamed dependency counts under its real name.
fn names(table: &toml::Table) -> impl Iterator<Item = &str> {
    table.iter().map(|(key, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(key))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: &str, sections: &str) -> Vec<Rule> {
        let text = format!("[package]\nname = \"{name}\"\n{sections}");
        check(Manifest { path: "x/Cargo.toml", text: &text })
            .into_iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn edges_are_exactly_those_of_the_table() {
        assert_eq!(rules("egress", "[dependencies]\npolicy.workspace = true\nbytes.workspace = true"), []);
        assert_eq!(rules("egress", "[dependencies]\nbytes.workspace = true"), [Rule::Edges]);
        assert_eq!(rules("wire", "[dependencies]\npolicy = { path = \"../policy\" }"), [Rule::Edges]);
        assert_eq!(
            rules("wire", "[dependencies]\np = { package = \"policy\", path = \"../policy\" }"),
            [Rule::Edges]
        );
        assert_eq!(rules("wire", "[dev-dependencies]\naudit.workspace = true"), [Rule::Edges]);
        assert_eq!(rules("plugins", ""), [Rule::Edges]);
    }

    #[test]
    fn a_power_belongs_to_the_crates_that_are_listed() {
        assert_eq!(rules("audit", "[dependencies]\nhickory-resolver = \"1\""), [Rule::Dependency]);
        assert_eq!(rules("policy", "[dependencies]\ncandle-core = \"1\""), [Rule::Dependency]);
        assert_eq!(rules("policy", "[target.'cfg(unix)'.dependencies]\nnix = \"1\""), [Rule::Dependency]);
        assert_eq!(rules("policy", "[dev-dependencies]\nrustls = \"1\""), []);
        assert_eq!(
            rules("engine", "[dependencies]\nkernels.workspace = true\naxum = \"1\""),
            [Rule::Dependency]
        );
        assert_eq!(rules("evals", "[dependencies]\nwire.workspace = true\nureq = \"1\""), []);
        assert_eq!(rules("hub", "[dependencies]\nhf-hub = \"1\""), []);
        assert_eq!(rules("policy", "[dependencies]\nhf-hub = \"1\""), [Rule::Dependency]);
    }

    #[test]
    fn dependencies_of_one_system_are_held_to_the_same_walls() {
        let linux = |dependency: &str| format!("[target.'cfg(unix)'.dependencies]\n{dependency} = \"1\"");
        assert_eq!(rules("seal", &linux("landlock")), []);
        assert_eq!(rules("seal", &linux("hickory-resolver")), [Rule::Dependency]);
        assert_eq!(rules("seal", "[target.'cfg(unix)'.dev-dependencies]\npolicy = \"1\""), [Rule::Edges]);
        assert_eq!(rules("audit", &linux("landlock")), [Rule::Dependency]);
    }

    #[test]
    fn a_crate_that_is_gone_is_noticed() {
        let rows: Vec<String> = EDGES.iter().map(|(name, _)| format!("name = \"{name}\"\n")).collect();
        let all: Vec<_> = rows.iter().map(|text| Manifest { path: "x/Cargo.toml", text }).collect();
        assert_eq!(absent(&all), []);
        assert_eq!(absent(&all[1..]).len(), 1);
    }
}
