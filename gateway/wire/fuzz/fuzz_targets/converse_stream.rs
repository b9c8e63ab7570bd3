//! Streams of the Converse API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stream(wire::Api::Converse, &fuzz::frames(bytes)));
