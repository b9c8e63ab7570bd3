//! Streams of the Responses API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stream(wire::Api::Responses(wire::openai::responses::Host::OpenAi), &fuzz::events(bytes)));
