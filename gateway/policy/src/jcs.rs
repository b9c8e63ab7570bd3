//! JSON as RFC 8785 writes it, for values without fractions.
//!
//! Written here because a policy of a thousand workflows is a tree of tens of thousands of members, which are sorted in
//! place and written once; the general library, which the tests compare this with, buffers each of them. Fractions
//! are absent: a policy has none, and writing them the same way everywhere is most of that RFC.

use serde_json::Value;

/// Largest number that every reader of JSON takes for what it is.
const NUMBER_MAX: u64 = 1 << 53;

/// Returns the canonical form of `value`, whose numbers are integers that every reader takes for what they are.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            bytes.push(b'{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                write_text(name, bytes);
                bytes.push(b':');
                write(member, bytes);
            }
            bytes.push(b'}');
        }
        Value::Array(items) => {
            bytes.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                write(item, bytes);
            }
            bytes.push(b']');
        }
        Value::Number(number) => {
            let magnitude = number.as_i64().map(i64::unsigned_abs);
            debug_assert!(magnitude.is_some_and(|number| number <= NUMBER_MAX), "{number} is not exact");
            bytes.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_text(text, bytes),
        Value::Bool(true) => bytes.extend_from_slice(b"true"),
        Value::Bool(false) => bytes.extend_from_slice(b"false"),
        Value::Null => bytes.extend_from_slice(b"null"),
    }
}

/// Writes text, which RFC 8785 and the plainest JSON escape alike.
fn write_text(text: &str, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, text).expect("a vector takes every write");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let number = -(1_i64 << 53)..=1 << 53;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\u{0}-\u{20}\"\\\\/\u{7f}-\u{9f}\u{2028}]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let name = prop_oneof!["[a-c_\u{0}\"]{0,3}", "[\u{e000}-\u{ffff}\u{10000}-\u{10ffff}é]{0,2}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..6)
                    .prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    #[test]
    fn members_are_sorted_by_the_units_of_utf_16() {
        // The order of UTF-8 is the other one.
        let value =
            json!({ "\u{fb33}": 1, "\u{1f600}": 2, "b": { "z": -1, "a": null }, "a": [true, "\u{7f}\u{1}"] });
        let expected =
            "{\"a\":[true,\"\u{7f}\\u0001\"],\"b\":{\"a\":null,\"z\":-1},\"\u{1f600}\":2,\"\u{fb33}\":1}";
        assert_eq!(String::from_utf8(canonical(&value)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn the_form_is_that_of_the_general_library(value in value()) {
            let expected = serde_json_canonicalizer::to_vec(&value).unwrap();
            prop_assert_eq!(canonical(&value), expected);
        }
    }
}
