//! Streams of the Messages API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stream(wire::Api::Messages, &fuzz::events(bytes)));
