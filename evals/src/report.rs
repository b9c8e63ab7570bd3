//! Outcomes as numbers: one row for each skill, one for all, with intervals.

use std::fmt;

use serde::Serialize;

use crate::run::Outcome;
use crate::score::Score;
use crate::statistics::wilson_95;

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// One row for each skill, in the order of the suite, and a last one named `all`.
    pub rows: Vec<Row>,
    /// Prompt tokens over all answers that reported them.
    pub prompt_tokens: u64,
    /// Answer tokens over all answers that reported them.
    pub completion_tokens: u64,
}

/// The samples of one skill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The skill.
    pub skill: String,
    /// Samples with a right answer.
    pub right: usize,
    /// Samples with an answer.
    pub answered: usize,
    /// Samples without one: they count neither as right nor as wrong.
    pub errored: usize,
    /// Right answers among the answers, between 0 and 1; absent without answers.
    pub share: Option<f64>,
    /// The lower end of the share's 95 % interval.
    pub low: f64,
    /// The upper end of the share's 95 % interval.
    pub high: f64,
}

impl Report {
    /// Counts the outcomes.
    pub fn new(outcomes: &[Outcome<'_>]) -> Self {
        let mut skills: Vec<&str> = Vec::new();
        for outcome in outcomes {
            if !skills.contains(&outcome.sample.skill.as_str()) {
                skills.push(&outcome.sample.skill);
            }
        }
        let row = |skill: &&str| {
            let of_skill = outcomes.iter().filter(|outcome| outcome.sample.skill == *skill);
            Row::new(skill, of_skill)
        };
        let mut rows: Vec<_> = skills.iter().map(row).collect();
        rows.push(Row::new("all", outcomes.iter()));
        let usages = || outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok()?.reply.usage);
        Self {
            rows,
            prompt_tokens: usages().map(|usage| usage.prompt_tokens).sum(),
            completion_tokens: usages().map(|usage| usage.completion_tokens).sum(),
        }
    }

    /// Returns whether every sample has an answer: otherwise the shares are about another suite.
    pub fn is_complete(&self) -> bool {
        self.rows.iter().all(|row| row.errored == 0)
    }
}

impl Row {
    fn new<'a>(skill: &str, outcomes: impl Iterator<Item = &'a Outcome<'a>>) -> Self {
        let (mut right, mut answered, mut errored) = (0, 0, 0);
        for outcome in outcomes {
            match &outcome.result {
                Ok(scored) => {
                    answered += 1;
                    right += usize::from(scored.score == Score::Right);
                }
                Err(_) => errored += 1,
            }
        }
        let share = (answered > 0).then(|| right as f64 / answered as f64);
        let interval = wilson_95(right, answered);
        Self {
            skill: skill.to_owned(),
            right,
            answered,
            errored,
            share,
            low: interval.low,
            high: interval.high,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.skill.chars().count()).max().unwrap_or(0).max(5);
        writeln!(out, "{:width$}  right  of  errored   share  95 % interval", "skill")?;
        for row in &self.rows {
            let share = row.share.map_or("-".to_owned(), percent);
            let (low, high) = (percent(row.low), percent(row.high));
            writeln!(
                out,
                "{:width$}  {:>5}  {:>2}  {:>7}  {share:>6}  {low} to {high}",
                row.skill, row.right, row.answered, row.errored
            )?;
        }
        write!(out, "tokens: {} in, {} out", self.prompt_tokens, self.completion_tokens)
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
