//! What a model answers, in no dialect's words: as deltas while it comes, or whole.
//!
//! The grammar of a stream of deltas, which every [`EventReader`] keeps and every [`StreamWriter`] relies on:
//!
//! ```text
//! stream = Begin (block | Usage | Ping)* Finish (Usage | Ping)* End
//! block  = Open (Append | Seal | Ping | Usage)* Close
//! ```
//!
//! A model of our own also says `Prompt` and `Token`, wherever `Ping` may stand, to who asked for tokens. Where a client
//! asked for several choices, `Choice` names the one that what follows belongs to, wherever it stands: each choice has
//! blocks and a `Finish` of its own.
//!
//! Blocks follow each other and never interleave: a reader of a dialect in which they do holds back what comes too
//! early. A stream that ends without `End` was cut, and whoever writes it says so in the client's dialect.

mod assemble;
mod delta;
mod fault;
mod finish;
mod token;

pub use assemble::{Assembler, Reply, deltas_of};
pub use delta::{Begin, Delta, Envelope, EventReader, Open, StreamWriter, Unreadable};
pub use fault::{Fault, FaultKind};
pub use finish::{Finish, FinishReason};
pub use token::{Alternative, Shown, Token, Told};
