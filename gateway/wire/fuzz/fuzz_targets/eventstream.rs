//! Event streams of AWS, whatever their bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::eventstream(bytes));
