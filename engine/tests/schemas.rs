//! A thousand JSON schemas that nobody wrote, on a model that knows nothing: what it writes is held by the schema alone, and
//! an independent validator agrees.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use engine::{
    Constraint, Ending, EngineConfig, Event, Events, FinishReason, Handle, NewTokens, Prompt, Report,
    Request, Sampling,
};
use jiff::ZonedDateTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

const SCHEMAS: u64 = 1000;

/// Requests that run at the same time.
const AT_A_TIME: usize = 50;

/// The demo model's tokenizer and one layer of its shape, with random weights.
fn random_model(folder: &Path) -> Handle {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        std::fs::copy(demo.join(name), folder.join(name)).expect("the demo model is there");
    }
    let config = std::fs::read_to_string(demo.join("config.json")).expect("the demo model is there");
    let mut config: Value = serde_json::from_str(&config).expect("a config is JSON");
    config["num_hidden_layers"] = 1.into();
    std::fs::write(folder.join("config.json"), config.to_string()).expect("the folder can be written to");
    let trained = candle_core::safetensors::load(demo.join("model.safetensors"), &Device::Cpu);
    let is_kept = |name: &str| !name.contains("layers.") || name.contains("layers.0.");
    let random = |(name, tensor): (String, Tensor)| {
        let random = Tensor::randn(0_f32, 0.5, tensor.shape(), &Device::Cpu).expect("a shape of a tensor");
        (name, random.to_dtype(DType::BF16).expect("every number has a nearest one"))
    };
    let weights =
        trained.expect("weights are read").into_iter().filter(|(name, _)| is_kept(name)).map(random);
    let weights: std::collections::HashMap<String, Tensor> = weights.collect();
    candle_core::safetensors::save(&weights, folder.join("model.safetensors")).expect("weights are written");
    let config = EngineConfig { kv_cache_bytes: 64 << 20, ..EngineConfig::default() };
    engine::start(folder, config).expect("the random model loads")
}

/// A schema with bounds on everything, so that a model without a will comes to an end.
struct Writer(StdRng);

impl Writer {
    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    fn schema(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 8 } else { 12 }) {
            0 => json!({ "type": "boolean" }),
            1 => json!({ "type": "null" }),
            2 => self.integers(),
            3 => json!({ "type": "number", "minimum": -1, "maximum": self.below(50) }),
            4 => json!({ "type": "string", "minLength": self.below(3), "maxLength": 3 + self.below(6) }),
            5 => {
                let patterns =
                    ["^[a-z]{2,5}$", "^[0-9]{4}-[0-9]{2}$", "^(alpha|beta)+[0-9]$", "^[A-Z][a-z]{0,3} ?!$"];
                json!({ "type": "string", "pattern": patterns[self.below(4)] })
            }
            6 => json!({ "enum": ["gate", "größe \"天\" 😀", 7, null, -0.5, ["a"]] }),
            7 => json!({ "const": if self.below(2) == 0 { "x" } else { "y z" } }),
            8 | 9 => self.object(depth),
            10 => {
                let (least, more) = (self.below(2), self.below(3));
                let items = self.schema(depth - 1);
                json!({ "type": "array", "items": items, "minItems": least, "maxItems": least + more })
            }
            _ => {
                let other = self.object(depth);
                json!({ "oneOf": [{ "type": "integer", "minimum": 0, "maximum": 9 }, { "const": "none" }, other] })
            }
        }
    }

    fn integers(&mut self) -> Value {
        let least = self.below(200) as i64 - 100;
        json!({ "type": "integer", "minimum": least, "maximum": least + self.below(300) as i64 })
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = ["id", "name", "größe", "a b", "\"q\"", "next"];
        let mut properties = Map::new();
        for name in &names[..=self.below(4)] {
            properties.insert((*name).to_owned(), self.schema(depth.saturating_sub(1)));
        }
        let required: Vec<String> = properties.keys().filter(|_| self.below(2) == 0).cloned().collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// A schema, now and then one that refers to itself.
    fn whole(&mut self) -> Value {
        if self.below(5) > 0 {
            return self.schema(3);
        }
        let value = self.schema(1);
        json!({
            "$ref": "#/$defs/node",
            "$defs": { "node": {
                "type": "object",
                "properties": {
                    "value": value,
                    "next": { "anyOf": [{ "type": "null" }, { "const": "end" }, { "$ref": "#/$defs/node" }] },
                },
                "required": ["value", "next"],
                "additionalProperties": false,
            } },
        })
    }
}

async fn read(mut events: Events) -> (String, FinishReason) {
    let mut text = String::new();
    loop {
        match events.next().await.expect("an end comes before nothing") {
            Event::Text(more) => text.push_str(&more),
            Event::Finished { reason, .. } => return (text, reason),
            other => panic!("unexpected {other:?} after {text:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_schemas_hold_a_model_that_knows_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let engine = random_model(folder.path());
    let schemas: Vec<Value> = (0..SCHEMAS).map(|seed| Writer(StdRng::seed_from_u64(seed)).whole()).collect();
    let (mut whole, mut objects) = (0, 0);
    for (index, schemas) in schemas.chunks(AT_A_TIME).enumerate() {
        let mut running = Vec::new();
        for (seed, schema) in (index * AT_A_TIME..).zip(schemas) {
            let request = Request {
                prompt: Prompt::Text("Say something.".to_owned()),
                sampling: Sampling { temperature: 1.0, seed: Some(seed as u64), ..Sampling::GREEDY },
                stop: Vec::new(),
                ending: Ending::default(),
                report: Report::default(),
                new_tokens: NewTokens::AtMost(1000),
                constraint: Some(Constraint::JsonSchema(schema.clone())),
                now: ZonedDateTime::now(),
            };
            running.push(engine.submit(request).await.unwrap_or_else(|error| panic!("{error}: {schema}")));
        }
        for (schema, events) in schemas.iter().zip(running) {
            let (text, end) = read(events).await;
            if end == FinishReason::Length {
                continue;
            }
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?} of {schema}"));
            let validator = jsonschema::validator_for(schema).expect("it is a schema");
            assert!(validator.is_valid(&value), "{value} is not what {schema} says");
            whole += 1;
            objects += usize::from(value.is_object());
        }
    }
    assert!(whole > 950, "only {whole} came to an end");
    assert!(objects > 300, "only {objects} are objects");
}
