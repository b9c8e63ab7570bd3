#!/usr/bin/env python3
"""The official SDKs of Python, openai and anthropic, against one provider behind the gateway.

One function is one scenario; its name is what it shows. Most of them run three times, once for each API that a client
can speak (chat completions, Responses, Messages): `Api` says the same thing in each. What the answers have to be is known
from the scripted provider (`script.py`) or, for `--dialect local`, from the demo model's few skills.

With --direct the address is the scripted provider's own, and only the API that `--dialect` names is tried.
"""
from __future__ import annotations

import argparse
import asyncio
import base64
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parent))
import script  # noqa: E402

WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [("get_weather", "Get the weather of a city", WEATHER_SCHEMA)]
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
LOCAL = "local"  # the dialect behind which is the demo model


class Place(BaseModel):
    city: str
    days: int


@dataclass
class Called:
    id: str
    name: str
    arguments: dict[str, Any]


@dataclass
class Said:
    text: str
    calls: list[Called]
    finish: str  # stop, length, tools, filter
    usage: tuple[int, int, int]  # all input, of that cached, output
    own: Any = field(repr=False)  # what goes back into the history
    request_id: str | None = None


# A turn of a history: the user's text, an answer, or the results of calls (id, text, whether it failed).
Turn = str | Said | list[tuple[str, str, bool]]


class Api:
    """One API, asked through its SDK; streamed answers go through the SDK's own accumulator."""

    name: str
    errors: Any
    greedy = False

    def ask(self, *turns: Turn, streamed: bool = False, tools: bool = False, force: str = "", picture: bool = False, limit: int = 256, stop: str = "") -> Said:
        raise NotImplementedError


class Chat(Api):
    name, errors = "chat", openai

    def __init__(self, url: str, key: str, retries: int = 0) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries, timeout=60)

    def ask(self, *turns: Turn, streamed: bool = False, tools: bool = False, force: str = "", picture: bool = False, limit: int = 256, stop: str = "") -> Said:
        messages: list[Any] = [{"role": "system", "content": "Be brief."}]
        for turn in turns:
            if isinstance(turn, str):
                image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PIXEL).decode()}}
                messages.append({"role": "user", "content": [{"type": "text", "text": turn}, image] if picture else turn})
            elif isinstance(turn, Said):
                messages.append(turn.own)
            else:
                messages += [{"role": "tool", "tool_call_id": call, "content": text} for call, text, _ in turn]
        more: dict[str, Any] = {"model": "any", "messages": messages, "max_completion_tokens": limit, "temperature": 0}
        if tools:
            more["tools"] = [{"type": "function", "function": {"name": name, "description": about, "parameters": schema}} for name, about, schema in TOOLS]
        if force:
            more["tool_choice"] = {"type": "function", "function": {"name": force}}
        if stop:
            more["stop"] = [stop]
        if streamed:
            with self.client.chat.completions.stream(**more, stream_options={"include_usage": True}) as stream:
                stream.until_done()
                answer = stream.current_completion_snapshot  # the final one raises where the text was cut by a limit or a filter
        else:
            answer = self.client.chat.completions.create(**more)
        [choice] = answer.choices
        calls = [Called(call.id, call.function.name, loads(call.function.arguments)) for call in choice.message.tool_calls or []]
        usage = answer.usage
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
        own = {"role": "assistant", "content": choice.message.content}
        if calls:
            own["tool_calls"] = [{"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
                                 for call in choice.message.tool_calls]
        finish = {"tool_calls": "tools", "content_filter": "filter"}.get(choice.finish_reason, choice.finish_reason)
        return Said(choice.message.content or "", calls, finish, (usage.prompt_tokens, cached or 0, usage.completion_tokens), own,
                    getattr(answer, "_request_id", None))


class Responses(Api):
    name, errors = "responses", openai

    def __init__(self, url: str, key: str, retries: int = 0) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries, timeout=60)

    def ask(self, *turns: Turn, streamed: bool = False, tools: bool = False, force: str = "", picture: bool = False, limit: int = 256, stop: str = "") -> Said:
        items: list[Any] = []
        for turn in turns:
            if isinstance(turn, str):
                image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64," + base64.b64encode(PIXEL).decode()}
                items.append({"role": "user", "content": [{"type": "input_text", "text": turn}, image] if picture else turn})
            elif isinstance(turn, Said):
                items += turn.own
            else:
                items += [{"type": "function_call_output", "call_id": call, "output": text} for call, text, _ in turn]
        more: dict[str, Any] = {"model": "any", "input": items, "instructions": "Be brief.", "max_output_tokens": limit, "store": False, "temperature": 0}
        if tools:
            more["tools"] = [{"type": "function", "name": name, "description": about, "parameters": schema, "strict": False} for name, about, schema in TOOLS]
        if force:
            more["tool_choice"] = {"type": "function", "name": force}
        if streamed:
            with self.client.responses.stream(**more) as stream:
                events = list(stream)
            numbers = [event.sequence_number for event in events]
            assert numbers == sorted(set(numbers)), "sequence numbers grow"
            if events[-1].type not in ("response.completed", "response.incomplete"):
                raise RuntimeError(f"the stream ended with {events[-1].type}")
            answer = events[-1].response
        else:
            answer = self.client.responses.create(**more)
        calls = [Called(item.call_id, item.name, loads(item.arguments)) for item in answer.output if item.type == "function_call"]
        reason = answer.incomplete_details.reason if answer.incomplete_details else None
        finish = {"max_output_tokens": "length", "content_filter": "filter"}.get(reason, "tools" if calls else "stop")
        assert answer.status == ("incomplete" if reason else "completed"), answer.status
        usage = answer.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens, usage
        # `parsed` members are the SDK's own, so they do not go back.
        own = [item.model_dump(mode="json", exclude_none=True, exclude={"parsed_arguments": True, "content": {"__all__": {"parsed"}}}
                               if item.type == "message" else {"parsed_arguments"}) for item in answer.output]
        return Said(answer.output_text, calls, finish, (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens), own,
                    getattr(answer, "_request_id", None))


