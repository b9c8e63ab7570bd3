//! Requests of the Messages API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::request(wire::Dialect::AnthropicMessages, bytes));
