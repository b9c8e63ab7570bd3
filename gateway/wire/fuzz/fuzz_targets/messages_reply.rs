//! Whole answers of the Messages API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::reply(wire::Api::Messages, bytes));
