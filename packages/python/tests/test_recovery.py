"""Answers that survive: the recovery table in coroutines and in threads, and lists of models as Python has them."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import ASK, AT_ONCE, CASES, Mock, Outcome, asynchronously, both_ways, count_row, synchronously

from liter_llm import AllFailedError, ChatCompletion, ChatCompletionChunk, LiterLlmError, LlmClient

TEXT = "one two three four five six seven eight nine ten eleven twelve"
rows = json.loads((CASES / "recovery.json").read_text())


def model(route: str, name: str) -> str:
    """A route of the table as a model's name; no other test's failures count for it."""
    if route == "@unknown_provider":
        return "nowhere/demo"
    if route.startswith("@"):
        return f"{route[1:]}/demo"
    return f"openai/{name}?{route.replace('{T}', TEXT.replace(' ', '%20'))}&id={name}"


def client(mock: Mock, secure_mock: Mock, **more: Any) -> LlmClient:
    hosts = [{"name": name, "base_url": ""} for name in ("refused", "unknown_host", "untrusted")]
    no_key = {"name": "no_key", "base_url": "http://127.0.0.1:9/v1", "key_vars": ["LITERLLM_TEST_NO_SUCH_KEY"]}
    config: dict[str, Any] = {
        "api_keys": {"openai": "test-key"},
        "base_urls": {
            "openai": f"{mock.url}/v1",
            "refused": "http://127.0.0.1:9/v1",
            "unknown_host": "http://no-such-host.invalid/v1",
            "untrusted": f"{secure_mock.url}/v1",
        },
        "hosts": [*hosts, no_key],
        "cooldown": 0,
    }
    return LlmClient(**{**config, **more})


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    """What a consumer that minds resets has in the end."""
    text = ""
    for chunk in chunks:
        if chunk.literllm and chunk.literllm.event == "reset":
            text = ""
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text


def check_error(expect: dict[str, Any], error: LiterLlmError) -> None:
    if "causes" in expect:
        assert [cause.kind for cause in error.causes if isinstance(cause, LiterLlmError)] == expect["causes"]
    if "partial" in expect:
        assert error.partial is not None
        assert error.partial.text == expect["partial"]
    if "partial_tools" in expect:
        assert error.partial is not None
        assert len(error.partial.tool_calls) == expect["partial_tools"]


def check_answer(expect: dict[str, Any], chunks: list[ChatCompletionChunk], answer: ChatCompletion) -> None:
    text = expect.get("text", "").replace("{T}", TEXT)
    assert (text_of(chunks), answer.text) == (text, text)
    if "tools" in expect:
        assert [call.function.arguments for call in answer.tool_calls] == expect["tools"]
    events = [chunk.literllm for chunk in chunks if chunk.literllm]
    for name in ("event", "reason", "mode", "kept"):
        if name in expect:
            assert getattr(events[-1], name) == expect[name], events
    assert answer.literllm is not None
    if "legs" in expect:
        assert len(answer.literllm.attempts or []) == expect["legs"]
    # Whatever happened, the stream is one.
    assert len({(chunk.id, chunk.model, chunk.created) for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert sum(choice.delta.role is not None for choice in choices) == 1
    assert sum(choice.finish_reason is not None for choice in choices) == 1


async def cancel(llm: LlmClient, request: dict[str, Any], answered: Callable[[], Any]) -> tuple[str, float]:
    """Cancels the task once the route has answered. The text that had come, and the time it took."""
    chunks: list[ChatCompletionChunk] = []

    async def read() -> None:
        async for chunk in await llm.chat_stream(**request):
            chunks.append(chunk)

    task = asyncio.ensure_future(read())
    await asyncio.to_thread(answered)
    left = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return text_of(chunks), time.monotonic() - left


def interrupt(llm: LlmClient, request: dict[str, Any], answered: Callable[[], Any]) -> tuple[str, float]:
    """The same in a thread that waits: it is the program's main one, and Ctrl-C is pressed."""
    chunks: list[ChatCompletionChunk] = []
    left: list[float] = []

    def press() -> None:
        answered()
        left.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()

    def read() -> None:
        for chunk in llm.chat_stream_sync(**request):
            chunks.append(chunk)

    with pytest.raises(KeyboardInterrupt):
        read()
    thread.join()
    return text_of(chunks), time.monotonic() - left[0]


