"""Gemini's generateContent, on its own service and on Vertex."""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from script import (CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS, SIGNATURE, Answer, Asked, Refused, Result, Tool,
                    known, need)

REQUEST = "contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent labels serviceTier store"
GENERATION = """candidateCount stopSequences maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty responseMimeType
responseSchema responseJsonSchema responseLogprobs logprobs thinkingConfig responseModalities mediaResolution speechConfig imageConfig
audioTimestamp routingConfig enableEnhancedCivicAnswers"""
# What a Schema object has; anything else in `parameters` is an unknown name to the service, JSON Schema or not.
SCHEMA = """type format title description nullable enum maxItems minItems properties required minProperties maxProperties minLength
maxLength pattern example anyOf propertyOrdering default items minimum maximum"""
UNKNOWN_SIGNATURE = "skip_thought_signature_validator"  # what the service takes for calls that it did not make
USAGE = {"promptTokenCount": INPUT_TOKENS, "cachedContentTokenCount": CACHED_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS - REASONING_TOKENS,
         "thoughtsTokenCount": REASONING_TOKENS, "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS}


def read(body: dict[str, Any], headers: dict[str, str], path_model: str) -> Asked:
    known(body, REQUEST, "Invalid JSON payload received")
    need(isinstance(body.get("contents"), list) and body["contents"], "contents: at least one is needed")
    generation = body.get("generationConfig") or {}
    known(generation, GENERATION, "generation_config")
    asked = Asked(path_model, False, stops=generation.get("stopSequences") or [])
    need(len(asked.stops) <= 5, "stop_sequences: at most 5")
    asked.schema = generation.get("responseJsonSchema") or generation.get("responseSchema")
    need(not asked.schema or generation.get("responseMimeType") == "application/json", "response schema: needs responseMimeType application/json")
    if generation.get("responseSchema"):
        need(not generation.get("responseJsonSchema"), "only one of responseSchema and responseJsonSchema")
        check_schema(generation["responseSchema"], "response_schema")
    thinking = generation.get("thinkingConfig") or {}
    known(thinking, "includeThoughts thinkingBudget thinkingLevel", "thinking_config")
    asked.thinks = bool(thinking.get("includeThoughts"))
    if body.get("systemInstruction"):
        known(body["systemInstruction"], "role parts", "system_instruction")
        for part in body["systemInstruction"]["parts"]:
            need(isinstance(part.get("text"), str), "system_instruction: only text is supported")
            asked.texts.append(("system", part["text"]))
    for at, tool in enumerate(body.get("tools") or []):
        known(tool, "functionDeclarations googleSearch codeExecution urlContext", f"tools[{at}]")
        asked.tools += [read_tool(one, f"tools[{at}].function_declarations[{n}]") for n, one in enumerate(tool.get("functionDeclarations") or [])]
    asked.tool_choice = read_choice(body.get("toolConfig") or {}, asked)
    read_contents(body["contents"], asked)
    return asked


def read_tool(tool: dict[str, Any], where: str) -> Tool:
    known(tool, "name description parameters parametersJsonSchema response responseJsonSchema behavior", where)
    name = tool.get("name")
    need(isinstance(name, str) and (name[:1].isalpha() or name[:1] == "_") and len(name) <= 64, f"{where}.name: Invalid function name")
    need(not ("parameters" in tool and "parametersJsonSchema" in tool), f"{where}: only one of parameters and parametersJsonSchema")
    if "parameters" in tool:
        check_schema(tool["parameters"], f"{where}.parameters")
        need(tool["parameters"].get("type", "").lower() == "object" and tool["parameters"].get("properties"),
             f"{where}.parameters.properties: should be non-empty for OBJECT type")
    schema = tool.get("parametersJsonSchema") or tool.get("parameters") or {"type": "object"}
    return Tool(name, schema)


def check_schema(schema: Any, where: str) -> None:
    known(schema, SCHEMA, where)
    need(isinstance(schema.get("type", "object"), str), f"{where}.type: Proto field is not repeating")
    for part in [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        check_schema(part, where)


def read_choice(config: dict[str, Any], asked: Asked) -> str:
    known(config, "functionCallingConfig retrievalConfig", "tool_config")
    calling = config.get("functionCallingConfig") or {}
    known(calling, "mode allowedFunctionNames", "function_calling_config")
    allowed = calling.get("allowedFunctionNames") or []
    need(not allowed or calling.get("mode") in ("ANY", "VALIDATED"), "allowed_function_names: only when mode is ANY")
    need(not set(allowed) - {tool.name for tool in asked.tools}, "allowed_function_names: not declared")
    if calling.get("mode") == "ANY":
        return allowed[0] if len(allowed) == 1 else "required"
    return {"NONE": "none"}.get(calling.get("mode"), "auto")


def read_contents(contents: list[Any], asked: Asked) -> None:
    waiting: list[str] = []
    before = ""
    for at, content in enumerate(contents):
        where = f"contents[{at}]"
        known(content, "role parts", where)
        role = content.get("role", "user")
        need(role in ("user", "model"), "Please use a valid role: user, model.")
        need(isinstance(content.get("parts"), list) and content["parts"], f"{where}.parts: must not be empty")
        calls = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
        answers = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        need(not calls or role == "model" and before == "user", "Please ensure that function call turn comes immediately after a user turn or after a function response turn.")
        need(sorted(answers) == sorted(waiting) if answers or waiting else True,
             "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
        waiting = calls
        for part in content["parts"]:
            read_part(part, role, where, asked)
        before = role
    need(not waiting, "Please ensure that function call turn is followed by its function responses.")


def read_part(part: dict[str, Any], role: str, where: str, asked: Asked) -> None:
    known(part, "text thought thoughtSignature functionCall functionResponse inlineData fileData videoMetadata mediaResolution", f"{where}.parts")
    need(part.get("thoughtSignature", SIGNATURE) in (SIGNATURE, UNKNOWN_SIGNATURE), f"{where}.parts: Thought signature is not valid")
    if "text" in part and not part.get("thought"):
        asked.texts.append(("assistant" if role == "model" else "user", part["text"]))
    elif "functionCall" in part:
        known(part["functionCall"], "id name args", f"{where}.function_call")
        need(isinstance(part["functionCall"].get("args", {}), dict), f"{where}.function_call.args: an object is expected")
    elif "functionResponse" in part:
        response = part["functionResponse"]
        known(response, "id name response willContinue scheduling parts", f"{where}.function_response")
        value = response.get("response")
        need(isinstance(value, dict), f"{where}.function_response.response: an object is expected")
        text = next((value[key] for key in ("output", "result", "content", "error") if isinstance(value.get(key), str)), json.dumps(value))
        asked.results.append(Result(response["name"], text, "error" in value))
    elif "inlineData" in part:
        data = part["inlineData"]
        asked.images.append((data["mimeType"], len(base64.b64decode(data["data"], validate=True))))
    else:
        need("text" in part, f"{where}.parts: required oneof field 'data' must have one initialized field")


def parts_of(answer: Answer) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if answer.thought:
        parts.append({"text": answer.thought, "thought": True})
    parts += [{"text": piece} for piece in answer.pieces()]
    # The first call of a turn carries the signature, and no call has an id.
    return parts + [{"functionCall": {"name": call.name, "args": call.arguments}} | ({"thoughtSignature": SIGNATURE} if at == 0 else {})
                    for at, call in enumerate(answer.calls)]


def candidate(asked: Asked, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    one: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        one["finishReason"] = finish
    return {"candidates": [one], "usageMetadata": USAGE if finish else {"promptTokenCount": INPUT_TOKENS, "totalTokenCount": INPUT_TOKENS},
            "modelVersion": asked.model, "responseId": asked.id}


def finish_of(answer: Answer) -> str:
    return {"length": "MAX_TOKENS", "filter": "SAFETY"}.get(answer.finish, "STOP")


def whole(asked: Asked, answer: Answer) -> dict[str, Any]:
    parts = parts_of(answer)
    texts = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    joined = [part for part in parts if part.get("thought")] + ([{"text": "".join(texts)}] if texts else [])
    return candidate(asked, joined + [part for part in parts if "functionCall" in part], finish_of(answer))


def stream(asked: Asked, answer: Answer) -> Iterator[bytes]:
    # This service ends its lines with CR LF, and its stream with nothing but the end.
    parts = parts_of(answer)
    for part in parts:
        yield b"data: " + json.dumps(candidate(asked, [part], None)).encode() + b"\r\n\r\n"
    if not answer.cut:
        yield b"data: " + json.dumps(candidate(asked, [{"text": ""}], finish_of(answer))).encode() + b"\r\n\r\n"


def refused(error: Refused) -> dict[str, Any]:
    kind = {"invalid_request": "INVALID_ARGUMENT", "permission": "PERMISSION_DENIED", "authentication": "UNAUTHENTICATED", "not_found": "NOT_FOUND",
            "rate_limit": "RESOURCE_EXHAUSTED", "overloaded": "UNAVAILABLE"}.get(error.kind, "INTERNAL")
    return {"error": {"code": error.status, "message": str(error), "status": kind}}
