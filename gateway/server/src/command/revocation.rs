//! Adds a key to the text of a `revocations.yaml`, and leaves every other byte of it alone: people keep comments
//! there. What the file means is for `policy` to say; here it is lines.

use policy::{KeyId, Moment};
use serde_json::Value;

/// Returns the item that revokes a key from `now` on.
pub(super) fn entry(id: &KeyId, reason: Option<&str>, now: Moment) -> Result<String, &'static str> {
    let reason = match reason {
        None => String::new(),
        Some(reason) if reason.is_empty() || reason.chars().any(char::is_control) => {
            return Err("a reason is one line of text");
        }
        // YAML reads the strings of JSON.
        Some(reason) => format!("reason: {}, ", Value::from(reason)),
    };
    Ok(format!("{{ id: {id}, {reason}since: {} }}", now.date()))
}

/// Returns `text` with `entry` as the first item of `keys`; nothing if `keys` is written in a way that one line
/// cannot be added to.
pub(super) fn add_key(text: &str, entry: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some(format!("version: 1\nkeys:\n  - {entry}\n"));
    }
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    match lines.iter().position(|line| line.starts_with("keys:")) {
        None => lines.extend(["keys:".to_owned(), format!("  - {entry}")]),
        Some(index) => {
            let rest = lines[index]["keys:".len()..].trim().to_owned();
            if rest.is_empty() || rest.starts_with('#') {
                let is_remark = |line: &&String| matches!(line.trim_start().chars().next(), None | Some('#'));
                let next = lines[index + 1..].iter().find(|line| !is_remark(line));
                let next = next.filter(|line| line.trim_start().starts_with("- "));
                let indent = next.map_or("  ", |line| &line[..line.len() - line.trim_start().len()]);
                let item = format!("{indent}- {entry}");
                lines.insert(index + 1, item);
            } else {
                let items = rest.strip_prefix('[')?;
                let comma = if items.trim_start().starts_with(']') { "" } else { ", " };
                lines[index] = format!("keys: [{entry}{comma}{items}");
            }
        }
    }
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "{ id: ci, since: 2026-11-25 }";

    #[test]
    fn an_entry_is_one_item_of_yaml() {
        let (id, now) = (KeyId::new("ci").unwrap(), Moment::parse("2026-11-25T09:00:00Z").unwrap());
        assert_eq!(entry(&id, None, now).unwrap(), ENTRY);
        let said = entry(&id, Some("found in \"a\" log: yes"), now).unwrap();
        assert_eq!(said, r#"{ id: ci, reason: "found in \"a\" log: yes", since: 2026-11-25 }"#);
        assert!(entry(&id, Some("two\nlines"), now).is_err());
    }

    #[test]
    fn a_key_is_added_and_the_rest_stays_as_it_is() {
        let item = format!("- {ENTRY}");
        for (before, after) in [
            ("", format!("version: 1\nkeys:\n  {item}\n")),
            ("version: 1\nhosts: [a.example]", format!("version: 1\nhosts: [a.example]\nkeys:\n  {item}\n")),
            ("version: 1\nkeys: []\n", format!("version: 1\nkeys: [{ENTRY}]\n")),
            ("keys: [ a, b ] # old\nversion: 1\n", format!("keys: [{ENTRY},  a, b ] # old\nversion: 1\n")),
            (
                "keys:\n- { id: a }\n# why\nhosts: []\n",
                format!("keys:\n{item}\n- {{ id: a }}\n# why\nhosts: []\n"),
            ),
            (
                "version: 1\nkeys: # leaked\n    - a\n",
                format!("version: 1\nkeys: # leaked\n    {item}\n    - a\n"),
            ),
            ("keys:\n\nhosts:\n- a\n", format!("keys:\n  {item}\n\nhosts:\n- a\n")),
        ] {
            assert_eq!(add_key(before, ENTRY).unwrap(), after, "{before:?}");
        }
        assert_eq!(add_key("keys: &a\n  - x\n", ENTRY), None);
    }
}
