//! The stage for agents: what clients of Messages and of Responses send, and how they read what comes.

use serde_json::{Value, json};

use crate::client::Reply;

pub(crate) const MESSAGES: &str = "/v1/messages";
pub(crate) const RESPONSES: &str = "/v1/responses";

/// A request of a client of Messages: greedy and short.
pub(crate) fn message(text: &str) -> Value {
    json!({
        "model": "auto",
        "max_tokens": 40,
        "temperature": 0,
        "messages": [{ "role": "user", "content": text }],
    })
}

/// A request of a client of Responses: greedy and short.
pub(crate) fn response(text: &str) -> Value {
    json!({ "model": "auto", "max_output_tokens": 40, "temperature": 0, "input": text })
}

/// The events of a stream of Messages or Responses: each has a name, and its data say the same.
pub(crate) fn named(events: &[String]) -> Vec<Value> {
    let events = events.iter().filter(|event| !event.starts_with(':'));
    events
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["type"], name, "{event}");
            data
        })
        .collect()
}

/// The events of a whole stream.
pub(crate) fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    named(&reply.events())
}

/// The names of events, where those of a kind that follow each other count as one.
pub(crate) fn order(events: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    names.retain(|name| *name != "ping");
    names.dedup();
    names
}

/// The error of Messages, which names its call as the header does.
pub(crate) fn message_error(reply: &Reply) -> Value {
    let document = reply.json();
    assert_eq!(document["type"], "error", "{document}");
    assert_eq!(document["request_id"].as_str(), reply.header("request-id"), "{document}");
    assert!(!document["error"]["message"].as_str().unwrap().is_empty(), "{document}");
    document["error"].clone()
}

/// A whole answer of a provider of Messages.
pub(crate) const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"from afar"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":2}}"#;

/// The same as a stream.
pub(crate) const MESSAGE_EVENTS: [&str; 7] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"from\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" afar\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

/// A whole answer of a provider of Responses.
pub(crate) const RESPONSE: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","error":null,"incomplete_details":null,"model":"m","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"from afar","annotations":[]}]}],"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":9}}"#;

/// The events with which a provider of Responses begins its stream.
pub(crate) const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"in_progress\",\"model\":\"m\",\"output\":[]}}\n\n";
pub(crate) const OUTPUT: [&str; 3] = [
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"msg_1\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n",
    "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":2,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"from afar\"}\n\n",
];

/// The events with which it ends: what was said, whole, and [`RESPONSE`].
pub(crate) fn completed() -> [String; 2] {
    let response: Value = serde_json::from_str(RESPONSE).unwrap();
    let item = &response["output"][0];
    [
        format!(
            "event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"sequence_number\":4,\"output_index\":0,\"item\":{item}}}\n\n"
        ),
        format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":5,\"response\":{RESPONSE}}}\n\n"
        ),
    ]
}

/// The event with which it gives up.
pub(crate) const FAILED: &str = "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":9,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"failed\",\"model\":\"m\",\"output\":[],\"error\":{\"code\":\"insufficient_quota\",\"message\":\"your quota is used up\"}}}\n\n";
