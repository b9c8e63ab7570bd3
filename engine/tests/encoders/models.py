"""The table of encoder fixtures: what make.py builds, and what each row is there to catch (README.md says it in words)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import tokenizers_tiny
import torch
from torch import Tensor

# The first pattern found in a parameter's name says what becomes of a standard normal draw. transformers' own
# initialiser makes attention nearly uniform and norms exactly one: a wrong mask or a norm left out would hardly show.
INITIAL: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    (r"(norm|Norm|LayerNorm)\.weight$", lambda draw: 1 + 0.1 * draw),
    (r"bias$", lambda draw: 0.1 * draw),
    (r"(query|key|q_lin|k_lin|query_proj|key_proj|Wqkv)\.weight$", lambda draw: 1.5 * draw / math.sqrt(draw.shape[-1])),
    # Wide, so that the two forms of GELU can be told apart.
    (r"(intermediate\.dense|lin1|\.Wi)\.weight$", lambda draw: 2 * draw / math.sqrt(draw.shape[-1])),
    (r"(\d\.output\.dense|lin2|mlp\.Wo)\.weight$", lambda draw: 2 * draw / math.sqrt(draw.shape[-1])),
    (r"(word|position|token_type|tok|rel)_embeddings\.weight$", lambda draw: 0.5 * draw),
    (r"", lambda draw: draw / math.sqrt(draw.shape[-1])),
)

BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MODERN_TOKENS = ("[CLS]", "[SEP]", "[PAD]", "[MASK]")


def bert_tokenizer(folder: Path) -> int:
    tokenizer = tokenizers_tiny.word_piece(BERT_TOKENS)
    tokenizers_tiny.save(tokenizer, folder, {"model_max_length": 512, "tokenizer_class": "BertTokenizer"})
    return tokenizer.get_vocab_size()


def roberta_tokenizer(folder: Path) -> int:
    tokenizer = tokenizers_tiny.unigram(ROBERTA_TOKENS, "<s>", "</s>", "<unk>")
    # What transformers writes where nobody set a limit.
    tokenizers_tiny.save(tokenizer, folder, {"model_max_length": 1000000000000000019884624838656, "tokenizer_class": "PreTrainedTokenizerFast"})
    return tokenizer.get_vocab_size()


def deberta_tokenizer(folder: Path) -> int:
    tokenizer = tokenizers_tiny.unigram(BERT_TOKENS, "[CLS]", "[SEP]", "[UNK]")
    tokenizers_tiny.save(tokenizer, folder, {"model_max_length": 1000000000000000019884624838656, "tokenizer_class": "PreTrainedTokenizerFast"})
    return tokenizer.get_vocab_size()


def modern_tokenizer(folder: Path) -> int:
    tokenizer = tokenizers_tiny.byte_level(MODERN_TOKENS, "[CLS]", "[SEP]")
    tokenizers_tiny.save(tokenizer, folder, {"model_max_length": 8192, "tokenizer_class": "PreTrainedTokenizerFast"})
    return tokenizer.get_vocab_size()


@dataclass(frozen=True)
class Encoder:
    name: str
    architecture: str
    config: dict
    dtype: torch.dtype
    seed: int
    tokenizer: Callable[[Path], int]
    # "as_given": config.json is `config`. "v5": config.json is what transformers 5 writes for it.
    spelling: str = "as_given"
    # Modes of the pooling, in the order of their vectors; None for a classifier or a folder that does not say.
    pooling: tuple[str, ...] | None = None
    normalize: bool = False
    # Width of a dense layer with tanh after the pooling.
    dense: int | None = None
    # Further files of sentence-transformers, by name.
    sentence_files: dict[str, dict] = field(default_factory=dict)
    # Fields of config.json that the result must depend on.
    ablations: tuple[dict, ...] = ()
    # Tokens of the longest reference text.
    longest: int = 40


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
BERT = SMALL | {
    "model_type": "bert",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "use_cache": True,
    "classifier_dropout": None,
    "gradient_checkpointing": False,
}
ROBERTA = SMALL | {
    # Positions begin behind the padding token's: 66 of them are 64 tokens.
    "max_position_embeddings": 66,
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
DISTIL = {
    "model_type": "distilbert",
    "activation": "gelu",
    "attention_dropout": 0.1,
    "dim": 32,
    "dropout": 0.1,
    "hidden_dim": 48,
    "initializer_range": 0.02,
    "max_position_embeddings": 64,
    "n_heads": 4,
    "n_layers": 2,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
}
MODERN = {
    "model_type": "modernbert",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "hidden_activation": "gelu",
    "max_position_embeddings": 96,
    "norm_eps": 1e-5,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "decoder_bias": True,
    "classifier_bias": False,
    "classifier_activation": "gelu",
    "local_attention": 10,
    "attention_dropout": 0.0,
    "embedding_dropout": 0.0,
    "mlp_dropout": 0.0,
    "classifier_dropout": 0.0,
    "initializer_cutoff_factor": 2.0,
    "deterministic_flash_attn": False,
    "sparse_prediction": False,
    "sparse_pred_ignore_index": -100,
    "bos_token_id": 0,
    "cls_token_id": 0,
    "eos_token_id": 1,
    "sep_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": True,
}
MODERN_OLD = MODERN | {
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 100.0,
    "layer_norm_eps": 1e-5,
    "position_embedding_type": "absolute",
    "reference_compile": None,
    "gradient_checkpointing": False,
}
DEBERTA = SMALL | {
    "model_type": "deberta-v2",
    "layer_norm_eps": 1e-7,
    "relative_attention": True,
    "position_biased_input": False,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
    "pad_token_id": 0,
    "pooler_hidden_act": "gelu",
    "pooler_dropout": 0,
}


def labels(*names: str) -> dict:
    return {
        "id2label": {str(place): name for place, name in enumerate(names)},
        "label2id": {name: place for place, name in enumerate(names)},
    }


ENCODERS = (
    Encoder(
        name="bert_mean",
        architecture="BertModel",
        config=BERT | {"matryoshka_dimensions": [8, 16, 32]},
        dtype=torch.float32,
        seed=1,
        tokenizer=bert_tokenizer,
        pooling=("mean",),
        normalize=True,
        sentence_files={
            "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": False},
            "config_sentence_transformers.json": {
                "__version__": {"sentence_transformers": "3.4.1", "transformers": "4.51.0", "pytorch": "2.6.0"},
                "prompts": {"query": "query: ", "document": ""},
                "default_prompt_name": None,
                "similarity_fn_name": "cosine",
            },
        },
        ablations=({"hidden_act": "relu"}, {"layer_norm_eps": 1e-1}, {"num_attention_heads": 2}),
    ),
    Encoder(
        name="bert_cls",
        architecture="BertModel",
        config=BERT | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2},
        dtype=torch.float16,
        seed=2,
        tokenizer=bert_tokenizer,
        pooling=("cls",),
        dense=20,
        sentence_files={
            "sentence_bert_config.json": {"max_seq_length": None, "do_lower_case": False},
            "config_sentence_transformers.json": {
                "prompts": {"query": "query: ", "passage": "passage: "},
                "default_prompt_name": "passage",
            },
        },
        ablations=({"hidden_act": "gelu"}, {"layer_norm_eps": 1e-12}),
    ),
    Encoder(
        name="xlm_roberta",
        architecture="XLMRobertaModel",
        config=ROBERTA | {"model_type": "xlm-roberta"},
        dtype=torch.bfloat16,
        seed=3,
        tokenizer=roberta_tokenizer,
        spelling="v5",
        pooling=("cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"),
        sentence_files={"sentence_xlm-roberta_config.json": {"max_seq_length": 60, "do_lower_case": True}},
        ablations=({"hidden_act": "relu"}, {"pad_token_id": 0}),
    ),
    Encoder(
        name="roberta_labels",
        architecture="RobertaForSequenceClassification",
        config=ROBERTA
        | {"model_type": "roberta", "problem_type": "multi_label_classification"}
        | labels("toxic", "secret", "personal"),
        dtype=torch.float32,
        seed=4,
        tokenizer=roberta_tokenizer,
    ),
    Encoder(
        name="bert_labels",
        architecture="BertForSequenceClassification",
        config=BERT | labels("code", "prose"),
        dtype=torch.float32,
        seed=5,
        tokenizer=bert_tokenizer,
    ),
    Encoder(
        name="distil_bert",
        architecture="DistilBertModel",
        config=DISTIL,
        dtype=torch.float32,
        seed=6,
        tokenizer=bert_tokenizer,
        pooling=("mean",),
        ablations=({"activation": "gelu_new"}, {"n_heads": 2}),
    ),
    Encoder(
        name="distil_bert_labels",
        architecture="DistilBertForSequenceClassification",
        config=DISTIL | {"problem_type": "single_label_classification"} | labels("bad", "good"),
        dtype=torch.bfloat16,
        seed=11,
        tokenizer=bert_tokenizer,
    ),
    Encoder(
        name="modern_bert",
        architecture="ModernBertModel",
        config=MODERN_OLD | {"layer_norm_eps": 0.5},
        dtype=torch.float32,
        seed=7,
        tokenizer=modern_tokenizer,
        ablations=(
            {"local_attention": 12},
            {"global_attn_every_n_layers": 2},
            {"global_rope_theta": 100.0},
            {"local_rope_theta": 160000.0},
            {"norm_eps": 0.5},
        ),
        longest=70,
    ),
    Encoder(
        name="modern_bert_labels",
        architecture="ModernBertForSequenceClassification",
        config=MODERN
        | {
            "classifier_pooling": "mean",
            "problem_type": "single_label_classification",
            "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        }
        | labels("low", "middle", "high"),
        dtype=torch.bfloat16,
        seed=8,
        tokenizer=modern_tokenizer,
        spelling="v5",
        ablations=({"classifier_pooling": "cls"},),
        longest=70,
    ),
    Encoder(
        name="deberta_labels",
        architecture="DebertaV2ForSequenceClassification",
        config=DEBERTA
        | {
            "max_position_embeddings": 64,
            "max_relative_positions": -1,
            "position_buckets": 8,
            "share_att_key": True,
            "pos_att_type": "p2c|c2p",
            "pooler_hidden_size": 32,
        }
        | labels("safe", "injection", "unsure"),
        dtype=torch.float32,
        seed=9,
        tokenizer=deberta_tokenizer,
        ablations=({"norm_rel_ebd": "none"}, {"max_relative_positions": 16}, {"pos_att_type": "c2p"}),
    ),
    Encoder(
        name="deberta_buckets",
        architecture="DebertaV2Model",
        # The buckets of DeBERTa-v3, whose logarithms have to be rounded to the same side.
        config=DEBERTA
        | {
            "num_attention_heads": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "max_position_embeddings": 512,
            "max_relative_positions": -1,
            "position_buckets": 256,
            "share_att_key": False,
            "type_vocab_size": 2,
            "pos_att_type": ["c2p", "p2c"],
        },
        dtype=torch.float16,
        seed=10,
        tokenizer=deberta_tokenizer,
        pooling=("mean",),
        longest=512,
    ),
)
