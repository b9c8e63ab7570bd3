//! Whole answers of the Gemini API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::reply(wire::Api::Gemini(wire::gemini::Host::GeminiApi), bytes));
