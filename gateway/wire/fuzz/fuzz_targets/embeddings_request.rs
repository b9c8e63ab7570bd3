//! Requests for embeddings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let body = bytes::Bytes::copy_from_slice(bytes);
    if let Ok(request) = wire::openai::embeddings::Request::parse(body) {
        let forwarded = request.forward_body("up");
        let again = wire::openai::embeddings::Request::parse(forwarded).expect("what passes on is a request");
        assert_eq!(again.input, request.input);
    }
});
