#!/usr/bin/env python3
"""Writes demo.jsonl: held-out prompts over the demo model's skills.

"Held out" is the rule of engine/models/demo/train.py: a word, a pair of numbers or a combination of phrases whose
CRC-32 is divisible by ten is never trained on. The wordings around it are those of the training. The suite is
committed, so that a result stays comparable; run this only to change it.
"""
import itertools
import json
import random
import re
import zlib
from pathlib import Path
from typing import Any

RNG = random.Random(20260901)
WHO = "I am the Portcullis demo model, a very small language model."
HELP = "How can I help you?"
ABOUT = "Portcullis is the one door through which a company's agents reach language models."


def held_out(key: str) -> bool:
    return zlib.crc32(key.lower().encode()) % 10 == 0


def word(low: int, high: int) -> str:
    """An invented word of consonants and vowels that is on the evaluation's side."""
    while True:
        size = RNG.randint(low, high)
        word = "".join(RNG.choice("bdfgklmnprstvz") + RNG.choice("aeiou") for _ in range(size // 2 + 1))[:size]
        if held_out(word):
            return word


def phrases(*parts: list[str]) -> list[str]:
    """The held-out combinations of the parts, shuffled."""
    joined = (" ".join(filter(None, row)) for row in itertools.product(*parts))
    out = [text for text in joined if held_out(re.sub(r"\W+", " ", text).strip())]
    RNG.shuffle(out)
    return out


def pairs(sign: str, count: int) -> list[tuple[int, int]]:
    out = [(a, b) for a in range(10, 100) for b in range(10, 100)
           if held_out(f"{a}{sign}{b}") and (sign == "+" or a > b)]
    return RNG.sample(out, count)


class Suite:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}

    def add(self, skill: str, asked: str | list[dict], target: dict[str, Any], tools: list[dict] | None = None) -> None:
        self.counts[skill] = self.counts.get(skill, 0) + 1
        sample = {"id": f"{skill.replace(' ', '-')}-{self.counts[skill]:02}", "skill": skill,
                  "messages": asked if isinstance(asked, list) else [{"role": "user", "content": asked}]}
        if tools:
            sample["tools"] = tools
        self.lines.append(json.dumps({**sample, "target": target}, ensure_ascii=False))


def tool(name: str, about: str, argument: str) -> dict:
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


WEATHER = tool("get_weather", "Get the weather of a city", "city")
TIME = tool("get_time", "Get the time in a city", "city")
SEARCH = tool("search_docs", "Search the documentation", "query")
READ = tool("read_file", "Read a file", "path")


def talk(suite: Suite) -> None:
    names = ["there", "friend", "again", "everyone", "my friend", "Maria", "Peter", "Nina", "Hugo", "Clara", "Felix"]
    for text in phrases(["Hi", "Hello", "Hey"], names, ["", "!", "."])[:3]:
        suite.add("greeting", text, {"exact": f"Hello! {HELP}"})
    for text in phrases(["Good morning", "Good evening"], names, ["", "!"])[:2]:
        suite.add("greeting", text, {"exact": f"{' '.join(text.split()[:2])}! {HELP}"})
    for text in phrases(["Tell me,", "Please tell me", "So", "Hi,"], ["who are you", "what is your name"], ["?", "exactly?"])[:1]:
        suite.add("greeting", text, {"exact": WHO})
    for text in phrases(["", "So", "Hi,", "Please"], ["what is", "explain", "describe", "tell me about"],
                        ["Portcullis", "the Portcullis gateway", "this Portcullis"],
                        ["", "in one sentence", "briefly"], ["", "?", "."])[:6]:
        suite.add("about", text, {"exact": ABOUT})


def numbers(suite: Suite) -> None:
    for ask, (a, b) in zip(itertools.cycle(["What is {a} + {b}?", "{a} + {b}", "Add {a} and {b}.", "{a} plus {b}"]), pairs("+", 8)):
        suite.add("addition", ask.format(a=a, b=b), {"exact": f"{a} + {b} = {a + b}"})
    for ask, (a, b) in zip(itertools.cycle(["What is {a} - {b}?", "{a} minus {b}", "Subtract {b} from {a}."]), pairs("-", 6)):
        suite.add("subtraction", ask.format(a=a, b=b), {"exact": f"{a} - {b} = {a - b}"})


def letters(suite: Suite) -> None:
    for ask in ["Repeat: {}", "Say {}.", "Echo {}", "Repeat after me: {}", "Repeat this: {}", "Say: {}"]:
        x = " ".join(word(3, 7) for _ in range(RNG.randint(1, 3)))
        suite.add("repeat", ask.format(x), {"exact": x})
    for ask in ["Reverse {}", "Reverse: {}", "Reverse the word {}.", "Spell {} backwards.", "What is {} backwards?",
                "Write {} in reverse.", "Reverse the letters of {}.", "Can you reverse {}?"]:
        x = word(4, 7)
        suite.add("reverse", ask.format(x), {"exact": x[::-1]})
    for ask in ["Uppercase {}", "Make {} uppercase.", "Write {} in upper case.", "Put {} in capitals.",
                "Convert {} to uppercase.", "{} in uppercase"]:
        x = " ".join(word(3, 7) for _ in range(RNG.randint(1, 2)))
        suite.add("uppercase", ask.format(x), {"exact": x.upper()})


def extraction(suite: Suite) -> None:
    shapes: list[tuple[str, list[str]]] = [
        ("{name} lives in {city}.", ["name", "city"]), ("{name} is {age} years old.", ["name", "age"]),
        ("{name}, {age}, lives in {city}.", ["name", "age", "city"]), ("The {item} costs {price} euros.", ["item", "price"])]
    for i in range(8):
        sentence, fields = shapes[i % len(shapes)]
        values: dict[str, Any] = {"name": word(4, 7).capitalize(), "city": word(4, 8).capitalize(), "item": word(3, 7),
                                  "age": RNG.randint(18, 80), "price": RNG.randint(2, 400)}
        listed = ", ".join(fields[:-1]) + " and " + fields[-1]
        ask = ["Extract {f} as JSON: {s}", "Return {f} as JSON. {s}"][i // 4]
        suite.add("extraction", ask.format(f=listed, s=sentence.format(**values)),
                  {"json_equal": {field: values[field] for field in fields}})


def tools(suite: Suite) -> None:
    city = [word(4, 8).capitalize() for _ in range(4)]
    asked = [
        (f"What is the weather in {city[0]}?", WEATHER, {"city": city[0]}, [WEATHER]),
        (f"Weather in {city[1]}", WEATHER, {"city": city[1]}, [WEATHER, TIME]),
        (f"What time is it in {city[2]}?", TIME, {"city": city[2]}, [WEATHER, TIME]),
        (f"Time in {city[3]}", TIME, {"city": city[3]}, [SEARCH, TIME])]
    for _ in range(2):
        query, path = word(4, 7), f"{word(3, 6)}/{word(3, 6)}.rs"
        asked += [(f"Search the docs for {query}.", SEARCH, {"query": query}, [READ, SEARCH]),
                  (f"Read the file {path}", READ, {"path": path}, [READ, SEARCH])]
    for question, wanted, arguments, offered in asked:
        target = {"name": wanted["function"]["name"], "arguments": arguments}
        suite.add("tool call", question, {"tool_call": target}, offered)
    for question, wanted, arguments, offered in asked[:4]:
        result = f"{RNG.randint(0, 40)} degrees and {word(4, 6)}" if wanted is WEATHER else f"{RNG.randint(0, 23):02}:{RNG.randint(0, 59):02}"
        call = {"id": "call_1", "type": "function",
                "function": {"name": wanted["function"]["name"], "arguments": json.dumps(arguments)}}
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": result}]
        suite.add("tool answer", messages, {"contains": result}, offered)


if __name__ == "__main__":
    suite = Suite()
    for part in (talk, numbers, letters, extraction, tools):
        part(suite)
    Path(__file__).with_suffix(".jsonl").write_text("\n".join(suite.lines) + "\n")
    print(sum(suite.counts.values()), suite.counts)
