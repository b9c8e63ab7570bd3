"""OpenAI Responses: items in, items out, and a stream that says everything several times."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dialects.chat import data_url
from dialects.chat import refused as chat_refused
from script import (CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS, SIGNATURE, Answer, Asked, Call, Refused, Result,
                    Tool, arguments_text, fragments, known, need, object_schema, parsed_object, tool_name)

REQUEST = """model input instructions stream stream_options tools tool_choice parallel_tool_calls temperature top_p max_output_tokens
max_tool_calls metadata store include reasoning text truncation user safety_identifier prompt_cache_key prompt_cache_retention
service_tier previous_response_id conversation background prompt top_logprobs client_metadata context_management"""
HOSTED = ("web_search", "web_search_preview", "file_search", "code_interpreter", "image_generation", "mcp", "tool_search", "local_shell", "shell")
USAGE = {"input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": CACHED_TOKENS, "cache_write_tokens": 0},
         "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
         "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}


def read(body: dict[str, Any], headers: dict[str, str], _: str) -> Asked:
    known(body, REQUEST, "body")
    need(isinstance(body.get("model"), str), "Missing required parameter: 'model'.")
    need(body.get("input"), "Missing required parameter: 'input'.")
    if body.get("previous_response_id"):
        raise Refused(f"Previous response with id '{body['previous_response_id']}' not found.", 400, "not_found")
    asked = Asked(body["model"], bool(body.get("stream")))
    for at, tool in enumerate(body.get("tools") or []):
        asked.tools += read_tool(tool, f"tools[{at}]")
    choice = body.get("tool_choice") or "auto"
    asked.tool_choice = choice if isinstance(choice, str) else choice["name"]
    need(asked.tool_choice in ("auto", "none", "required", *[tool.name for tool in asked.tools]), "tool_choice: not in tools")
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        asked.schema = object_schema(form.get("schema"), "text.format.schema")
        tool_name(form.get("name"), "text.format.name")
    # Reasoning is a matter of the model here; whoever wants it back without a stored answer says so.
    asked.thinks = "reasoning.encrypted_content" in (body.get("include") or [])
    if body.get("instructions"):
        asked.texts.append(("system", body["instructions"]))
    items = [{"role": "user", "content": body["input"]}] if isinstance(body["input"], str) else body["input"]
    read_items(items, asked)
    return asked


def read_tool(tool: Any, where: str) -> list[Tool]:
    match tool.get("type"):
        case "function":
            known(tool, "type name description parameters strict defer_loading", where)
            return [Tool(tool_name(tool.get("name"), f"{where}.name"), object_schema(tool.get("parameters"), f"{where}.parameters"))]
        case "custom":
            known(tool, "type name description format defer_loading", where)
            return [Tool(tool_name(tool.get("name"), f"{where}.name"), {}, free=True)]
        case "namespace":
            known(tool, "type name description tools", where)
            return [inner for part in tool["tools"] for inner in read_tool(part, f"{where}.tools")]
        case kind if kind in HOSTED:
            return []
        case kind:
            raise Refused(f"{where}.type: unknown tool {kind!r}")


def read_items(items: list[Any], asked: Asked) -> None:
    names: dict[str, str] = {}
    waiting: set[str] = set()
    for at, item in enumerate(items):
        where = f"input[{at}]"
        kind = item.get("type", "message")
        match kind:
            case "message":
                known(item, "type id role content status phase", where)
                need(item.get("role") in ("user", "assistant", "system", "developer"), f"{where}.role: unknown")
                asked.texts.append((item["role"], text_of(item.get("content"), item["role"], where, asked)))
            case "function_call" | "custom_tool_call":
                given = "arguments" if kind == "function_call" else "input"
                known(item, f"type id call_id name namespace status {given}", where)
                need(isinstance(item.get("call_id"), str) and item["call_id"] not in names, f"{where}.call_id: one of its own is needed")
                names[item["call_id"]] = tool_name(item.get("name"), f"{where}.name")
                if kind == "function_call":
                    parsed_object(item.get("arguments"), where)
                waiting.add(item["call_id"])
            case "function_call_output" | "custom_tool_call_output":
                known(item, "type id call_id output status", where)
                need(item.get("call_id") in waiting, f"No tool call found for function call output with call_id {item.get('call_id')}.")
                waiting.discard(item["call_id"])
                output = item.get("output")
                text = output if isinstance(output, str) else text_of(output, "user", where, asked)
                asked.results.append(Result(names[item["call_id"]], text))
            case "reasoning":
                known(item, "type id summary content encrypted_content status", where)
                need(isinstance(item.get("summary"), list), f"{where}.summary: a list is expected")
                need(item.get("encrypted_content") == SIGNATURE, f"{where}: the encrypted content could not be verified")
            case other:
                raise Refused(f"{where}.type: unknown item {other!r}")
    need(not waiting, f"No tool output found for function call {sorted(waiting)[:1]}.")


def text_of(content: Any, role: str, where: str, asked: Asked) -> str:
    if isinstance(content, str):
        return content
    need(isinstance(content, list), f"{where}.content: a string or a list of parts is expected")
    texts = []
    for part in content:
        match part.get("type"):
            case "input_text" if role != "assistant":
                known(part, "type text", f"{where}.content")
                texts.append(part["text"])
            case "output_text" | "refusal" if role == "assistant":
                texts.append(part.get("text") or part.get("refusal"))
            case "input_image" if role != "assistant":
                asked.images.append(data_url(part["image_url"], where))
            case other:
                raise Refused(f"{where}.content: a part of type {other!r} is not for {role}")
    return "\n".join(texts)


def items_of(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    turn = len(asked.results)
    items: list[dict[str, Any]] = []
    if answer.thought:
        items.append({"id": f"rs_{turn}", "type": "reasoning", "summary": [{"type": "summary_text", "text": answer.thought}],
                      "encrypted_content": SIGNATURE})
    if answer.text:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        items.append({"id": f"msg_{turn}", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
    return items + [call_item(asked, call, f"{turn}_{at}") for at, call in enumerate(answer.calls)]


def call_item(asked: Asked, call: Call, place: str) -> dict[str, Any]:
    free = any(tool.free for tool in asked.tools if tool.name == call.name)
    kind, given, prefix = ("custom_tool_call", "input", "ctc") if free else ("function_call", "arguments", "fc")
    return {"id": f"{prefix}_{place}", "type": kind, "status": "completed", "call_id": f"call_{place}", "name": call.name,
            given: arguments_text(call)}


def whole(asked: Asked, answer: Answer, status: str | None = None) -> dict[str, Any]:
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(answer.finish)
    status = status or ("incomplete" if reason else "completed")
    return {"id": asked.id, "object": "response", "created_at": 1, "status": status, "background": False, "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None, "instructions": None, "max_output_tokens": None,
            "model": asked.model, "output": items_of(asked, answer), "parallel_tool_calls": True, "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}},
            "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "user": None, "metadata": {},
            "usage": None if status == "in_progress" else USAGE}


def stream(asked: Asked, answer: Answer) -> Iterator[bytes]:
    for number, (kind, members) in enumerate(events(asked, answer)):
        written = json.dumps({"type": kind, "sequence_number": number, **members})
        yield f"event: {kind}\ndata: {written}\n\n".encode()


def events(asked: Asked, answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = whole(asked, Answer(), "in_progress")
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(items_of(asked, answer)):
        place = {"output_index": index, "item_id": item["id"]}
        yield "response.output_item.added", {"output_index": index, "item": empty(item)}
        match item["type"]:
            case "reasoning":
                yield from reasoning_events(place | {"summary_index": 0}, item["summary"][0])
            case "message":
                yield from text_events(place | {"content_index": 0}, item["content"][0], answer.cut)
            case "function_call":
                yield from pieces("response.function_call_arguments", place, "arguments", item)
            case _:
                yield from pieces("response.custom_tool_call_input", place, "input", item)
        if answer.cut:
            return
        yield "response.output_item.done", {"output_index": index, "item": item}
    ended = whole(asked, answer)
    yield f"response.{ended['status']}", {"response": ended}


def empty(item: dict[str, Any]) -> dict[str, Any]:
    nothing = {"message": {"content": []}, "function_call": {"arguments": ""}, "custom_tool_call": {"input": ""}, "reasoning": {"summary": []}}
    begun = item | nothing[item["type"]]
    return begun | {"status": "in_progress"} if "status" in item else begun


def reasoning_events(place: dict[str, Any], part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.reasoning_summary_part.added", place | {"part": part | {"text": ""}}
    for piece in fragments(part["text"]):
        yield "response.reasoning_summary_text.delta", place | {"delta": piece, "obfuscation": "x"}
    yield "response.reasoning_summary_text.done", place | {"text": part["text"]}
    yield "response.reasoning_summary_part.done", place | {"part": part}


def text_events(place: dict[str, Any], part: dict[str, Any], cut: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.content_part.added", place | {"part": part | {"text": ""}}
    for piece in fragments(part["text"]):
        yield "response.output_text.delta", place | {"delta": piece, "logprobs": [], "obfuscation": "x"}
    if cut:
        return
    yield "response.output_text.done", place | {"text": part["text"], "logprobs": []}
    yield "response.content_part.done", place | {"part": part}


def pieces(kind: str, place: dict[str, Any], given: str, item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for piece in fragments(item[given]):
        yield f"{kind}.delta", place | {"delta": piece, "obfuscation": "x"}
    yield f"{kind}.done", place | {given: item[given]}


refused = chat_refused
