//! The rules of this repository that no compiler and no linter knows, as pure functions over file text.
//!
//! Each rule takes what it judges as an argument and returns [`Finding`]s; nothing here but [`repository`] touches
//! the disk. `tests/tidy.rs` runs every rule over the real repository, so `cargo test --workspace` is where a broken
//! wall shows. A rule is added when a review comment would be worth making twice.
//!
//! What rustfmt or clippy can hold is deliberately absent, and so is anything that needs a real parser: a rule
//! that reads text has to be simple enough to be obviously right.

pub mod allowance;
pub mod crates;
pub mod documents;
pub mod finding;
pub mod metrics;
pub mod modules;
pub mod repository;
pub mod shape;
pub mod size;
pub mod source;
pub mod walls;

pub use finding::{Finding, Rule};
