//! A compiled policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Host;

use crate::compile;
use crate::diagnostic::{Diagnostic, Diagnostics, Findings, Source};
use crate::digest::Digest;
use crate::file::{self, File};
use crate::grant::Refused;
use crate::host::HostPattern;
use crate::identity::Callers;
use crate::lint::{self, Tests};
use crate::model::Model;
use crate::moment::Moment;
use crate::name::{ModelName, ProviderName, ProxyName, WorkflowName};
use crate::provider::{Destination, Provider};
use crate::proxy::Proxy;
use crate::workflow::Workflow;

/// A policy file, read, checked and resolved. It never changes.
#[derive(Debug)]
pub struct Policy {
    contents: Contents,
    callers: Callers,
    digest: Digest,
    warnings: Vec<Diagnostic>,
}

/// What a policy says; the digest covers all of it.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Sorted, without repetition.
    pub(crate) deny_hosts: Vec<HostPattern>,
    pub(crate) proxies: BTreeMap<ProxyName, Arc<Proxy>>,
    pub(crate) providers: BTreeMap<ProviderName, Provider>,
    pub(crate) models: BTreeMap<ModelName, Arc<Model>>,
    pub(crate) workflows: BTreeMap<WorkflowName, Workflow>,
}

impl Policy {
    /// Compiles a policy file.
    ///
    /// # Errors
    /// Returns everything that is wrong with the file, not only the first mistake.
    pub fn compile(source: &Source) -> Result<Self, Diagnostics> {
        Self::compile_parts(source, &[])
    }

    /// Compiles a policy of several files: `base` has all sections, and each of `parts` has workflows only, so that
    /// a team may own the file of its own. What is in which file changes nothing.
    ///
    /// # Errors
    /// Returns everything that is wrong with the files, and workflows that stand in two of them.
    pub fn compile_parts(base: &Source, parts: &[Source]) -> Result<Self, Diagnostics> {
        Self::build(base, parts, |_, _, _| {})
    }

    /// Compiles a policy and looks it over at `now`: [`Self::warnings`] are then also about what loads and was most
    /// likely not meant.
    ///
    /// # Errors
    /// Returns everything that is wrong with the files, and no more than that: they are looked over once they load.
    pub fn check(base: &Source, parts: &[Source], tests: &Tests, now: Moment) -> Result<Self, Diagnostics> {
        Self::build(base, parts, |file, contents, findings| {
            lint::lint(file, contents, findings);
            lint::untested(file, tests, findings);
            lint::expired(file, now, findings);
            lint::reported(file, now, findings);
        })
    }

    fn build(
        base: &Source,
        parts: &[Source],
        look: impl FnOnce(&File, &Contents, &mut Findings),
    ) -> Result<Self, Diagnostics> {
        let mut findings = Findings::default();
        let file = file::read(base, parts, &mut findings);
        let contents = file.map(|file| {
            let contents = compile::compile(&file, &mut findings);
            if !findings.has_error() {
                look(&file, &contents, &mut findings);
            }
            contents
        });
        let names: Vec<&str> = [base].into_iter().chain(parts).map(|source| source.name.as_str()).collect();
        let (contents, warnings) = findings.finish_all(&names, contents)?;
        let callers = Callers::of(contents.workflows.values());
        let digest = contents.digest();
        Ok(Self { contents, callers, digest, warnings })
    }

    /// Returns the SHA-256 over the canonical form of the policy. Comments, order of keys and spelling of units
    /// do not change it; everything that changes a decision does.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns what the compiler warned about, in the order of the files.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Returns all proxies by name.
    pub fn proxies(&self) -> impl Iterator<Item = &Arc<Proxy>> {
        self.contents.proxies.values()
    }

    /// Returns all providers by name.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.contents.providers.values()
    }

    /// Returns all models by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.contents.models.values().map(AsRef::as_ref)
    }

    /// Returns all workflows by name.
    pub fn workflows(&self) -> impl Iterator<Item = &Workflow> {
        self.contents.workflows.values()
    }

    /// Decides whether a workflow may open a connection to a provider at `host` and `port`.
    ///
    /// This is the second decision, made from names alone: whoever dials asks here again, and trusts no hop
    /// that it was handed.
    ///
    /// # Errors
    /// Returns [`Refused`] if the workflow's `egress` does not reach the provider, or if the provider is
    /// declared elsewhere than at `host` and `port`.
    pub fn may_dial(
        &self,
        workflow: &WorkflowName,
        provider: &ProviderName,
        host: &Host,
        port: u16,
    ) -> Result<&Arc<Destination>, Refused> {
        let Contents { deny_hosts, providers, workflows, .. } = &self.contents;
        let workflow = workflows.get(workflow).ok_or(Refused::UnknownWorkflow)?;
        let provider = providers.get(provider).ok_or(Refused::UnknownProvider)?;
        let Provider::Http(destination) = provider else { return Err(Refused::InProcess) };
        if destination.host != *host || destination.port != port {
            return Err(Refused::OtherEndpoint);
        }
        workflow.grant.permits(provider, deny_hosts)?;
        Ok(destination)
    }

    /// Returns how many connections a workflow may have open at once; none if the policy has no such workflow.
    pub fn connections_max(&self, workflow: &WorkflowName) -> u32 {
        self.contents.workflows.get(workflow).map_or(0, |workflow| workflow.connections_max)
    }

    pub(crate) fn workflow(&self, name: &str) -> Option<&Workflow> {
        self.contents.workflows.get(name)
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(crate) fn callers(&self) -> &Callers {
        &self.callers
    }
}
