//! Streams of chat completions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stream(wire::Api::Chat(wire::openai::chat::Server::OpenAi), &fuzz::events(bytes)));
