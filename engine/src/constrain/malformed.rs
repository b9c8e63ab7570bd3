//! Constraints that are almost right: thousands of them, and none brings down more than itself.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::tests::{compile, run};
use super::{Constraint, ConstraintError};

const EACH: u64 = 2000;

const GRAMMARS: [&str; 3] = [
    "start: greeting \" \" name+ end?\ngreeting: \"hello\" | \"good \" /[a-z]{3,7}/\nname: /[A-Z][a-z]*/\nend: \"!\"\n",
    "start: list\nlist: \"[\" (item (\",\" item)*)? \"]\"\nitem: list | NUMBER\nNUMBER: /-?[0-9]+(\\.[0-9]+)?/\n%ignore / /\n",
    "start: %json { \"type\": \"object\", \"properties\": { \"a\": { \"type\": \"integer\" } } } tail\ntail: <[2]> | \"x\"~2..4\n",
];

const EXPRESSIONS: [&str; 4] = [
    "(red|green|blue)( and (red|green))*",
    "[a-z]+@[a-z]+\\.(org|net)",
    "(\\d{4})-(\\d\\d)",
    "\\p{Greek}{2,}.?",
];

/// What is put in at random places: characters that mean something, and some that do not.
const PIECES: [&str; 24] = [
    "(", ")", "[", "]", "{", "}", "\"", "\\", "/", "|", "*", "+", "?", "~", ":", "\n", "%", "<", ">", "^",
    "$", "{9999}", "\u{0}", "天",
];

/// A text with a few of its characters gone, doubled or replaced.
fn spoiled(text: &str, random: &mut StdRng) -> String {
    let mut characters: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..characters.len());
        let piece = PIECES[random.random_range(0..PIECES.len())].to_owned();
        match random.random_range(0..4) {
            0 => characters[at] = piece,
            1 => characters.insert(at, piece),
            2 => characters[at].clear(),
            _ => characters.truncate(at + 1),
        }
    }
    characters.concat()
}

/// A schema with a value of the wrong kind somewhere.
fn spoiled_schema(random: &mut StdRng) -> serde_json::Value {
    let odd = [
        json!(null),
        json!(-1),
        json!("("),
        json!([]),
        json!({}),
        json!(1e300),
        json!(["a", 1]),
        json!(true),
    ];
    let mut schema = json!({
        "type": "object",
        "properties": { "a": { "type": "string", "pattern": "^a+$", "maxLength": 4 }, "b": { "$ref": "#/$defs/b" } },
        "required": ["a"],
        "additionalProperties": false,
        "$defs": { "b": { "type": "array", "items": { "enum": [1, 2] }, "minItems": 1, "maxItems": 3 } },
    });
    let places = [
        "/type",
        "/properties",
        "/properties/a",
        "/properties/a/type",
        "/properties/a/pattern",
        "/properties/a/maxLength",
        "/properties/b/$ref",
        "/required",
        "/additionalProperties",
        "/$defs",
        "/$defs/b",
        "/$defs/b/items",
        "/$defs/b/items/enum",
        "/$defs/b/minItems",
        "/$defs/b/maxItems",
    ];
    for _ in 0..random.random_range(1..3) {
        if let Some(place) = schema.pointer_mut(places[random.random_range(0..places.len())]) {
            *place = odd[random.random_range(0..odd.len())].clone();
        }
    }
    schema
}

#[tokio::test]
async fn what_is_almost_right_is_held_or_refused() {
    let random = &mut StdRng::seed_from_u64(7);
    let (mut held, mut refused) = (0, 0);
    for number in 0..EACH as usize {
        let constraints = [
            Constraint::Lark(spoiled(GRAMMARS[number % GRAMMARS.len()], random)),
            Constraint::Regex(spoiled(EXPRESSIONS[number % EXPRESSIONS.len()], random)),
            Constraint::JsonSchema(spoiled_schema(random)),
        ];
        for constraint in constraints {
            match compile(constraint.clone(), &[]).await {
                Ok(matcher) => {
                    run(matcher);
                    held += 1;
                }
                Err(ConstraintError::Invalid { .. } | ConstraintError::TooLarge { .. }) => refused += 1,
                Err(other) => panic!("{other} of {constraint:?}"),
            }
        }
    }
    assert!(held > 500 && refused > 1000, "{held} were held and {refused} refused");
}
