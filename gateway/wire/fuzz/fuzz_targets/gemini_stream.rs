//! Streams of the Gemini API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stream(wire::Api::Gemini(wire::gemini::Host::GeminiApi), &fuzz::events(bytes)));
