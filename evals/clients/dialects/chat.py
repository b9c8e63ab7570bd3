"""OpenAI chat completions, and the embeddings that live beside them."""
from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from script import (CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS, Answer, Asked, Refused, Result, Tool,
                    arguments_text, fragments, known, need, object_schema, parsed_object, tool_name)

REQUEST = """model messages stream stream_options tools tool_choice parallel_tool_calls response_format temperature top_p n stop
max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias logprobs top_logprobs user seed store metadata
service_tier reasoning_effort verbosity modalities audio prediction web_search_options safety_identifier prompt_cache_key
prompt_cache_retention functions function_call"""
USAGE = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
         "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS, "audio_tokens": 0},
         "completion_tokens_details": {"reasoning_tokens": REASONING_TOKENS, "audio_tokens": 0,
                                       "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}


def read(body: dict[str, Any], headers: dict[str, str], _: str) -> Asked:
    known(body, REQUEST, "body")
    need(isinstance(body.get("model"), str), "you must provide a model parameter")
    need(isinstance(body.get("messages"), list) and body["messages"], "messages: at least one is needed")
    need("stream_options" not in body or body.get("stream"), "stream_options is only allowed when stream is enabled")
    asked = Asked(body["model"], bool(body.get("stream")), usage=bool((body.get("stream_options") or {}).get("include_usage")))
    asked.tools = [read_tool(tool, f"tools[{at}]") for at, tool in enumerate(body.get("tools") or [])]
    need("tools" not in body or asked.tools, "tools: an empty list is not allowed")
    need(asked.tools or not body.get("tool_choice"), "tool_choice is only allowed when tools are specified")
    need(asked.tools or "parallel_tool_calls" not in body, "parallel_tool_calls is only allowed when tools are specified")
    asked.tool_choice = read_choice(body.get("tool_choice") or "auto", asked)
    stop = body.get("stop") or []
    asked.stops = [stop] if isinstance(stop, str) else stop
    need(len(asked.stops) <= 4, "stop: at most 4 sequences")
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        asked.schema = object_schema(form["json_schema"].get("schema"), "response_format.json_schema.schema")
        tool_name(form["json_schema"].get("name"), "response_format.json_schema.name")
    read_messages(body["messages"], asked)
    return asked


def read_tool(tool: Any, where: str) -> Tool:
    known(tool, "type function", where)
    need(tool.get("type") == "function", f"{where}.type: 'function' is expected")
    function = tool.get("function")
    known(function, "name description parameters strict", f"{where}.function")
    name = tool_name(function.get("name"), f"{where}.function.name")
    return Tool(name, object_schema(function.get("parameters", {"type": "object"}), f"{where}.function.parameters"))


def read_choice(choice: Any, asked: Asked) -> str:
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        need(name in [tool.name for tool in asked.tools], "tool_choice: the tool is not in tools")
        return name
    need(choice in ("auto", "none", "required"), "tool_choice: auto, none, required or a function")
    return choice


def read_messages(messages: list[Any], asked: Asked) -> None:
    names: dict[str, str] = {}
    waiting: list[str] = []  # ids of calls that have no result yet
    for at, message in enumerate(messages):
        where, role = f"messages[{at}]", message.get("role")
        need(role in ("system", "developer", "user", "assistant", "tool"), f"{where}.role: unknown")
        if role == "tool":
            known(message, "role content tool_call_id name", where)
            need(message.get("tool_call_id") in waiting, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'")
            waiting.remove(message["tool_call_id"])
            asked.results.append(Result(names[message["tool_call_id"]], text_of(message.get("content"), where, asked)))
            continue
        need(not waiting, "an assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'")
        if role == "assistant":
            # reasoning_content is what compatible servers call it; the real service ignores it nowhere, so it is an error.
            known(message, "role content name tool_calls refusal audio annotations function_call", where)
            calls = message.get("tool_calls") or []
            need("tool_calls" not in message or calls, f"{where}.tool_calls: an empty list is not allowed")
            need(calls or message.get("content") is not None or message.get("refusal"), f"{where}.content: needed without tool_calls")
            for call in calls:
                known(call, "id type function", f"{where}.tool_calls")
                need(call.get("type") == "function" and isinstance(call.get("id"), str), f"{where}.tool_calls: id and type are needed")
                need(call["id"] not in names, f"{where}.tool_calls: the id was there before")
                parsed_object(call["function"].get("arguments"), f"{where}.tool_calls")
                names[call["id"]] = tool_name(call["function"].get("name"), f"{where}.tool_calls")
                waiting.append(call["id"])
            if message.get("content") is not None:
                asked.texts.append((role, text_of(message["content"], where, asked)))
        else:
            known(message, "role content name", where)
            asked.texts.append((role, text_of(message.get("content"), where, asked)))
    need(not waiting, "an assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'")


def text_of(content: Any, where: str, asked: Asked) -> str:
    if isinstance(content, str):
        return content
    need(isinstance(content, list) and content, f"{where}.content: a string or a list of parts is expected")
    texts = []
    for part in content:
        match part.get("type"):
            case "text":
                known(part, "type text", f"{where}.content")
                need(isinstance(part.get("text"), str), f"{where}.content.text: a string is expected")
                texts.append(part["text"])
            case "refusal":
                texts.append(part["refusal"])
            case "image_url":
                asked.images.append(data_url(part["image_url"]["url"], where))
            case other:
                raise Refused(f"{where}.content: unknown type of part {other!r}")
    return "\n".join(texts)


def data_url(url: str, where: str) -> tuple[str, int]:
    head, comma, data = url.partition(",")
    need(comma and head.startswith("data:") and head.endswith(";base64"), f"{where}: a data URL is expected")
    return head.removeprefix("data:").removesuffix(";base64"), len(base64.b64decode(data, validate=True))


def finish_of(answer: Answer) -> str:
    return "tool_calls" if answer.calls else {"length": "length", "filter": "content_filter"}.get(answer.finish, "stop")


def call_id(asked: Asked, at: int) -> str:
    return f"call_{len(asked.results)}_{at}"


def whole(asked: Asked, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.calls:
        message["tool_calls"] = [{"id": call_id(asked, at), "type": "function",
                                  "function": {"name": call.name, "arguments": arguments_text(call)}}
                                 for at, call in enumerate(answer.calls)]
    return {"id": asked.id, "object": "chat.completion", "created": 1, "model": asked.model, "usage": USAGE,
            "service_tier": "default", "system_fingerprint": "fp_scripted",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(answer)}]}


def stream(asked: Asked, answer: Answer) -> Iterator[bytes]:
    yield b": a comment, as some servers send while they wait\n\n"
    yield chunk(asked, {"role": "assistant", "content": "", "refusal": None})
    for piece in answer.pieces():
        yield chunk(asked, {"content": piece})
    if answer.cut:
        return
    for at, call in enumerate(answer.calls):
        head = {"index": at, "id": call_id(asked, at), "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield chunk(asked, {"tool_calls": [head]})
        for piece in fragments(arguments_text(call)):
            yield chunk(asked, {"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    yield chunk(asked, {}, finish_of(answer))
    if asked.usage:
        yield chunk(asked, None, usage=USAGE)
    yield b"data: [DONE]\n\n"


def chunk(asked: Asked, delta: dict[str, Any] | None, finish: str | None = None, usage: Any = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    body = {"id": asked.id, "object": "chat.completion.chunk", "created": 1, "model": asked.model, "service_tier": "default",
            "system_fingerprint": "fp_scripted", "choices": choices}
    if asked.usage:
        body["usage"] = usage
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def refused(error: Refused) -> dict[str, Any]:
    kind, code = {"authentication": ("invalid_request_error", "invalid_api_key"), "rate_limit": ("requests", "rate_limit_exceeded"),
                  "not_found": ("invalid_request_error", "model_not_found"), "api_error": ("server_error", None),
                  "overloaded": ("server_error", None)}.get(error.kind, ("invalid_request_error", None))
    return {"error": {"message": str(error), "type": kind, "param": None, "code": code}}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    known(body, "model input encoding_format dimensions user", "body")
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    need(texts and all(texts), "input: no text may be empty")
    vectors = [vector(text, body.get("dimensions") or 4) for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in vectors]
    tokens = sum(len(text) for text in texts)
    return {"object": "list", "model": body["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "data": [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]}


def vector(text: str | list[int], dimensions: int) -> list[float]:
    """Multiples of 1/128, which survive every float format; the same text has the same vector."""
    digest = hashlib.sha256(str(text).encode()).digest()
    return [(byte - 128) / 128 for byte in digest[:dimensions]]
