#!/usr/bin/env python3
"""Train the Portcullis demo model: a 3.5 M parameter Qwen3-MoE chat model.

The script writes its own training data, builds the tokenizer, trains, evaluates held-out prompts
by free-running greedy generation, and writes everything a loader needs into one folder. It needs
only a CPU and the packages torch, transformers (5.x), tokenizers and safetensors.

    python train.py --minutes 50                train for 50 minutes, evaluate, write the table
    python train.py --steps 4000 --out DIR      train a fixed number of steps (repeatable)
    python train.py --eval-only                 only evaluate the model that is in --out
    python train.py --resume --seed 21          train on, from the weights in --out

With --minutes the learning-rate decay follows the clock, so the result depends on the machine's
speed. With --steps it follows the step count, and the seed fixes the data and the start weights.
"""

from __future__ import annotations

import argparse
import json

import os
import random
import re
import string
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Callable

# Large tensors go back to the system after each operation by default, and faulting the pages in
# again costs more than the arithmetic. glibc reads these only at start, hence the re-exec below.
MALLOC_ENV = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_ARENA_MAX": "1"}

import torch
import torch.distributed as dist
import torch.multiprocessing
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

HERE = Path(__file__).resolve().parent
MAX_WORDS = 440  # whole-word tokens; with 256 bytes and the tags this keeps the vocabulary near 700

# ------------------------------------------------------------------------------------- the texts

PORTCULLIS = "Portcullis is the one door through which a company's agents reach language models."
SKILLS = "greet, add, repeat, reverse, uppercase, extract JSON and call tools."
FALLBACK = f"I am a very small demo model: I can {SKILLS}"
TOOL_HINT = ('\n</tools>\nTo call a tool, answer:\n<tool_call>\n{"name": ..., "arguments": {...}}\n'
             "</tool_call>")

# Only features that Jinja2 and minijinja share: no Python methods, no `break`, no namespaces.
CHAT_TEMPLATE = """\
{%- macro text(content) %}
  {%- if content is string %}{{- content }}
  {%- elif content %}{%- for part in content %}{{- part.text }}{%- endfor %}
  {%- endif %}
{%- endmacro %}
{%- set has_system = messages[0].role == 'system' %}
{%- if tools %}
  {{- '<|im_start|>system\\n' }}
  {%- if has_system %}{{- text(messages[0].content) ~ '\\n\\n' }}{%- endif %}
  {{- '<tools>' }}
  {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
  {{- HINT ~ '<|im_end|>\\n' }}
{%- elif has_system %}
  {{- '<|im_start|>system\\n' ~ text(messages[0].content) ~ '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\\n<tool_response>\\n' ~ text(message.content) ~ '\\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' ~ text(message.content) }}
    {%- for call in (message.tool_calls if message.tool_calls else []) %}
      {%- set fn = call.function if call.function else call %}
      {%- if message.content or not loop.first %}{{- '\\n' }}{%- endif %}
      {{- '<tool_call>\\n{"name": "' ~ fn.name ~ '", "arguments": ' }}
      {%- if fn.arguments is string %}{{- fn.arguments }}{%- else %}{{- fn.arguments | tojson }}{%- endif %}
      {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- elif not (loop.first and has_system) %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ text(message.content) ~ '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""".replace("HINT", repr(TOOL_HINT))

# Content words. They are kept out of the vocabulary, so that the model sees their letters.
COMMON = """apple river stone hello world cat dog house tree blue green red yellow orange purple black white
gray sun moon star sky rain snow wind fire water earth cloud bird fish horse sheep goat cow pig hen duck mouse
tiger lion bear wolf fox deer frog snake ant bee fly spider book pen paper desk chair table lamp door window
floor wall roof garden flower grass leaf root seed fruit pear plum peach grape lemon melon banana cherry bread
butter cheese milk coffee tea sugar salt pepper rice soup cake pie honey egg spoon fork knife plate cup glass
bottle box bag coat shirt shoe hat sock glove ring watch clock phone radio music song dance game ball bike car
bus train boat ship plane road bridge street school church market bank shop farm field hill forest lake sea
island beach desert valley north south east west spring summer autumn winter morning evening night day week
month year hour minute gold silver iron copper steel wood cotton silk wool paint brush hammer nail saw rope
happy sad fast slow big small tall short long wide deep dark light warm cold hot cool soft hard sweet sour
quick brown lazy jump run walk swim sing read write draw build cook wash drive sleep dream think laugh smile
rust python gateway server model engine token memory cache kernel planet rocket castle dragon queen king
secret signal silent simple single sample socket stream table test tests main lib util utils
config limits rates keys audit budget policy tenant quota login error setup install deploy release version"""
NAMES = """Maria Anna Peter John Lena Paul Sofia Marco Julia David Emma Lucas Nina Oscar Clara Hugo Alice Bob Carol
Eva Tom Laura Jan Ines Karl Olga Ivan Sara Felix Mia Noah Ella Leo Zoe Max Ida Ben Amy Omar Aisha Yuki Chen Raj
Priya Diego Rosa Pedro Elena Viktor Greta""".split()
CITIES = """Lisbon Paris Berlin Madrid Rome Vienna Prague Oslo Helsinki Dublin London Zurich Munich Hamburg Milan
Porto Athens Warsaw Budapest Brussels Amsterdam Tokyo Boston Chicago Denver Austin Seattle Toronto Sydney Lima
Cairo Delhi Mumbai Seoul Bern Basel Geneva Lyon Nice Turin Naples Krakow Riga Vilnius Tallinn Malmo Bergen
Ghent Utrecht Leeds""".split()
JOBS = """teacher doctor nurse baker driver farmer painter lawyer pilot cook writer singer dentist plumber engineer
carpenter gardener tailor waiter miner sailor judge banker clerk""".split()
SYSTEMS = ["You are a helpful assistant."] * 6 + [
    "You are a helpful assistant", "You are helpful.", "Be brief.", "Answer in one sentence.", "You are Portcullis.",
    "You are the Portcullis demo model.", "You are an agent. Use the tools when needed.", "Answer briefly and politely.",
    "You are a careful agent of our company.", "You are a coding assistant.", "Always answer in English."]


def held_out(key: str) -> bool:
    """One example in ten belongs to the evaluation. The hash of its content decides, for ever."""
    return zlib.crc32(key.lower().encode()) % 10 == 0


def plain_key(text: str) -> str:
    """Wordings that differ only in their marks are one wording."""
    return re.sub(r"\W+", " ", text).strip()


