//! Whole answers of the Converse API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::reply(wire::Api::Converse, bytes));
