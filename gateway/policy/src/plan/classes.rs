//! Every kind of call that a route can tell apart, as one example of each.
//!
//! A workflow sees a call through its conditions and rules only, so calls about which all of them agree share their
//! fate. Numbers, switches and hours have few such classes; for names see [`texts`].

use std::collections::BTreeSet;

use super::texts::{Pattern, texts};
use crate::decide::{AUTO, Facts};
use crate::explain::clock;
use crate::glob::Glob;
use crate::tools::ToolRules;
use crate::window::Window;
use crate::workflow::{When, Workflow};

/// Most examples of one question.
const FACTS_MAX: usize = 200_000;

/// One example of each class of calls.
pub(super) struct Classes {
    pub(super) facts: Vec<Facts>,
    /// Whether no class is missing; some are if there are more than this program looks at.
    pub(super) is_complete: bool,
}

/// The values of each fact between which some condition or rule tells apart.
struct Values<'w> {
    models: BTreeSet<Pattern<'w>>,
    tools: BTreeSet<Pattern<'w>>,
    asks_about_tools: bool,
    input_tokens: BTreeSet<u64>,
    images: BTreeSet<bool>,
    tasks: BTreeSet<Pattern<'w>>,
    moments: BTreeSet<u64>,
}

impl Classes {
    /// Finds the classes that some of `workflows` tells apart.
    pub(super) fn of(workflows: &[&Workflow]) -> Self {
        let values = Values::of(workflows);
        let mut is_complete = true;
        let mut examples = |patterns: &BTreeSet<Pattern<'_>>| {
            texts(patterns).unwrap_or_else(|| {
                is_complete = false;
                BTreeSet::new()
            })
        };
        let mut models = examples(&values.models);
        models.insert(AUTO.to_owned());
        models
            .extend(workflows.iter().flat_map(|workflow| workflow.reachable.keys().map(ToString::to_string)));
        let tools = if values.asks_about_tools { examples(&values.tools) } else { BTreeSet::new() };
        let tools: Vec<Vec<String>> =
            [vec![]].into_iter().chain(tools.into_iter().map(|name| vec![name])).collect();
        let tasks = if values.tasks.is_empty() { BTreeSet::new() } else { examples(&values.tasks) };
        let tasks: Vec<Option<String>> = [None].into_iter().chain(tasks.into_iter().map(Some)).collect();
        let Values { input_tokens, images, moments, .. } = values;

        let mut facts = vec![Facts::default()];
        each(&mut facts, &models, |facts, model| facts.model.clone_from(model));
        each(&mut facts, &tools, |facts, tools| facts.tools.clone_from(tools));
        each(&mut facts, &input_tokens, |facts, input_tokens| facts.input_tokens = *input_tokens);
        each(&mut facts, &images, |facts, images| facts.images = *images);
        each(&mut facts, &tasks, |facts, task| facts.task.clone_from(task));
        each(&mut facts, &moments, |facts, now| facts.now = *now);
        is_complete &= facts.len() < FACTS_MAX;
        Self { facts, is_complete }
    }
}

/// Replaces every example by one for each of `values`, as long as there are not too many.
fn each<'v, T: 'v>(facts: &mut Vec<Facts>, values: impl IntoIterator<Item = &'v T>, set: fn(&mut Facts, &T)) {
    let values: Vec<&T> = values.into_iter().collect();
    let with = |facts: &Facts, value: &T| {
        let mut facts = facts.clone();
        set(&mut facts, value);
        facts
    };
    let all = facts.iter().flat_map(|facts| values.iter().map(move |value| with(facts, value)));
    *facts = all.take(FACTS_MAX).collect();
}

impl<'w> Values<'w> {
    fn of(workflows: &[&'w Workflow]) -> Self {
        let mut values = Self {
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            asks_about_tools: false,
            input_tokens: BTreeSet::from([0]),
            images: BTreeSet::from([false]),
            tasks: BTreeSet::new(),
            moments: BTreeSet::from([0]),
        };
        for workflow in workflows {
            values.tool_rules(&workflow.tools);
            for (when, _) in &workflow.route.conditional {
                values.conditions(when);
            }
        }
        values
    }

    fn tool_rules(&mut self, rules: &'w ToolRules) {
        let ToolRules { allow, deny } = rules;
        self.asks_about_tools |= !(allow.is_empty() && deny.is_empty());
        self.tools.extend(allow.iter().flatten().map(|pattern| Pattern::Exact(pattern.as_str())));
        self.tools.extend(deny.iter().map(|pattern| Pattern::LowerCase(pattern.as_str())));
    }

    /// A condition that is added and not considered here does not compile.
    fn conditions(&mut self, when: &'w When) {
        let When { model, tools, input_tokens_max, images, task, time } = when;
        let exact =
            |pattern: &'w Option<Glob>| pattern.as_ref().map(|pattern| Pattern::Exact(pattern.as_str()));
        self.models.extend(exact(model));
        self.tasks.extend(exact(task));
        self.asks_about_tools |= tools.is_some();
        if images.is_some() {
            self.images.insert(true);
        }
        if let Some(max) = input_tokens_max {
            self.input_tokens.extend([u64::from(*max), u64::from(*max) + 1]);
        }
        // Nothing changes between the hours at which some window opens or closes.
        if let Some(Window { days: _, from, to, ahead }) = time {
            let hours = (0..8).flat_map(|day| [*from, *to].map(|minute| clock::at(day, minute, *ahead)));
            self.moments.extend(hours);
        }
    }
}
