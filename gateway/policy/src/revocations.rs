//! `revocations.yaml`: what is denied at once, whatever the policy file says.
//!
//! The list can only deny, so it needs no review that a policy needs, and it is read on its own, so that a broken
//! policy file cannot disable it. It knows nothing of the policy: a name that no policy has denies nothing.
//!
//! ```yaml
//! version: 1
//! callers: [ci]
//! keys: [{ id: ci-7f3a, reason: "found in a public repository", since: 2026-01-31 }]
//! workflows: [claims-triage]
//! providers: [openai-eu]
//! hosts: ["*.openai.example"]
//! ```
//!
//! Deliberately absent: exceptions, and times from which or until which an entry acts. What is written acts.

use url::Host;

use crate::admitted::Hop;
use crate::diagnostic::{Diagnostics, Findings, Source};
use crate::digest::Digest;
use crate::file::{self, RevocationsFile};
use crate::identity::Caller;
use crate::model::Target;
use crate::name::{KeyId, ProviderName, WorkflowName};

/// Everything that is revoked. It never changes; the next file is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    lists: RevocationsFile,
    digest: Digest,
}

/// Which part of a call is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Who calls.
    Caller,
    /// The API key that was shown.
    Key,
    /// The workflow that the call belongs to.
    Workflow,
    /// The provider that it would go to.
    Provider,
    /// The host of that provider.
    Host,
}

impl Revoked {
    /// Returns the list that the entry stands in.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "callers",
            Self::Key => "keys",
            Self::Workflow => "workflows",
            Self::Provider => "providers",
            Self::Host => "hosts",
        }
    }
}

impl Revocations {
    /// Reads a list. It is taken as a whole or not at all.
    ///
    /// # Errors
    /// Returns everything that is wrong with the file, not only the first mistake.
    pub fn parse(source: &Source) -> Result<Self, Diagnostics> {
        let mut findings = Findings::default();
        let lists = file::revocations(&source.text, &mut findings);
        let (lists, _) = findings.finish(&source.name, lists)?;
        Ok(Self { lists, digest: Digest::of(source.text.as_bytes()) })
    }

    /// Returns the list that revokes nothing, for a gateway without the file.
    pub fn none() -> Self {
        Self { lists: RevocationsFile::default(), digest: Digest::of(b"") }
    }

    /// Returns the SHA-256 of the file's text.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        let RevocationsFile { callers, keys, workflows, providers, hosts } = &self.lists;
        callers.len() + keys.len() + workflows.len() + providers.len() + hosts.len()
    }

    /// Returns whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether a caller is revoked, or the key by which it was recognised.
    pub fn of_caller(&self, caller: &Caller) -> Option<Revoked> {
        if self.lists.callers.contains(caller.id()) {
            return Some(Revoked::Caller);
        }
        // A caller may hold two keys; the other one goes on to work.
        caller.key().is_some_and(|key| self.revokes_key(key)).then_some(Revoked::Key)
    }

    /// Says whether a key is revoked, whoever holds it.
    pub fn revokes_key(&self, key: &KeyId) -> bool {
        self.lists.keys.contains(key)
    }

    /// Says whether a workflow is revoked.
    pub fn of_workflow(&self, workflow: &WorkflowName) -> Option<Revoked> {
        self.lists.workflows.contains(workflow).then_some(Revoked::Workflow)
    }

    /// Says whether a provider is revoked, or the host at which it is reached; one in this process has no host.
    pub fn of_provider(&self, provider: &ProviderName, host: Option<&Host>) -> Option<Revoked> {
        if self.lists.providers.contains(provider) {
            return Some(Revoked::Provider);
        }
        host.and_then(|host| self.of_host(host))
    }

    /// Says whether a host is revoked, whatever is there.
    pub fn of_host(&self, host: &Host) -> Option<Revoked> {
        self.lists.hosts.iter().any(|pattern| pattern.matches(host)).then_some(Revoked::Host)
    }

    /// Says whether the place that a hop leads to is revoked.
    pub fn of_hop(&self, hop: &Hop) -> Option<Revoked> {
        let host = match hop.target() {
            Target::Http(destination) => Some(destination.host()),
            Target::Engine(_) => None,
        };
        self.of_provider(hop.provider(), host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::parse_host;

    fn parse(text: &str) -> Result<Revocations, String> {
        let source = Source { name: "revocations.yaml".to_owned(), text: text.to_owned() };
        Revocations::parse(&source).map_err(|errors| errors.to_string())
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let errors = parse(text).unwrap_err();
        assert!(errors.contains(expected), "{expected} is not in\n{errors}");
    }

    #[test]
    fn what_is_listed_is_revoked_and_nothing_else() {
        let list = parse(
            "version: 1\nworkflows: [docs]\nproviders:\n  - { name: far, reason: \"a breach\", since: 2026-01-31 }\n\
             hosts: [\"*.far.example\", 10.0.0.7]\n",
        )
        .unwrap();
        let name = |text| ProviderName::new(text).unwrap();
        let provider = |text, host| list.of_provider(&name(text), Some(&parse_host(host).unwrap()));
        assert_eq!(list.of_workflow(&WorkflowName::new("docs").unwrap()), Some(Revoked::Workflow));
        assert_eq!(list.of_workflow(&WorkflowName::new("docs-too").unwrap()), None);
        assert_eq!(provider("far", "near.example"), Some(Revoked::Provider));
        assert_eq!(list.of_provider(&name("far"), None), Some(Revoked::Provider));
        assert_eq!(provider("near", "api.far.example"), Some(Revoked::Host));
        assert_eq!(provider("near", "10.0.0.7"), Some(Revoked::Host));
        assert_eq!(provider("near", "far.example"), None);
        assert_eq!(list.of_host(&parse_host("api.far.example").unwrap()), Some(Revoked::Host));
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        check_refused("callers: [a]\n", "`version` is missing");
        check_refused("version: 2\n", "version 2 is not known");
        check_refused("version: 1\ncaller: [a]\n", "did you mean `callers`?");
        check_refused("version: 1\ncallers: a\n", "expected a list");
        check_refused("version: 1\ncallers: [\"\"]\n", "the text is empty");
        check_refused("version: 1\nkeys: [pk_ci_1]\n", "is not a name");
        check_refused("version: 1\nkeys: [{ name: ci }]\n", "`id` is missing in a revocation");
        check_refused("version: 1\nkeys: [{ id: ci, until: 2026-01-31 }]\n", "unknown key `until`");
        check_refused("version: 1\nkeys: [{ id: ci, since: yesterday }]\n", "is not a day or a time");
        check_refused("version: 1\nhosts: [\"*\"]\n", "is not a host name");
        check_refused("version: 1\nhosts: [a.example]\nhosts: [b.example]\n", "stands here twice");
        check_refused("", "the file is empty");
        assert!(parse("version: 1\n").unwrap().is_empty());
    }
}
