//! Opening connections in another process.
//!
//! ```text
//! gateway (no sockets)                                   broker (no calls)
//! Brokered::open --Ask, in names--> [line] --> serve --> Direct: decide again, resolve, check, connect, record
//!          Opened <--- connected socket, dial --- [line] <---'      keeps a second descriptor
//! Lease dropped   --- Over, dial ---> [line] --> shut down, count bytes, record
//! ```
//!
//! The line outlives both processes, so either can be replaced. When the next broker says hello, the gateway names what it
//! waits for; what is not in the line any more went down with the broker before, and fails. When the next gateway says
//! hello, what the one before had open is closed.
//!
//! Deliberately absent: any word of a caller or of a provider. The broker sees names and sockets.

mod asking;
mod message;
mod serving;

pub use asking::Brokered;
pub use serving::{Policies, serve};
