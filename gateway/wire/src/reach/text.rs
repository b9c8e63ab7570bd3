//! What requests for bare text and for vectors may hold, and what open servers take besides.

use super::shape::Field;
use super::shape::Shape::{Data, Scalar, Schema};

/// The members of a completion.
pub(super) static COMPLETION: &[Field] = &[
    ("model", Scalar),
    ("prompt", Data),
    ("best_of", Scalar),
    ("echo", Scalar),
    ("frequency_penalty", Scalar),
    ("logit_bias", Data),
    ("logprobs", Scalar),
    ("max_tokens", Scalar),
    ("n", Scalar),
    ("presence_penalty", Scalar),
    ("seed", Scalar),
    ("stop", Data),
    ("stream", Scalar),
    ("stream_options", Data),
    ("suffix", Scalar),
    ("temperature", Scalar),
    ("top_p", Scalar),
    ("user", Scalar),
];

/// The members of a request for vectors.
pub(super) static EMBEDDING: &[Field] = &[
    ("model", Scalar),
    ("input", Data),
    ("dimensions", Scalar),
    ("encoding_format", Scalar),
    ("truncate_prompt_tokens", Scalar),
    ("user", Scalar),
];

/// Settings of open servers that speak the API of chat completions: how tokens are drawn, how the prompt is put
/// together, and how the answer is held to a form. None of them leads anywhere.
///
/// Not here, because they do: hosts to fetch state from (`kv_transfer_params`, `bootstrap_host`), adapters to load
/// (`lora_path`), templates and processors that are programs (`chat_template`, `logits_processors`).
pub(super) static OF_OPEN_SERVERS: &[Field] = &[
    ("add_generation_prompt", Scalar),
    ("add_special_tokens", Scalar),
    ("allowed_token_ids", Data),
    ("bad_words", Data),
    ("cache_prompt", Scalar),
    ("cache_salt", Scalar),
    ("chat_template_kwargs", Data),
    ("continue_final_message", Scalar),
    ("documents", Data),
    ("ebnf", Scalar),
    ("enable_thinking", Scalar),
    ("grammar", Scalar),
    ("guided_choice", Data),
    ("guided_grammar", Scalar),
    ("guided_json", Schema),
    ("guided_regex", Scalar),
    ("ignore_eos", Scalar),
    ("include_reasoning", Scalar),
    ("include_stop_str_in_output", Scalar),
    ("json_schema", Schema),
    ("length_penalty", Scalar),
    ("min_p", Scalar),
    ("min_tokens", Scalar),
    ("priority", Scalar),
    ("prompt_logprobs", Scalar),
    ("random_seed", Scalar),
    ("reasoning", Data),
    ("regex", Scalar),
    ("repeat_last_n", Scalar),
    ("repeat_penalty", Scalar),
    ("repetition_penalty", Scalar),
    ("request_id", Scalar),
    ("return_token_ids", Scalar),
    ("return_tokens_as_token_ids", Scalar),
    ("safe_prompt", Scalar),
    ("separate_reasoning", Scalar),
    ("skip_special_tokens", Scalar),
    ("spaces_between_special_tokens", Scalar),
    ("stop_token_ids", Data),
    ("stream_reasoning", Scalar),
    ("structured_outputs", Schema),
    ("thinking", Data),
    ("thinking_budget", Scalar),
    ("top_k", Scalar),
    ("truncate_prompt_tokens", Scalar),
    ("typical_p", Scalar),
];
