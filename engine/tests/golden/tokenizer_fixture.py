"""The tokenizer fixture: a byte-level BPE of 512 entries, a chat template, and what transformers makes of both."""

import json
from pathlib import Path

from checks import check_size, require, write_json
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AddedToken, AutoTokenizer

TOKENIZER_BYTES_MAX = 60_000
TOKENIZER_ENTRIES = 512
BOS, EOS, START, END = "<|begin|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Added tokens which are not special: decoding keeps them even when it skips special tokens.
TOOL_CALL, TOOL_CALL_END = "<tool_call>", "</tool_call>"

# Enough repetition for some 250 merges: words with and without a space before them, code, digits,
# accents, and scripts whose characters take two, three and four bytes.
TRAINING_TEXT = """\
The gate is shut until the guard has read the letter. The guard reads the letter, and the gate opens.
A portcullis is a gate of iron bars; it falls fast and it rises slowly. The user asks the \
assistant for the weather in the city, and the assistant calls the tool with the name of the city.
What is the capital of France? The capital of France is Paris. What's it like there? It's raining again, \
they're saying, and we've no umbrella. I'd wait; you'll see that it doesn't last.
"role": "user", "content": "text", "type": "function", "name": "get_weather", "arguments": {"city": "Paris"}
fn main() { let total = 12345; for index in 0..10 { println!("{}", total + index); } } // 2024-01-31
Le château a été fermé à clé; la clé est restée à l'intérieur. Où est-elle? Là-bas, très près du château.
Die Brücke über den Fluß ist für Fußgänger geöffnet. Größere Wagen müssen über die alte Brücke fahren.
El niño pidió mañana; la señora contestó que la mañana sería larga. ¿Dónde está la mañana?
Привет, мир. Мир сегодня большой, и привет ему большой. Καλημέρα κόσμε, καλημέρα σε όλους.
你好，世界。今天天气很好，我们去城里看看城门。城门今天开着，天气很好。
こんにちは、世界。今日の天気はとてもいいです。門は今日も開いています。안녕하세요 세계, 오늘 날씨가 좋습니다.
😀😀 👍👍 🚀 launch 🚀 launch 😀 👩‍👩‍👧 🇫🇷 🇫🇷 ☀️ ☀️ 👍🏽
"""

