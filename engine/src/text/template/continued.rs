//! A conversation whose last message goes on: the template writes it with a mark at its end, and what comes behind the mark
//! is cut off. transformers does it so, and no template has to know.

use serde_json::Value as Json;

use super::super::TextError;

/// What is put behind a message that goes on, to find where it ends. A template that trims takes the space.
const CONTINUED_HERE: &str = "\u{e000}CONTINUED_HERE\u{e001} ";

/// Marks the end of the last message's text.
pub(super) fn mark_end(messages: &mut Json) -> Result<(), TextError> {
    let last = messages.as_array_mut().and_then(|messages| messages.last_mut());
    let content = last.and_then(|message| message.get_mut("content"));
    let Some(content) = content.filter(|content| content.is_string()) else {
        return Err(TextError::Template("there is no last message that could go on".to_owned()));
    };
    *content = Json::from(format!("{}{CONTINUED_HERE}", content.as_str().unwrap_or_default()));
    Ok(())
}

/// Cuts a text where the last message ends.
pub(super) fn up_to_mark(mut rendered: String) -> Result<String, TextError> {
    let Some(at) = rendered.rfind(CONTINUED_HERE.trim_end()) else {
        return Err(TextError::Template("it does not write the last message, which is to go on".to_owned()));
    };
    let is_trimmed = !rendered[at..].starts_with(CONTINUED_HERE);
    rendered.truncate(at);
    // The template has trimmed the message, so the space before the mark would have gone as well.
    Ok(if is_trimmed { rendered.trim_end().to_owned() } else { rendered })
}
