//! A run: every sample asked once, in the order of the suite.

use crate::endpoint::{AskError, Endpoint, Reply};
use crate::score::Score;
use crate::suite::{Sample, Suite};

/// What became of one sample.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// The verdict, or why there is none.
    pub result: Result<Scored, AskError>,
}

/// An answer with its verdict.
#[derive(Debug)]
pub struct Scored {
    /// What came back.
    pub reply: Reply,
    /// What it is worth.
    pub score: Score,
}

/// Asks the samples one after another; `seen` is told of each outcome as it is there.
pub fn run<'a>(
    suite: &'a Suite,
    endpoint: &Endpoint,
    mut seen: impl FnMut(&Outcome<'a>),
) -> Vec<Outcome<'a>> {
    let ask = |sample: &'a Sample| {
        let scored = |reply: Reply| Scored { score: sample.target.score(&reply.answer), reply };
        let outcome = Outcome { sample, result: endpoint.ask(sample).map(scored) };
        seen(&outcome);
        outcome
    };
    suite.samples.iter().map(ask).collect()
}