LEAVE: dict[Callable[..., Outcome], Callable[..., tuple[str, float]]] = {
    asynchronously: lambda *arguments: asyncio.run(cancel(*arguments)),
    synchronously: interrupt,
}


def check_cancel(
    mock: Mock,
    row: dict[str, Any],
    ids: list[str],
    leave: Callable[..., tuple[str, float]],
    llm: LlmClient,
    request: dict[str, Any],
) -> None:
    """Leaves the call when the route that the row names has answered; those after it are never asked."""
    last = row["cancel_after"]
    text, seconds = leave(llm, request, lambda: mock.wait(ids[last], "done"))
    assert row["expect"]["kind"] == "cancelled"
    assert text == row["expect"].get("partial", "")
    assert seconds * 1000 < AT_ONCE
    for at, id in enumerate(ids):
        outcomes = [request["outcome"] for request in mock.log(id)]
        assert len(outcomes) == (at <= last), "the mock sees no other request"
        assert "open" not in outcomes


@both_ways
@pytest.mark.parametrize("row", rows, ids=lambda row: row["name"])
def test_a_failure_ends_as_the_table_says(
    mock: Mock, secure_mock: Mock, row: dict[str, Any], stream: Callable[..., Outcome]
) -> None:
    ids = [f"{stream.__name__}-{rows.index(row)}-{number}" for number in range(len(row["models"]))]
    request: dict[str, Any] = {
        "model": list(map(model, row["models"], ids)),
        "messages": "Count",
        "stream_fallback_mode": row.get("mode"),
    }
    if "format" in row:
        request["response_format"] = {"type": row["format"]}
    llm = client(mock, secure_mock, **row.get("config", {}))
    passed = False
    try:
        if "cancel_after" in row:
            check_cancel(mock, row, ids, LEAVE[stream], llm, request)
            passed = True
            return
        outcome = stream(llm, request)
        assert (outcome.error and outcome.error.kind) == row["expect"].get("kind")
        if outcome.error:
            check_error(row["expect"], outcome.error)
        else:
            assert outcome.answer is not None
            check_answer(row["expect"], outcome.chunks, outcome.answer)
        passed = True
    finally:
        count_row("recovery", row["name"], passed)


CUT = [model("text={T}&cut=4", "a"), model("text={T}&continue=1", "b")]


def test_a_list_of_models_goes_on_and_tells(mock: Mock) -> None:
    stream = mock.client(cooldown=0).chat_stream_sync(**{**ASK, "model": CUT})
    events = [chunk.literllm for chunk in stream if chunk.literllm]
    assert [(event.event, event.attempt, event.model, event.kept) for event in events] == [
        ("resumed", 2, CUT[1].removeprefix("openai/"), 13)
    ]
    assert [(route.model, route.kind) for route in events[0].failed or []] == [(CUT[0].removeprefix("openai/"), "truncated")]
    answer = stream.final()
    assert answer.text == TEXT
    assert answer.literllm is not None
    assert [attempt.error for attempt in answer.literllm.attempts or []] == ["truncated", None]


def test_a_whole_answer_falls_back_too(mock: Mock) -> None:
    answer = mock.client(cooldown=0).chat_sync(**{**ASK, "model": ("openai/a?status=503", "openai/b?text=ok")})
    assert answer.text == "ok"
    assert answer.literllm is not None
    assert [attempt.error for attempt in answer.literllm.attempts or []] == ["overloaded", None]


def test_when_all_fail_every_error_is_there(mock: Mock) -> None:
    with pytest.raises(AllFailedError) as caught:
        mock.client(cooldown=0).chat_sync(**{**ASK, "model": ["openai/a?status=503", "openai/b?status=401"]})
    assert [type(cause).__name__ for cause in caught.value.causes] == ["OverloadedError", "AuthenticationError"]
    assert "test-key-1234" not in str(caught.value)


def test_a_sticky_key_chooses_the_same_route_each_time(mock: Mock) -> None:
    client = mock.client()
    models = [f"openai/r{at}?text={at}" for at in range(4)]

    def asked(user: int) -> str:
        return client.chat_sync(**{**ASK, "model": models}, model_weights=[1, 1, 1, 1], sticky_key=f"user-{user}").text

    first = [asked(user) for user in range(12)]
    assert [asked(user) for user in range(12)] == first
    assert len(set(first)) > 1
