"""A gate: one client, and what every call of it goes through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from support import ASK, Mock

from liter_llm import ChatCompletion, PermissionDeniedError, RequestTimeoutError, ServerError
from liter_llm.gate import Cache, Gate, Hook, HookEvent, Logging, RateLimit, Retry

MESSAGES: Any = ASK["messages"]
Whole = Callable[..., str]


def gate(mock: Mock, *middleware: Any, behaviour: str = "", **options: Any) -> Gate:
    known = {"api_key": "test-key-1234", "base_url": f"{mock.url}/v1", "provider": "openai", "headers": {"x-mock": behaviour}}
    return Gate(middleware, **{**known, **options})


def whole(gate: Gate, *arguments: Any, **more: Any) -> str:
    answer: ChatCompletion = gate.completion(*arguments, **more)
    return answer.text


def whole_async(gate: Gate, *arguments: Any, **more: Any) -> str:
    async def run() -> str:
        answer: ChatCompletion = await gate.acompletion(*arguments, **more)
        return answer.text

    return asyncio.run(run())


def streamed(gate: Gate, *arguments: Any, **more: Any) -> str:
    return "".join(chunk.delta for chunk in gate.stream(*arguments, **more))


def streamed_async(gate: Gate, *arguments: Any, **more: Any) -> str:
    async def run() -> str:
        return "".join([chunk.delta async for chunk in gate.astream(*arguments, **more)])

    return asyncio.run(run())


every_call = pytest.mark.parametrize("call", [whole, whole_async, streamed, streamed_async])


@every_call
def test_retries_act_on_every_kind_of_call(mock: Mock, call: Whole) -> None:
    id = mock.id()
    behaviour = f"id={id}; status=503; fail_times=2; text=there"
    assert call(gate(mock, Retry(2, base_delay=0.001), behaviour=behaviour), "gpt-4o", MESSAGES) == "there"
    assert len(mock.log(id)) == 3
    with pytest.raises(ServerError):
        call(gate(mock, Retry(0), behaviour="status=500"), "gpt-4o", MESSAGES)


@every_call
def test_logging_acts_on_every_kind_of_call(mock: Mock, call: Whole, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mine"):
        assert call(gate(mock, Logging("DEBUG", "mine"), behaviour="text=said; usage=3,4"), "gpt-4o", MESSAGES) == "said"
    (record,) = [record for record in caplog.records if record.name == "mine"]
    assert record.levelno == logging.DEBUG
    assert "completion_tokens=4" in record.getMessage()


@every_call
def test_ones_own_middleware_acts_on_every_kind_of_call(mock: Mock, call: Whole) -> None:
    seen: list[str] = []
    id = mock.id()

    class Own(Hook):
        def before_request(self, event: HookEvent) -> Any:
            seen.append("before")
            return {**(event.request or {}), "user": "me"}

        async def on_chunks(self, event: HookEvent) -> None:
            seen.append("chunk")

        def on_end(self, event: HookEvent) -> None:
            seen.append("after")

    assert call(gate(mock, Own(), Retry(1), behaviour=f"id={id}; text=one two"), "gpt-4o", MESSAGES) == "one two"
    assert (seen[0], seen[-1], set(seen[1:-1])) == ("before", "after", {"chunk"})
    assert mock.wait(id, "done")["body"]["user"] == "me"

    class Refuse(Hook):
        def before_request(self, event: HookEvent) -> None:
            raise RuntimeError("closed today")

    with pytest.raises(PermissionDeniedError, match="closed today"):
        call(gate(mock, Refuse()), "gpt-4o", MESSAGES)


@every_call
def test_a_gate_has_models_of_its_own(mock: Mock, call: Whole) -> None:
    models = [f"openai/{call.__name__}-a?status=500", f"openai/{call.__name__}-b?text=second"]
    assert call(gate(mock, models=models, max_retries=0), messages=MESSAGES) == "second"
    with pytest.raises(TypeError, match="model"):
        call(gate(mock), messages=MESSAGES)


def test_a_batch_goes_through_the_gate(mock: Mock) -> None:
    seen: list[int] = []

    class Count(Hook):
        def before_request(self, event: HookEvent) -> None:
            seen.append(event.call)

    own = gate(mock, Count(), behaviour="text=ok", models="gpt-4o")
    assert [answer and answer.text for answer in own.batch(["a", "b", "c"]).answers] == ["ok"] * 3
    assert [answer and answer.text for answer in asyncio.run(own.abatch(["a", "b"])).answers] == ["ok"] * 2
    assert len(set(seen)) == 5


@every_call
def test_the_cache_acts_on_every_kind_of_call(mock: Mock, call: Whole) -> None:
    id = mock.id()
    own = gate(mock, Cache(ttl=60), behaviour=f"id={id}; text=kept")
    assert [call(own, "gpt-4o", MESSAGES) for _ in range(3)] == ["kept"] * 3
    assert [streamed(own, "gpt-4o", MESSAGES), whole(own, "gpt-4o", MESSAGES)] == ["kept", "kept"]
    assert len(mock.log(id)) == 1
    call(own, "gpt-4o", MESSAGES, temperature=0.1)
    assert len(mock.log(id)) == 2
    kept = own.completion("gpt-4o", MESSAGES).literllm
    assert kept is not None
    assert kept.cached is True


@every_call
def test_rate_limits_act_on_every_kind_of_call(mock: Mock, call: Whole) -> None:
    id = mock.id()
    own = gate(mock, RateLimit(requests_per_minute=2), behaviour=f"id={id}; text=let", timeout=0.2)
    assert [call(own, "gpt-4o", MESSAGES) for _ in range(2)] == ["let"] * 2
    with pytest.raises(RequestTimeoutError):
        call(own, "gpt-4o", MESSAGES)
    assert len(mock.log(id)) == 2


def test_a_gate_bounds_what_runs_at_once(mock: Mock) -> None:
    id = mock.id()
    own = gate(mock, RateLimit(concurrency=3, provider="openai"), behaviour=f"id={id}; text=ok; ttft=20", models="gpt-4o")
    result = own.batch(["hi"] * 30, concurrency=30)
    assert sum(answer is not None for answer in result.answers) == 30
    begun = sorted(entry["uptime_ms"] for entry in mock.log(id))
    # Each takes at least 20 ms, so that of four that began within less, four ran at once.
    assert min(later - earlier for earlier, later in zip(begun, begun[3:], strict=False)) >= 19


def test_a_models_limit_names_its_provider() -> None:
    with pytest.raises(ValueError, match="provider"):
        RateLimit(60, model="gpt-4o")
