//! Looking at a policy before it runs: its test cases, why a call goes where it goes, what a change opens.
//!
//! | module | about |
//! |---|---|
//! | `stage` | random policies, and every call that could be told apart |
//! | `plan` | what a plan says equals what the two policies decide and dial, enumerated |
//! | `explain` | the rule that is explained is the rule that decides |
//! | `example` | the worked example of the documentation |
//! | `cases` | what cases expect and get, how a file of them is read, and what they meet |

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

mod cases;
mod example;
mod explain;
mod plan;
mod stage;

use policy::{Policy, Source};

/// Compiles a policy that is right.
#[track_caller]
fn compiled(text: &str) -> Policy {
    let source = Source { name: "routes.yaml".to_owned(), text: text.to_owned() };
    Policy::compile(&source).unwrap_or_else(|findings| panic!("{findings}\n{text}"))
}
