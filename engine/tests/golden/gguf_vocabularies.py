"""GGUF files without tensors: two vocabularies as llama.cpp stores them, and the ids that they give.

The same vocabulary is a tokenizer of the tokenizers library, which is asked for the ids. So what the engine
builds from a GGUF is compared with what the hub's `tokenizer.json` would have been.
"""

import json
from pathlib import Path

from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizer_fixture import CHAT_TEMPLATE, ENCODE_TEXTS, TRAINING_TEXT

GOLDEN = Path(__file__).parent

# How the hub's tokenizers of these kinds cut a text, and whether they compose it first.
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTE_PAIR = {
    "llama-bpe": (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST, False),
    "qwen2": (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST, True),
    "gpt-2": (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", False),
}
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + "?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = (*ENCODE_TEXTS, "camelCase HTTPServer isn't ISN'T", "a/b//c\n\n/d", "东京タワーabc123", "  \n  x", "1234567 ½ Ⅷ")

# Entries of the SentencePiece-like vocabulary, special and byte entries included.
PIECES = 700


def byte_pair(pre: str) -> Tokenizer:
    """The fixture's merges under another way to cut."""
    fields = json.loads((GOLDEN / "tokenizer" / "tokenizer.json").read_text())
    tokenizer = Tokenizer.from_str(json.dumps(fields | {"normalizer": None, "post_processor": None}))
    if pre == "deepseek-v3":
        patterns = DEEPSEEK3
    elif pre == "gpt-4o":
        patterns = (GPT_4O,)
    else:
        pattern, compose = BYTE_PAIR[pre]
        patterns = (pattern,)
        if compose:
            tokenizer.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    return tokenizer


def write_byte_pair(path: Path, pre: str) -> None:
    fields = json.loads((GOLDEN / "tokenizer" / "tokenizer.json").read_text())
    added = {token["id"]: token for token in fields["added_tokens"]}
    entries = {index: token for token, index in fields["model"]["vocab"].items()}
    entries |= {index: token["content"] for index, token in added.items()}
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([entries[i] for i in range(len(entries))])
    kinds = {True: TokenType.CONTROL, False: TokenType.USER_DEFINED}
    writer.add_token_types([kinds[added[i]["special"]] if i in added else TokenType.NORMAL for i in range(len(entries))])
    merges = fields["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(506)
    writer.add_eos_token_id(509)
    writer.add_pad_token_id(507)
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)
    close(writer)


def write_letters(writer: GGUFWriter, entries: int) -> None:
    """A byte-level vocabulary of single bytes, one merge, and what ends a turn. It knows the bytes of ASCII."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet[: entries - 3], "th", "<|im_start|>", "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL] * (entries - 2) + [TokenType.CONTROL] * 2)
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(entries - 1)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")


def close(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def pieces() -> Tokenizer:
    """Pieces with byte fallback, as the hub has Llama 2's: a space is ▁, and one stands before a text."""
    special = ["<unk>", "<s>", "</s>"]
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # Pieces never go across a space, as in SentencePiece.
    trained.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=PIECES - 256, min_frequency=2, special_tokens=special, show_progress=False, limit_alphabet=60)
    trained.train_from_iterator(TRAINING_TEXT.splitlines(keepends=False), trainer)
    entries = sorted(trained.get_vocab().items(), key=lambda entry: entry[1])
    # SentencePiece's order: special, bytes, then what merges make (the better the earlier), then characters.
    made = [token for token, _ in entries if token not in special]
    made = [token for token in made if len(token) > 1] + [token for token in made if len(token) == 1]
    order = special + alphabet + made + ["<tool>"]
    return order


def pieces_tokenizer(order: list[str]) -> Tokenizer:
    """What transformers makes of such a vocabulary: a merge for every way to cut a piece in two."""
    vocabulary = {token: index for index, token in enumerate(order)}
    merges = []
    for token in order[259:-1]:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
        merges += sorted(cuts, key=lambda cut: (vocabulary[cut[0]], vocabulary[cut[1]]))
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in order[:3]])
    tokenizer.add_tokens([AddedToken(order[-1], normalized=False)])
    return tokenizer


def write_pieces(path: Path, order: list[str]) -> None:
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256
    kinds += [TokenType.NORMAL] * (len(order) - len(kinds) - 1) + [TokenType.USER_DEFINED]
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(order)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(order) - 259)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(True)
    writer.add_chat_template("{% for m in messages %}{{ bos_token }}[INST] {{ m.content }} [/INST]{% endfor %}")
    close(writer)


def cases(tokenizer: Tokenizer, texts: tuple[str, ...]) -> list[dict]:
    encoded = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts]
    return [case | {"decoded": tokenizer.decode(case["ids"], skip_special_tokens=True)} for case in encoded]


def make_vocabularies(folder: Path) -> None:
    ref = {}
    for pre in (*BYTE_PAIR, "deepseek-v3", "gpt-4o"):
        ref[pre] = cases(byte_pair(pre), TEXTS)
        write_byte_pair(folder / f"{pre}.gguf", pre)
    order = pieces()
    write_pieces(folder / "pieces.gguf", order)
    texts = (*TEXTS, "<s>The gate</s> x", "a<tool>b <tool> c", "▁", "<0x0A>")
    ref["pieces"] = cases(pieces_tokenizer(order), texts)
    (folder / "ref.json").write_text(json.dumps(ref, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
