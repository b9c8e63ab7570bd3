#!/usr/bin/env python3
"""Starts the release binary and drives it from outside, with openai-python and with raw bytes.

One function is one scenario; its name is what it shows. Scenarios run in the order of the file against one gateway
and one scripted upstream, and the last ones stop the gateway. Nothing is timed by sleeping: the upstream waits until
the scenario lets it go on, and what takes its time is polled up to a deadline.
"""
from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 120.0  # the first start reads the demo model from a cold disk
WAIT_SECONDS_MAX = 20.0
CANARY = "zebrafish-quartz"  # written into a prompt; must be found in no log, metric or record
UPSTREAM_SECRET = "upstream-secret-of-the-smoke-test"
PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]

GET_WEATHER: Any = {"type": "function", "function": {
    "name": "get_weather", "description": "Get the weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
WEATHER_QUESTION: Any = {"role": "user", "content": "What is the weather in Lisbon?"}

# ---------------------------------------------------------------------------------------- the scripted upstream


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    # Spaces, key order, an unknown field and a number's spelling are this upstream's own: they have to survive.
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "x_score": 1}
    chunk = {"x_vendor": {"shard": "b7"}, "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1,
             "model": "upstream-model", "choices": [choice]}
    return b"data:  " + json.dumps(chunk).encode().replace(b'"x_score": 1', b'"x_score": 1.50') + b"\n\n"


FIRST = event({"role": "assistant", "content": "one "})
REST = event({"content": "two "}) + event({"content": "three"}) + event({}, "stop")
USAGE = (b'data: {"id":"chatcmpl-up","object":"chat.completion.chunk","created":1,"model":"upstream-model",'
         b'"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3,"total_tokens":7}}\n\n')
DONE = b"data: [DONE]\n\n"


class Upstream(ThreadingHTTPServer):
    """An OpenAI-compatible server whose behaviour the last word of the prompt chooses: stream, hold, limit."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), UpstreamCall)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.go_on = threading.Event()
        self.closed = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def last_request(self) -> tuple[dict[str, str], bytes]:
        return self.requests[-1]


class UpstreamCall(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
        behaviour = json.loads(body)["messages"][-1]["content"].split()[-1]
        {"stream": self.stream, "hold": self.hold, "limit": self.limit}[behaviour]()

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def stream(self) -> None:
        """The first event, then the others when the scenario has seen it."""
        self.begin()
        self.chunk(FIRST)
        if not self.server.go_on.wait(WAIT_SECONDS_MAX):
            return
        self.chunk(REST + USAGE + DONE)
        self.chunk(b"")

    def hold(self) -> None:
        """The first event, then nothing until the gateway hangs up."""
        self.begin()
        self.chunk(FIRST)
        self.connection.settimeout(WAIT_SECONDS_MAX)
        try:
            gone = self.connection.recv(1) == b""
        except ConnectionError:
            gone = True
        except TimeoutError:
            gone = False
        self.close_connection = True
        if gone:
            self.server.closed.set()

    def limit(self) -> None:
        body = json.dumps({"error": {"message": "slow down", "type": "rate_limit_error", "param": None,
                                     "code": "rate_limit_exceeded"}}).encode()
        self.send_response(429)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(body)


# ------------------------------------------------------------------------------------------------- the gateway


class Key:
    """An API key made by the binary itself."""

    def __init__(self, binary: Path, name: str) -> None:
        out = run(binary, "key", "new", name).stdout
        self.text = found(r"pck_\S+", out)
        self.caller = found(r"\{ api_key: .*\}", out)


class Gateway:
    """One running gateway with its folder."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder, self.upstream = binary, folder, Upstream()
        self.inside, self.outside = Key(binary, "smoke-inside"), Key(binary, "smoke-forward")
        self.search = Key(binary, "smoke-search")
        self.routes, self.log_file = folder / "routes.yaml", folder / "log.txt"
        self.routes.write_text(routes(self))
        self.port = free_port()
        environment = {**os.environ, "SMOKE_UPSTREAM_KEY": UPSTREAM_SECRET}
        # Nobody listens there: a gateway that looks at these variables cannot reach its upstream.
        environment.update({name: "http://127.0.0.1:9" for name in PROXIES})
        command = [binary, "serve", "--routes", self.routes, "--listen", f"127.0.0.1:{self.port}", "--data-dir", folder / "data"]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"the gateway stopped with code {self.process.returncode}"
        try:
            return self.raw("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def client(self, key: str = "none-is-needed-on-this-machine") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=key, max_retries=0, timeout=60)

    def raw(self, method: str, path: str, body: bytes | None = None, key: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metric(self, name: str, label: str = "") -> float:
        """The sum over all series, or over those with a label."""
        text = self.raw("GET", "/metrics")[1].decode()
        series = re.findall(rf"^{name}({{.*}})? (\S+)$", text, re.MULTILINE)
        assert series, f"{name} is not exported"
        return sum(float(value) for labels, value in series if label in labels)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.upstream.shutdown()


def routes(gateway: Gateway) -> str:
    """The repository's own policy, with a workflow by key and one that forwards."""
    text = (ROOT / "routes.yaml").read_text()
    port = gateway.upstream.server_address[1]
    edits = [
        ("./engine/models/demo", str(ROOT / "engine/models/demo")),
        ("\nproviders:\n", f"""
providers:
  mock: {{ kind: openai, base_url: "http://127.0.0.1:{port}/v1", locality: local, cidrs: [127.0.0.0/8],
          auth: {{ bearer_env: SMOKE_UPSTREAM_KEY }} }}
"""),
        ("\nmodels:\n", f"""
models:
  far: {{ provider: mock, name: upstream-model }}
  embed: {{ provider: local, path: {ROOT / "engine/tests/encoders/bert_mean"} }}
"""),
        ("\nworkflows:\n", f"""
workflows:
  inside:
    owner: smoke
    callers: [ {gateway.inside.caller} ]
    egress: {{ mode: sealed }}
    route: [ {{ to: [demo] }} ]
    limits: {{ max_body: 64KiB }}
  search:
    owner: smoke
    callers: [ {gateway.search.caller} ]
    egress: {{ mode: sealed }}
    route: [ {{ to: [embed] }} ]
  forward:
    owner: smoke
    callers: [ {gateway.outside.caller} ]
    egress: {{ mode: allowlist, providers: [mock] }}
    route: [ {{ to: [far] }} ]
"""),
    ]
    for old, new in edits:
        assert text.count(old) == 1, f"routes.yaml: {old!r} is there {text.count(old)} times, not once"
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(binary: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in {text!r}"
    return match.group()


def until(what: str, is_so: Callable[[], bool], seconds: float = WAIT_SECONDS_MAX) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


# ----------------------------------------------------------------------------------------------- the scenarios

SCENARIOS: list[Callable[[Gateway], None]] = []


def scenario(function: Callable[[Gateway], None]) -> Callable[[Gateway], None]:
    SCENARIOS.append(function)
    return function


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def ask(client: openai.OpenAI, text: str, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": "demo", "temperature": 0, "messages": user(text), **more})


def refusal(kind: type[openai.APIStatusError], call: Callable[[], Any]) -> Any:
    """The error that the client library makes of a refused call; its body has the four members of the API."""
    try:
        call()
    except kind as error:
        body = error.response.json()["error"]
        assert set(body) >= {"message", "type", "param", "code"}, body
        assert body["message"], body
        return error
    raise AssertionError(f"no {kind.__name__}")


def deltas(stream: Any) -> Iterator[Any]:
    for chunk in stream:
        yield from (choice.delta for choice in chunk.choices)


def error_of(status: int, answer: tuple[int, bytes]) -> dict[str, Any]:
    assert answer[0] == status, answer
    error = json.loads(answer[1])["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    return error


@scenario
def a_plain_answer(gateway: Gateway) -> None:
    answer = ask(gateway.client(), "What is Portcullis?")
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-"), answer
    assert "Portcullis" in answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason == "stop", answer
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage


@scenario
def a_stream_says_what_the_plain_answer_says(gateway: Gateway) -> None:
    client, question = gateway.client(), "Who are you?"
    plain = ask(client, question).choices[0].message.content
    chunks = list(ask(client, question, stream=True))
    assert plain and "".join(delta.content or "" for delta in deltas(chunks)) == plain
    assert [delta.role for delta in deltas(chunks)].count("assistant") == 1
    finishes = [chunk.choices[0].finish_reason for chunk in chunks]
    assert finishes[-1] == "stop" and not any(finishes[:-1]), finishes
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


@scenario
def a_stream_with_usage_ends_in_one_usage_chunk(gateway: Gateway) -> None:
    *chunks, last = ask(gateway.client(), "hello", stream=True, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.completion_tokens > 0, last
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@scenario
def the_library_s_own_accumulator_takes_the_stream(gateway: Gateway) -> None:
    with gateway.client().chat.completions.stream(model="demo", temperature=0, messages=user("hello")) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert final.choices[0].message.content == ask(gateway.client(), "hello").choices[0].message.content


@scenario
def a_tool_call(gateway: Gateway) -> None:
    answer = ask(gateway.client(), WEATHER_QUESTION["content"], tools=[GET_WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls", answer
    [call] = answer.choices[0].message.tool_calls
    assert (call.type, call.function.name) == ("function", "get_weather") and call.id, call
    assert json.loads(call.function.arguments) == {"city": "Lisbon"}, call


@scenario
def a_streamed_tool_call(gateway: Gateway) -> None:
    chunks = list(ask(gateway.client(), WEATHER_QUESTION["content"], tools=[GET_WEATHER], stream=True))
    parts = [part for delta in deltas(chunks) for part in delta.tool_calls or []]
    assert [part.function.name for part in parts if part.function.name] == ["get_weather"], parts
    assert len([part.id for part in parts if part.id]) == 1 and {part.index for part in parts} == {0}, parts
    assert json.loads("".join(part.function.arguments or "" for part in parts)) == {"city": "Lisbon"}, parts
    assert chunks[-1].choices[0].finish_reason == "tool_calls", chunks[-1]


@scenario
def a_tool_s_result_is_answered(gateway: Gateway) -> None:
    client = gateway.client()
    call = ask(client, WEATHER_QUESTION["content"], tools=[GET_WEATHER]).choices[0].message
    result: Any = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "18 degrees and rain"}
    messages = [WEATHER_QUESTION, call.model_dump(exclude_none=True), result]
    answer = ask(client, "", messages=messages, tools=[GET_WEATHER])
    assert "18 degrees and rain" in answer.choices[0].message.content, answer


@scenario
def embeddings_as_numbers_and_as_the_library_s_own_base64_are_the_same(gateway: Gateway) -> None:
    client, texts = gateway.client(gateway.search.text), ["the gate is shut", "iron bars"]
    # Left to itself the library asks for base64 and decodes it.
    decoded = client.embeddings.create(model="embed", input=texts)
    written = client.embeddings.create(model="embed", input=texts, encoding_format="float")
    assert decoded.object == "list" and [entry.index for entry in decoded.data] == [0, 1], decoded
    for theirs, ours in zip(decoded.data, written.data, strict=True):
        assert len(theirs.embedding) == len(ours.embedding) == 32
        assert all(abs(a - b) < 1e-6 for a, b in zip(theirs.embedding, ours.embedding))
        assert abs(sum(value * value for value in ours.embedding) - 1) < 1e-5
    assert decoded.usage == written.usage and decoded.usage.total_tokens == decoded.usage.prompt_tokens > 0, decoded.usage
    raw = client.embeddings.create(model="embed", input=texts, encoding_format="base64")
    assert all(isinstance(entry.embedding, str) for entry in raw.data), raw


@scenario
def a_model_that_embeds_does_not_chat(gateway: Gateway) -> None:
    error = refusal(openai.BadRequestError, lambda: ask(gateway.client(gateway.search.text), "hello", model="embed"))
    assert error.code == "model_does_not_chat", error
    error = refusal(openai.BadRequestError, lambda: gateway.client().embeddings.create(model="demo", input="hello"))
    assert error.code == "model_does_not_embed", error


@scenario
def aborted_streams_leave_nothing_behind(gateway: Gateway) -> None:
    ended = 'portcullis_requests_total', 'outcome="aborted"'
    client, before = gateway.client(), gateway.metric(*ended)
    for _ in range(8):
        stream = ask(client, "Count to 100", stream=True)
        next(iter(stream))
        stream.close()
    for name in ["engine_running_sequences", "engine_waiting_sequences", "engine_kv_blocks_used", "in_flight_requests"]:
        until(f"{name} is zero", lambda name=name: gateway.metric(f"portcullis_{name}") == 0)
    # The model is fast: on a slow client some are done before they are aborted, but not all of them.
    assert gateway.metric(*ended) > before, "no call was aborted: they all ran to their end"


@scenario
def the_models_are_listed(gateway: Gateway) -> None:
    assert [model.id for model in gateway.client().models.list()] == ["demo"]
    assert [model.id for model in gateway.client(gateway.outside.text).models.list()] == ["far"]


@scenario
def an_unknown_key_is_401(gateway: Gateway) -> None:
    wrong = gateway.inside.text[:-4] + ("0000" if gateway.inside.text[-4:] != "0000" else "1111")
    error = refusal(openai.AuthenticationError, lambda: ask(gateway.client(wrong), "hello"))
    assert "key" in error.message and wrong not in error.message, error


@scenario
def an_unknown_model_is_404(gateway: Gateway) -> None:
    error = refusal(openai.NotFoundError, lambda: ask(gateway.client(), "hello", model="gpt-0"))
    assert "gpt-0" in error.message and "demo" in error.message, error


@scenario
def an_oversized_body_is_413(gateway: Gateway) -> None:
    client = gateway.client(gateway.inside.text)
    error = refusal(openai.APIStatusError, lambda: ask(client, "x" * 100_000))
    assert error.status_code == 413 and "65536" in error.message, error


@scenario
def malformed_json_is_400_and_names_the_place(gateway: Gateway) -> None:
    error = error_of(400, gateway.raw("POST", "/v1/chat/completions", b'{"model": "demo",\n "messages": [}'))
    assert re.search(r"line 2\b.*column \d+", error["message"]), error


@scenario
def a_duplicate_key_is_400_and_is_named(gateway: Gateway) -> None:
    body = b'{"model": "demo", "messages": [{"role": "user", "content": "a", "content": "b"}]}'
    error = error_of(400, gateway.raw("POST", "/v1/chat/completions", body))
    assert "content" in error["message"], error


@scenario
def an_unknown_path_is_404_and_a_wrong_method_405(gateway: Gateway) -> None:
    error_of(404, gateway.raw("POST", "/v1/nothing", b"{}"))
    error_of(405, gateway.raw("GET", "/v1/chat/completions"))


@scenario
def no_tokens_at_all_is_400(gateway: Gateway) -> None:
    error = refusal(openai.BadRequestError, lambda: ask(gateway.client(), "hello", max_tokens=0))
    assert "max_tokens" in error.message, error


@scenario
def a_prompt_that_can_never_fit_is_400_and_not_queued(gateway: Gateway) -> None:
    error = refusal(openai.BadRequestError, lambda: ask(gateway.client(), "hello " * 20_000))
    assert "token" in error.message, error
    assert gateway.metric("portcullis_engine_waiting_sequences") == 0


@scenario
def a_forwarded_stream_arrives_as_it_comes(gateway: Gateway) -> None:
    gateway.upstream.go_on.clear()
    chunks = iter(ask(gateway.client(gateway.outside.text), "please stream", model="far", stream=True))
    first = next(chunks)  # the upstream sends nothing more before it is let go
    gateway.upstream.go_on.set()
    rest = list(chunks)
    assert "".join(delta.content or "" for delta in deltas([first, *rest])) == "one two three"
    assert first.model_extra["x_vendor"] == {"shard": "b7"}, first
    assert all(chunk.choices for chunk in rest), "the usage that the gateway asked for was shown to the caller"


@scenario
def forwarding_changes_no_byte_that_it_does_not_have_to(gateway: Gateway) -> None:
    gateway.upstream.go_on.set()
    body = (b'{ "model":"far","x_unknown" : {"a":[1, 2.50 ]}, "stream":true, "stream_options":{"include_usage":true},'
            b' "messages":[{"role":"user","content":"go stream"}] }')
    status, answer = gateway.raw("POST", "/v1/chat/completions", body, gateway.outside.text)
    assert (status, answer) == (200, FIRST + REST + USAGE + DONE), (status, answer)
    headers, seen = gateway.upstream.last_request()
    assert seen == body.replace(b'"far"', b'"upstream-model"'), seen
    assert headers["authorization"] == f"Bearer {UPSTREAM_SECRET}", headers
    assert not any(gateway.outside.text in value for value in headers.values()), headers


@scenario
def an_upstream_s_429_keeps_its_meaning(gateway: Gateway) -> None:
    client = gateway.client(gateway.outside.text)
    error = refusal(openai.RateLimitError, lambda: ask(client, "hit the limit", model="far"))
    assert error.response.headers["retry-after"] == "7", error.response.headers


@scenario
def a_client_that_leaves_closes_the_upstream_call(gateway: Gateway) -> None:
    gateway.upstream.closed.clear()
    stream = ask(gateway.client(gateway.outside.text), "please hold", model="far", stream=True)
    next(iter(stream))
    stream.close()
    assert gateway.upstream.closed.wait(WAIT_SECONDS_MAX), "the upstream connection is still open"


@scenario
def a_sealed_workflow_never_forwards(gateway: Gateway) -> None:
    before = len(gateway.upstream.requests)
    refusal(openai.NotFoundError, lambda: ask(gateway.client(gateway.inside.text), "go stream", model="far"))
    refusal(openai.NotFoundError, lambda: ask(gateway.client(gateway.inside.text), "go stream", model="upstream-model"))
    assert len(gateway.upstream.requests) == before


@scenario
def a_sealed_workflow_with_a_hosted_upstream_does_not_load(gateway: Gateway) -> None:
    good = gateway.routes.read_text()
    assert run(gateway.binary, "check", gateway.routes).returncode == 0
    bad = gateway.folder / "bad.yaml"
    hosted = '  mock: { kind: openai, base_url: "https://api.example.com/v1", locality: hosted, region: us }'
    text, count = re.subn(r"  mock: \{.*\n.*\}", hosted, good)
    text = text.replace("mode: allowlist, providers: [mock]", "mode: sealed")
    assert count == 1 and text != good
    bad.write_text(text)
    checked = run(gateway.binary, "check", bad)
    assert checked.returncode == 1, checked
    line = 1 + next(i for i, line in enumerate(text.splitlines()) if "to: [far]" in line)
    assert f"bad.yaml:{line}:" in checked.stdout + checked.stderr, checked
    assert "sealed" in checked.stdout + checked.stderr, checked


@scenario
def no_prompt_text_is_logged_counted_or_recorded(gateway: Gateway) -> None:
    ask(gateway.client(), f"Repeat: {CANARY}")
    refusal(openai.BadRequestError, lambda: ask(gateway.client(), CANARY, max_tokens=0))
    error_of(400, gateway.raw("POST", "/v1/chat/completions", b'{"messages": "' + CANARY.encode()))
    gateway.client(gateway.search.text).embeddings.create(model="embed", input=CANARY, user=CANARY)
    records = b"".join(file.read_bytes() for file in (gateway.folder / "data").rglob("*") if file.is_file())
    assert b"llm.result" in records, "there are no records to look at"
    for place, text in [("records", records), ("log", gateway.log_file.read_bytes()), ("metrics", gateway.raw("GET", "/metrics")[1])]:
        assert CANARY.encode() not in text, f"the prompt is in the {place}"
        assert UPSTREAM_SECRET.encode() not in text, f"the upstream's key is in the {place}"
        assert gateway.inside.text.encode() not in text, f"a caller's key is in the {place}"


@scenario
def a_running_stream_finishes_after_sigterm(gateway: Gateway) -> None:
    gateway.upstream.go_on.clear()
    chunks = iter(ask(gateway.client(gateway.outside.text), "please stream", model="far", stream=True))
    first = next(chunks)
    gateway.process.send_signal(signal.SIGTERM)
    until("new connections are refused", lambda: refuses(gateway.port))
    gateway.upstream.go_on.set()
    assert "".join(delta.content or "" for delta in deltas([first, *chunks])) == "one two three"
    assert gateway.process.wait(WAIT_SECONDS_MAX) == 0


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@scenario
def the_audit_trail_verifies_and_a_changed_byte_is_found(gateway: Gateway) -> None:
    trail = gateway.folder / "data" / "audit"
    verified = run(gateway.binary, "audit", "verify", trail)
    assert verified.returncode == 0, verified
    altered = gateway.folder / "altered"
    shutil.copytree(trail, altered)
    file = sorted(altered.glob("audit-*.jsonl"))[0]
    content = bytearray(file.read_bytes())
    content[content.index(b"smoke")] ^= 1
    file.write_bytes(content)
    assert run(gateway.binary, "audit", "verify", altered).returncode == 40


# ------------------------------------------------------------------------------------------------------ the run


def play(gateway: Gateway) -> int:
    """Runs every scenario and returns how many failed."""
    failed = 0
    for function in SCENARIOS:
        name, started = function.__name__.replace("_s_", "'s ").replace("_", " "), time.monotonic()
        try:
            function(gateway)
        except Exception:  # one broken scenario must not hide the others
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"PASS  {name} ({time.monotonic() - started:.2f} s)", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/portcullis")
    binary = parser.parse_args().binary.resolve()
    for name in PROXIES:
        os.environ.pop(name, None)  # this script talks to this machine only
    with tempfile.TemporaryDirectory(prefix="portcullis-smoke-") as folder:
        gateway = Gateway(binary, Path(folder))
        failed = len(SCENARIOS)  # unless they are played
        try:
            until("the gateway is ready", gateway.is_ready, START_SECONDS_MAX)
            failed = play(gateway)
        finally:
            gateway.stop()
            if failed:
                print("the gateway's log ends in:", *gateway.log_file.read_text().splitlines()[-40:], sep="\n  ", flush=True)
    print(f"{len(SCENARIOS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
