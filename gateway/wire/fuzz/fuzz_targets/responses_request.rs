//! Requests of the Responses API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::request(wire::Dialect::OpenAiResponses, bytes));