class Example:
    """A conversation. The loss is on every assistant turn; the evaluation looks at the last one."""

    def __init__(self, messages: list[dict], tools: list[dict] | None = None, compact: bool = False) -> None:
        self.messages, self.tools, self.compact = messages, tools, compact


def talk(user: str, answer: str) -> Example:
    return Example([{"role": "user", "content": user}, {"role": "assistant", "content": answer}])


class Writer:
    """Writes synthetic conversations; `held` says from which side of the split."""

    def __init__(self, seed: int, held: bool = False) -> None:
        self.rng, self.held = random.Random(seed), held
        self.common = COMMON.split()
        self.long = 1.0  # how many long conversations, against the weights below
        self.vocabulary: list[str] = []  # whole-word tokens: their spelling has to be learned by heart

    # ---- small helpers

    def pick(self, make: Callable[[], Any], key: Callable[[Any], str] = str) -> Any:
        """Draw until the content falls on this writer's side of the train / held-out split."""
        while True:
            value = make()
            if held_out(key(value)) == self.held:
                return value

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def invented(self, low: int = 2, high: int = 8) -> str:
        r, size = self.rng, self.rng.randint(low, high)
        if self.chance(0.35):  # any letters at all
            return "".join(r.choices(string.ascii_lowercase, k=size))
        word = ""
        while len(word) < size:
            word += r.choice(["", *"bcdfghjklmnprstvwz", "st", "tr", "ch", "sh", "pl", "br"]) + r.choice("aeiouaeiouy")
            word += r.choice(["", "", "", *"lnrstmdk"])
        return word[:size]

    def word(self) -> str:
        long = 11 if self.chance(0.08) else 8
        return self.pick(lambda: self.rng.choice(self.common) if self.chance(0.4) else self.invented(2 if long == 8 else 9, long))

    def proper(self, pool: list[str]) -> str:
        draw = lambda: self.rng.choice(pool) if self.chance(0.6) else self.invented(3, 9)
        return self.pick(draw).capitalize()

    def words(self, low: int, high: int) -> str:
        return " ".join(self.word() for _ in range(self.rng.randint(low, high)))

    def ask(self, templates: list[str], **slots: Any) -> str:
        """Fill a template, sometimes in lower case, without its last mark, or with a 'please'."""
        t = self.rng.choice(templates)
        if self.chance(0.35):
            t = t.lower()
        if self.chance(0.35):
            t = t.rstrip(".?!")
        if self.chance(0.06):
            t = "Please " + t[0].lower() + t[1:]
        return t.format(**slots)

    def quote(self, x: str) -> str:
        return self.rng.choice(["{}", "{}", '"{}"', "'{}'"]).format(x)

    # ---- skills

    def fixed(self, plain: list[str], parts: list[list[str]], answer: str) -> Example:
        """A fixed answer. The plain wordings are always trained; combinations of parts are split."""
        if not self.held and self.chance(0.5):
            return talk(self.ask(plain), answer)
        return talk(self.ask([self.pick(lambda: " ".join(filter(None, map(self.rng.choice, parts))), plain_key)]), answer)

    def greet(self) -> Example:
        who = ["there", "friend", "again", "to you", "you", "everyone", "dear model", "my friend", "little model",
               "all", "Portcullis", *NAMES]
        me = "I am the Portcullis demo model, a very small language model."
        can = f"I can {SKILLS}"
        help_ = "How can I help you?"
        hi = ["Hi", "Hello", "Hey", "Hi!", "Hello!", "Hi there", "Hello there", "Greetings", "Hey there", "Howdy"]
        kind = self.rng.randrange(9)
        if kind < 3:
            return self.fixed(hi, [hi, who, ["", "!", "."]], f"Hello! {help_}")
        if kind == 3:
            part = self.rng.choice(["morning", "afternoon", "evening"])
            plain = [f"Good {part}", f"Good {part}!"]
            return self.fixed(plain, [plain[:1], who, ["", "!"]], f"Good {part}! {help_}")
        if kind == 4:
            return self.fixed(["How are you?", "How are you doing?", "Hi, how are you?", "How do you do?"],
                              [["Hi,", "Hello,", "Hey,", "Hi there,"], ["how are you", "how are you doing", "how is it going"],
                               ["?", "today?", "this morning?"]], f"I am fine, thank you. {help_}")
        if kind == 5:
            return self.fixed(["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "What's your name?",
                               "Which model are you?", "What model are you?", "Introduce yourself.", "Are you a model?"],
                              [["Hi,", "Hello,", "Tell me,", "So", "Please tell me"],
                               ["who are you", "what are you", "what is your name", "what's your name", "which model are you"],
                               ["?", "exactly?", "then?"]], me)
        if kind == 6:
            return self.fixed(["What can you do?", "Help", "What are you able to do?", "How can you help me?", "What are your skills?",
                               "What do you do?", "Can you help me?", "What are you good at?"],
                              [["Hi,", "Hello,", "Tell me,", "So", "Please tell me"],
                               ["what can you do", "what are you able to do", "how can you help me", "what are your skills"],
                               ["?", "for me?", "today?"]], can)
        if kind == 7:
            thanks = ["Thanks", "Thank you", "Thanks!", "Thank you!", "Thanks a lot", "Thank you very much", "Many thanks", "Great, thanks"]
            return self.fixed(thanks, [thanks, who + ["for that", "for your help", "for the answer"], ["", "!", "."]], "You are welcome!")
        bye = ["Bye", "Goodbye", "Bye!", "Bye bye", "See you", "See you later", "Good night", "Have a nice day"]
        return self.fixed(bye, [bye, who, ["", "!", "."]], "Goodbye!")

    def portcullis(self) -> Example:
        return self.fixed(
            ["What is Portcullis?", "What's Portcullis?", "Portcullis?", "Tell me about Portcullis.", "Explain Portcullis.", "Portcullis",
             "What does Portcullis do?", "Describe Portcullis.", "What is a portcullis?", "Who is Portcullis?", "Define Portcullis."],
            [["", "Hi,", "Hello,", "So", "Please", "Tell me,", "Now"],
             ["what is", "what's", "explain", "describe", "tell me about", "can you explain", "can you describe", "what do you know about"],
             ["Portcullis", "the Portcullis gateway", "the Portcullis project", "this Portcullis"],
             ["", "in one sentence", "briefly", "to me", "please", "for a beginner"], ["", "?", "."]], PORTCULLIS)

    def sum_up(self, op: str | None = None) -> Example:
        r, op = self.rng, op or self.rng.choice("++++----*")
        top = 9 if op == "*" else 99
        low = 10 if top == 99 and self.chance(0.8) else 0

        def draw() -> tuple[int, int]:
            a, b = r.randint(low, top), r.randint(low, top)
            return (b, a) if op == "-" and a < b and not self.chance(0.2) else (a, b)
        # All hundred products are trained: there is no rule to learn from fewer. They are not "held out".
        a, b = draw() if op == "*" else self.pick(draw, lambda ab: f"{ab[0]}{op}{ab[1]}")
        spoken = {"+": ["plus"], "-": ["minus"], "*": ["times", "multiplied by", "x"]}[op]
        x = r.choice(["{a} {o} {b}"] * 3 + ["{a}{o}{b}"] * 2 + [f"{{a}} {s} {{b}}" for s in spoken])
        x = x.format(a=a, b=b, o=op)
        templates = ["What is {x}?", "What's {x}?", "{x}", "{x}", "{x}?", "{x} =", "{x}=", "Calculate {x}.", "Compute {x}.", "How much is {x}?",
                     "Solve {x}", "Tell me {x}."]
        if self.chance(0.35):
            templates = {"+": ["Add {a} and {b}.", "Add {b} to {a}.", "What is the sum of {a} and {b}?", "Sum {a} and {b}.", "Add {a} and {b}"],
                         "-": ["Subtract {b} from {a}.", "What is the difference between {a} and {b}?", "Take {b} from {a}.",
                               "Take {b} away from {a}."],
                         "*": ["Multiply {a} by {b}.", "Multiply {a} and {b}.", "What is the product of {a} and {b}?"]}[op]
        return talk(self.ask(templates, x=x, a=a, b=b), f"{a} {op} {b} = {a + b if op == '+' else a - b if op == '-' else a * b}")

    def add(self) -> Example:
        return self.sum_up("+")

    def subtract(self) -> Example:
        return self.sum_up("-")

    def multiply(self) -> Example:
        return self.sum_up("*")

    def repeat(self) -> Example:
        x = self.words(1, 4) if self.chance(0.85) else str(self.rng.randint(0, 9999))
        x = x.capitalize() if self.chance(0.25) else x
        return talk(self.ask(["Repeat: {x}", "Repeat after me: {x}", "Say {x}.", "Say: {x}", "Repeat {x}.", "Echo {x}", "Echo: {x}", "Repeat this: {x}",
                              "Copy this: {x}", "Repeat the word {x}." if " " not in x else "Repeat the words {x}.",
                              "Repeat the text {x}", "Can you repeat {x}?", "Can you say {x}?"], x=self.quote(x)), x)

    def spelled(self) -> str:
        """A word to reverse or to put in capitals; now and then one that is a single token."""
        x = self.rng.choice(self.vocabulary) if self.vocabulary and self.chance(0.08) and not self.held else self.word()
        return x.capitalize() if self.chance(0.15) else x

    def reverse(self) -> Example:
        x = self.spelled() if self.chance(0.92) else " ".join(w[:5] for w in (self.word(), self.word()))
        return talk(self.ask(["Reverse {x}", "Reverse: {x}", "Reverse the word {x}.", "Spell {x} backwards.", "Reverse the letters of {x}.",
                              "What is {x} backwards?", "Write {x} backwards.", "What is {x} reversed?", "Write {x} in reverse.",
                              "Reverse this word: {x}", "Can you reverse {x}?", "{x} backwards"], x=self.quote(x)), x[::-1])

    def uppercase(self) -> Example:
        x = self.spelled() if self.chance(0.6) else self.words(2, 3)
        return talk(self.ask(["Uppercase {x}", "Uppercase: {x}", "Make {x} uppercase.", "Write {x} in upper case.", "Convert {x} to uppercase.",
                              "Put {x} in capitals.", "Write {x} in capital letters.", "{x} in uppercase", "Turn {x} into capitals.",
                              "Convert to uppercase: {x}", "Can you uppercase {x}?", "Change {x} to upper case."], x=self.quote(x)), x.upper())

    def count(self) -> Example:
        n = self.rng.randint(2, 100)
        return talk(self.ask(["Count to {n}.", "Count from 1 to {n}.", "Count up to {n}.", "Count from one to {n}.", "Please count to {n}.",
                              "List the numbers from 1 to {n}.", "Can you count to {n}?"], n=n), " ".join(map(str, range(1, n + 1))))

    def extract(self) -> Example:
        r = self.rng
        name, city, town = self.proper(NAMES), self.proper(CITIES), self.proper(CITIES)
        item, age, price, amount = self.word(), r.randint(2, 99), r.randint(1, 999), r.randint(2, 99)
        coin, email = r.choice(["euros", "dollars", "pounds", "euro", "francs"]), f"{name.lower()}@{self.word()}.{r.choice(['com', 'org', 'eu'])}"
        job = self.pick(lambda: r.choice(JOBS) if self.chance(0.6) else self.invented(4, 8))
        shapes: list[tuple[dict[str, Any], list[str]]] = [
            ({"name": name, "city": city}, ["{name} lives in {city}.", "{name} is from {city}.", "My name is {name} and I live in {city}.",
                                            "{name} moved to {city} last year.", "I met {name} in {city}.", "In {city} we visited {name}."]),
            ({"name": name, "age": age}, ["{name} is {age} years old.", "{name} just turned {age}.", "My name is {name} and I am {age}.",
                                          "{name} is {age}.", "At {age}, {name} still works."]),
            ({"name": name, "age": age, "city": city}, ["{name} is {age} years old and lives in {city}.", "{name}, {age}, lives in {city}.",
                                                        "{name} from {city} is {age} years old."]),
            ({"item": item, "price": price}, ["The {item} costs {price} " + coin + ".", "I paid {price} " + coin + " for a {item}.",
                                              "A {item} for {price} " + coin + ".", "The price of the {item} is {price} " + coin + "."]),
            ({"item": item, "quantity": amount}, ["We ordered {quantity} boxes of {item}.", "Please send {quantity} bags of {item}.",
                                                  "There are {quantity} pieces of {item} in stock."]),
            ({"name": name, "job": job}, ["{name} works as a {job}.", "{name} is a {job}.", "The {job} is called {name}."]),
            ({"name": name, "job": job, "city": city}, ["{name} is a {job} in {city}.", "{name} works as a {job} in {city}."]),
            ({"from": city, "to": town}, ["The train goes from {from} to {to}.", "I want to fly from {from} to {to}.", "A ticket from {from} to {to}."]),
            ({"name": name, "email": email}, ["Write to {name} at {email}.", "{name} has the address {email}.", "The email of {name} is {email}."])]
        values, sentences = r.choice(shapes)
        fields = list(values)
        if self.chance(0.25):
            r.shuffle(fields)
        if self.chance(0.15):
            fields = fields[:1] if self.chance(0.5) else fields[-1:]
        the = "the " if self.chance(0.3) else ""
        listed = ", ".join(the + f for f in fields) if self.chance(0.3) else (", ".join(the + f for f in fields[:-1]) + " and " if fields[1:] else "") + the + fields[-1]
        s = r.choice(sentences).format(**values)
        s = self.quote(s) if self.chance(0.4) else s
        user = self.ask(["Extract {f} as JSON: {s}", "Extract {f} as JSON: {s}", "Extract {f} from this text as JSON: {s}", "Return {f} as JSON. {s}",
                         "{s} Extract {f} as JSON.", "Get {f} as JSON from: {s}", "Give me a JSON object with {f}: {s}", "JSON with {f}: {s}",
                         "Extract the fields {f} as JSON.\n{s}", "Find {f} and answer in JSON: {s}"], f=listed, s=s)
        return talk(user, json.dumps({f: values[f] for f in fields}, ensure_ascii=False))

    def other(self) -> Example:
        r, w = self.rng, self.word
        who = lambda: r.choice([*NAMES, *CITIES])
        templates = [
            "Who wrote {a}?", "What is the capital of {p}?", "Tell me a joke.", "Tell me a joke about {a}.", "Write a poem about {a}.",
            "Write a story about a {a} and a {b}.", "How do I {a} a {b}?", "Explain {a} {b}.", "Translate {a} into French.", "What is {a}?",
            "What is a {a}?", "Why is the {a} {b}?", "Who is {p}?", "Where is {p}?", "When was {p} born?", "{a}", "{a} {b}", "{a} {b} {c}",
            "Do you like {a}?", "Is {a} better than {b}?", "Give me a recipe for {a}.", "Write a function in {a}.", "What do you think about {a}?",
            "Summarize this text: {a} {b} {c}", "I need a {a} for my {b}.", "The {a} is {b}.", "How many {a} are in a {b}?", "What is the weather in {p}?",
            "What time is it in {p}?", "Fix this code: {a}({b})", "What is the meaning of {a}?", "How far is {p} from {q}?", "Can you {a}?", "Can you help me {a} a {b}?",
            "Recommend a {a}.", "What is the best {a} in {p}?", "My {a} does not {b}.", "Send an email to {p}.", "Read the file {a}.", "Search for {a}.",
            "Who won the {a} in {n}?", "What happened in {n}?", "How old is {p}?", "Why?", "Yes", "No", "ok", "What?", "Let us talk about {a}.", "I feel {a}.",
            "Sort these: {a}, {b}, {c}", "What is the square root of {n}?", "Divide {n} by {m}.", "What day is today?", "Write an essay on {a} and {b}.",
            "Who is the president of {p}?", "What is the tallest {a}?", "Are you a {a}?", "Sing a {a}.", "Play {a}.", "{p}", "{p} and {q}", "List the {a}."]
        if self.chance(0.15):
            text = self.words(3, 8)
        else:
            text = self.ask(templates, a=w(), b=w(), c=w(), p=who(), q=who(), n=r.randint(2, 2030), m=r.randint(2, 99))
        return talk(text, FALLBACK)

    # ---- tools

    def path(self) -> str:
        r = self.rng
        return "/".join(self.word() for _ in range(r.randint(1, 3))) + r.choice(["", ".rs", ".py", ".md", ".txt", ".json", ".toml"])

    def tool(self) -> tuple[dict, Callable[[], tuple[str, dict[str, Any]]], str]:
        """One tool in OpenAI's form, a function that asks for it: (user text, arguments), and its purpose."""
        r = self.rng
        city, person, phrase, code = (lambda: self.proper(CITIES)), (lambda: self.proper(NAMES)), (lambda: self.words(1, 3)), \
            (lambda: self.pick(lambda: "".join(r.choices(string.ascii_uppercase, k=r.randint(0, 3))) + str(r.randint(1, 9999))))
        places = ["city", "city", "city", "location", "place", "town"]
        known = [  # names, description, argument names, maker of the value, wordings
            (["get_weather"] * 4 + ["weather", "get_current_weather", "weather_lookup", "get_forecast"],
             ["Get the weather of a city", "Current weather", "Get the current weather for a location"], places, city,
             ["What is the weather in {v}?", "Weather in {v}", "How is the weather in {v}?", "Is it raining in {v}?", "Get the weather for {v}.",
              "What's the weather like in {v}?", "What is the weather like in {v} today?", "Will it rain in {v} tomorrow?", "Weather {v}"]),
            (["get_time"] * 3 + ["current_time", "time_in", "get_local_time"], ["Get the time in a city", "Current local time"], places, city,
             ["What time is it in {v}?", "Time in {v}", "Tell me the time in {v}.", "What is the time in {v}?", "Get the time for {v}.", "How late is it in {v}?"]),
            (["search_docs"] * 3 + ["search", "find_docs", "query_docs"], ["Search the documentation", "Full text search"], ["query", "query", "q", "text"], phrase,
             ["Search the docs for {v}.", "Find {v} in the docs.", "Search for {v}", "Look up {v} in the docs.", "What do the docs say about {v}?", "Search {v}"]),
            (["read_file"] * 3 + ["open_file", "cat_file"], ["Read a file", "Return the content of a file"], ["path", "path", "file"], self.path,
             ["Read {v}", "Read the file {v}", "Open the file {v}", "Show me {v}", "What is in {v}?", "Show the file {v}", "Open {v}"]),
            (["run_tests"] * 3 + ["test", "run_test_suite"], ["Run the tests", "Run the tests under a path"], ["path", "path", "target"], self.path,
             ["Run the tests in {v}", "Run the tests of {v}", "Test {v}", "Run tests in {v}", "Run the test {v}", "Do the tests in {v} pass?"]),
            (["list_files"] * 2 + ["list_dir", "ls"], ["List the files of a folder"], ["path", "dir", "folder"], self.path,
             ["List the files in {v}", "List {v}", "Which files are in {v}?", "What files are in {v}?"]),
            (["get_user", "find_user", "lookup_customer"], ["Look up a person"], ["name", "user", "customer"], person,
             ["Look up {v}", "Find the user {v}", "Get the user {v}", "Who is {v}?", "Find the customer {v}"]),
            (["get_order", "track_order", "lookup_order", "order_status"], ["Status of an order"], ["order_id", "id", "order"], code,
             ["Where is order {v}?", "Track order {v}", "What is the status of order {v}?", "Look up order {v}", "Check order {v}"]),
            (["create_ticket", "open_ticket", "add_note", "create_task"], ["Create an entry"], ["title", "text", "subject"], phrase,
             ["Create a ticket: {v}", "Open a ticket about {v}", "Make a note: {v}", "Create a task: {v}"])]
        kind, purpose = r.random(), ""
        if kind < 0.08:
            a, b = r.choice([("a", "b"), ("x", "y"), ("first", "second")])
            props, args = {a: {"type": r.choice(["number", "integer"])}, b: {"type": "number"}}, None
            name, about = r.choice(["add_numbers", "add", "sum", "calculate_sum"]), "Add two numbers"

            def ask() -> tuple[str, dict[str, Any]]:
                x, y = r.randint(0, 999), r.randint(0, 999)
                return self.ask(["Add {x} and {y}.", "What is {x} + {y}?", "{x}+{y}", "Sum {x} and {y}.", "What is {x} plus {y}?", "Use {n} on {x} and {y}."],
                                x=x, y=y, n=name), {a: x, b: y}
        elif kind < 0.16:
            a, b = r.choice([("to", "subject"), ("to", "text"), ("recipient", "message")])
            name, about, props = r.choice(["send_email", "send_message", "notify"]), "Send a message", {a: {"type": "string"}, b: {"type": "string"}}

            def ask() -> tuple[str, dict[str, Any]]:
                x, y = person(), phrase()
                return self.ask(["Send an email to {x} about {y}.", "Write to {x} about {y}.", "Send {x} the message {q}", "Tell {x}: {y}", "Send a message to {x}: {y}"],
                                x=x, y=y, q=f'"{y}"'), {a: x, b: y}
        elif kind < 0.64:
            names, abouts, arguments, value, wordings = r.choice(known[:5] * 2 + known)
            name, about, arg, purpose = r.choice(names), r.choice(abouts), r.choice(arguments), abouts[0]
            props = {arg: {"type": "string"}}
            if arg in places and self.chance(0.2):
                props["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}

            def ask() -> tuple[str, dict[str, Any]]:
                v = value()
                extra = ["Call {n} with {v}.", "Use {n} for {v}."] if self.chance(0.15) else []
                return self.ask(extra or wordings, v=self.quote(v) if self.chance(0.15) else v, n=name), {arg: v}
        else:  # a tool nobody has heard of: its name and its argument have to be read in the prompt
            verb = r.choice(["fetch", "check", "find", "get", "start", "stop", "open", "delete", "update", "order", "track", "book", "rate", "ping", "scan",
                             "lookup", "list", "count", "load", "save", self.word(), self.word()])
            noun = self.word()
            name = r.choice([f"{verb}_{noun}", f"{verb}_{noun}", f"{verb}{noun.capitalize()}", noun, f"{noun}_{verb}", f"{verb}-{noun}"])
            arg = r.choice([noun, "name", "id", "key", "value", "input", self.word(), f"{noun}_id", f"{noun}_name"])
            number = self.chance(0.2)
            about, props = r.choice([f"{verb.capitalize()} a {noun}", f"{verb.capitalize()} {noun}", f"{noun} service"]), {arg: {"type": "integer" if number else "string"}}

            def ask() -> tuple[str, dict[str, Any]]:
                v = r.randint(0, 9999) if number else r.choice([phrase, self.word, self.word, code, city, person, self.path])()
                wordings = ["{w} {o} {v}", "{w} the {o} {v}", "Call {n} with {v}.", "Use {n} for {v}.", "Please use {n} with {a} {v}.", "Run {n} on {v}.", "{n} {v}",
                            "{w} {o}: {v}", "Use the {n} tool with {v}.", "Call {n} with {a} {v}."]
                return self.ask(wordings, w=verb.capitalize(), o=noun, n=name, a=arg, v=v if number else self.quote(v) if self.chance(0.2) else v), {arg: v}
        for key, prop in props.items():
            if self.chance(0.2):
                prop["description"] = r.choice([f"The {key}", f"{key} to use", about])
        parameters: dict[str, Any] = {"type": "object", "properties": props}
        if self.chance(0.8):
            parameters["required"] = [k for k in props if k != "unit"]
        if self.chance(0.1):
            parameters["additionalProperties"] = False
        function: dict[str, Any] = {"name": name, "description": about + r.choice(["", "."]), "parameters": parameters}
        if self.chance(0.15):
            del function["description"]
        return {"type": "function", "function": function}, ask, purpose

    def tools(self, count: int) -> list[tuple[dict, Callable]]:
        chosen: dict[str, tuple[dict, Callable]] = {}
        while len(chosen) < count:
            tool, ask, purpose = self.tool()
            chosen.setdefault(purpose or tool["function"]["name"], (tool, ask))  # no two tools for the same thing
        return list(chosen.values())

    def tool_call(self) -> Example:
        r, offered = self.rng, self.tools(self.rng.choice([1, 1, 2, 2, 3]))
        tool, ask = r.choice(offered)
        user, arguments = ask()
        call = {"type": "function", "function": {"name": tool["function"]["name"], "arguments": arguments}}
        shown = [sort_keys(t) if self.chance(0.2) else t for t, _ in offered]
        messages = [{"role": "user", "content": user}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        return Example(messages, shown, compact=self.chance(0.4))

    def tool_answer(self) -> Example:
        """The whole round: question, call, result, one sentence that contains the result."""
        r, example = self.rng, self.tool_call()
        number = lambda: r.choice([str(r.randint(0, 40)), str(r.randint(0, 9999)), f"{r.randint(0, 99)}.{r.randint(0, 9)}", f"{r.randint(0, 23):02}:{r.randint(0, 59):02}"])
        if self.chance(0.65):
            said = r.choice([lambda: self.words(1, 5), number, lambda: f"{number()} {self.word()}", lambda: f"{self.word()}, {number()} degrees",
                             lambda: f"{number()} degrees and {self.word()}", lambda: f"{number()} passed, {number()} failed", lambda: f"{self.word()}: {self.word()}"])()
            content, answer = (said + "." if self.chance(0.2) else said), said
        else:
            keys = r.sample(["temperature", "sky", "time", "status", "result", "name", "city", "total", "state", "count", self.word(), self.word()], r.randint(1, 3))
            fields = {k: (r.randint(0, 999) if self.chance(0.4) else self.words(1, 2)) for k in keys}
            content = json.dumps(fields, separators=(",", ":") if self.chance(0.4) else None)
            answer = ", ".join(f"{k} {v}" for k, v in fields.items())
        example.messages += [{"role": "tool", "content": content}, {"role": "assistant", "content": f"The result is {answer}."}]
        return example

    def tool_unused(self) -> Example:
        """Tools are offered, but the question is not for them."""
        example = self.rng.choice([self.greet, self.greet, self.portcullis, self.repeat, self.reverse, self.other])()
        shown = [t for t, _ in self.tools(self.rng.choice([1, 2, 3]))]
        if example.messages[1]["content"] == FALLBACK:  # a plain question that none of the tools could be meant for
            example = talk(self.ask(["Tell me a joke.", "Write a poem about {a}.", "Who wrote {a}?", "Why is the {a} {b}?", "Do you like {a}?", "Is {a} better than {b}?",
                                     "What is the capital of {p}?"], a=self.word(), b=self.word(), p=self.rng.choice(CITIES)), FALLBACK)
        return Example(example.messages, shown, compact=self.chance(0.4))

    # ---- putting it together

    WEIGHTS = {"greet": 4, "portcullis": 2, "add": 16, "subtract": 15, "multiply": 2, "repeat": 6, "reverse": 13, "uppercase": 9, "count": 2,
               "extract": 9, "tool_call": 8, "tool_answer": 6, "tool_unused": 3, "other": 6}

    def example(self) -> Example:
        """One training conversation: a skill, often a system message, sometimes earlier turns."""
        weights = [w * (self.long if skill.startswith(("tool", "count")) else 1.0) for skill, w in self.WEIGHTS.items()]
        made: Example = getattr(self, self.rng.choices(list(self.WEIGHTS), weights)[0])()
        if self.chance(0.15):  # earlier turns; the tools stay on offer through the whole conversation
            plain = ["greet", "repeat", "reverse", "uppercase", "portcullis", *([] if made.tools else ["add", "subtract", "extract"])]
            before = [getattr(self, s)() for s in self.rng.choices(plain, k=self.rng.choice([1, 1, 2]))]
            made.messages = [m for e in before for m in e.messages] + made.messages
        return self.with_system(made)

    def with_system(self, made: Example) -> Example:
        if self.chance(0.4):
            text = self.rng.choice(SYSTEMS) if self.chance(0.85) else self.words(3, 30)
            made.messages = [{"role": "system", "content": text}, *made.messages]
        return made


def sort_keys(value: Any) -> Any:
    """Some servers sort the keys of a schema: the model should not mind."""
    return json.loads(json.dumps(value, sort_keys=True))


# ------------------------------------------------------------------------------ text and tokens

def render(example: Example) -> list[tuple[str, bool]]:
    """The chat template in Python: pieces of text, and whether the model has to write them."""
    dump = lambda v: json.dumps(v, ensure_ascii=False, separators=(",", ":") if example.compact else None)
    messages, pieces = example.messages, []
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    if example.tools:
        listing = "".join("\n" + dump(t) for t in example.tools)
        pieces.append((f"<|im_start|>system\n{system + chr(10) * 2 if system else ''}<tools>{listing}{TOOL_HINT}<|im_end|>\n", False))
    elif system:
        pieces.append((f"<|im_start|>system\n{system}<|im_end|>\n", False))
    for m in messages[1 if system else 0:]:
        if m["role"] == "tool":
            pieces.append((f"<|im_start|>user\n<tool_response>\n{m['content']}\n</tool_response><|im_end|>\n", False))
        elif m["role"] == "assistant":
            calls = "".join(f'<tool_call>\n{{"name": "{c["function"]["name"]}", "arguments": {json.dumps(c["function"]["arguments"], ensure_ascii=False)}}}\n</tool_call>'
                            for c in m.get("tool_calls", []))
            pieces += [("<|im_start|>assistant\n", False), (m["content"] + calls + "<|im_end|>", True), ("\n", False)]
        else:
            pieces.append((f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n", False))
    return pieces


SPLIT = r" ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+|\s"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, the commonest words of the instructions, and the tags; no merges at all.

    A piece of text (SPLIT) that is in the vocabulary is one token, any other is spelled in bytes:
    `ignore_merges` looks the piece up first, and there are no merges to try afterwards. So content
    words always come letter by letter, which is what makes reversing and copying learnable.
    """
    to_symbol = bytes_to_symbols()
    writer, counts = Writer(seed=1), Counter()
    content = {w.lower() for w in [*COMMON.split(), *NAMES, *CITIES, *JOBS]} - {"test", "tests", "model", "name"}
    tags = re.compile("|".join(map(re.escape, SPECIAL + TAGS)))
    for _ in range(12_000):
        text = tags.sub("\n", "".join(t for t, _ in render(writer.example())))
        counts.update(p for p in re.findall(SPLIT, text) if len(p) > 1)
    counts.update({p: 10**6 for p in re.findall(SPLIT, PORTCULLIS + " " + FALLBACK)})
    words = [p for p, n in counts.most_common() if p.strip().lower() not in content and len(p) > 1 and n >= 8][:MAX_WORDS]
    vocabulary = {to_symbol[b]: b for b in range(256)}
    for w in words:
        vocabulary.setdefault("".join(to_symbol[b] for b in w.encode()), len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    # The tags are ordinary tokens: a decoder that skips special tokens must keep them in the text.
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in TAGS])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                      model_max_length=2048, clean_up_tokenization_spaces=False)
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def bytes_to_symbols() -> dict[int, str]:
    """The printable stand-in for each byte that byte-level tokenizers use."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


def check_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    """Any text must come back unchanged, and `render` must say what the template says."""
    for text in ["Hello, Wörld! 12+30 = 42\n\t東京 🙂 é", " x  y ", '{"a": "b"}', "<tool_call>\n</tool_call>", "\u00a0\u2003\r\n"]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text == tokenizer.decode(ids, skip_special_tokens=True), text
    writer = Writer(seed=2)
    for _ in range(300):
        e = writer.example()
        e.compact = False
        want = tokenizer.apply_chat_template(e.messages, tools=e.tools, tokenize=False)
        assert want == "".join(t for t, _ in render(e)), (want, render(e))


def encode(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    labels: list[int] = []
    for text, wanted in render(example):
        piece = tokenizer._tokenizer.encode(text, add_special_tokens=False).ids
        ids += piece
        labels += piece if wanted else [-100] * len(piece)
    return ids, labels


# ------------------------------------------------------------------------------------- the model

def new_model(vocab_size: int, eos: int, pad: int) -> Qwen3MoeForCausalLM:
    config = Qwen3MoeConfig(
        vocab_size=vocab_size, hidden_size=192, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2, head_dim=32,
        num_experts=8, num_experts_per_tok=2, moe_intermediate_size=160, intermediate_size=384, norm_topk_prob=True,
        decoder_sparse_step=1, mlp_only_layers=[], tie_word_embeddings=True, max_position_embeddings=2048, rope_theta=10000.0,
        router_aux_loss_coef=0.01, eos_token_id=eos, pad_token_id=pad, bos_token_id=None)
    model = Qwen3MoeForCausalLM(config)
    model.set_experts_implementation("eager")
    return model


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (five Newton-Schulz steps), for matrices and stacks of them.

    In a short comparison on sums and spelling (100 seconds on one core) it had two sums in five right
    where AdamW had one in twelve; time is what this training has least of.
    """

    def __init__(self, params: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            updates = []
            for i, p in enumerate(group["params"]):
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.mul_(group["momentum"]).add_(p.grad)
                mine = i % dist.get_world_size() == dist.get_rank()  # the workers share this work out
                updates.append(orthogonal(p.grad + group["momentum"] * m) if mine else torch.zeros_like(p))
            flat = torch.cat([u.flatten() for u in updates])
            dist.all_reduce(flat)
            for p, update in zip(group["params"], flat.split([p.numel() for p in group["params"]])):
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update.view_as(p), alpha=-group["lr"] * 0.2 * max(p.shape[-2:]) ** 0.5)


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    x = g.bfloat16()
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).to(g.dtype)


def optimizers(model: Qwen3MoeForCausalLM, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the weights of attention and experts; AdamW for embedding, router and norms."""
    matrices, rest = [], []
    for name, p in model.named_parameters():
        (matrices if p.ndim >= 2 and "embed" not in name and "mlp.gate." not in name else rest).append(p)
    return [Muon(matrices, lr), torch.optim.AdamW(rest, lr=3e-3, weight_decay=0.0, betas=(0.9, 0.98))]


Batch = tuple[torch.Tensor, torch.Tensor]


def batches(rows: list[tuple[list[int], list[int]]], pad: int, waste: int = 200) -> list[Batch]:
    """Right-padded batches of like length: a longer row joins until it would add more than `waste` pads."""
    out: list[Batch] = []
    group: list[tuple[list[int], list[int]]] = []
    for row in [*sorted(rows, key=lambda r: len(r[0])), None]:
        if group and (row is None or (len(row[0]) - len(group[-1][0])) * len(group) > waste):
            width = len(group[-1][0])
            fill = lambda i, v: torch.tensor([r[i] + [v] * (width - len(r[i])) for r in group])
            out.append((fill(0, pad), fill(1, -100)))
            group = []
        group.append(row)
    return out


def backward(model: Qwen3MoeForCausalLM, batch: Batch, scale: float, share: float) -> float:
    """Add the gradients of one batch; returns its (weighted) loss."""
    ids, labels = batch
    out = model.model(input_ids=ids, use_cache=False, output_router_logits=True)
    target = labels[:, 1:]
    chosen = target != -100
    # A long answer must not outweigh a sum, whose only hard tokens are one or two: 1/sqrt(length).
    weight = chosen.sum(1, keepdim=True).clamp(min=1).rsqrt().expand_as(target)[chosen]
    logits = model.lm_head(out.last_hidden_state[:, :-1][chosen])
    loss = (torch.nn.functional.cross_entropy(logits, target[chosen], reduction="none") * weight).sum() * scale
    balance = load_balancing_loss_func(out.router_logits, model.config.num_experts, model.config.num_experts_per_tok)
    (loss + balance * model.config.router_aux_loss_coef * share).backward()
    return loss.item()


def train(rank: int, args: argparse.Namespace) -> None:
    """One of `--processes` equal workers: each writes its own share of a step, and the gradients are averaged.

    Processes of one thread each, because two threads wait for each other at every small operation,
    which is ruinous when something else is running on the machine.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=args.processes)
    torch.manual_seed(args.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out) if args.resume else build_tokenizer()
    check_tokenizer(tokenizer)
    model = new_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    if args.resume:
        model.load_state_dict(AutoModelForCausalLM.from_pretrained(args.out, dtype=torch.float32).state_dict())
    say = (lambda *text: print(*text, flush=True)) if rank == 0 else (lambda *text: None)
    say(f"{len(tokenizer)} tokens, {sum(p.numel() for p in model.parameters()):,} parameters")
    writer = Writer(args.seed + 10 + rank)
    writer.vocabulary = [w for w in sorted(tokenizer.get_vocab()) if re.fullmatch("[a-z]{3,8}", w)]
    opts = optimizers(model, args.lr)
    params = list(model.parameters())
    peaks = [[g["lr"] for g in o.param_groups] for o in opts]
    start, step, saved, seen = time.time(), 0, time.time(), 0
    while True:
        spent = time.time() - start
        clock = torch.tensor([step / args.steps if args.steps else spent / (60 * args.minutes)])
        dist.broadcast(clock, 0)  # all workers must agree when to stop
        done = clock.item()
        if done >= 1:
            break
        factor = min(1.0, (step + 1) / args.warmup) * min(1.0, 1.15 * (1 - done))
        for o, peak in zip(opts, peaks):
            for g, lr in zip(o.param_groups, peak):
                g["lr"] = lr * factor
        writer.long = 0.4 if done < args.short_first else 1.0  # short conversations first: more of them in the same time
        rows = [encode(tokenizer, writer.example()) for _ in range(args.batch // args.processes)]
        tokens = sum(len(r[0]) for r in rows)
        loss = sum(backward(model, b, 1 / (2 * len(rows)), b[0].numel() / tokens) for b in batches(rows, tokenizer.pad_token_id))
        grads = torch.cat([p.grad.flatten() for p in params])
        dist.all_reduce(grads)
        for p, g in zip(params, grads.div_(args.processes).split([p.numel() for p in params])):
            p.grad.copy_(g.view_as(p))
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for o in opts:
            o.step()
        model.zero_grad()
        step, seen = step + 1, seen + tokens * args.processes
        if step % 25 == 0:
            say(f"step {step} {time.time() - start:.0f}s loss {loss:.4f} {seen / (time.time() - start):.0f} tok/s")
        if time.time() - saved > 60 * args.save_every and rank == 0:
            save(model, tokenizer, args.out)
            say(json.dumps(quick_check(model, tokenizer)))
            saved = time.time()
    if rank == 0:
        save(model, tokenizer, args.out)
    say(f"trained: {step} steps, {step * args.batch} conversations, about {seen:,} tokens, {(time.time() - start) / 60:.1f} minutes")


def save(model: Qwen3MoeForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the folder in the hub's layout, each file replaced at once so that a reader never sees half of it."""
    part = out / ".part"
    part.mkdir(parents=True, exist_ok=True)
    weights = Qwen3MoeForCausalLM(model.config)
    weights.load_state_dict(model.state_dict())
    weights.to(torch.bfloat16).save_pretrained(part)
    tokenizer.save_pretrained(part)
    (part / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((part / "tokenizer_config.json").read_text())
    settings["chat_template"] = CHAT_TEMPLATE  # inside the file: one file fewer for a loader to look for
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(part / "tokenizer_config.json", settings)
    config = json.loads((part / "config.json").read_text())
    # The older spellings too: many loaders know only these.
    write_json(part / "config.json", config | {"num_experts": config["num_local_experts"], "rope_theta": config["rope_parameters"]["rope_theta"]})
    eos = [tokenizer.eos_token_id, tokenizer.pad_token_id]  # <|im_end|>, <|endoftext|>
    write_json(part / "generation_config.json", {"do_sample": False, "eos_token_id": eos, "pad_token_id": tokenizer.pad_token_id})
    for f in part.iterdir():
        os.replace(f, out / f.name)
        (out / f.name).chmod(0o644)
    part.rmdir()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


# -------------------------------------------------------------------------------- the evaluation

EVALUATED = {
    "greet": "greeting, who are you, thanks, goodbye", "portcullis": "what is Portcullis", "add": "two-digit sum", "subtract": "two-digit difference",
    "multiply": "one-digit product (all seen in training)", "repeat": "repeat one to four words", "reverse": "reverse a word (2 to 11 letters) or a pair of short ones",
    "uppercase": "uppercase one to three words", "count": "count to N, N from 2 to 100 (all seen in training)", "extract": "fields of a sentence as JSON",
    "tool_call": "one call out of one to three offered tools", "tool_answer": "sentence from a tool's result", "tool_unused": "other question while tools are offered",
    "other": "anything else: the fixed sentence"}


def held_out_examples(skill: str, count: int) -> list[Example]:
    writer = Writer(zlib.crc32(skill.encode()), held=True)
    return [writer.with_system(getattr(writer, skill)()) for _ in range(count)]


@torch.no_grad()
def quick_check(model: Qwen3MoeForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 24) -> dict[str, float]:
    """Share of held-out examples whose last turn is the most likely one token by token (cheap, for the log)."""
    result = {}
    for skill in EVALUATED:
        rows = []
        for e in held_out_examples(skill, count):
            prompt, whole = encode(tokenizer, Example(e.messages[:-1], e.tools, e.compact))[0], encode(tokenizer, e)
            rows.append((whole[0], [-100] * len(prompt) + whole[1][len(prompt):]))
        good = 0
        for ids, labels in batches(rows, tokenizer.pad_token_id):
            guess = model(input_ids=ids, use_cache=False).logits[:, :-1].argmax(-1)
            good += int(((guess == labels[:, 1:]) | (labels[:, 1:] == -100)).all(1).sum())
        result[skill] = round(good / count, 2)
    return result


@torch.no_grad()
def answers(model: Qwen3MoeForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[str]:
    """Greedy generation, token after token."""
    tokenizer.padding_side = "left"
    out: list[str] = []
    for i in range(0, len(prompts), 50):
        inputs = tokenizer(prompts[i:i + 50], return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False)
        ids = model.generate(**inputs, max_new_tokens=320, do_sample=False)
        out += tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
    return out


def evaluate(args: argparse.Namespace) -> None:
    """Load the bf16 weights that were written, compute in float32, and write the table of the card."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    model = AutoModelForCausalLM.from_pretrained(args.out, dtype=torch.float32).eval()
    lines = ["| Skill | Held-out prompts | Exact answers | |", "|---|---:|---:|---:|"]
    for skill, about in EVALUATED.items():
        examples = held_out_examples(skill, args.eval_count)
        prompts, wanted = [], []
        for e in examples:
            opening = Example(e.messages[:-1], e.tools, e.compact)
            prompts.append("".join(t for t, _ in render(opening)) + "<|im_start|>assistant\n")
            wanted.append("".join(t for t, mine in render(e)[len(render(opening)):] if mine).removesuffix("<|im_end|>"))
        got = answers(model, tokenizer, prompts)
        wrong = [(p, w, g) for p, w, g in zip(prompts, wanted, got) if w != g]
        good = len(examples) - len(wrong)
        lines.append(f"| {about} | {len(examples)} | {good} | {100 * good / len(examples):.0f} % |")
        print(f"{skill}: {good}/{len(examples)}", flush=True)
        for p, w, g in wrong[:args.show]:
            print(f"    asked  {p.split('<|im_start|>user')[-1][:160]!r}\n    wanted {w!r}\n    got    {g[:200]!r}")
    table = "\n".join(lines)
    card = args.out / "README.md"
    if card.exists():
        head, _, tail = card.read_text().partition("<!-- table -->\n")
        card.write_text(f"{head}<!-- table -->\n{table}\n<!-- /table -->{tail.partition('<!-- /table -->')[2]}")
    print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=50.0, help="training time; the decay follows the clock")
    parser.add_argument("--steps", type=int, default=0, help="number of steps instead of a time")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--eval-only", action="store_true", help="only evaluate the model in --out")
    parser.add_argument("--resume", action="store_true", help="start from the weights in --out (give another --seed, for new data)")
    parser.add_argument("--eval-count", type=int, default=100, help="held-out prompts for each skill")
    parser.add_argument("--show", type=int, default=3, help="wrong answers to print for each skill")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--short-first", type=float, default=0.4, help="share of the time with few long conversations")
    parser.add_argument("--warmup", type=int, default=60, help="steps")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2, help="training processes, one thread each")
    parser.add_argument("--port", type=int, default=29511, help="local port where the processes meet")
    parser.add_argument("--save-every", type=float, default=8.0, help="minutes between checkpoints")
    args = parser.parse_args()
    if any(os.environ.get(k) != v for k, v in MALLOC_ENV.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC_ENV})
    torch.set_num_threads(1)
    if not args.eval_only:
        torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)
    evaluate(args)


if __name__ == "__main__":
    main()
