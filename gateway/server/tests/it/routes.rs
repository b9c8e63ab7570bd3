//! Policies for the tests, as the text that would stand in `routes.yaml`.

use std::fmt::Write;

/// A policy under construction.
#[derive(Default)]
pub(crate) struct Routes {
    defaults: String,
    proxies: String,
    providers: String,
    models: String,
    workflows: String,
}

impl Routes {
    /// The demo model for everyone on this machine: what most tests of the engine need.
    pub(crate) fn demo() -> Self {
        Self::default().engine().workflow("try-it", "{ mode: sealed }", "demo")
    }

    /// One upstream on this machine for everyone on this machine: what most tests of forwarding need. `more` are
    /// further keys of the provider.
    pub(crate) fn upstream(port: u16, more: &str) -> Self {
        Self::default().local("up", port, more).workflow("docs", "{ mode: sealed }", "up")
    }

    /// The same upstream for a workflow that lets everything in a call pass, known here or not.
    pub(crate) fn open(port: u16, more: &str) -> Self {
        Self::default().local("up", port, more).workflow("docs", "{ mode: hosted, providers: [up] }", "up")
    }

    /// Adds keys of `defaults`.
    pub(crate) fn defaults(mut self, keys: &str) -> Self {
        writeln!(self.defaults, "  {keys}").unwrap();
        self
    }

    /// Adds a company's proxy; `more` are further keys.
    pub(crate) fn proxy(mut self, name: &str, url: &str, more: &str) -> Self {
        writeln!(self.proxies, "  {name}: {{ url: \"{url}\", {more} }}").unwrap();
        self
    }

    /// Adds the model `demo`, served in the process.
    pub(crate) fn engine(mut self) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/models/demo");
        writeln!(self.providers, "  engine: {{ kind: engine, device: cpu, locality: local }}").unwrap();
        writeln!(self.models, "  demo: {{ provider: engine, path: \"{path}\", context: 2048 }}").unwrap();
        self
    }

    /// Adds a model, served in the process, by its whole line; the provider is called `local`.
    pub(crate) fn model(mut self, line: &str) -> Self {
        if !self.providers.contains("  local:") {
            writeln!(self.providers, "  local: {{ kind: engine, device: cpu, locality: local }}").unwrap();
        }
        writeln!(self.models, "  {line}").unwrap();
        self
    }

    /// Adds the model `embed` beside `demo`: an encoder of the engine's own tests.
    pub(crate) fn encoder(mut self) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/tests/encoders/bert_mean");
        writeln!(self.models, "  embed: {{ provider: engine, path: \"{path}\" }}").unwrap();
        self
    }

    /// Adds a local provider at 127.0.0.1 and a model of the same name.
    pub(crate) fn local(self, name: &str, port: u16, more: &str) -> Self {
        let base_url = format!("http://127.0.0.1:{port}/v1");
        self.provider(name, &base_url, &format!("locality: local, cidrs: [127.0.0.0/8], {more}"))
    }

    /// Adds a provider and a model of the same name, which the provider knows as `upstream-NAME`.
    pub(crate) fn provider(mut self, name: &str, base_url: &str, more: &str) -> Self {
        writeln!(self.providers, "  {name}: {{ kind: openai, base_url: \"{base_url}\", {more} }}").unwrap();
        writeln!(self.models, "  {name}: {{ provider: {name}, name: upstream-{name} }}").unwrap();
        self
    }

    /// Adds a local provider of any kind at a port of this machine, whose base URL goes on with `below`, and a model
    /// of the same name, which the provider knows as `upstream`.
    pub(crate) fn of_kind(mut self, name: &str, kind: &str, below: (u16, &str), upstream: &str) -> Self {
        let (port, path) = below;
        writeln!(
            self.providers,
            "  {name}: {{ kind: {kind}, base_url: \"http://127.0.0.1:{port}{path}\", locality: local, cidrs: [127.0.0.0/8] }}"
        )
        .unwrap();
        writeln!(self.models, "  {name}: {{ provider: {name}, name: \"{upstream}\" }}").unwrap();
        self
    }

    /// Adds a line to the workflow that was added last.
    pub(crate) fn and(mut self, line: &str) -> Self {
        writeln!(self.workflows, "    {line}").unwrap();
        self
    }

    /// Adds a workflow for everyone on this machine.
    pub(crate) fn workflow(self, name: &str, egress: &str, to: &str) -> Self {
        self.workflow_of(name, "{ loopback: true }", egress, to)
    }

    /// Adds a workflow for `callers`.
    pub(crate) fn workflow_of(self, name: &str, callers: &str, egress: &str, to: &str) -> Self {
        self.workflow_with(name, callers, egress, &format!("to: [{to}]"))
    }

    /// Adds a sealed workflow for everyone on this machine, whose one route entry is `entry`.
    pub(crate) fn entry(self, name: &str, entry: &str) -> Self {
        self.workflow_with(name, "{ loopback: true }", "{ mode: sealed }", entry)
    }

    fn workflow_with(mut self, name: &str, callers: &str, egress: &str, entry: &str) -> Self {
        writeln!(
            self.workflows,
            "  {name}:\n    owner: team\n    callers: [ {callers} ]\n    egress: {egress}\n    \
             route: [ {{ {entry} }} ]"
        )
        .unwrap();
        self
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let Self { defaults, proxies, providers, models, workflows } = self;
        let part =
            |name, keys: &str| if keys.is_empty() { String::new() } else { format!("{name}:\n{keys}") };
        let (defaults, proxies) = (part("defaults", defaults), part("proxies", proxies));
        format!(
            "version: 1\n{defaults}{proxies}providers:\n{providers}models:\n{models}workflows:\n{workflows}"
        )
    }
}
