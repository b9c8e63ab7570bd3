//! Chat completions as providers speak it: what is read from them, and what is written to them.

mod calls;
mod properties;
mod reader;
mod servers;
mod whole;
mod write_call;
