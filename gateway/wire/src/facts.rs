//! What a policy may ask about a request beyond its model: the tools that it offers, and whether it holds images.
//!
//! Both are read from the bytes as they came, for every dialect alike, because the answer decides where a call may go
//! and must not depend on what this version knows of the rest. So nothing here fails: what has no name has an empty
//! one, which no rule allows.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::call::Namespace;
use crate::json::read::{self, Object};
use crate::{Dialect, Request};

/// Members of a request that hold its conversation.
const CONVERSATION: [&str; 4] = ["messages", "input", "system", "prompt"];

/// The types of parts that are images.
const IMAGE_TYPES: [&str; 4] = ["image", "image_url", "input_image", "computer_screenshot"];

/// Tools that are offered by a member of the request instead of an entry in `tools`, by the type of such an entry.
const MEMBERS: [(&str, &str); 2] = [("mcp_servers", "mcp"), ("web_search_options", "web_search")];

impl Request {
    /// Returns the names of the tools that are offered to the model, in the order of the request.
    ///
    /// A tool that the provider runs stands by its type, such as `web_search`, and one of a namespace by both names
    /// with `__` between them. An entry that could be taken for two tools has the names of both.
    pub fn offered_tools(&self) -> Vec<String> {
        let mut names = Vec::new();
        let Ok(top) = Object::read_document(self.body()) else { return names };
        for list in ["tools", "functions"] {
            push_list(top.written(list), self.dialect(), &mut names);
        }
        for (member, name) in MEMBERS {
            if top.has(member) {
                names.push(name.to_owned());
            }
        }
        // In the dialect of responses an item of the conversation may add tools.
        let items = top.written("input").map(|raw| read::each(raw, |raw| Ok(Object::read(raw).ok())));
        for item in items.and_then(Result::ok).into_iter().flatten().flatten() {
            push_list(item.written("tools"), self.dialect(), &mut names);
        }
        names
    }

    /// Returns whether the conversation holds an image, at any depth. Reads the conversation for it.
    pub fn has_images(&self) -> bool {
        let Ok(top) = Object::read_document(self.body()) else { return false };
        let mut parts = CONVERSATION.iter().filter_map(|member| top.written(member));
        parts.any(|raw| serde_json::from_str::<Seen>(raw.get()).is_ok_and(|seen| seen.has_image))
    }
}

fn push_list(raw: Option<&RawValue>, dialect: Dialect, names: &mut Vec<String>) {
    let entries = raw.and_then(|raw| read::each(raw, Ok).ok()).unwrap_or_default();
    for entry in entries {
        match Object::read(entry) {
            Ok(tool) => push_tool(&tool, dialect, names),
            Err(_) => names.push(String::new()),
        }
    }
}

fn push_tool(tool: &Object<'_>, dialect: Dialect, names: &mut Vec<String>) {
    let before = names.len();
    let text = |object: &Object<'_>, key: &str| {
        object.has(key).then(|| object.optional(key, read::string).ok().flatten().unwrap_or_default())
    };
    let (kind, name) = (text(tool, "type"), text(tool, "name"));
    for form in ["function", "custom"] {
        if let Some(body) = tool.written(form).and_then(|raw| Object::read(raw).ok()) {
            names.extend(text(&body, "name"));
        }
    }
    match (kind.as_deref(), &name) {
        (Some("namespace"), Some(namespace)) => {
            let mut members = Vec::new();
            push_list(tool.written("tools"), dialect, &mut members);
            names.extend(members.iter().map(|member| Namespace::flat_name(namespace, member)));
        }
        (_, name) => names.extend(name.clone()),
    }
    // Elsewhere than at Anthropic a tool with a type of its own is that tool whatever else it says.
    let is_plain = matches!(kind.as_deref(), None | Some("function" | "custom" | "namespace"));
    if names.len() == before || (!is_plain && dialect != Dialect::AnthropicMessages) {
        names.push(kind.unwrap_or_default());
    }
}

/// What is known of a JSON value after reading all of it once.
#[derive(Default)]
struct Seen {
    /// Whether the value is the type of an image.
    is_image_type: bool,
    /// Whether the value holds an image.
    has_image: bool,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Seen;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        Ok(Seen { is_image_type: IMAGE_TYPES.contains(&text), has_image: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some(element) = list.next_element::<Seen>()? {
            seen.has_image |= element.has_image;
        }
        Ok(seen)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some((key, value)) = map.next_entry::<Cow<'_, str>, Seen>()? {
            seen.has_image |= value.has_image || (key == "type" && value.is_image_type);
        }
        Ok(seen)
    }
}
