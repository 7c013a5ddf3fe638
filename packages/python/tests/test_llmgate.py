"""llmgate's guides with only the import line changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pydantic
import pytest
from support import ASK, TEXT, Mock, routes

from liter_llm.compat.llmgate import (
    BaseMiddleware,
    CompletionRequest,
    CompletionResponse,
    LLMGate,
    Message,
    StreamChunk,
    aparse,
    batch,
    completion,
    parse,
)
from liter_llm.compat.llmgate.exceptions import (
    AllProvidersFailedError,
    AuthError,
    ModelNotFoundError,
    ProviderAPIError,
    RateLimitError,
)
from liter_llm.compat.llmgate.middleware import (
    CacheMiddleware,
    FallbackMiddleware,
    LoggingMiddleware,
    RateLimitMiddleware,
    RetryMiddleware,
)

MESSAGES: Any = ASK["messages"]

pytestmark = [pytest.mark.usefixtures("environment"), pytest.mark.filterwarnings("ignore:.*goes on after:UserWarning")]


GUIDE = """
    import asyncio
    import warnings
    from liter_llm.compat.llmgate import completion, acompletion, LLMGate
    from liter_llm.compat.llmgate.middleware import RetryMiddleware, LoggingMiddleware
    from liter_llm.compat.llmgate.exceptions import AllProvidersFailedError

    warnings.simplefilter("ignore", UserWarning)
    messages = [{"role": "user", "content": "Tell me a story"}]

    for chunk in completion("gpt-4o-mini", messages, stream=True):
        print(chunk.delta, end="", flush=True)
    print()

    async def main():
        async for chunk in await acompletion("gpt-4o-mini", messages, stream=True):
            print(chunk.delta, end="", flush=True)
        print()

    asyncio.run(main())

    gate = LLMGate(middleware=[RetryMiddleware(max_retries=3), LoggingMiddleware()])
    for chunk in gate.stream("gpt-4o-mini", messages):
        print(chunk.delta, end="", flush=True)
    print()

    for chunk in completion(["openai/none?status=500", "gpt-4o-mini"], messages, stream=True, stream_fallback_mode="prefill"):
        if chunk.fallback_attempts:
            print("after", chunk.fallback_attempts, chunk.resumed_from_partial)
        print(chunk.delta, end="", flush=True)
    print()

    try:
        for chunk in completion(["openai/a?status=500", "openai/b?status=401"], messages, stream=True):
            print(chunk.delta, end="")
    except AllProvidersFailedError as e:
        for model, exc in e.errors:
            print(model, type(exc).__name__)
