//! Requests for chat completions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::request(wire::Dialect::OpenAiChat, bytes));