# Llama 3's and Qwen's way to cut text before merging: contractions, words with one leading character,
# digits in threes, punctuation, line ends, spaces.
PRE_TOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# In the manner of ChatML, with what real templates lean on: whitespace control both by dashes and by
# trim_blocks and lstrip_blocks, tojson, namespace, loop variables, string methods, raise_exception.
# It writes the bos token itself, and tokenizer.json adds one as well: whoever encodes a rendered chat
# with special tokens gets two.
CHAT_TEMPLATE = r"""{{- bos_token }}
{%- set ns = namespace(last_user=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set ns.last_user = loop.index0 %}{% endif %}
{%- endfor %}
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content | trim + '\n\n' }}
    {%- endif %}
    {{- 'You may call these tools:\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
        {{- '\n' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content | trim + '<|im_end|>\n' }}
{%- endif %}
{% for message in messages %}
    {% if message.role == 'user' %}
<|im_start|>user
{{ message.content }}<|im_end|>
    {% elif message.role == 'assistant' %}
        {%- set content = message.content or '' %}
        {%- if '</think>' in content and loop.index0 < ns.last_user %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' + content }}
        {%- for call in message.tool_calls or [] %}
            {%- if not loop.first or content %}{{ '\n' }}{% endif %}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
    {%- elif message.role != 'system' %}
        {{- raise_exception('unknown role ' + message.role) }}
    {%- elif not loop.first %}
        {{- raise_exception('a system message must come first') }}
    {%- endif %}
{% endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

ENCODE_TEXTS = (
    "",
    " ",
    "The gate is shut.",
    " The gate",
    "  two  spaces,\ttab\n\nlines \r\n end ",
    "It's 12345 and they'RE 7.",
    "xyzzy QQQ zzz~~~",
    "Où est le château? Größere Brücke, mañana.",
    # The normaliser composes these, so they decode to other code points than they were written in.
    "cafe\u0301 u\u0308ber",
    "Привет, κόσμε",
    "你好，世界。龘",
    "こんにちは 안녕하세요",
    "😀 👩‍👩‍👧 🇫🇷 👍🏽 🦀",
    "\u0000\u007f\u200b\ufeff",
    '{"city": "Paris", "n": 1.5}',
    "fn main() { println!(\"{}\", 0..10); }",
    # Written by a user, and still the real special tokens.
    "<|im_start|>user\nhi<|im_end|>",
    "a <tool_call>b</tool_call> c",
    "<|im_start| <|begin|>",
)

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        # A template engine that escapes for HTML, or for ASCII, shows here.
        "description": "Weather in a city; °C & wind < 100 km/h, isn't it \"nice\"? 天气",
        "parameters": {
            "type": "object",
            # Not in alphabetical order: it must survive as given.
            "properties": {"unit": {"type": "string", "enum": ["C", "F"]}, "city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CLOCK_TOOL = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": True, "limit": 0.5},
}


def call(name: str, arguments: dict | str) -> dict:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


USER = {"role": "user", "content": "What is the weather in Paris?"}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt rains."}
SYSTEM = {"role": "system", "content": "  You are the guard of the gate.\n"}
CHATS: tuple[tuple[list[dict], list[dict] | None], ...] = (
    ([USER], None),
    ([SYSTEM, USER], None),
    ([{"role": "user", "content": "<b>1 & 2</b> \"é\" 'x' {{ not_a_variable }} 😀\n"}], None),
    ([USER, THOUGHT, {"role": "user", "content": "Again?"}], None),
    ([USER, THOUGHT], None),
    ([USER], [WEATHER_TOOL]),
    ([SYSTEM, USER], [WEATHER_TOOL, CLOCK_TOOL]),
    (
        [
            USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call("get_weather", {"unit": "C", "city": "Évry <1>"}), call("clock", "{}")],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"rain": true}'},
        ],
        [WEATHER_TOOL],
    ),
    ([USER, {"role": "assistant", "content": "I look.", "tool_calls": [call("clock", {})]}], None),
)
# The template refuses these by raise_exception.
CHATS_REFUSED: tuple[list[dict], ...] = ([USER, SYSTEM], [{"role": "wizard", "content": "abracadabra"}])


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKEN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Added after training, so they get the last ids, as on the hub.
    special, plain = (BOS, EOS, START, END), (TOOL_CALL, TOOL_CALL_END)
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_ENTRIES - len(special) - len(plain),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT.splitlines(keepends=True), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
            ),
        ]
    )
    require(tokenizer.get_vocab_size() == TOKENIZER_ENTRIES, f"{tokenizer.get_vocab_size()} entries")
    return tokenizer


def tokenizer_config(tokenizer: Tokenizer) -> dict:
    return {
        "added_tokens_decoder": {
            str(token_id): {
                "content": token.content,
                "lstrip": token.lstrip,
                "normalized": token.normalized,
                "rstrip": token.rstrip,
                "single_word": token.single_word,
                "special": token.special,
            }
            for token_id, token in sorted(tokenizer.get_added_tokens_decoder().items())
        },
        "bos_token": BOS,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "model_max_length": 4096,
        "pad_token": EOS,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def decode_cases(tokenizer, encoded: list[dict]) -> list[dict]:
    """Each encoding back to text; then cut so that characters are torn, as a stream of tokens tears them."""
    torn = next(case["ids"] for case in encoded if "🦀" in case["text"])
    sequences = [case["ids"] for case in encoded] + [torn[:cut] for cut in range(1, len(torn))] + [torn[-1:]]
    return [
        {
            "ids": ids,
            "skip_special_tokens": skip,
            "text": tokenizer.decode(ids, skip_special_tokens=skip),
        }
        for ids in sequences
        for skip in ((False, True) if any(id in tokenizer.all_special_ids for id in ids) else (False,))
    ]


def chat_cases(tokenizer) -> list[dict]:
    return [
        {
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": prompt,
            "rendered": tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=prompt, tokenize=False
            ),
            "ids": tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=prompt, tokenize=True, return_dict=False
            ),
        }
        for messages, tools in CHATS
        for prompt in (False, True)
    ]


def refused_chat_cases(tokenizer) -> list[dict]:
    cases = []
    for messages in CHATS_REFUSED:
        try:
            tokenizer.apply_chat_template(messages, tokenize=False)
        except Exception as refusal:
            cases.append({"messages": messages, "error": str(refusal)})
    require(len(cases) == len(CHATS_REFUSED), "the template accepts what it must refuse")
    return cases


def check_tokenizer(tokenizer, ref: dict) -> None:
    """What the fixture is for: merges that happen, torn characters, and the two begin tokens."""
    require(len(tokenizer.encode("The gate", add_special_tokens=False)) < 4, "the merges are not used")
    require(any("\ufffd" in case["text"] for case in ref["decode"]), "no decode case tears a character")
    bos = tokenizer.bos_token_id
    for case in ref["chat"]:
        require(case["ids"].count(bos) == 1, "a rendered chat has not exactly one begin token")
        twice = tokenizer.encode(case["rendered"], add_special_tokens=True)
        require(twice == [bos] + case["ids"], "tokenizer.json adds no second begin token")


def one_case_per_line(ref: dict[str, list]) -> str:
    """JSON in which a changed case is a changed line."""
    lists = (
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]"
        for name, cases in ref.items()
    )
    return "{\n" + ",\n".join(lists) + "\n}\n"


def make_tokenizer(folder: Path) -> None:
    trained = train_tokenizer()
    trained.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", tokenizer_config(trained))

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False)} for text in ENCODE_TEXTS]
    require(
        all(case["ids"] == trained.encode(case["text"], add_special_tokens=False).ids for case in encoded),
        "transformers encodes otherwise than tokenizer.json says",
    )
    ref = {
        "encode": encoded,
        "decode": decode_cases(tokenizer, encoded),
        "chat": chat_cases(tokenizer),
        "chat_refused": refused_chat_cases(tokenizer),
    }
    check_tokenizer(tokenizer, ref)
    (folder / "ref.json").write_text(one_case_per_line(ref), encoding="utf-8")
    check_size(folder, TOKENIZER_BYTES_MAX)