"""


def test_the_streaming_guide_runs(mock: Mock) -> None:
    code, out, err = mock.run(GUIDE)
    assert (code, err) == (0, "")
    first, second, third, told, fourth, *errors = out.splitlines()
    assert first.startswith("A lighthouse keeper")
    assert first == second == third == fourth
    assert told == "after ['openai/none?status=500'] False"
    assert errors == ["openai/a?status=500 ProviderAPIError", "openai/b?status=401 AuthError"]


def test_chunks_are_llmgates(mock: Mock) -> None:
    chunks = list(completion("gpt-4o?text=one two&usage=3,4", MESSAGES, stream=True))
    assert all(isinstance(chunk, StreamChunk) for chunk in chunks)
    assert [chunk.delta for chunk in chunks if chunk.delta] == ["one", " two"]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert {(chunk.provider, chunk.index, chunk.resumed_from_partial) for chunk in chunks} == {("openai", 0, False)}


@pytest.mark.parametrize("mode", ["prefill", "user_turn", "restart", None])
def test_a_broken_stream_goes_on(mode: str | None) -> None:
    models = routes(f"llmgate-{mode}")
    options = {"stream_fallback_mode": mode} if mode else {}
    chunks = list(completion(models, MESSAGES, stream=True, **options))
    told = [chunk for chunk in chunks if chunk.fallback_attempts]
    assert [chunk.fallback_attempts for chunk in told] == [[models[0]]]
    is_resumed = mode in ("prefill", "user_turn")
    assert told[0].resumed_from_partial is is_resumed
    text = "".join(chunk.delta for chunk in chunks)
    assert text == (TEXT if is_resumed else "one two three" + TEXT)


def test_a_fallback_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="goes on after truncated"):
        list(LLMGate(fallback_chain=routes("llmgate-warn"), stream_fallback_mode="prefill").stream(messages=MESSAGES))


def test_whole_answers_are_llmgates() -> None:
    response = completion(["openai/whole-a?status=503", "openai/whole-b?text=ok&usage=3,4"], MESSAGES)
    assert isinstance(response, CompletionResponse)
    assert (response.text, response.provider, response.fallback_attempts) == ("ok", "openai", ["openai/whole-a?status=503"])
    assert (response.usage.total_tokens, response.choices[0].message.content) == (7, "ok")
    call = completion('gpt-4o?tool=f:{"city":"Rome"}', [Message.user("hi")]).tool_calls[0]
    assert (call.function, call.arguments) == ("f", {"city": "Rome"})

    class Movie(pydantic.BaseModel):
        title: str

    model = 'gpt-4o?text={"title":"Alien"}'
    assert parse(model, MESSAGES, response_format=Movie) == Movie(title="Alien")
    assert asyncio.run(aparse(model, MESSAGES, response_format=Movie)) == Movie(title="Alien")


def test_errors_are_llmgates() -> None:
    expected: list[tuple[str, type[Exception]]] = [
        ("openai/x?status=401", AuthError),
        ("openai/x?status=429", RateLimitError),
        ("openai/x?status=500", ProviderAPIError),
        ("nowhere/x", ModelNotFoundError),
    ]
    for model, kind in expected:
        with pytest.raises(kind) as caught:
            completion(model, MESSAGES, max_retries=0)
        assert caught.value.__cause__ is not None
    with pytest.raises(AllProvidersFailedError) as all_failed:
        asyncio.run(LLMGate(fallback_chain=["openai/all-a?status=500", "openai/all-b?status=401"]).acompletion(messages=MESSAGES))
    assert [(model, type(error)) for model, error in all_failed.value.errors] == [
        ("openai/all-a?status=500", ProviderAPIError),
        ("openai/all-b?status=401", AuthError),
    ]


def test_a_gates_middleware_acts_on_streams(mock: Mock, caplog: pytest.LogCaptureFixture) -> None:
    id = mock.id()
    gate = LLMGate(middleware=[RetryMiddleware(max_retries=2, backoff_factor=0.001), LoggingMiddleware()], temperature=0.5)
    model = f"gpt-4o?id={id}&status=503&fail_times=2&text=there"
    with caplog.at_level(logging.INFO, "liter_llm"):
        assert "".join(chunk.delta for chunk in gate.stream(model, MESSAGES)) == "there"
    assert len(mock.log(id)) == 3
    assert mock.log(id)[-1]["body"]["temperature"] == 0.5
    assert sum(record.name == "liter_llm" for record in caplog.records) == 1
    fallback = LLMGate(middleware=[FallbackMiddleware(["openai/more-b?text=more"])])
    assert fallback.completion("openai/more-a?status=500", MESSAGES, max_retries=0).text == "more"


def test_ones_own_middleware_wraps_every_kind_of_call() -> None:
    class Shout(BaseMiddleware):
        def handle(
            self, request: CompletionRequest, call_next: Callable[[CompletionRequest], CompletionResponse]
        ) -> CompletionResponse:
            response = call_next(request.model_copy(update={"model": "gpt-4o?text=whole"}))
            response.parsed = response.text.upper()
            return response

        def stream_handle(
            self, request: CompletionRequest, call_next: Callable[[CompletionRequest], Iterator[StreamChunk]]
        ) -> Iterator[StreamChunk]:
            for chunk in call_next(request):
                chunk.delta = chunk.delta.upper()
                yield chunk

        async def astream_handle(
            self, request: CompletionRequest, call_next: Callable[[CompletionRequest], AsyncIterator[StreamChunk]]
        ) -> AsyncIterator[StreamChunk]:
            async for chunk in call_next(request):
                chunk.delta = chunk.delta.upper()
                yield chunk

    gate = LLMGate(middleware=[Shout(), RetryMiddleware()])
    assert gate.completion("gpt-4o", MESSAGES).parsed == "WHOLE"
    assert "".join(chunk.delta for chunk in gate.stream("gpt-4o?text=one two", MESSAGES)) == "ONE TWO"

    async def run() -> str:
        assert (await gate.acompletion("gpt-4o?text=plain", MESSAGES)).text == "plain"
        return "".join([chunk.delta async for chunk in gate.astream("gpt-4o?text=one two", MESSAGES)])

    assert asyncio.run(run()) == "ONE TWO"


def test_batches_are_llmgates() -> None:
    requests = [{"model": f"gpt-4o?text={word}&usage=1,2", "messages": MESSAGES} for word in ("a", "b")]
    done = batch([*requests, {"model": "gpt-4o?status=401", "messages": MESSAGES}], max_concurrency=2)
    assert [result.text if result else None for result in done.results] == ["a", "b", None]
    assert (done.successful, done.failed, done.total_tokens) == (2, 1, 6)
    assert done.success_rate == pytest.approx(2 / 3)
    assert [(error.index, error.error_type) for error in done.errors] == [(2, "AuthError")]
    late = batch([{"model": "gpt-4o?ttft=60000", "messages": MESSAGES}], timeout=0.05)
    assert [error.error_type for error in late.errors] == ["BatchTimeoutError"]


def test_the_cache_and_the_rate_are_kept(mock: Mock) -> None:
    id = mock.id()
    kept = mock.id()
    middleware = [CacheMiddleware(ttl=60)]
    for _ in range(3):
        assert completion(f"gpt-4o?id={kept}&text=kept", MESSAGES, middleware=middleware).text == "kept"
    assert batch([{"model": f"gpt-4o?id={kept}&text=kept", "messages": MESSAGES}], middleware=middleware).successful == 1
    assert len(mock.log(kept)) == 1
    gate = LLMGate(middleware=[CacheMiddleware(ttl=60), RateLimitMiddleware(rpm=1)])
    for _ in range(3):
        assert "".join(chunk.delta for chunk in gate.stream(f"gpt-4o?id={id}&text=kept", MESSAGES)) == "kept"
    assert len(mock.log(id)) == 1
    with pytest.raises(ProviderAPIError):
        gate.completion(f"gpt-4o?id={id}&text=other", MESSAGES, timeout=0.1)
