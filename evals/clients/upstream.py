#!/usr/bin/env python3
"""A scripted provider on loopback that speaks every dialect which the gateway uses upstream.

It reads requests as strictly as the real services do, so it is also the judge of what the gateway translates: a request
that the service would refuse is answered with 400 in the service's own words, and kept in `refusals`. What it says is in
`script.py`, how it says it in `dialects/`. There is no model here, no state between calls but what `fail once` needs, and
no waiting.

    upstream.py            serve until it is interrupted; the first line of the output is the port
    upstream.py --show     the same, with one line for each call
    upstream.py --record D the same, and each call goes to a file in D: path, headers, body
"""
from __future__ import annotations

import argparse
import json
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import script
from dialects import bedrock, chat, gemini, messages, responses
from script import Refused

KEY = "upstream-secret-of-the-clients"  # what a provider's key has to be, in the place where the dialect has it

# Path, dialect, whether the path alone says that the answer is streamed. The first that fits decides.
PATHS: list[tuple[str, str, bool | None]] = [
    (r".*/chat/completions", "chat", None),
    (r".*/responses", "responses", None),
    (r".*/messages", "messages", None),
    (r".*/messages/count_tokens", "count_tokens", False),
    (r".*/embeddings", "embeddings", False),
    (r"/model/(?P<model>[^/]+)/count-tokens", "count_tokens", False),
    (r".*/models/(?P<model>[^/:]+):countTokens", "count_tokens", False),
    (r".*/publishers/anthropic/models/count-tokens:rawPredict", "count_tokens", False),
    (r"/model/(?P<model>[^/]+)/converse", "bedrock", False),
    (r"/model/(?P<model>[^/]+)/converse-stream", "bedrock", True),
    (r".*/publishers/anthropic/models/(?P<model>[^/:]+):rawPredict", "messages", False),
    (r".*/publishers/anthropic/models/(?P<model>[^/:]+):streamRawPredict", "messages", True),
    (r".*/models/(?P<model>[^/:]+):generateContent", "gemini", False),
    (r".*/models/(?P<model>[^/:]+):streamGenerateContent", "gemini", True),
]
WRITERS: dict[str, ModuleType] = {"chat": chat, "responses": responses, "messages": messages, "count_tokens": messages,
                                  "embeddings": chat, "bedrock": bedrock, "gemini": gemini}
PIECE_BYTES = 61  # a prime: pieces of a stream end in the middle of lines, numbers and characters


@dataclass
class Seen:
    """One call as it arrived, and how it was answered."""

    dialect: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    refusal: str = ""


class Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, show: bool = False, record: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), UpstreamCall)
        self.show, self.record = show, record
        if record:
            record.mkdir(parents=True, exist_ok=True)
        self.calls: list[Seen] = []
        self.failed_once: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def refusals(self, since: int = 0) -> list[str]:
        return [f"{seen.dialect}: {seen.refusal}" for seen in self.calls[since:] if seen.refusal]

    def note(self, seen: Seen) -> None:
        if self.show:
            print(seen.dialect, seen.path, seen.status, seen.refusal, flush=True)
        if self.record:
            written = json.dumps(asdict(seen) | {"body": json.loads(seen.body)}, indent=1, ensure_ascii=False)
            (self.record / f"{self.calls.index(seen):03}-{seen.dialect}.json").write_text(written)

    def fails_now(self, said: str) -> bool:
        """The first time that these words are heard."""
        return "fail once" in said and said not in self.failed_once and not self.failed_once.add(said)


