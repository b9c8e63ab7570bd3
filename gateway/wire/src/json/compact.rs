//! JSON without the white space between its tokens.
//!
//! Some APIs indent what they answer. Arguments of a call are handed on as text, and the same call should be the same text,
//! streamed or not. Numbers and strings stay as they were written, which a parsed tree would not promise.

/// Returns `json`, which is valid, without white space outside of its strings.
pub(crate) fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string || !character.is_ascii_whitespace() {
            compact.push(character);
        }
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn only_white_space_between_tokens_goes() {
        let json = "{ \"a b\" :\n\t[ 1.0, 10000000000000000000000, \"\\\" \\\\\" , \" \" ] }\r\n";
        assert_eq!(compact(json), r#"{"a b":[1.0,10000000000000000000000,"\" \\"," "]}"#);
        assert_eq!(compact(""), "");
    }
}
