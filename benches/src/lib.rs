//! How fast it is: a load generator, an upstream that costs nothing, and the tables they fill.
//!
//! [`load`] asks an endpoint, any endpoint that speaks the `OpenAI` API, and [`report`] says what it saw. [`mock`]
//! answers without a model, so that what remains is the cost of whatever stands between the two. The
//! micro-benchmarks are in `benches/`, beside this folder; `results/` holds figures and how they were made.
//!
//! Deliberately absent: an open loop (arrivals that do not wait for answers), which a queueing study needs and a
//! comparison of two endpoints does not, and TLS: point the generator at a plain address.

pub mod kept;
pub mod load;
pub mod mock;
pub mod report;
