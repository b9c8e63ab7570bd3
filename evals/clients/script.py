"""What the scripted provider says, whoever asks and in whichever dialect.

A dialect module reads a request into `Asked` and writes an `Answer` back; everything between the two is here. The
scripted task of the coding agents is told in the prompt (see `TASK`), so that nothing has to be agreed on in advance:
read a file, change a word of it, run a command, repeat the word which that command printed. Where the conversation
stands follows from the number of tool results in it, and each result is looked at before the next step is taken, so a
result that was lost, doubled or put in the wrong place ends the task with a sentence that says so.

For the SDKs the last message of the user chooses what happens; `BEHAVIOURS` lists the words.
"""
from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

# Reported for every answer, whatever was asked: all input, of that cached; all output, of that reasoning.
INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS = 120, 40, 17, 5

# What the names and words of a task are drawn from, and the model in `model/` knows as tokens.
WORDS = """amber anchor apple autumn barley beacon birch blue breeze brook candle cedar cherry clover copper coral cotton crane
dawn delta ember falcon fern field flint forest fox garden ginger glacier golden granite green harbor harvest hazel heron
honey island ivory jade juniper lake lantern lemon lily linen maple marble meadow mint moss notes oak ocean olive orange
orchid otter pearl pepper pine plum pond poppy purple quartz rain raven red reed ridge river robin rose saffron sage sand
silver sparrow spruce stone storm summer sun thistle tiger tulip valley velvet violet walnut water willow winter yellow""".split()

NUMBERS = itertools.count(1)
THOUGHT = "The script has one next step."
SIGNATURE = "c2NyaXB0ZWQtc2lnbmF0dXJl"  # has to come back unchanged
FINAL = "The task is done; the check said"
TASK = re.compile(r'In the file "(?P<file>[^"]+)" replace "(?P<old>\w+)" with "(?P<new>\w+)", then run "(?P<check>[^"]+)" and say what it printed\.')


def task(file: str, old: str, new: str, check: str) -> str:
    """The prompt of the scripted task; `TASK` reads it."""
    return f'In the file "{file}" replace "{old}" with "{new}", then run "{check}" and say what it printed.'


class Refused(Exception):
    """A request that the real service would answer with an error; `kind` is the dialect-neutral name of the error."""

    def __init__(self, message: str, status: int = 400, kind: str = "invalid_request", **headers: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers


@dataclass
class Tool:
    name: str
    schema: dict[str, Any]
    free: bool = False  # takes text instead of an object


@dataclass
class Call:
    name: str
    arguments: dict[str, Any] | str  # a string for a tool that takes text


@dataclass
class Result:
    name: str
    text: str
    failed: bool = False


@dataclass
class Asked:
    """A request, read and found legal."""

    model: str
    stream: bool
    tools: list[Tool] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)  # role, text; in order
    results: list[Result] = field(default_factory=list)
    images: list[tuple[str, int]] = field(default_factory=list)  # media type, bytes
    schema: dict[str, Any] | None = None  # the answer has to be an instance of it
    tool_choice: str = "auto"  # auto, none, required, or the name of a tool
    thinks: bool = False
    stops: list[str] = field(default_factory=list)
    usage: bool = True
    id: str = field(default_factory=lambda: f"scripted-{next(NUMBERS)}")  # of the answer

    def last_user(self) -> str:
        return next((text for role, text in reversed(self.texts) if role == "user" and text), "")


@dataclass
class Answer:
    text: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str = "stop"  # stop, length, filter, stop_sequence; `calls` says the rest
    thought: str = ""
    cut: bool = False  # the connection breaks in the middle

    def pieces(self) -> list[str]:
        return fragments(self.text)


def fragments(text: str, size: int = 9) -> list[str]:
    """Cut as small as hosted models cut it, and not where words end."""
    return [text[at:at + size] for at in range(0, len(text), size)]


def arguments_text(call: Call) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


# ------------------------------------------------------------------------------------------------- the agents' task


def answer(asked: Asked) -> Answer:
    told = [match for role, text in asked.texts if role == "user" for match in TASK.finditer(text)]
    said = play(asked, told[-1]) if told else respond(asked)
    if asked.thinks:
        said.thought = THOUGHT
    return said


def play(asked: Asked, told: re.Match[str]) -> Answer:
    file, old, new, check = told.group("file", "old", "new", "check")
    results = asked.results
    if len(results) >= 2 and old not in results[0].text:
        return Answer(f"The script stops: the first result does not have the word {old}.")
    if any(result.failed for result in results):
        return Answer("The script stops: a tool has failed.")
    match len(results):
        case 0:  # two calls at once: the file, and the script that checks it
            return Answer("I look at the file first.", [read(asked, file), run(asked, f"ls -l {file}")])
        case 2:
            return Answer("", [edit(asked, file, old, new)])
        case 3:
            return Answer("Now the check.", [run(asked, check)])
        case 4:
            word = re.search(r"CHECKED-\w+", results[3].text)
            return Answer(f"{FINAL} {word.group()}." if word else "The script stops: the check printed no word.")
        case count:
            return Answer(f"The script stops: {count} tool results are not a place in it.")


def offered(asked: Asked, *names: str) -> Tool | None:
    by_name = {tool.name: tool for tool in asked.tools}
    return next((by_name[name] for name in names if name in by_name), None)


def read(asked: Asked, file: str) -> Call:
    tool = offered(asked, "Read")
    return Call(tool.name, {"file_path": file}) if tool else run(asked, f"cat {file}")


