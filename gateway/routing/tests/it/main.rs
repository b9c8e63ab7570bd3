//! The crate from outside: properties of single parts, and simulated days of many calls.

mod orders;
mod properties;
mod simulation;
mod world;
