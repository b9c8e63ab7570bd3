"""Anthropic Messages, as the service itself speaks it and as Vertex carries it."""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from script import (CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS, SIGNATURE, Answer, Asked, Refused, Result, Tool,
                    arguments_text, fragments, known, need, object_schema, tool_name)

REQUEST = """model messages max_tokens system stream tools tool_choice temperature top_p top_k stop_sequences metadata thinking
service_tier container context_management mcp_servers output_config output_format anthropic_version anthropic_beta inference_geo
cache_control speed diagnostics"""
NEWER = "2026-10-21"
MINE = {"input_tokens": INPUT_TOKENS - CACHED_TOKENS, "cache_read_input_tokens": CACHED_TOKENS, "cache_creation_input_tokens": 0}
USAGE = MINE | {"output_tokens": OUTPUT_TOKENS, "service_tier": "standard",
                "output_tokens_details": {"thinking_tokens": REASONING_TOKENS}}


def read(body: dict[str, Any], headers: dict[str, str], path_model: str) -> Asked:
    known(body, REQUEST, "body")
    if path_model:  # Vertex: the model is in the path, the version in the body
        need("model" not in body, "model: Extra inputs are not permitted")
        need(body.get("anthropic_version") == "vertex-2023-10-16", "anthropic_version: Field required")
    else:
        need(isinstance(body.get("model"), str), "model: Field required")
        need(headers.get("anthropic-version") in ("2023-06-01", NEWER), "anthropic-version: header is required")
        # The newer version took these away, whatever their value.
        for name in ("temperature", "top_p", "top_k") if headers["anthropic-version"] == NEWER else ():
            need(name not in body, f"{name}: Extra inputs are not permitted")
        need("anthropic_version" not in body, "anthropic_version: Extra inputs are not permitted")
    return read_conversation(body, headers, path_model or body["model"])


def read_count(body: dict[str, Any], headers: dict[str, str]) -> Asked:
    """The body of count_tokens: no max_tokens, no stream, nothing that only an answer needs."""
    known(body, "model messages system tools tool_choice thinking context_management mcp_servers output_config output_format "
                "cache_control speed", "body")
    return read_conversation(body | {"max_tokens": 1}, headers, body["model"])