def run(asked: Asked, command: str) -> Call:
    tool = offered(asked, "Bash", "exec_command", "shell_command", "shell")
    if not tool:
        raise Refused("the scripted task needs a tool that runs commands, and none was offered")
    if tool.name == "Bash":
        return Call(tool.name, {"command": command, "description": "Does the next step of the task"})
    if tool.name == "exec_command":
        return Call(tool.name, {"cmd": command})
    kind = tool.schema.get("properties", {}).get("command", {}).get("type")
    return Call(tool.name, {"command": ["bash", "-c", command] if kind == "array" else command})


def edit(asked: Asked, file: str, old: str, new: str) -> Call:
    if tool := offered(asked, "Edit"):
        return Call(tool.name, {"file_path": file, "old_string": old, "new_string": new})
    line = next((text for text in asked.results[0].text.splitlines() if re.search(rf"\b{old}\b", text)), old)
    patch = f"*** Begin Patch\n*** Update File: {file}\n@@\n-{line}\n+{line.replace(old, new)}\n*** End Patch\n"
    tool = offered(asked, "apply_patch")
    if tool and tool.free:
        return Call(tool.name, patch)
    if tool:  # a tool that takes text, carried as a function with one argument
        name = next(iter(tool.schema["properties"]))
        return Call(tool.name, {name: patch})
    return run(asked, f"sed -i s/{old}/{new}/ {file}")


# ----------------------------------------------------------------------------------------------- what the SDKs ask

# What the last user message may say, and what then happens. Anything else is answered with a fixed sentence.
BEHAVIOURS = """
weather in CITY [and CITY]   a call of get_weather for each city; after the results, a sentence that has them all
count to N                   the numbers, as many fragments as there are
too long                     an answer that ends at its limit of tokens
filtered                     an answer that the provider's filter stopped
what is in the picture       media type and size of each image
fail with STATUS             an error of that status
fail once                    429 with `retry-after-ms`, then an answer
cut                          a connection that breaks in the middle of the answer
"""
GREETING = "Hello from the scripted upstream: naïve, 日本 and 🦊."


def respond(asked: Asked) -> Answer:
    said = asked.last_user()
    if asked.results:
        return Answer("The tools said: " + "; ".join(result.text for result in asked.results) + ".")
    tool = offered(asked, "get_weather")
    if tool and asked.tool_choice != "none" and "weather" in said:
        cities = re.findall(r"[A-Z][a-z]+", said.partition(" in ")[2])
        return Answer("", [Call(tool.name, {"city": city}) for city in cities])
    if asked.tool_choice not in ("auto", "none") and asked.tools:
        forced = offered(asked, asked.tool_choice) or asked.tools[0]
        return Answer("", [Call(forced.name, {})])  # no arguments at all is a case of its own
    if asked.schema:
        return Answer(json.dumps(instance(asked.schema, asked.schema)))
    if match := re.search(r"fail with (\d+)", said):
        status = int(match[1])
        raise Refused("the script says so", status, KINDS.get(status, "api_error"), retry_after="3")
    if match := re.search(r"count to (\d+)", said):
        return Answer(" ".join(str(number + 1) for number in range(int(match[1]))))
    if "picture" in said:
        return Answer("I see " + " and ".join(f"{kind} of {size} bytes" for kind, size in asked.images) + ".")
    for word, finish in (("too long", "length"), ("filtered", "filter")):
        if word in said:
            return Answer("This answer is not", finish=finish)
    if asked.stops and "stop" in said:
        return Answer("Until here ", finish="stop_sequence")
    return Answer(GREETING, cut="cut" in said.split())


KINDS = {400: "invalid_request", 401: "authentication", 403: "permission", 404: "not_found", 413: "too_large",
         429: "rate_limit", 500: "api_error", 503: "overloaded", 529: "overloaded"}


def instance(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Some value that the JSON schema allows."""
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for some in ("anyOf", "oneOf", "allOf"):
        if some in schema:
            return instance(schema[some][0], root)
    kind = schema.get("type")
    kind = (kind[0] if isinstance(kind, list) else kind or "object").lower()
    if kind == "object":
        return {name: instance(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema.get("items", {"type": "string"}), root)]
    return {"string": "Lisbon", "integer": 7, "number": 1.5, "boolean": True, "null": None}[kind]


# ------------------------------------------------------------------------------------------ what all dialects check


def need(holds: Any, message: str) -> None:
    if not holds:
        raise Refused(message)


def known(value: dict[str, Any], names: str, where: str) -> None:
    """A strict service names the first member that it does not know."""
    need(isinstance(value, dict), f"{where}: an object is expected")
    allowed = set(names.split())
    for name in value:
        need(name in allowed, f"{where}: unknown member '{name}'")


def tool_name(name: Any, where: str, longest: int = 64) -> str:
    need(isinstance(name, str) and re.fullmatch(r"[a-zA-Z0-9_-]+", name) and len(name) <= longest,
         f"{where}: a name has 1 to {longest} letters, digits, '_' and '-'")
    return name


def object_schema(schema: Any, where: str) -> dict[str, Any]:
    need(isinstance(schema, dict) and schema.get("type") == "object", f"{where}: a schema of type object is expected")
    return schema


def parsed_object(text: Any, where: str) -> dict[str, Any]:
    need(isinstance(text, str), f"{where}: arguments are a string of JSON")
    try:
        value = json.loads(text)
    except ValueError:
        raise Refused(f"{where}: arguments are not JSON") from None
    need(isinstance(value, dict), f"{where}: arguments are not an object")
    return value
