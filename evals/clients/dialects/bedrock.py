"""Bedrock Converse: JSON whole, and binary event-stream frames with two checksums; signed requests."""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from script import (CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, SIGNATURE, Answer, Asked, Refused, Result, Tool,
                    arguments_text, fragments, known, need, object_schema, tool_name)

ACCESS_KEY, SECRET_KEY, REGION = "AKIASCRIPTED", "scripted-secret", "eu-central-1"
REQUEST = """messages system inferenceConfig toolConfig guardrailConfig additionalModelRequestFields promptVariables
additionalModelResponseFieldPaths requestMetadata performanceConfig serviceTier outputConfig"""
USAGE = {"inputTokens": INPUT_TOKENS - CACHED_TOKENS, "outputTokens": OUTPUT_TOKENS, "totalTokens": INPUT_TOKENS + OUTPUT_TOKENS,
         "cacheReadInputTokens": CACHED_TOKENS, "cacheWriteInputTokens": 0}


def check_signature(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """Signature Version 4, worked out again from what arrived."""
    match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\d{8})/(\S+?)/bedrock/aws4_request, ?SignedHeaders=(\S+?), ?Signature=(\w{64})",
                         headers.get("authorization", ""))
    if not match:
        raise Refused("Missing Authentication Token", 403, "permission")
    key, day, region, signed, signature = match.groups()
    need({"host", "x-amz-date"} <= set(signed.split(";")), "host and x-amz-date have to be signed")
    canonical = "\n".join([method, quote(path, safe="/-_.~"), "", *[f"{name}:{' '.join(headers[name].split())}" for name in signed.split(";")],
                           "", signed, hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/bedrock/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, "bedrock", "aws4_request", text):
        secret = hmac.digest(secret, part.encode(), "sha256")
    if (key, region) != (ACCESS_KEY, REGION) or not hmac.compare_digest(secret.hex(), signature):
        raise Refused("The request signature we calculated does not match the signature you provided.", 403, "permission")


def read(body: dict[str, Any], headers: dict[str, str], path_model: str) -> Asked:
    known(body, REQUEST, "body")
    need(isinstance(body.get("messages"), list) and body["messages"], "messages: at least one is needed")
    config = body.get("inferenceConfig") or {}
    known(config, "maxTokens temperature topP stopSequences", "inferenceConfig")
    asked = Asked(path_model, False, stops=config.get("stopSequences") or [])
    more = body.get("additionalModelRequestFields") or {}
    asked.thinks = (more.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    for block in body.get("system") or []:
        read_text(block, "system", "system", asked)
    tools = body.get("toolConfig")
    if tools is not None:
        known(tools, "tools toolChoice", "toolConfig")
        need(tools.get("tools"), "toolConfig.tools: at least one is needed")
        asked.tools = [tool for at, one in enumerate(tools["tools"]) for tool in read_tool(one, f"toolConfig.tools.{at}")]
        asked.tool_choice = read_choice(tools.get("toolChoice") or {"auto": {}}, asked)
    form = ((body.get("outputConfig") or {}).get("textFormat") or {})
    if form.get("type") == "json_schema":
        asked.schema = object_schema(json.loads(form["structure"]["jsonSchema"]["schema"]), "outputConfig.textFormat")
    own = [message["content"] for message in body["messages"] if message.get("role") == "assistant"]
    must_think = asked.thinks and more["thinking"]["type"] == "enabled" and own and any("toolUse" in block for block in own[-1])
    need(not must_think or "reasoningContent" in own[-1][0], "messages: a final `assistant` message must start with a thinking block")
    used = read_messages(body["messages"], asked)
    need(tools is not None or not used, "The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    return asked


def read_tool(tool: dict[str, Any], where: str) -> list[Tool]:
    need(len(tool) == 1, f"{where}: one member is expected")
    if "cachePoint" in tool:
        return []
    spec = tool.get("toolSpec")
    known(spec, "name description inputSchema strict", f"{where}.toolSpec")
    need("description" not in spec or spec["description"], f"{where}.toolSpec.description: must not be empty")
    known(spec.get("inputSchema"), "json", f"{where}.toolSpec.inputSchema")
    return [Tool(tool_name(spec.get("name"), f"{where}.toolSpec.name"), object_schema(spec["inputSchema"].get("json"), f"{where}.inputSchema.json"))]


def read_choice(choice: dict[str, Any], asked: Asked) -> str:
    known(choice, "auto any tool", "toolChoice")
    need(len(choice) == 1, "toolChoice: one member is expected")
    if "tool" in choice:
        need(choice["tool"]["name"] in [tool.name for tool in asked.tools], "toolChoice.tool.name: not in tools")
        return choice["tool"]["name"]
    return "required" if "any" in choice else "auto"


def read_messages(messages: list[Any], asked: Asked) -> bool:
    """Whether a tool was used."""
    names: dict[str, str] = {}
    waiting: set[str] = set()
    for at, message in enumerate(messages):
        where = f"messages.{at}"
        known(message, "role content", where)
        role, expected = message.get("role"), "user" if at % 2 == 0 else "assistant"
        need(role == expected, "A conversation must start with a user message, and roles must alternate between user and assistant.")
        need(isinstance(message.get("content"), list) and message["content"], f"{where}.content: must not be empty")
        found = {block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block}
        need(role == "assistant" or found == waiting, f"{where}: the toolResult blocks are not those of the toolUse blocks of the previous turn.")
        if role == "user":
            waiting.clear()
        for block in message["content"]:
            read_block(block, role, where, (names, waiting), asked)
    need(not waiting and messages[-1]["role"] == "user", "The conversation must end with a user message.")
    return bool(names)


def read_block(block: dict[str, Any], role: str, where: str, calls: tuple[dict[str, str], set[str]], asked: Asked) -> None:
    names, waiting = calls
    need(len(block) == 1, f"{where}: a block has one member")
    [(kind, value)] = block.items()
    match kind:
        case "text" | "image":
            read_text(block, role, where, asked)
        case "cachePoint":
            pass
        case "toolUse" if role == "assistant":
            known(value, "toolUseId name input", f"{where}.toolUse")
            need(isinstance(value.get("input"), dict), f"{where}.toolUse.input: an object is expected")
            need(value["toolUseId"] not in names, f"{where}.toolUse.toolUseId: was there before")
            names[tool_name(value["toolUseId"], f"{where}.toolUseId")] = tool_name(value.get("name"), f"{where}.toolUse.name")
            waiting.add(value["toolUseId"])
        case "toolResult" if role == "user":
            known(value, "toolUseId content status", f"{where}.toolResult")
            need(isinstance(value.get("content"), list), f"{where}.toolResult.content: a list is expected")
            text = "\n".join(read_text(part, None, where, asked) for part in value["content"])
            asked.results.append(Result(names[value["toolUseId"]], text, value.get("status") == "error"))
        case "reasoningContent" if role == "assistant":
            if "reasoningText" in value:
                need(value["reasoningText"].get("signature") == SIGNATURE, f"{where}: Invalid signature in reasoningContent")
        case _:
            raise Refused(f"{where}: a block {kind!r} is not for {role}")


def read_text(block: dict[str, Any], role: str | None, where: str, asked: Asked) -> str:
    if "cachePoint" in block:
        return ""
    if "image" in block:
        image = block["image"]
        asked.images.append((f"image/{image['format']}", len(base64.b64decode(image["source"]["bytes"], validate=True))))
        return ""
    if "json" in block:
        return json.dumps(block["json"])
    known(block, "text", where)
    need(block.get("text", "").strip(), f"The text field in the ContentBlock object at {where} is blank.")
    if role:
        asked.texts.append((role, block["text"]))
    return block["text"]


def finish_of(answer: Answer) -> str:
    return "tool_use" if answer.calls else {"length": "max_tokens", "filter": "content_filtered", "stop": "end_turn"}.get(answer.finish, answer.finish)


def blocks_of(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thought:
        blocks.append({"reasoningContent": {"reasoningText": {"text": answer.thought, "signature": SIGNATURE}}})
    if answer.text:
        blocks.append({"text": answer.text})
    return blocks + [{"toolUse": {"toolUseId": f"tooluse_{len(asked.results)}_{at}", "name": call.name, "input": json.loads(arguments_text(call))}}
                     for at, call in enumerate(answer.calls)]


def whole(asked: Asked, answer: Answer) -> dict[str, Any]:
    return {"output": {"message": {"role": "assistant", "content": blocks_of(asked, answer)}}, "stopReason": finish_of(answer),
            "usage": USAGE, "metrics": {"latencyMs": 1}}


def stream(asked: Asked, answer: Answer) -> Iterator[bytes]:
    yield frame("messageStart", role="assistant")
    for index, block in enumerate(blocks_of(asked, answer)):
        [(kind, value)] = block.items()
        if kind == "text":
            deltas = [{"text": piece} for piece in fragments(value)]
        elif kind == "toolUse":
            yield frame("contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": value["toolUseId"], "name": value["name"]}})
            deltas = [{"toolUse": {"input": piece}} for piece in ["", *fragments(json.dumps(value["input"]) if value["input"] else "")]]
        else:
            deltas = [{"reasoningContent": {"text": piece}} for piece in fragments(value["reasoningText"]["text"])]
            deltas.append({"reasoningContent": {"signature": value["reasoningText"]["signature"]}})
        for delta in deltas:
            yield frame("contentBlockDelta", contentBlockIndex=index, delta=delta)
        if answer.cut:
            return
        yield frame("contentBlockStop", contentBlockIndex=index)
    yield frame("messageStop", stopReason=finish_of(answer))
    yield frame("metadata", usage=USAGE, metrics={"latencyMs": 1})


def frame(kind: str, **members: Any) -> bytes:
    """Two lengths and their CRC, headers, payload, and the CRC of all that; `p` is the padding of the real service."""
    headers = b"".join(bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
                       for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")))
    payload = json.dumps({**members, "p": "abcdefgh"}).encode()
    head = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = head + struct.pack(">I", zlib.crc32(head)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def refused(error: Refused) -> dict[str, Any]:
    return {"message": str(error)}


EXCEPTIONS = {"invalid_request": "ValidationException", "permission": "AccessDeniedException", "authentication": "UnrecognizedClientException",
              "not_found": "ResourceNotFoundException", "rate_limit": "ThrottlingException", "overloaded": "ServiceUnavailableException",
              "api_error": "InternalServerException"}