class Messages(Api):
    name, errors = "messages", anthropic

    def __init__(self, url: str, key: str, retries: int = 0) -> None:
        self.client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=retries, timeout=60)

    def ask(self, *turns: Turn, streamed: bool = False, tools: bool = False, force: str = "", picture: bool = False, limit: int = 256, stop: str = "") -> Said:
        messages: list[Any] = []
        for turn in turns:
            if isinstance(turn, str):
                image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PIXEL).decode()}}
                messages.append({"role": "user", "content": [{"type": "text", "text": turn}, image] if picture else turn})
            elif isinstance(turn, Said):
                messages.append({"role": "assistant", "content": turn.own})
            else:
                messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed}
                                                             for call, text, failed in turn]})
        more: dict[str, Any] = {"model": "any", "system": "Be brief.", "messages": messages, "max_tokens": limit}
        if tools:
            more["tools"] = [{"name": name, "description": about, "input_schema": schema} for name, about, schema in TOOLS]
        if force:
            more["tool_choice"] = {"type": "tool", "name": force}
        if stop:
            more["stop_sequences"] = [stop]
        if self.greedy:  # the newer version of the API has none, and the engine takes it all the same
            more["extra_body"] = {"temperature": 0}
        if streamed:
            with self.client.messages.stream(**more) as stream:
                answer = stream.get_final_message()
        else:
            answer = self.client.messages.create(**more)
        calls = [Called(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        text = "".join(block.text for block in answer.content if block.type == "text")
        finish = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tools", "refusal": "filter"}[answer.stop_reason]
        cached = answer.usage.cache_read_input_tokens or 0
        own = [block.model_dump(mode="json", exclude_none=True, exclude={"parsed_output", "citations", "caller"}) for block in answer.content]
        return Said(text, calls, finish, (answer.usage.input_tokens + cached, cached, answer.usage.output_tokens), own, getattr(answer, "_request_id", None))


def loads(text: str) -> dict[str, Any]:
    return script.parsed_object(text, "a call")


# ----------------------------------------------------------------------------------------------- the scenarios


@dataclass
class World:
    """What a scenario may use: the API in hand, and what is behind it."""

    api: Any
    url: str
    key: str
    dialect: str

    @property
    def scripted(self) -> bool:
        return self.dialect != LOCAL

    def retrying(self) -> Any:
        return type(self.api)(self.url, self.key, retries=2)


Scenario = Callable[[World], None]
SCENARIOS: list[tuple[Scenario, tuple[str, ...], Callable[[str], bool]]] = []
ALL = ("chat", "responses", "messages")


def scenario(*apis: str, behind: Callable[[str], bool] = lambda _: True) -> Callable[[Scenario], Scenario]:
    def take(function: Scenario) -> Scenario:
        SCENARIOS.append((function, apis or ALL, behind))
        return function
    return take


def scripted(dialect: str) -> bool:
    return dialect != LOCAL


def both(ask: Callable[[bool], Said]) -> Iterator[Said]:
    """Whole and streamed, which have to say the same."""
    whole, streamed = ask(False), ask(True)
    # What of the input was cached depends on who asked before.
    counted = lambda said: (said.usage[0], said.usage[2])
    assert (whole.text, whole.finish, counted(whole)) == (streamed.text, streamed.finish, counted(streamed)), (whole, streamed)
    assert [(call.name, call.arguments) for call in whole.calls] == [(call.name, call.arguments) for call in streamed.calls], (whole, streamed)
    yield from (whole, streamed)


@scenario(behind=scripted)
def text_and_usage_arrive_whole_and_streamed(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("hello", streamed=streamed)):
        assert said.text == script.GREETING and said.finish == "stop" and not said.calls, said
        assert said.usage == (script.INPUT_TOKENS, script.CACHED_TOKENS, script.OUTPUT_TOKENS), said.usage


@scenario(behind=lambda dialect: dialect == LOCAL)
def the_local_model_answers_whole_and_streamed(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("What is Portcullis?", streamed=streamed)):
        assert "Portcullis" in said.text and said.finish == "stop", said
        assert said.usage[0] > 0 and said.usage[2] > 0, said.usage


@scenario(behind=scripted)
def a_long_text_streams_without_loss(world: World) -> None:
    said = world.api.ask("count to 2000", streamed=True, limit=4000)
    assert said.text == " ".join(str(number + 1) for number in range(2000)), said.text[-80:]


@scenario()
def a_tool_call_arrives_whole_and_streamed(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("What is the weather in Lisbon?", streamed=streamed, tools=True)):
        [call] = said.calls
        assert (call.name, call.arguments, said.finish) == ("get_weather", {"city": "Lisbon"}, "tools") and call.id, said


@scenario(behind=scripted)
def parallel_tool_calls_stay_apart(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("weather in Lisbon and Oslo", streamed=streamed, tools=True)):
        assert [call.arguments for call in said.calls] == [{"city": "Lisbon"}, {"city": "Oslo"}], said
        assert len({call.id for call in said.calls}) == 2, said


@scenario(behind=scripted)
def a_forced_call_may_have_no_arguments(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("hello", streamed=streamed, tools=True, force="get_weather")):
        # Claude's newest models always think and take no forced choice: translated calls lose it, and the gateway says so.
        passes = world.api.name == "messages" and world.dialect in ("messages", "vertex")
        lost = not said.calls and world.dialect in ("messages", "vertex", "bedrock") and not passes
        assert lost or [(call.name, call.arguments) for call in said.calls] == [("get_weather", {})], said


@scenario(behind=scripted)
def results_find_their_calls(world: World) -> None:
    question = "weather in Lisbon and Oslo"
    for streamed in (False, True):
        asked = world.api.ask(question, streamed=streamed, tools=True)
        results = [(call.id, f"{call.arguments['city']} is fine", False) for call in asked.calls]
        said = world.api.ask(question, asked, results, streamed=streamed, tools=True)
        assert said.text == "The tools said: Lisbon is fine; Oslo is fine." and said.finish == "stop", said


@scenario(behind=lambda dialect: dialect == LOCAL)
def the_local_model_takes_a_result(world: World) -> None:
    asked = world.api.ask("What is the weather in Lisbon?", tools=True)
    said = world.api.ask("What is the weather in Lisbon?", asked, [(asked.calls[0].id, "18 degrees and rain", False)], tools=True)
    assert "18 degrees and rain" in said.text and not said.calls, said


@scenario(behind=scripted)
def a_picture_is_seen(world: World) -> None:
    assert world.api.ask("what is in the picture", picture=True).text == f"I see image/png of {len(PIXEL)} bytes."


@scenario(behind=scripted)
def an_answer_at_its_limit_says_so(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("too long", streamed=streamed)):
        assert said.finish == "length", said


@scenario(behind=lambda dialect: dialect == LOCAL)
def a_local_answer_at_its_limit_says_so(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("count to 50", streamed=streamed, limit=16)):
        assert said.finish == "length" and said.usage[2] == 16, said


@scenario(behind=scripted)
def an_answer_that_was_filtered_says_so(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("filtered", streamed=streamed)):
        assert said.finish == "filter", said


@scenario("chat", "messages", behind=scripted)
def a_stop_sequence_ends_the_answer(world: World) -> None:
    for said in both(lambda streamed: world.api.ask("stop soon", streamed=streamed, stop="END")):
        assert said.finish == "stop" and said.text.strip() == "Until here", said


@scenario(behind=scripted)
def a_cut_answer_is_an_error_and_never_an_answer(world: World) -> None:
    errors = world.api.errors
    for streamed in (True, False):
        try:
            said = world.api.ask("cut", streamed=streamed)
        except Exception as error:  # every kind is right, as the SDKs do not agree on one
            assert not isinstance(error, (AssertionError, KeyError, TypeError, errors.BadRequestError)), error
        else:
            raise AssertionError(f"a cut answer looks finished: {said}")


@scenario(behind=scripted)
def the_status_of_a_provider_s_error_arrives_in_both_forms(world: World) -> None:
    errors = world.api.errors
    # What is wrong with the gateway's own credentials is not the client's fault, so 401 and 403 are not among these.
    for status, kinds in ((400, (errors.BadRequestError,)), (404, (errors.NotFoundError,)), (429, (errors.RateLimitError,)),
                          (500, (errors.InternalServerError,)), (503, (errors.InternalServerError,))):
        for streamed in (False, True):
            try:
                world.api.ask(f"fail with {status}", streamed=streamed)
            except errors.APIStatusError as error:
                assert isinstance(error, kinds), f"{status} became {error!r}"
                check_error_body(world, error)
                if status == 429:
                    assert error.response.headers.get("retry-after") == "3", dict(error.response.headers)
            else:
                raise AssertionError(f"{status} became an answer")


def check_error_body(world: World, error: Any) -> None:
    body = error.response.json()
    if world.api.errors is openai:
        assert set(body["error"]) == {"message", "type", "param", "code"} and body["error"]["message"], body
    else:
        assert body["type"] == "error" and set(body["error"]) == {"type", "message"} and body["request_id"], body
    assert error.request_id, dict(error.response.headers)


@scenario(behind=scripted)
def a_refused_call_succeeds_when_the_sdk_tries_again(world: World) -> None:
    started = time.monotonic()
    said = world.retrying().ask(f"fail once {uuid.uuid4()}")
    assert said.text == script.GREETING, said
    assert time.monotonic() - started < 10, "the wait that was asked for is 20 ms"


@scenario()
def an_illegal_request_is_refused_in_the_api_s_own_words(world: World) -> None:
    client, errors = world.api.client, world.api.errors
    wrong: dict[str, Callable[[], Any]] = {
        "chat": lambda: client.chat.completions.create(model="any", messages=[{"role": "nobody", "content": "x"}]),
        "responses": lambda: client.responses.create(model="any", input=[{"role": "nobody", "content": "x"}]),
        "messages": lambda: client.messages.create(model="any", max_tokens=9, messages=[{"role": "nobody", "content": "x"}]),
    }
    try:
        wrong[world.api.name]()
    except errors.BadRequestError as error:
        check_error_body(world, error)
    else:
        raise AssertionError("it was answered")


@scenario()
def every_answer_has_an_id_of_its_own_and_the_request_s(world: World) -> None:
    first, second = world.api.ask("hello"), world.api.ask("hello")
    assert first.request_id and second.request_id and (first.request_id != second.request_id or world.scripted), (first, second)


# --------------------------------------------------------------------------------- what only one of the SDKs has

COUNT_TO_FIVE = "count to 5"


def counted(world: World, text: str) -> bool:
    """Whether that was said; the demo model, where no temperature is asked for, may count on."""
    return text == "1 2 3 4 5" or not world.scripted and text.startswith("1 ")


@scenario("chat")
def chat_usage_comes_only_if_it_was_asked_for(world: World) -> None:
    create = world.api.client.chat.completions.create
    ask: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": COUNT_TO_FIVE}], "stream": True, "max_completion_tokens": 64, "temperature": 0}
    chunks = list(create(**ask))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks), chunks[-1]
    assert len({chunk.id for chunk in chunks}) == 1 and [c.choices[0].finish_reason for c in chunks][-1] == "stop", chunks[-1]
    *chunks, last = create(**ask, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.total_tokens > 0 and all(chunk.usage is None for chunk in chunks), last


@scenario("chat", behind=scripted)
def chat_parses_a_structured_answer(world: World) -> None:
    answer = world.api.client.chat.completions.parse(model="any", messages=[{"role": "user", "content": "Where?"}], response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Lisbon", days=7), answer


@scenario("responses", behind=scripted)
def responses_parse_a_structured_answer(world: World) -> None:
    answer = world.api.client.responses.parse(model="any", input="Where?", text_format=Place, store=False)
    assert answer.output_parsed == Place(city="Lisbon", days=7), answer


@scenario("messages", behind=scripted)
def messages_parse_a_structured_answer(world: World) -> None:
    answer = world.api.client.messages.parse(model="any", max_tokens=256, messages=[{"role": "user", "content": "Where?"}], output_format=Place)
    assert answer.parsed_output == Place(city="Lisbon", days=7), answer


@scenario("responses")
def responses_stream_in_the_order_that_the_sdk_accumulates(world: World) -> None:
    with world.api.client.responses.stream(model="any", input=COUNT_TO_FIVE, store=False) as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    order = ["response.created", "response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.done",
             "response.content_part.done", "response.output_item.done", "response.completed"]
    places = [kinds.index(kind) for kind in order]
    assert places == sorted(places), kinds


@scenario("messages")
def messages_stream_text_as_the_helper_expects(world: World) -> None:
    with world.api.client.messages.stream(model="any", max_tokens=64, messages=[{"role": "user", "content": COUNT_TO_FIVE}]) as stream:
        text = "".join(stream.text_stream)
        assert counted(world, text) and stream.get_final_message().usage.input_tokens > 0, text


@scenario("messages", behind=lambda dialect: dialect in ("messages", "bedrock", "vertex"))
def thinking_comes_with_its_signature_and_goes_back(world: World) -> None:
    client = world.api.client
    ask: dict[str, Any] = {"model": "any", "max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024},
                           "tools": [{"name": "get_weather", "input_schema": WEATHER_SCHEMA}]}
    question = {"role": "user", "content": "weather in Lisbon"}
    with client.messages.stream(**ask, messages=[question]) as stream:
        answer = stream.get_final_message()
    thought, call = answer.content
    # A signature may be sealed to the provider that made it; what counts is that this one recognises its own.
    assert (thought.type, thought.thinking) == ("thinking", script.THOUGHT) and script.SIGNATURE in thought.signature, answer
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "fine"}
    own = [{"type": "thinking", "thinking": thought.thinking, "signature": thought.signature},
           {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]
    final = client.messages.create(**ask, messages=[question, {"role": "assistant", "content": own}, {"role": "user", "content": [result]}])
    assert final.content[-1].text == "The tools said: fine.", final


@scenario("messages")
def tokens_are_counted_without_an_answer(world: World) -> None:
    count = world.api.client.messages.count_tokens(model="any", messages=[{"role": "user", "content": "hello"}],
                                                   tools=[{"name": "get_weather", "input_schema": WEATHER_SCHEMA}])
    assert count.input_tokens > 0, count


@scenario("chat", behind=lambda dialect: dialect in ("chat", "responses"))
def embeddings_keep_their_order_in_every_encoding(world: World) -> None:
    create = world.api.client.embeddings.create
    texts = ["one", "two", "three"]
    packed, plain = create(model="any", input=texts), create(model="any", input=texts, encoding_format="float")
    assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data] and [row.index for row in packed.data] == [0, 1, 2]
    assert packed.usage.prompt_tokens == sum(map(len, texts)), packed.usage


@scenario("chat", "responses")
def the_asynchronous_openai_client_streams(world: World) -> None:
    async def collect() -> str:
        async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key=world.key, max_retries=0, timeout=60) as client:
            if world.api.name == "responses":
                stream = await client.responses.create(model="any", input=COUNT_TO_FIVE, stream=True, store=False)
                return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
            stream = await client.chat.completions.create(model="any", messages=[{"role": "user", "content": COUNT_TO_FIVE}], stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert counted(world, asyncio.run(collect()))


@scenario("messages")
def the_asynchronous_anthropic_client_streams(world: World) -> None:
    async def collect() -> str:
        async with anthropic.AsyncAnthropic(base_url=world.url, auth_token=world.key, api_key=None, max_retries=0, timeout=60) as client:
            async with client.messages.stream(model="any", max_tokens=64, messages=[{"role": "user", "content": COUNT_TO_FIVE}]) as stream:
                return "".join([text async for text in stream.text_stream])
    assert counted(world, asyncio.run(collect()))


def play(arguments: argparse.Namespace) -> int:
    key, failed, count = os.environ.get("CLIENTS_KEY", "none-is-needed"), 0, 0
    for kind in (Chat, Responses, Messages):
        world = World(kind(arguments.url, key), arguments.url, key, arguments.dialect)
        world.api.greedy = not world.scripted
        own = {"vertex": "messages"}.get(arguments.dialect, arguments.dialect)
        if arguments.direct and own != kind.name:
            continue
        for function, apis, behind in SCENARIOS:
            if kind.name not in apis or not behind(arguments.dialect) or arguments.only not in function.__name__:
                continue
            count += 1
            try:
                function(world)
            except Exception:
                failed += 1
                print(f"FAILED {kind.name}: {function.__name__.replace('_', ' ')}\n" + traceback.format_exc(limit=-4), flush=True)
    print(f"       {count - failed} of {count} scenarios of the Python SDKs hold behind {arguments.dialect}")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="a workflow's address, without /v1")
    parser.add_argument("--dialect", required=True, help="what is behind it")
    parser.add_argument("--direct", action="store_true", help="the address is the scripted provider's own")
    parser.add_argument("--only", default="", help="only scenarios with this in their name")
    return play(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
