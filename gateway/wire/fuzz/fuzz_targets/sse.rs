//! Event streams: any split of them, and what is written of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sse(bytes));
