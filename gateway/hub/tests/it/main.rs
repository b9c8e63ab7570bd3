//! Downloads from a hub that follows a script, over real sockets on this machine.
//!
//! | module | about |
//! |---|---|
//! | `scripted` | the stage: a hub that behaves, until a test says otherwise |
//! | `whole` | repositories that come as they should |
//! | `resume` | cuts, and what happens after them |
//! | `refusal` | closed doors, absent things, hubs that are busy |
//! | `mischief` | hubs and stores that lie, and disks that are full |

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

mod mischief;
mod refusal;
mod resume;
mod scripted;
mod whole;
