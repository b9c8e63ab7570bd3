//! What a person asks for: `ORG/NAME@revision`.

use std::fmt;
use std::str::FromStr;

use hf_hub::{Repo, RepoType};

/// The revision that a repository has when none is named.
const MAIN: &str = "main";
/// Longest part of a repository's name, in bytes, as hubs allow it.
const PART_BYTES_MAX: usize = 96;
/// Longest revision, in bytes; a branch name that is longer is a mistake.
const REVISION_BYTES_MAX: usize = 200;

/// A repository of a hub and a revision of it: a branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    organisation: String,
    name: String,
    revision: String,
}

/// Why a text names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not consist of two parts.
    #[error("`{0}` is not ORG/NAME, such as Qwen/Qwen3-0.6B; a revision follows after `@`")]
    Shape(String),
    /// It is an address.
    #[error("`{0}` is an address; write ORG/NAME, and set HF_ENDPOINT for another hub than huggingface.co")]
    Address(String),
    /// A part holds what no hub allows in a name.
    #[error("`{0}` cannot be a part of a repository's name: letters, digits, `.`, `_` and `-`, at most 96")]
    Part(String),
    /// The revision cannot be one.
    #[error("`{0}` cannot be a revision: a branch, a tag, or the 40 digits of a commit")]
    Revision(String),
}

impl Reference {
    /// Returns the repository's own name, without its organisation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the repository as `ORG/NAME`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.organisation, self.name)
    }

    /// Returns the revision as it was written, `main` if none was.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The repository at `revision`, for the paths of the hub.
    pub(crate) fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repository(), RepoType::Model, revision.to_owned())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains("://") {
            return Err(ReferenceError::Address(text.to_owned()));
        }
        let (repository, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let shape = || ReferenceError::Shape(text.to_owned());
        let (organisation, name) = repository.split_once('/').ok_or_else(shape)?;
        if name.contains('/') {
            return Err(shape());
        }
        for part in [organisation, name] {
            if !is_part(part) {
                return Err(ReferenceError::Part(part.to_owned()));
            }
        }
        if !is_revision(revision) {
            return Err(ReferenceError::Revision(revision.to_owned()));
        }
        Ok(Self { organisation: organisation.into(), name: name.into(), revision: revision.into() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}@{}", self.organisation, self.name, self.revision)
    }
}

/// The name becomes a folder and a part of a path, so nothing that means something there is in it.
fn is_part(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty()
        && text.len() <= PART_BYTES_MAX
        && text.chars().all(allowed)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '+');
    !text.is_empty()
        && text.len() <= REVISION_BYTES_MAX
        && text.chars().all(allowed)
        && !text.starts_with(['.', '-', '/'])
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_an_organisation_a_name_and_perhaps_a_revision() {
        let check = |text: &str, shown: &str| {
            assert_eq!(text.parse::<Reference>().map(|it| it.to_string()).as_deref(), Ok(shown));
        };
        check("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B@main");
        check("Qwen/Qwen3-0.6B@v1.0", "Qwen/Qwen3-0.6B@v1.0");
        check("a/b_c@refs/pr/1", "a/b_c@refs/pr/1");
    }

    #[test]
    fn a_text_that_could_lead_elsewhere_is_no_reference() {
        let refused = |text: &str| text.parse::<Reference>().unwrap_err();
        assert!(matches!(refused("gpt2"), ReferenceError::Shape(_)));
        assert!(matches!(refused("a/b/c"), ReferenceError::Shape(_)));
        assert!(matches!(refused("https://huggingface.co/a/b"), ReferenceError::Address(_)));
        for text in ["../b", "a/..", "a/.hidden", "a/", "/b", "a/b?c", "a/b c", "a/b#c", "a/-b"] {
            assert!(matches!(refused(text), ReferenceError::Part(_)), "{text}");
        }
        for text in ["a/b@", "a/b@../main", "a/b@x?y", "a/b@/etc"] {
            assert!(matches!(refused(text), ReferenceError::Revision(_)), "{text}");
        }
    }
}
