//! Tests of the crate as a whole. Pure parts are tested in their own files.
//!
//! They live inside the crate because the crash test needs the same facts as the others, and the fault
//! tests need the storage seam.

mod calls;
mod crash;
mod egress;
mod faults;
mod mutation;
mod reading;
mod reconcile;
mod recovery;
mod sample;
mod written;