class UpstreamCall(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream
    wbufsize = -1  # one packet for the head and the first bytes

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.seen = Seen("GET", self.path, dict(self.headers), b"")
        self.send_json(404, {"error": {"message": "there is nothing to GET here", "type": "invalid_request_error", "param": None, "code": None}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        match, dialect, streams = next(((match, dialect, streams) for pattern, dialect, streams in PATHS
                                        if (match := re.fullmatch(pattern, parts.path))), (None, "chat", None))
        seen = Seen(dialect, self.path, headers, body)
        self.seen = seen
        self.server.calls.append(seen)
        try:
            if not match:
                raise Refused(f"no such path: {parts.path}", 404, "not_found")
            authorise(dialect, parts.path, headers, body)
            model = unquote(match.groupdict().get("model") or "")
            if dialect == "gemini" and streams:
                script.need(parse_qs(parts.query).get("alt") == ["sse"], "alt=sse is expected")
            self.answer(seen, model, streams, parse(body))
        except Refused as error:
            seen.refusal = str(error) if error.status in (400, 403, 404) else ""
            self.refuse(dialect, error)
        self.server.note(seen)

    def answer(self, seen: Seen, model: str, streams: bool | None, body: dict[str, Any]) -> None:
        if seen.dialect == "embeddings":
            return self.send_json(200, chat.embeddings(body))
        if seen.dialect == "count_tokens":
            return self.send_json(200, count(seen, model, body))
        dialect = WRITERS[seen.dialect]
        asked = dialect.read(body, seen.headers, model)
        if self.server.fails_now(asked.last_user()):
            raise Refused("once", 429, "rate_limit", retry_after_ms="20", retry_after="0")
        said = script.answer(asked)
        if asked.stream if streams is None else streams:
            kind = "application/vnd.amazon.eventstream" if dialect is bedrock else "text/event-stream; charset=utf-8"
            self.send_stream(kind, dialect.stream(asked, said), said.cut)
        else:
            self.send_json(200, dialect.whole(asked, said), said.cut)

    def refuse(self, dialect: str, error: Refused) -> None:
        headers = {name.replace("_", "-"): value for name, value in error.headers.items()}
        if dialect == "bedrock":
            headers["x-amzn-errortype"] = bedrock.EXCEPTIONS[error.kind]
        self.send_json(error.status, WRITERS[dialect].refused(error), **headers)

    def head(self, status: int, **headers: str) -> None:
        self.seen.status = status
        self.send_response(status)
        # Every service names its requests differently; the gateway's own id is another one.
        for name, value in {"x-request-id": "req_scripted", "request-id": "req_scripted", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_json(self, status: int, value: dict[str, Any], cut: bool = False, **headers: str) -> None:
        body = json.dumps(value, ensure_ascii=False).encode()
        self.head(status, **{"content-type": "application/json", "content-length": str(len(body)), **headers})
        self.wfile.write(body[:len(body) // 2] if cut else body)
        self.close_connection = cut

    def send_stream(self, kind: str, events: Iterable[bytes], cut: bool) -> None:
        self.head(200, **{"content-type": kind, "transfer-encoding": "chunked"})
        whole = b"".join(events)
        for at in range(0, len(whole), PIECE_BYTES):
            piece = whole[at:at + PIECE_BYTES]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        if not cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = cut


def count(seen: Seen, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Counts nothing, but reads what it is asked to count as strictly as if it were answered."""
    if ":countTokens" in seen.path:
        inner = body.get("generateContentRequest") or body
        gemini.read({name: value for name, value in inner.items() if name != "model"}, seen.headers, model)
        return {"totalTokens": script.INPUT_TOKENS}
    if seen.path.endswith("/count-tokens"):
        script.known(body, "input", "body")
        bedrock.read(body["input"]["converse"], seen.headers, model)
        return {"inputTokens": script.INPUT_TOKENS}
    messages.read_count({name: value for name, value in body.items() if name != "anthropic_version"}, seen.headers)
    return {"input_tokens": script.INPUT_TOKENS}


def parse(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body, object_pairs_hook=once)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}") from None
    script.need(isinstance(value, dict), "the body is not an object")
    return value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a member is there twice")
    return value


def authorise(dialect: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """The provider's key in the dialect's own place, and nobody else's anywhere."""
    given = {headers.get("authorization", "").removeprefix("Bearer ")} | {headers.get(name, "") for name in ("x-api-key", "x-goog-api-key", "api-key")}
    given -= {""}
    if (dialect == "bedrock" or path.endswith("/count-tokens")) and headers.get("authorization", "").startswith("AWS4"):
        return bedrock.check_signature("POST", path, headers, body)
    script.need(headers.get("content-type", "").startswith("application/json"), "content-type: application/json is expected")
    script.need("content-encoding" not in headers, "content-encoding: none is expected")
    if given != {KEY}:
        raise Refused("the provider's key, and no other, is expected", 401, "authentication")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="one line for each call")
    parser.add_argument("--record", type=Path, help="a folder for what arrives")
    arguments = parser.parse_args()
    server = Upstream(arguments.show, arguments.record)
    print(server.port, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
