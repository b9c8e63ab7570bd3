//! Encoders as their users see them: the values of the reference, alone and in any crowd, and clear refusals.

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use engine::{EmbedRequest, EncodeError, Encoder, Engine, EngineConfig, Input, LoadError, Overflow};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Largest difference of a value from the reference's, which is computed in f32 as well.
const TOLERANCE: f32 = 2e-5;

/// Largest difference that a text's neighbours may make.
const CROWD_TOLERANCE: f32 = 1e-5;

const EMBED: [&str; 6] =
    ["bert_mean", "bert_cls", "xlm_roberta", "distil_bert", "modern_bert", "deberta_buckets"];
const CLASSIFY: [&str; 5] =
    ["bert_labels", "distil_bert_labels", "roberta_labels", "modern_bert_labels", "deberta_labels"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/encoders").join(name)
}

fn start_folder(folder: &Path, config: EngineConfig) -> Result<Encoder, LoadError> {
    match engine::open(folder, config, std::sync::Arc::new(|_, _| ()))? {
        Engine::Encoder(encoder) => Ok(encoder),
        Engine::Generator(_) => panic!("{} is no encoder", folder.display()),
    }
}

fn start(name: &str, config: EngineConfig) -> Encoder {
    start_folder(&fixture(name), config).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the reference implementation made of each text.
struct Reference {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
    values: Vec<Vec<f32>>,
    /// The last text, cut to 12 tokens.
    cut: Vec<f32>,
}

fn reference(name: &str) -> Reference {
    let tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(fixture(name).join("ref.safetensors"), &Device::Cpu).unwrap();
    let text = std::fs::read_to_string(fixture(name).join("ref.json")).unwrap();
    let texts: Vec<String> =
        serde_json::from_value(serde_json::from_str::<Value>(&text).unwrap()["texts"].take()).unwrap();
    let ids = |place: usize| {
        let ids = tensors[&format!("ids.{place}")].to_dtype(DType::I64).unwrap().to_vec1::<i64>().unwrap();
        ids.into_iter().map(|id| id as u32).collect()
    };
    Reference {
        ids: (0..texts.len()).map(ids).collect(),
        values: (0..texts.len()).map(|place| tensors[&format!("value.{place}")].to_vec1().unwrap()).collect(),
        cut: tensors["cut.value"].to_vec1().unwrap(),
        texts,
    }
}

fn texts(texts: &[String]) -> Vec<Input> {
    texts.iter().cloned().map(Input::Text).collect()
}

/// The vectors or the probabilities of `inputs`, whichever the model gives, and its count of tokens.
async fn values(encoder: &Encoder, inputs: Vec<Input>, overflow: Overflow) -> (Vec<Vec<f32>>, usize) {
    if encoder.labels().is_empty() {
        let request = EmbedRequest { inputs, overflow, dimensions: None };
        let answer = encoder.embed(request).await.expect("the texts are embedded");
        (answer.vectors, answer.prompt_tokens)
    } else {
        let answer = encoder.classify(inputs, overflow).await.expect("the texts are classified");
        (answer.probabilities, answer.prompt_tokens)
    }
}

fn worst(got: &[Vec<f32>], want: &[Vec<f32>]) -> f32 {
    assert_eq!(got.len(), want.len());
    let differences = got.iter().zip(want).flat_map(|(got, want)| {
        assert_eq!(got.len(), want.len());
        got.iter().zip(want).map(|(got, want)| (got - want).abs())
    });
    differences.fold(0.0, f32::max)
}

#[tokio::test]
async fn every_value_of_every_family_equals_the_reference() {
    for name in EMBED.into_iter().chain(CLASSIFY) {
        let (encoder, reference) = (start(name, EngineConfig::default()), reference(name));
        let mut most = 0f32;
        for (place, text) in reference.texts.iter().enumerate() {
            let input = vec![Input::Text(text.clone())];
            let (got, tokens) = values(&encoder, input, Overflow::Refuse).await;
            let off = worst(&got, &reference.values[place..=place]);
            assert!(off <= TOLERANCE, "{name}, text {place}: off by {off}");
            assert_eq!(tokens, reference.ids[place].len(), "{name}, text {place}: tokens");
            most = most.max(off);
        }
        println!("{name}: largest difference {most:.1e}");
    }
}

#[tokio::test]
async fn token_ids_are_used_as_they_stand() {
    for name in ["bert_mean", "roberta_labels"] {
        let (encoder, reference) = (start(name, EngineConfig::default()), reference(name));
        let inputs = reference.ids.iter().cloned().map(Input::Tokens).collect();
        let (got, _) = values(&encoder, inputs, Overflow::Refuse).await;
        assert!(worst(&got, &reference.values) <= TOLERANCE, "{name}");
    }
}

#[tokio::test]
async fn neighbours_padding_and_order_do_not_change_a_text() {
    for name in EMBED.into_iter().chain(CLASSIFY) {
        let reference = reference(name);
        let (mut texts, mut want) = (texts(&reference.texts), reference.values.clone());
        for (step_tokens_max, sequences_max) in [(8192, 64), (100, 64), (8192, 2), (1, 1)] {
            let encoder =
                start(name, EngineConfig { step_tokens_max, sequences_max, ..EngineConfig::default() });
            texts.rotate_left(2);
            want.rotate_left(2);
            let (alone, _) = values(&encoder, texts[..1].to_vec(), Overflow::Refuse).await;
            let (got, _) = values(&encoder, texts.clone(), Overflow::Refuse).await;
            let off = worst(&got, &want);
            assert!(
                off <= TOLERANCE,
                "{name}, {step_tokens_max} tokens, {sequences_max} texts: off by {off}"
            );
            let moved = worst(&got[..1], &alone);
            assert!(moved <= CROWD_TOLERANCE, "{name}: neighbours move a value by {moved}");
        }
    }
}

#[tokio::test]
async fn a_text_is_cut_only_if_that_was_asked_for() {
    for name in EMBED.into_iter().chain(CLASSIFY) {
        let (encoder, reference) = (start(name, EngineConfig::default()), reference(name));
        let last = texts(&reference.texts[reference.texts.len() - 1..]);
        let (got, tokens) = values(&encoder, last.clone(), Overflow::CutTo(12)).await;
        assert_eq!(tokens, 12, "{name}");
        assert!(worst(&got, &[reference.cut]) <= TOLERANCE, "{name}");

        let short = start(name, EngineConfig { context_max: Some(12), ..EngineConfig::default() });
        assert_eq!(values(&short, last, Overflow::Cut).await, (got, 12), "{name}");
    }
}

fn embed(inputs: Vec<Input>) -> EmbedRequest {
    EmbedRequest { inputs, overflow: Overflow::Refuse, dimensions: None }
}

fn text(text: &str) -> Input {
    Input::Text(text.to_owned())
}

#[tokio::test]
async fn wrong_requests_are_refused_with_the_numbers() {
    let encoder = start("bert_mean", EngineConfig::default());
    let refused = async |request| encoder.embed(request).await.expect_err("the request is wrong").to_string();
    // sentence_bert_config.json says 48, where the network has 64 positions.
    let long = text(&"gate ".repeat(60));
    assert_eq!(
        refused(embed(vec![text("a"), long.clone()])).await,
        "text 1 has 62 tokens, and the model takes 48"
    );
    assert_eq!(refused(embed(vec![text("a"), text("")])).await, "text 1 is empty");
    assert_eq!(refused(embed(vec![Input::Tokens(Vec::new())])).await, "text 0 is empty");
    assert_eq!(
        refused(embed(vec![Input::Tokens(vec![2, 9999, 3])])).await,
        "token 9999 of text 0 is unknown to the model"
    );
    assert_eq!(refused(embed(Vec::new())).await, "0 texts in one request; 1 to 2048 are taken");
    let cut = EmbedRequest { overflow: Overflow::CutTo(2), ..embed(vec![long]) };
    assert_eq!(refused(cut).await, "texts can be cut to 3 tokens at least, their special ones included");
    let error = encoder.classify(vec![text("a")], Overflow::Refuse).await.expect_err("it has no labels");
    assert!(matches!(error, EncodeError::DoesNotClassify), "{error}");

    let classifier = start("bert_labels", EngineConfig::default());
    assert_eq!(classifier.labels(), ["code", "prose"]);
    let error = classifier.embed(embed(vec![text("a")])).await.expect_err("it does not embed");
    assert!(matches!(error, EncodeError::DoesNotEmbed), "{error}");
}

#[tokio::test]
async fn vectors_are_shortened_to_the_widths_that_the_model_was_trained_for() {
    let encoder = start("bert_mean", EngineConfig::default());
    let sized = |dimensions| EmbedRequest { dimensions: Some(dimensions), ..embed(vec![text("the gate")]) };
    let whole = encoder.embed(embed(vec![text("the gate")])).await.unwrap().vectors.remove(0);
    assert_eq!(encoder.embed(sized(32)).await.unwrap().vectors[0], whole);
    let short = encoder.embed(sized(8)).await.unwrap().vectors.remove(0);
    let length = whole[..8].iter().map(|value| value * value).sum::<f32>().sqrt();
    let want: Vec<f32> = whole[..8].iter().map(|value| value / length).collect();
    assert!(worst(&[short], &[want]) < 1e-6);
    let error = encoder.embed(sized(20)).await.expect_err("20 is not in the list");
    assert_eq!(error.to_string(), "the model's vectors cannot have 20 dimensions; it gives 8, 16, 32");

    let other = start("distil_bert", EngineConfig::default());
    let error = other.embed(sized(8)).await.expect_err("the config says nothing of shorter vectors");
    assert_eq!(
        error.to_string(),
        "the model's vectors cannot have 8 dimensions; it gives 32 and was not trained to be shortened"
    );
}

#[tokio::test]
async fn many_requests_at_once_get_their_own_answers() {
    let (encoder, reference) = (start("bert_mean", EngineConfig::default()), reference("bert_mean"));
    let calls = (0..40).map(|call| {
        let (encoder, place) = (encoder.clone(), call % reference.texts.len());
        let inputs = texts(&reference.texts[place..]);
        tokio::spawn(async move { (place, encoder.embed(embed(inputs)).await) })
    });
    for call in calls.collect::<Vec<_>>() {
        let (place, answer) = call.await.unwrap();
        assert!(worst(&answer.unwrap().vectors, &reference.values[place..]) <= TOLERANCE);
    }
    until(&encoder, |encoder| encoder.stats().running_sequences == 0).await;
    assert!(encoder.stats().steps > 0 && encoder.stats().healthy);
}

#[tokio::test]
async fn dropped_requests_leave_the_queue_and_give_their_places_back() {
    let config = EngineConfig { sequences_max: 1, requests_max: 1, ..EngineConfig::default() };
    let encoder = start("bert_mean", config);
    let many = || embed(vec![text("the gate is shut"); 2048]);
    let first = tokio::spawn({
        let encoder = encoder.clone();
        async move { encoder.embed(many()).await }
    });
    until(&encoder, |encoder| encoder.stats().waiting_sequences > 0).await;
    let error = encoder.embed(embed(vec![text("a")])).await.expect_err("the one place is taken");
    assert!(matches!(error, EncodeError::Overloaded), "{error}");
    let steps = encoder.stats().steps;
    first.abort();
    until(&encoder, |encoder| encoder.stats().waiting_sequences == 0).await;
    assert!(encoder.stats().steps - steps < 1000, "the dropped texts were computed all the same");
    let place = async {
        loop {
            match encoder.embed(embed(vec![text("a")])).await {
                Err(EncodeError::Overloaded) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), place).await.expect("the place comes back").unwrap();
}

#[tokio::test]
async fn a_large_request_does_not_hold_up_a_small_one() {
    let encoder = start("bert_mean", EngineConfig { sequences_max: 1, ..EngineConfig::default() });
    let large = tokio::spawn({
        let encoder = encoder.clone();
        async move { encoder.embed(embed(vec![text("the gate is shut"); 2048])).await }
    });
    until(&encoder, |encoder| encoder.stats().waiting_sequences > 0).await;
    encoder.embed(embed(vec![text("a")])).await.unwrap();
    assert!(encoder.stats().waiting_sequences > 0, "the small request waited for the large one");
    large.abort();
}

/// Waits until the counters say what `holds` wants; the thread publishes them between batches.
async fn until(encoder: &Encoder, holds: impl Fn(&Encoder) -> bool) {
    let wait = async {
        while !holds(encoder) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the counters get there");
}

/// A copy of a fixture with one of its JSON files changed; `null` takes a field out.
fn changed(name: &str, file: &str, fields: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(name), folder.path());
    let path = folder.path().join(file);
    let mut document: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(document.as_object_mut().unwrap().remove(key)),
            _ => document[key] = value.clone(),
        }
    }
    std::fs::write(&path, document.to_string()).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn what_would_change_the_vectors_and_is_not_applied_is_refused_by_name() {
    let cases = [
        (
            "bert_mean",
            "config.json",
            json!({"position_embedding_type": "relative_key"}),
            "position_embedding_type",
        ),
        ("bert_mean", "config.json", json!({"is_decoder": true}), "is_decoder = true"),
        ("bert_mean", "config.json", json!({"hidden_act": "silu"}), "hidden_act = silu"),
        ("bert_mean", "config.json", json!({"new_attention": 3}), "new_attention: not understood"),
        (
            "bert_mean",
            "config.json",
            json!({"architectures": ["BertForMaskedLM"]}),
            "BertForMaskedLM is not supported",
        ),
        ("bert_mean", "config.json", json!({"num_hidden_layers": 1}), "are not part of this architecture"),
        (
            "bert_mean",
            "config.json",
            json!({"num_attention_heads": 0}),
            "0 attention heads for a width of 32",
        ),
        (
            "bert_mean",
            "config.json",
            json!({"num_attention_heads": 5}),
            "5 attention heads for a width of 32",
        ),
        ("bert_mean", "1_Pooling/config.json", json!({"include_prompt": false}), "include_prompt = false"),
        (
            "bert_mean",
            "1_Pooling/config.json",
            json!({"pooling_mode": "attention"}),
            "attention is not known",
        ),
        ("bert_mean", "1_Pooling/config.json", json!({"temperature": 1}), "unknown field `temperature`"),
        (
            "bert_mean",
            "config_sentence_transformers.json",
            json!({"default_prompt_name": "search"}),
            "\"search\"",
        ),
        (
            "bert_mean",
            "config_sentence_transformers.json",
            json!({"model_type": "SparseEncoder"}),
            "SparseEncoder",
        ),
        ("bert_mean", "sentence_bert_config.json", json!({"transformer_task": "fill-mask"}), "another task"),
        ("bert_cls", "2_Dense/config.json", json!({"activation_function": "torch.nn.SiLU"}), "SiLU"),
        ("bert_cls", "2_Dense/config.json", json!({"in_features": 48}), "takes 48 numbers and is given 32"),
        ("modern_bert", "config.json", json!({"norm_bias": true}), "norm_bias = true"),
        ("modern_bert_labels", "config.json", json!({"layer_types": ["full_attention"]}), "layer_types"),
        ("modern_bert_labels", "config.json", json!({"problem_type": "regression"}), "regression"),
        ("deberta_labels", "config.json", json!({"conv_kernel_size": 3}), "conv_kernel_size = 3"),
        (
            "deberta_labels",
            "config.json",
            json!({"position_biased_input": null}),
            "position_biased_input = true",
        ),
        ("deberta_labels", "config.json", json!({"id2label": {"0": "a", "2": "b"}}), "id2label.2"),
    ];
    for (name, file, fields, expected) in cases {
        let folder = changed(name, file, &fields);
        let error = start_folder(folder.path(), EngineConfig::default()).expect_err("it is not supported");
        assert!(error.to_string().contains(expected), "{name} {fields}: {error}");
    }
}

#[test]
fn a_part_that_is_not_known_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("bert_mean"), folder.path());
    let path = folder.path().join("modules.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (known, other, expected) in [
        ("models.Normalize", "models.LayerNorm", "LayerNorm is not supported"),
        (
            "sentence_transformers.models.Pooling",
            "custom.models.Pooling",
            "has the parts Transformer, custom.models.Pooling",
        ),
        ("1_Pooling", "../1_Pooling", "is not a plain folder name"),
    ] {
        std::fs::write(&path, text.replace(known, other)).unwrap();
        let error = start_folder(folder.path(), EngineConfig::default()).expect_err("it is not supported");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_text_whose_attention_would_not_fit_in_memory_is_refused() {
    // 4 heads, 5 copies of 4 bytes: 80 bytes for each pair of tokens.
    let encoder =
        start("bert_mean", EngineConfig { kv_cache_bytes: 80 * 20 * 20, ..EngineConfig::default() });
    assert_eq!(encoder.capacity_tokens(), 20);
    encoder.embed(embed(vec![text(&"gate ".repeat(18))])).await.unwrap();
    let error =
        encoder.embed(embed(vec![text(&"gate ".repeat(19))])).await.expect_err("21 tokens are too many");
    assert!(matches!(error, EncodeError::TooLong { tokens: 21, capacity_tokens: 20, .. }), "{error}");
}
