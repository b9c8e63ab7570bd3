//! Answers of the model in the process that are held to a form.

use serde_json::{Value, json};

use crate::agents::{MESSAGES, message};
use crate::client::{ask, streamed, with};
use crate::gateway::Home;
use crate::routes::Routes;

fn format(schema: &Value) -> Value {
    json!({
        "max_tokens": 200,
        "response_format": { "type": "json_schema", "json_schema": { "name": "form", "schema": schema, "strict": true } },
    })
}

fn weather() -> Value {
    json!({
        "type": "object",
        "properties": { "city": { "enum": ["Oslo", "Bergen"] } },
        "required": ["city"],
        "additionalProperties": false,
    })
}

#[tokio::test]
async fn an_answer_that_is_held_to_a_schema_fits_it() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let schema = json!({
        "type": "object",
        "properties": { "colour": { "enum": ["red", "green"] }, "is_warm": { "type": "boolean" } },
        "required": ["colour", "is_warm"],
        "additionalProperties": false,
    });
    let request = with(ask("A colour, please."), format(&schema));
    let said = gateway.client().said(&request).await;
    assert_eq!(said.finish, "stop");
    let answer: Value =
        serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text));
    assert!(["red", "green"].contains(&answer["colour"].as_str().unwrap()), "{answer}");
    assert!(answer["is_warm"].is_boolean(), "{answer}");
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    assert_eq!(gateway.client().said(&streamed(request)).await, said);
}

#[tokio::test]
async fn a_call_that_is_demanded_is_made() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    let function =
        json!({ "name": "get_weather", "description": "Current weather in a city", "parameters": weather() });
    let tools = json!({
        "max_tokens": 200,
        "tools": [{ "type": "function", "function": function }],
        "tool_choice": "required",
        "parallel_tool_calls": false,
    });
    let said = gateway.client().said(&with(ask("Say hello."), tools)).await;
    assert_eq!(said.finish, "tool_calls");
    let [(name, arguments)] = &said.tool_calls[..] else { panic!("{said:#?}") };
    assert_eq!(name, "get_weather");
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert!(["Oslo", "Bergen"].contains(&arguments["city"].as_str().unwrap()), "{arguments}");

    let tools = json!({
        "max_tokens": 200,
        "tools": [{ "name": "get_weather", "input_schema": weather() }],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
    });
    let request = with(message("Say hello."), tools).to_string();
    let reply = gateway.client().request("POST", MESSAGES, request).await.json();
    assert_eq!(reply["stop_reason"], "tool_use", "{reply}");
    let content = reply["content"].as_array().unwrap();
    assert!(content.iter().any(|block| block["type"] == "tool_use" && block["input"].is_object()), "{reply}");
}

#[tokio::test]
async fn a_schema_that_is_wrong_is_named_and_nothing_is_answered() {
    let home = Home::new(&Routes::demo());
    let gateway = home.serve().await;
    for schema in [json!({ "type": "nonsense" }), json!({ "type": "object", "properties": 7 })] {
        let reply = gateway.client().chat(&with(ask("hello"), format(&schema))).await;
        assert_eq!(reply.status, 400, "{schema}: {}", reply.text());
        assert_eq!(reply.error()["param"], "response_format");
    }
    let choice = json!({ "tool_choice": "required" });
    let reply = gateway.client().chat(&with(ask("hello"), choice)).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
}
