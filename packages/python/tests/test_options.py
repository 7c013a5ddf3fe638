"""What a client keeps, limits and asks twice, by configuration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import ASK, Mock

from liter_llm import ChatCompletion, InvalidRequestError, LlmClient, RequestTimeoutError


def test_an_answer_is_kept(mock: Mock) -> None:
    id = mock.id()
    client = mock.client(f"id={id}; text=one two; usage=3,4", cache={"max_entries": 10, "ttl": 60})
    first = client.chat_stream_sync(**ASK).final()
    again = client.chat_stream_sync(**ASK)
    assert "".join(chunk.delta for chunk in again) == "one two"
    kept = again.final()
    assert kept.literllm is not None
    assert (kept.literllm.cached, kept.cost) == (True, 0.0)
    assert first.literllm is not None
    assert first.literllm.cached is None
    assert first.cost
    assert len(mock.log(id)) == 1


def test_the_same_asked_at_once_is_asked_once(mock: Mock) -> None:
    id = mock.id()

    async def run() -> list[ChatCompletion]:
        client = mock.client(f"id={id}; text=one; ttft=30", cache={})
        return await asyncio.gather(*[client.chat(**ASK) for _ in range(50)])

    assert [answer.text for answer in asyncio.run(run())] == ["one"] * 50
    assert len(mock.log(id)) == 1


def test_calls_wait_their_turn(mock: Mock) -> None:
    client = mock.client("text=one", limits=[{"provider": "openai", "requests_per_minute": 2}])
    for _ in range(2):
        client.chat_sync(**ASK)
    with pytest.raises(RequestTimeoutError):
        client.chat_sync(**ASK, timeout=0.1)


def test_keys_are_used_in_turn(mock: Mock) -> None:
    url = f"{mock.url}/v1"
    client = LlmClient(
        base_urls={"openai": url}, key_pools={"openai": ["key-1", "key-2"]}, headers={"x-mock": "expect_key=key-2; text=in"}
    )
    for _ in range(4):
        assert client.chat_sync(**{**ASK, "model": "openai/gpt-4o"}).text == "in"


def test_a_late_first_token_is_hedged(mock: Mock) -> None:
    late, id = mock.id(), mock.id()
    models = [f"openai/late?id={late}&ttft=60000", f"openai/quick?id={id}&text=quick"]
    client = mock.client(hedge_after=0.05, cooldown=0)
    stream = client.chat_stream_sync(**{**ASK, "model": models})
    assert "".join(chunk.delta for chunk in stream) == "quick"
    mock.wait(late, "left")
    meta = stream.final().literllm
    assert meta is not None
    assert len(meta.attempts or []) == 2


def test_what_is_configured_wrong_is_said() -> None:
    wrong: Any = {"limits": [{"provider": "openai", "per_hour": 3}]}
    with pytest.raises(InvalidRequestError, match="per_hour"):
        LlmClient(**wrong)