def read_conversation(body: dict[str, Any], headers: dict[str, str], model: str) -> Asked:
    need(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: Field required")
    need(isinstance(body.get("messages"), list) and body["messages"], "messages: at least one message is required")
    need(0 <= (body.get("temperature") or 0) <= 1, "temperature: range: 0..1")
    asked = Asked(model, bool(body.get("stream")), stops=body.get("stop_sequences") or [])
    asked.tools = [read_tool(tool, f"tools.{at}") for at, tool in enumerate(body.get("tools") or [])]
    need(len({tool.name for tool in asked.tools}) == len(asked.tools), "tools: Tool names must be unique.")
    asked.tool_choice = read_choice(body.get("tool_choice") or {"type": "auto"}, asked)
    thinking = body.get("thinking") or {"type": "disabled"}
    known(thinking, "type budget_tokens display", "thinking")
    need(thinking.get("type") in ("enabled", "disabled", "adaptive"), "thinking.type: unknown")
    if thinking["type"] == "enabled":
        need(1024 <= thinking.get("budget_tokens", 0) < body["max_tokens"], "thinking.budget_tokens: from 1024 and below max_tokens")
        need(body.get("temperature") in (None, 1), "`temperature` may only be set to 1 when thinking is enabled")
        need(asked.tool_choice in ("auto", "none"), "Thinking may not be enabled when tool_choice forces tool use.")
    asked.thinks = thinking["type"] != "disabled"
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    if form.get("type") == "json_schema":
        asked.schema = object_schema(form.get("schema"), "output_config.format.schema")
    if body.get("system"):
        text_of(body["system"], "system", asked)
    read_messages(body["messages"], headers.get("anthropic-beta", "") + ",".join(body.get("anthropic_beta") or []), thinking["type"] == "enabled", asked)
    return asked


def read_tool(tool: Any, where: str) -> Tool:
    if "input_schema" not in tool:
        raise Refused(f"{where}: input_schema: Field required")
    known(tool, "name description input_schema type cache_control strict defer_loading eager_input_streaming input_examples "
                "allowed_callers", where)
    need(tool.get("type", "custom") == "custom", f"{where}.type: unknown")
    return Tool(tool_name(tool.get("name"), f"{where}.name", 128), object_schema(tool["input_schema"], f"{where}.input_schema"))


def read_choice(choice: Any, asked: Asked) -> str:
    known(choice, "type name disable_parallel_tool_use", "tool_choice")
    kind = choice.get("type")
    need(kind in ("auto", "any", "none", "tool"), "tool_choice.type: unknown")
    need(asked.tools or kind in ("auto", "none"), "tool_choice: no tools are given")
    if kind == "tool":
        need(choice.get("name") in [tool.name for tool in asked.tools], "tool_choice: Tool not found in provided tools")
        return choice["name"]
    return "required" if kind == "any" else kind


def read_messages(messages: list[Any], betas: str, must_think: bool, asked: Asked) -> None:
    # Neighbours of one role are one turn to the service, so that is how they are looked at.
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for at, message in enumerate(messages):
        known(message, "role content output_config" if "per-turn-control" in betas else "role content", f"messages.{at}")
        role, content = message.get("role"), message.get("content")
        need(role in ("user", "assistant") or role == "system" and "mid-conversation" in betas, f"messages.{at}.role: unknown")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        need(isinstance(blocks, list) and blocks, f"messages.{at}.content: must not be empty")
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, list(blocks)))
    need(turns[0][0] == "user", "messages: first message must use the \"user\" role")
    names: dict[str, str] = {}
    waiting: list[str] = []
    for at, (role, blocks) in enumerate(turns):
        where = f"messages.{at}"
        if role == "assistant":
            for block in blocks:
                read_own(block, where, names, waiting, asked)
            continue
        found = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
        first_other = next((n for n, block in enumerate(blocks) if block.get("type") != "tool_result"), len(blocks))
        need(role == "user" or not found, f"{where}: tool_result blocks can only be in user messages")
        if role == "user":
            need(not set(waiting) - set(found), f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after")
            need(not set(found) - set(waiting) and len(found) == len(set(found)), f"{where}: unexpected `tool_use_id` found in `tool_result` blocks")
            need(first_other >= len(found), f"{where}: tool_result blocks come before all others")
            waiting.clear()
        for block in blocks:
            read_others(block, where, role, names, asked)
    need(not waiting, "messages: `tool_use` ids were found without `tool_result` blocks immediately after")
    own = [blocks for role, blocks in turns if role == "assistant"]
    need(not must_think or not own or not any(block["type"] == "tool_use" for block in own[-1]) or own[-1][0]["type"] in ("thinking", "redacted_thinking"),
         "messages: Expected `thinking` or `redacted_thinking`, but found another block. When `thinking` is enabled, a final `assistant` message must start with a thinking block")
    need(turns[-1][0] != "assistant" or not asked.thinks, "messages: the final message may not be the assistant's when thinking is on")
    need(turns[-1][0] != "assistant" or str(turns[-1][1][-1].get("text", "")).rstrip() == turns[-1][1][-1].get("text", ""),
         "messages: final assistant content cannot end with trailing whitespace")


def read_own(block: dict[str, Any], where: str, names: dict[str, str], waiting: list[str], asked: Asked) -> None:
    match block.get("type"):
        case "text":
            asked.texts.append(("assistant", text_of([block], where, asked)))
        case "tool_use":
            known(block, "type id name input cache_control caller", where)
            need(isinstance(block.get("input"), dict), f"{where}.tool_use.input: Input should be a valid dictionary")
            need(isinstance(block.get("id"), str) and block["id"] not in names, f"{where}.tool_use.id: `tool_use` ids must be unique")
            tool_name(block["id"], f"{where}.tool_use.id", 128)
            names[block["id"]] = tool_name(block.get("name"), f"{where}.tool_use.name", 128)
            waiting.append(block["id"])
        case "thinking":
            known(block, "type thinking signature", where)
            need(block.get("signature") == SIGNATURE, f"{where}: Invalid `signature` in `thinking` block")
        case "redacted_thinking":
            known(block, "type data", where)
        case other:
            raise Refused(f"{where}: a block of type {other!r} is not the assistant's")


def read_others(block: dict[str, Any], where: str, role: str, names: dict[str, str], asked: Asked) -> None:
    match block.get("type"):
        case "tool_result":
            known(block, "type tool_use_id content is_error cache_control", where)
            content = block.get("content") or ""
            text = text_of(content, where, asked) if content else ""
            asked.results.append(Result(names[block["tool_use_id"]], text, bool(block.get("is_error"))))
        case "text" | "image" | "document":
            asked.texts.append((role, text_of([block], where, asked)))
        case other:
            raise Refused(f"{where}: unknown type of block {other!r}")


def text_of(content: Any, where: str, asked: Asked) -> str:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    need(isinstance(blocks, list), f"{where}: a string or a list of blocks is expected")
    texts = []
    for block in blocks:
        if block.get("type") == "text":
            known(block, "type text cache_control citations", where)
            need(isinstance(block.get("text"), str) and block["text"], f"{where}: text content blocks must be non-empty")
            texts.append(block["text"])
        elif block.get("type") == "image":
            known(block, "type source cache_control", where)
            source = block["source"]
            need(source.get("type") == "base64", f"{where}: an image in base64 is expected")
            asked.images.append((source["media_type"], len(base64.b64decode(source["data"], validate=True))))
        else:
            raise Refused(f"{where}: unknown type of block {block.get('type')!r}")
    return "\n".join(texts)


def finish_of(answer: Answer) -> str:
    return "tool_use" if answer.calls else {"length": "max_tokens", "filter": "refusal", "stop": "end_turn"}.get(answer.finish, answer.finish)


def call_id(asked: Asked, at: int) -> str:
    return f"toolu_{len(asked.results)}_{at}"


def blocks_of(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thought:
        blocks.append({"type": "thinking", "thinking": answer.thought, "signature": SIGNATURE})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for at, call in enumerate(answer.calls):
        blocks.append({"type": "tool_use", "id": call_id(asked, at), "name": call.name, "input": json.loads(arguments_text(call))})
    return blocks


def whole(asked: Asked, answer: Answer) -> dict[str, Any]:
    # Claude Code takes answers of one id for one answer, and puts its history together accordingly.
    return {"id": asked.id, "type": "message", "role": "assistant", "model": asked.model, "content": blocks_of(asked, answer),
            "stop_reason": finish_of(answer), "stop_sequence": stop_of(asked, answer), "usage": USAGE}


def stop_of(asked: Asked, answer: Answer) -> str | None:
    return asked.stops[0] if answer.finish == "stop_sequence" else None


def stream(asked: Asked, answer: Answer) -> Iterator[bytes]:
    message = whole(asked, Answer()) | {"stop_reason": None, "usage": MINE | {"output_tokens": 1}}
    yield event("message_start", message=message)
    yield event("ping")
    for index, block in enumerate(blocks_of(asked, answer)):
        yield from block_events(index, block, answer.cut)
        if answer.cut:
            return
    delta = {"stop_reason": finish_of(answer), "stop_sequence": stop_of(asked, answer)}
    yield event("message_delta", delta=delta, usage=USAGE)
    yield event("message_stop")


def block_events(index: int, block: dict[str, Any], cut: bool) -> Iterator[bytes]:
    match block["type"]:
        case "thinking":
            empty: dict[str, Any] = {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in fragments(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "text":
            empty, deltas = {"text": ""}, [{"type": "text_delta", "text": piece} for piece in fragments(block["text"])]
        case _:
            written = json.dumps(block["input"]) if block["input"] else ""
            empty = {"input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *fragments(written)]]
    yield event("content_block_start", index=index, content_block=block | empty)
    for at, delta in enumerate(deltas):
        yield event("content_block_delta", index=index, delta=delta)
        if at == 1:
            yield event("ping")
    if not cut:
        yield event("content_block_stop", index=index)


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def refused(error: Refused) -> dict[str, Any]:
    kind = {"api_error": "api_error", "overloaded": "overloaded_error", "too_large": "request_too_large"}.get(error.kind, f"{error.kind}_error")
    return {"type": "error", "error": {"type": kind, "message": str(error)}, "request_id": "req_scripted"}
