"""Three tiny tokenizers, of the kinds that encoders have: WordPiece, Unigram and byte-level BPE.

Their vocabularies are written down and not trained, so that the same script gives the same files everywhere.
"""

from pathlib import Path

from checks import write_json
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WORDS = (
    "the gate is shut until guard has read letter and opens a portcullis of iron bars it falls fast rises slowly "
    "what capital france paris city weather rain today tomorrow where who when why how you we they not no yes "
    "query passage"
).split()
ENDINGS = ("s", "ed", "ing", "er", "ly", "e", "n", "t", "a", "o", "i", "r", "u", "l", "d", "g", "h", "m", "p", "c")
SINGLES = "abcdefghijklmnopqrstuvwxyz0123456789.,:;?!'-"


def post_processor(begin: tuple[str, int], end: tuple[str, int]) -> processors.PostProcessor:
    return processors.TemplateProcessing(
        single=f"{begin[0]} $A {end[0]}", pair=f"{begin[0]} $A {end[0]} $B:1 {end[0]}:1", special_tokens=[begin, end]
    )


def word_piece(special: tuple[str, ...]) -> Tokenizer:
    """As BERT has it: lower case, no accents, a `##` before what continues a word."""
    pieces = [*special, *SINGLES, *WORDS, *(f"##{piece}" for piece in (*ENDINGS, *SINGLES))]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = post_processor(("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"]))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def unigram(special: tuple[str, ...], begin: str, end: str, unknown: str) -> Tokenizer:
    """As XLM-RoBERTa and DeBERTa have it: spaces are characters, and the likeliest cut wins."""
    pieces = dict.fromkeys(["▁", *(f"▁{word}" for word in WORDS), *ENDINGS, *SINGLES, *SINGLES.upper()])
    # Longer pieces are likelier than their parts together; no two are equally likely.
    scored = [(piece, -8.0 - 0.01 * place + 2.0 * len(piece)) for place, piece in enumerate(pieces)]
    vocabulary = [*((token, 0.0) for token in special), *scored]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=special.index(unknown), byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = post_processor((begin, special.index(begin)), (end, special.index(end)))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def byte_level(special: tuple[str, ...], begin: str, end: str) -> Tokenizer:
    """As ModernBERT and RoBERTa have it: bytes, and a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("in", "g"), ("e", "r"), ("Ġ", "g"), ("a", "t")]
    pieces = [*special, *alphabet, *(left + right for left, right in merges)]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = post_processor((begin, vocabulary[begin]), (end, vocabulary[end]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, settings: dict) -> None:
    """Writes the two files of a hub repository, with the padding and truncation that published ones often carry."""
    tokenizer.enable_truncation(max_length=16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    write_json(folder / "tokenizer_config.json", settings)
