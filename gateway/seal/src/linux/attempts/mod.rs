//! The attempts, and how an answer of the kernel is read.

mod files;
mod kernel;
mod network;
mod processes;

use std::borrow::Cow;
use std::io;

use crate::escapes::{Attempt, Context, Layer, Outcome};

/// A row of the list: a name, who has to refuse, and the attempt.
type Row = (&'static str, Layer, fn(&Context) -> Outcome);

pub(crate) fn try_all(context: &Context) -> Vec<Attempt> {
    let lists: [&[Row]; 4] = [network::LIST, processes::LIST, kernel::LIST, files::LIST];
    let made = |(name, layer, attempt): &Row| Attempt { name, layer: *layer, outcome: attempt(context) };
    lists.iter().copied().flatten().map(made).collect()
}

/// Reads the kernel's answer. A way is closed only if the answer is a refusal: another error comes from further in.
fn outcome(answer: io::Result<impl Into<String>>) -> Outcome {
    let error = match answer {
        Ok(how) => return Outcome::Escaped(how.into()),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::EPERM) => Outcome::Blocked(Cow::Borrowed("EPERM")),
        Some(libc::EACCES) => Outcome::Blocked(Cow::Borrowed("EACCES")),
        Some(libc::ENOSYS) => Outcome::Blocked(Cow::Borrowed("ENOSYS")),
        Some(
            libc::EAFNOSUPPORT
            | libc::EPROTONOSUPPORT
            | libc::ESOCKTNOSUPPORT
            | libc::ENODEV
            | libc::ENOENT
            | libc::ESRCH,
        ) => Outcome::NotApplicable(error.to_string()),
        _ => Outcome::Escaped(format!("carried out: {error}")),
    }
}

/// Reads the answers about several things, of which the worst counts; `nothing` is the reason if there are none.
fn worst(outcomes: impl Iterator<Item = Outcome>, nothing: &str) -> Outcome {
    let badness = |outcome: &Outcome| match outcome {
        Outcome::NotApplicable(_) => 0,
        Outcome::Blocked(_) => 1,
        Outcome::Escaped(_) => 2,
    };
    outcomes.max_by_key(badness).unwrap_or_else(|| Outcome::NotApplicable(nothing.to_owned()))
}
