//! Where the parts of a policy stand: in one file, or in a folder. The server and every command find them here.
//!
//! ```text
//! a file                 a folder
//! routes.yaml            policy/routes.yaml        the base: every section, workflows if it likes
//!                        policy/claims.yaml        a part: workflows alone
//! routes_test.yaml       policy/claims_test.yaml   test cases
//! routes.sig             policy/routes.sig         the signature, over base and parts
//! revocations.yaml       policy/revocations.yaml   a list of its own
//! ```
//!
//! Whatever else ends in `.yaml` right in the folder is a part, so what is in force is what can be seen there.
//! Relative paths in a policy begin where its base stands. Deliberately absent: folders below, patterns, and a list of
//! files: there would be two places that say what belongs to a policy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use policy::{Diagnostics, Moment, Policy, Source, Tests};

use crate::command::{CommandError, read_source};
use crate::reload::digest_of;

/// The base of a policy in a folder.
const BASE: &str = "routes.yaml";

/// The list of revocations beside a policy.
pub(crate) const REVOCATIONS: &str = "revocations.yaml";

/// Readings of a folder until two of them are alike.
const READINGS_MAX: usize = 5;

/// The files of a policy, read and not yet compiled.
#[derive(Debug)]
pub(crate) struct PolicyFiles {
    name: String,
    /// The base first, then the parts by name; never empty.
    sources: Vec<Source>,
}

impl PolicyFiles {
    /// Reads the policy at `routes`, a file or a folder.
    pub(crate) fn read(routes: &Path) -> Result<Self, CommandError> {
        let name = routes.display().to_string();
        let sources = if routes.is_dir() {
            settled(|| read_folder(routes))?
                .ok_or_else(|| format!("the files of the policy {name} change while they are read"))?
        } else {
            vec![read_source(routes)?]
        };
        Ok(Self { name, sources })
    }

    /// Takes files that were read elsewhere, the base first.
    pub(crate) fn new(name: String, sources: Vec<Source>) -> Self {
        debug_assert!(!sources.is_empty(), "a policy has a base");
        Self { name, sources }
    }

    /// What the policy is called: the path of its file or folder, as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The texts, exactly those that are compiled.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Compiles the policy.
    pub(crate) fn compile(&self) -> Result<Policy, Diagnostics> {
        let (base, parts) = self.split();
        Policy::compile_parts(base, parts)
    }

    /// Compiles the policy and looks it over.
    pub(crate) fn check(&self, tests: &Tests, now: Moment) -> Result<Policy, Diagnostics> {
        let (base, parts) = self.split();
        Policy::check(base, parts, tests, now)
    }

    /// The SHA-256 of the text, in hex; of several files, that of what `sha256sum` prints for them.
    pub(crate) fn digest(&self) -> String {
        let sum = |source: &Source| digest_of(source.text.as_bytes());
        if let [only] = &self.sources[..] {
            return sum(only);
        }
        let lines = self.sources.iter().map(|source| format!("{}  {}\n", sum(source), source.name));
        digest_of(lines.collect::<String>().as_bytes())
    }

    fn split(&self) -> (&Source, &[Source]) {
        self.sources.split_first().expect("a policy has a base")
    }
}

/// Returns the folder of the policy at `routes`, in which its relative paths begin.
pub(crate) fn folder(routes: &Path) -> &Path {
    if routes.is_dir() { routes } else { routes.parent().unwrap_or(Path::new("")) }
}

/// Returns where the signature of the policy at `routes` lies.
pub(crate) fn signature(routes: &Path) -> PathBuf {
    if routes.is_dir() { routes.join(BASE).with_extension("sig") } else { routes.with_extension("sig") }
}

/// Returns where the test cases of the policy at `routes` stand. There may be none in a folder; of a policy in one file
/// it is the place where they would be.
pub(crate) fn cases(routes: &Path) -> io::Result<Vec<PathBuf>> {
    if routes.is_dir() {
        let names = names_in(routes)?.into_iter().filter(|name| Role::of(name) == Role::Cases);
        return Ok(names.map(|name| routes.join(name)).collect());
    }
    let stem = routes.file_stem().unwrap_or_default().to_string_lossy();
    Ok(vec![routes.with_file_name(format!("{stem}_test.yaml"))])
}

/// Chooses the files of a policy among the names in its folder: the base, then the parts by name.
///
/// # Errors
/// Returns what is wrong with the folder.
pub(crate) fn choose(mut names: Vec<String>) -> Result<Vec<String>, String> {
    names.sort_unstable();
    // Otherwise a workflow would be missing, and nobody would see why.
    if let Some(name) = names.iter().find(|name| Role::of(name) == Role::Misnamed) {
        return Err(format!("`{name}` would not be read: rename it, files of a policy end in `.yaml`"));
    }
    if !names.iter().any(|name| name == BASE) {
        return Err(format!("there is no `{BASE}`, with which a policy in a folder begins"));
    }
    let parts = names.into_iter().filter(|name| Role::of(name) == Role::Part);
    Ok([BASE.to_owned()].into_iter().chain(parts).collect())
}

