//! Whole-model tests: parity with the reference, and sameness under every way of cutting the work.

mod golden;
mod harness;
mod invariance;
mod quantised;
mod sampling;
mod size;
