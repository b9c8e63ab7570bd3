//! Files of test cases as written: `routes_test.yaml`.
//!
//! Read by the same rules as a policy. A case states facts; no body of a request is read, because a decision
//! never looks at one.

use std::collections::BTreeSet;

use super::fields::{self, Fields};
use super::node::{self, Node, NodeKind};
use super::{FILES_MAX, scalar};
use crate::decide::{AUTO, Facts};
use crate::diagnostic::{Findings, Position, Source, Spanned};
use crate::explain::{Ask, Who, clock};
use crate::indirect::{Indirect, IndirectKind};
use crate::name::KeyId;
use crate::window;

/// One case as written.
#[derive(Debug)]
pub(crate) struct CaseFile {
    pub(crate) name: Spanned<String>,
    pub(crate) ask: Ask,
    pub(crate) expect: ExpectFile,
}

/// What a case expects; what it does not say may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExpectFile {
    pub(crate) allow: bool,
    pub(crate) to: Option<Vec<String>>,
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) code: Option<String>,
    pub(crate) rule: Option<String>,
}

/// Reads files of cases. Returns `None` if one of them is not a document with a list of cases.
pub(crate) fn cases(sources: &[Source], findings: &mut Findings) -> Option<Vec<CaseFile>> {
    if sources.len() > FILES_MAX {
        let message = format!("there are {} files of test cases, more than {FILES_MAX}", sources.len());
        findings.error_with_hint(Position::start_of(0), message, "put several cases into one file");
        return None;
    }
    // All are read before any is missed, so that one run reports what is wrong in each.
    let read: Vec<_> = (0..).zip(sources).map(|(file, source)| cases_of(file, source, findings)).collect();
    Some(read.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

fn cases_of(file: u16, source: &Source, findings: &mut Findings) -> Option<Vec<CaseFile>> {
    let root = node::parse_of(file, &source.text, findings)?;
    let mut fields = Fields::open(&root, "a file of test cases", findings)?;
    if let Some(version) = fields.required("version", findings) {
        super::check_version(version, findings);
    }
    let list = fields.required("cases", findings);
    fields.close(&[], findings);
    let cases: Vec<CaseFile> = fields::items(list?, findings, case)?.into_iter().flatten().collect();
    let mut seen = BTreeSet::new();
    for case in &cases {
        if !seen.insert(&case.name.value) {
            let hint = "give each case a name of its own";
            findings.error_with_hint(case.name.at, "another case has this name", hint);
        }
    }
    Some(cases)
}

fn case(node: &Node, findings: &mut Findings) -> Option<CaseFile> {
    let mut fields = Fields::open(node, "a test case", findings)?;
    let name = fields.required("name", findings).and_then(|node| scalar::text(node, findings));
    let who = fields.required("caller", findings).and_then(|node| who(node, findings));
    let workflow = fields.read("workflow", findings, scalar::text);
    let request = fields.read("request", findings, request);
    let expect = fields.required("expect", findings).and_then(|node| expect(node, findings));
    fields.close(&[], findings);
    let workflow = workflow.ok()?.map(|name| name.value);
    let facts = request.ok()?.unwrap_or_else(nothing_special);
    Some(CaseFile { name: name?, ask: Ask { who: who?, workflow, facts }, expect: expect? })
}

fn who(node: &Node, findings: &mut Findings) -> Option<Who> {
    let mut fields = Fields::open(node, "`caller`", findings)?;
    let loopback = fields.read("loopback", findings, |node, findings| {
        if scalar::switch(node, findings)? {
            return Some(Who::Loopback);
        }
        findings.error_with_hint(
            node.at,
            "`loopback: false` names nobody",
            "name a key: `{ api_key: ci-7f3a }`",
        );
        None
    });
    let api_key = fields.read("api_key", findings, |node, findings| {
        scalar::name(node, findings, KeyId::new).map(|id| Who::ApiKey(id.value))
    });
    let written_count = fields.len();
    let later = ["jwt", "client_cert", "spiffe", "k8s_service_account"];
    fields.later(&later.map(|key| (key, "write `api_key` or `loopback`")), findings);
    fields.close(&[], findings);
    if written_count != 1 {
        let hint = "write one of `{ loopback: true }` and `{ api_key: ID }`; a test needs no secret";
        findings.error_with_hint(node.at, "a case has one caller", hint);
        return None;
    }
    loopback.ok()?.or(api_key.ok()?)
}

/// The name of the one tool of a case that says no more than that tools are offered.
const SOME_TOOL: &str = "tool";

/// The facts of a request about which a case says nothing: its time is noon of a Wednesday long ago, before any key
/// expires.
fn nothing_special() -> Facts {
    let noon = window::DAY_MINUTES / 2;
    Facts { model: AUTO.to_owned(), now: clock::at(2, noon, 0), ..Facts::default() }
}

fn request(node: &Node, findings: &mut Findings) -> Option<Facts> {
    let mut fields = Fields::open(node, "`request`", findings)?;
    let usual = nothing_special();
    let model = fields.read("model", findings, scalar::text);
    let input_tokens = fields.read("input_tokens", findings, scalar::count);
    let tools = fields.read("tools", findings, tools);
    let images = fields.read("images", findings, scalar::switch);
    let content = fields.read("content", findings, content);
    let task = fields.read("task", findings, scalar::text);
    let time = fields.read("time", findings, scalar::moment);
    let facts_only =
        "is not read: a decision looks at facts alone, such as `model`, `input_tokens` and `tools`";
    let no_part = "has no part in a decision";
    let refused = [
        ("body", facts_only),
        ("messages", facts_only),
        ("dialect", no_part),
        ("path", no_part),
        ("stream", no_part),
    ];
    fields.close(&refused, findings);
    Some(Facts {
        model: model.ok()?.map_or(usual.model, |model| model.value),
        input_tokens: input_tokens.ok()?.map_or(usual.input_tokens, u64::from),
        tools: tools.ok()?.unwrap_or(usual.tools),
        images: images.ok()?.unwrap_or(usual.images),
        content: content.ok()?.unwrap_or(usual.content),
        task: task.ok()?.map(|task| task.value),
        now: time.ok()?.map_or(usual.now, |time| time.value.unix_s()),
    })
}

/// Reads whether tools are offered, or which.
fn tools(node: &Node, findings: &mut Findings) -> Option<Vec<String>> {
    if matches!(node.kind, NodeKind::List(_)) {
        let names = fields::list(node, findings, scalar::text)?;
        return Some(names.into_iter().map(|name| name.value).collect());
    }
    let offered = scalar::switch(node, findings)?;
    Some(offered.then(|| SOME_TOOL.to_owned()).into_iter().collect())
}

/// Reads the kinds of things that a call asks of a backend beyond its own answer.
fn content(node: &Node, findings: &mut Findings) -> Option<Vec<Indirect>> {
    let kind = |node: &Node, findings: &mut Findings| {
        let kind = scalar::word(node, findings, &IndirectKind::ALL, IndirectKind::as_str)?;
        Some(Indirect { kind: kind.value, path: String::new() })
    };
    fields::list(node, findings, kind)
}

/// The two ways in which a case can end.
const DECISIONS: [bool; 2] = [true, false];

fn decision(allow: bool) -> &'static str {
    if allow { "allow" } else { "deny" }
}

fn expect(node: &Node, findings: &mut Findings) -> Option<ExpectFile> {
    let mut fields = Fields::open(node, "`expect`", findings)?;
    let names = |node: &Node, findings: &mut Findings| {
        let names = fields::list(node, findings, scalar::text)?;
        Some(names.into_iter().map(|name| name.value).collect::<Vec<_>>())
    };
    let allow = fields
        .required("decision", findings)
        .and_then(|node| scalar::word(node, findings, &DECISIONS, decision));
    let to = fields.read("to", findings, names);
    let providers = fields.read("providers", findings, names);
    let code = fields.read("code", findings, scalar::text);
    let rule = fields.read("rule", findings, scalar::text);
    fields.close(&[], findings);
    let (allow, to, providers, code, rule) = (allow?, to.ok()?, providers.ok()?, code.ok()?, rule.ok()?);
    match (allow.value, &code) {
        (true, Some(code)) => {
            findings.error_with_hint(
                code.at,
                "`code` belongs to a denial",
                "leave it out, or write `decision: deny`",
            );
        }
        // Without it a case would pass for whatever reason, such as a slip in the caller's name.
        (false, None) => {
            let hint = "say why it is denied, such as `code: policy.unknown_model`";
            findings.error_with_hint(allow.at, "`code` is missing beside `decision: deny`", hint);
        }
        _ => {}
    }
    if !allow.value && (to.is_some() || providers.is_some()) {
        let hint = "leave `to` and `providers` out";
        findings.error_with_hint(node.at, "a call that is denied goes nowhere", hint);
    }
    Some(ExpectFile {
        allow: allow.value,
        to,
        providers,
        code: code.map(|code| code.value),
        rule: rule.map(|rule| rule.value),
    })
}
