//! Whole answers of chat completions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::reply(wire::Api::Chat(wire::openai::chat::Server::OpenAi), bytes));
