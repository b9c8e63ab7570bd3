//! What a policy asks about a request: the tools on offer, and images.

use bytes::Bytes;
use wire::{Dialect, Request};

fn parse(dialect: Dialect, members: &str) -> Request {
    let body = format!(r#"{{"model":"m",{members}}}"#);
    Request::parse(dialect, Bytes::from(body.clone())).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn check(dialect: Dialect, members: &str, expected: &[&str]) {
    assert_eq!(parse(dialect, members).offered_tools(), expected, "{members}");
}

#[test]
fn tools_have_the_names_that_their_dialect_gives_them() {
    let chat = Dialect::OpenAiChat;
    check(chat, r#""messages":[]"#, &[]);
    check(
        chat,
        r#""tools":[{"type":"function","function":{"name":"a"}},{"type":"custom","custom":{"name":"b"}}],"functions":[{"name":"c"}]"#,
        &["a", "b", "c"],
    );
    check(chat, r#""tools":null,"web_search_options":{}"#, &["web_search"]);
    let responses = Dialect::OpenAiResponses;
    check(
        responses,
        r#""tools":[{"type":"function","name":"a"},{"type":"web_search"},{"type":"mcp","server_label":"x"}]"#,
        &["a", "web_search", "mcp"],
    );
    check(
        responses,
        r#""tools":[{"type":"namespace","name":"files","tools":[{"type":"function","name":"read"}]}]"#,
        &["files__read"],
    );
    let messages = Dialect::AnthropicMessages;
    check(
        messages,
        r#""tools":[{"name":"a","input_schema":{}},{"type":"bash_20250124","name":"bash"},{"type":"mcp_toolset"}],"mcp_servers":[{}]"#,
        &["a", "bash", "mcp_toolset", "mcp"],
    );
}

#[test]
fn tools_that_an_item_of_the_conversation_adds_are_on_offer_too() {
    let item = r#"{"type":"tool_search_output","tools":[{"type":"function","name":"late"}]}"#;
    check(Dialect::OpenAiResponses, &format!(r#""input":["text",{item}]"#), &["late"]);
    check(Dialect::OpenAiResponses, r#""input":"text""#, &[]);
}

#[test]
fn a_tool_cannot_hide_behind_another_name() {
    let chat = Dialect::OpenAiChat;
    check(
        chat,
        r#""tools":[{"type":"function","name":"safe","function":{"name":"\u0073hell"}}]"#,
        &["shell", "safe"],
    );
    check(
        Dialect::OpenAiResponses,
        r#""tools":[{"type":"web_search","name":"safe"}]"#,
        &["safe", "web_search"],
    );
    // What is no tool at all has a name that no rule allows.
    check(chat, r#""tools":[1,"shell",{},{"type":5},{"name":null},{"function":{"name":[]}}]"#, &[""; 6]);
}

#[test]
fn images_are_found_wherever_they_stand() {
    let has_images = |dialect, members: &str| parse(dialect, members).has_images();
    let chat = Dialect::OpenAiChat;
    let image = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}"#;
    assert!(has_images(chat, &format!(r#""messages":[{{"role":"user","content":[{image}]}}]"#)));
    assert!(has_images(chat, r#""messages":[{"role":"user","content":[{"\u0074ype":"image\u005furl"}]}]"#));
    assert!(!has_images(chat, r#""messages":[{"role":"user","content":"a \"type\":\"image_url\""}]"#));
    assert!(!has_images(chat, r#""messages":[],"tools":[{"type":"image_url"}],"n":1.5"#));
    let responses = Dialect::OpenAiResponses;
    assert!(has_images(responses, r#""input":[{"role":"user","content":[{"type":"input_image"}]}]"#));
    assert!(has_images(
        responses,
        r#""input":[{"type":"computer_call_output","output":{"type":"computer_screenshot"}}]"#
    ));
    assert!(!has_images(responses, r#""input":"text""#));
    let nested = r#"{"type":"tool_result","content":[{"type":"text","text":""},{"type":"image"}]}"#;
    assert!(has_images(
        Dialect::AnthropicMessages,
        &format!(r#""messages":[{{"role":"user","content":[{nested}]}}]"#)
    ));
}
