//! The crate from outside: properties of single parts, and simulated days of many calls.

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

mod orders;
mod properties;
mod simulation;
mod world;