/// What a file in a policy's folder is, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Base,
    Part,
    Cases,
    /// Somebody surely meant it to be a part.
    Misnamed,
    /// None of the policy's.
    Other,
}

impl Role {
    fn of(name: &str) -> Self {
        match name {
            BASE => Self::Base,
            REVOCATIONS => Self::Other,
            name if name.starts_with('.') => Self::Other,
            name if name.ends_with("_test.yaml") => Self::Cases,
            name => match Path::new(name).extension().and_then(|end| end.to_str()) {
                Some("yaml") => Self::Part,
                Some("yml" | "YAML" | "YML") => Self::Misnamed,
                _ => Self::Other,
            },
        }
    }
}

/// Reads until two readings in a row are alike: while a folder is replaced, a reading may be of two policies. Returns
/// `None` if that does not come to rest.
fn settled(
    mut read: impl FnMut() -> Result<Vec<Source>, CommandError>,
) -> Result<Option<Vec<Source>>, CommandError> {
    let mut before = read()?;
    for _ in 1..READINGS_MAX {
        let again = read()?;
        if again == before {
            return Ok(Some(again));
        }
        before = again;
    }
    Ok(None)
}

fn read_folder(folder: &Path) -> Result<Vec<Source>, CommandError> {
    let wrong = |why: &dyn std::fmt::Display| format!("the policy in the folder {}: {why}", folder.display());
    let names = names_in(folder).map_err(|error| wrong(&error))?;
    let names = choose(names).map_err(|why| wrong(&why))?;
    names.iter().map(|name| read_source(&folder.join(name))).collect()
}

/// The names of everything in a folder but other folders, sorted. Links are followed, as those of a mounted
/// `ConfigMap`; one that leads nowhere is a file that cannot be read.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(names: &[&str]) -> Result<Vec<String>, String> {
        choose(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_base_comes_first_and_then_every_part_by_name() {
        let names = [
            "teams.yaml",
            "routes_test.yaml",
            "claims_test.yaml",
            "routes.sig",
            "claims.yaml",
            "routes.yaml",
            "revocations.yaml",
            ".claims.yaml.swp",
            ".hidden.yaml",
            "claims.yaml~",
            "README.md",
        ];
        assert_eq!(choice(&names).unwrap(), ["routes.yaml", "claims.yaml", "teams.yaml"]);
        assert_eq!(choice(&["routes.yaml"]).unwrap(), ["routes.yaml"]);
        assert!(choice(&["claims.yaml"]).unwrap_err().contains("no `routes.yaml`"));
        assert!(choice(&["routes.yaml", "claims.yml"]).unwrap_err().contains("`claims.yml`"));
    }

    #[test]
    fn a_policy_stands_in_a_file_or_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        fs::create_dir(path("b.yaml")).unwrap();
        for name in ["routes.yaml", "a.yaml", "a_test.yaml", "c_test.yaml", "revocations.yaml"] {
            write(name, name);
        }
        let names = |files: &PolicyFiles| -> Vec<String> {
            let names = files.sources().iter().map(|source| source.name.clone());
            names.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect()
        };
        let whole = PolicyFiles::read(home.path()).unwrap();
        assert_eq!(names(&whole), ["routes.yaml", "a.yaml"]);
        assert_eq!((folder(home.path()), signature(home.path())), (home.path(), path("routes.sig")));
        assert_eq!(cases(home.path()).unwrap(), [path("a_test.yaml"), path("c_test.yaml")]);

        let file = path("a.yaml");
        let one = PolicyFiles::read(&file).unwrap();
        assert_eq!((names(&one), one.name()), (vec!["a.yaml".to_owned()], &*file.display().to_string()));
        assert_eq!((folder(&file), signature(&file)), (home.path(), path("a.sig")));
        assert_eq!(cases(&file).unwrap(), [path("a_test.yaml")]);
        assert_eq!(one.digest(), digest_of(b"a.yaml"));

        let before = whole.digest();
        let state = || PolicyFiles::read(home.path()).unwrap().digest();
        assert_eq!(state(), before);
        write("d.yaml", "");
        assert_ne!(state(), before, "another part is another state");
        fs::rename(path("d.yaml"), path("e.yaml")).unwrap();
        assert_ne!(state(), before);
        fs::remove_file(path("e.yaml")).unwrap();
        assert_eq!(state(), before);
        std::os::unix::fs::symlink(path("gone"), path("link.yaml")).unwrap();
        assert!(PolicyFiles::read(home.path()).is_err(), "a part that leads nowhere is not left out");
    }

    #[test]
    fn a_folder_that_is_being_replaced_is_read_until_it_rests() {
        let source = |text: &str| Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
        let mut readings = ["old", "half", "new", "new", "later"].into_iter();
        let read = || Ok(vec![source(readings.next().unwrap())]);
        assert_eq!(settled(read).unwrap(), Some(vec![source("new")]));
        let mut count = 0;
        let restless = || {
            count += 1;
            Ok(vec![source(&count.to_string())])
        };
        assert_eq!(settled(restless).unwrap(), None);
    }
}
