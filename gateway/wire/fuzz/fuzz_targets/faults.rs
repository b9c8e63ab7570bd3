//! Errors of every API, in every client's dialect.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::faults(bytes));
