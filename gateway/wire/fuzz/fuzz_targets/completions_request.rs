//! Requests for completions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let body = bytes::Bytes::copy_from_slice(bytes);
    fuzz::request(wire::Dialect::OpenAiCompletions, bytes);
    if wire::json::check(&body, wire::json::Limits::default()).is_ok() {
        let _ = wire::openai::completions::read_completion(&body);
    }
});
