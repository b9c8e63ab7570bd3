//! Streams of completions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stream(wire::Api::Completions, &fuzz::events(bytes)));
