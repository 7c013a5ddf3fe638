"""A call without a client, and what its chunks say of themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic
import pytest
from support import ASK, TEXT, Mock, routes

from liter_llm import AllFailedError, AuthenticationError, InvalidRequestError, acompletion, completion

MESSAGES: Any = ASK["messages"]

pytestmark = pytest.mark.usefixtures("environment")


def test_a_whole_answer() -> None:
    assert completion("gpt-4o?text=one two", MESSAGES).text == "one two"
    assert asyncio.run(acompletion("gpt-4o?text=one two", "hi", temperature=0.5)).text == "one two"


def test_chunks_have_their_text() -> None:
    chunks = list(completion("gpt-4o?text=one two", MESSAGES, stream=True))
    assert [chunk.delta for chunk in chunks if chunk.delta] == ["one", " two"]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]

    async def run() -> str:
        return "".join([chunk.delta async for chunk in await acompletion("gpt-4o?text=one two", MESSAGES, stream=True)])

    assert asyncio.run(run()) == "one two"


@pytest.mark.parametrize("mode", ["auto", "prefill", "user_turn"])
def test_a_list_goes_on_in_the_middle(mode: Any) -> None:
    models = routes(f"middle-{mode}")
    stream = completion(models, MESSAGES, stream=True, stream_fallback_mode=mode)
    chunks = list(stream)
    assert "".join(chunk.delta for chunk in chunks) == TEXT
    resumed = [chunk for chunk in chunks if chunk.resumed_from_partial]
    assert [chunk.fallback_attempts for chunk in resumed] == [[models[0]]]
    assert [chunk.fallback_attempts for chunk in chunks if not chunk.resumed_from_partial] == [[]] * (len(chunks) - 1)
    assert stream.final().fallback_attempts == [models[0]]


def test_a_restart_is_told_apart() -> None:
    chunks = list(completion(routes("restart"), MESSAGES, stream=True, stream_fallback_mode="restart"))
    begun_anew = [chunk for chunk in chunks if chunk.literllm]
    assert [(chunk.literllm and chunk.literllm.event, chunk.resumed_from_partial) for chunk in begun_anew] == [("reset", False)]
    assert len(begun_anew[0].fallback_attempts) == 1


def test_a_whole_answer_names_who_failed() -> None:
    answer = completion(["openai/names-a?status=503", "openai/names-b?text=ok"], MESSAGES, max_retries=0)
    assert (answer.text, answer.fallback_attempts) == ("ok", ["openai/names-a?status=503"])
    assert completion("gpt-4o?text=ok", MESSAGES).fallback_attempts == []


def test_when_all_fail_each_model_has_its_error() -> None:
    models = ["openai/each-a?status=500", "openai/each-b?status=401"]

    async def run() -> None:
        async for _ in await acompletion(models, MESSAGES, stream=True, max_retries=0):
            pass

    with pytest.raises(AllFailedError) as caught:
        asyncio.run(run())
    assert [model for model, _ in caught.value.errors] == models
    assert [getattr(error, "kind", "") for _, error in caught.value.errors] == ["server", "authentication"]


def test_what_is_no_model_is_named_as_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    models = ["nowhere/demo", "groq/demo"]
    with pytest.raises(AllFailedError) as caught:
        completion(models, MESSAGES)
    assert [model for model, _ in caught.value.errors] == models
    assert completion([models[0], "gpt-4o?text=ok"], MESSAGES).fallback_attempts == models[:1]


def test_a_key_may_be_set_after_a_first_call(mock: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "gpt-4o?text=a&expect_key=later"
    with pytest.raises(AuthenticationError):
        completion(model, MESSAGES)
    monkeypatch.setenv("OPENAI_API_KEY", "later")
    assert completion(model, MESSAGES).text == "a"
    assert asyncio.run(acompletion(model, MESSAGES)).text == "a"


def test_no_models_are_refused() -> None:
    with pytest.raises(InvalidRequestError):
        completion([], MESSAGES, api_key="one")


def test_a_key_given_with_a_model_is_its_providers(mock: Mock) -> None:
    url = f"{mock.url}/v1"
    for model in ("openai/gpt-4o?text=a&expect_key=one", "groq/demo?text=a&expect_key=one"):
        assert completion(model, "hi", api_key="one", base_url=url).text == "a"


def test_a_class_may_be_asked_for() -> None:
    class Person(pydantic.BaseModel):
        name: str

    model = 'gpt-4o?text={"name":"Ann"}'
    assert completion(model, MESSAGES, response_format=Person).parsed == Person(name="Ann")
    assert completion(model, MESSAGES, response_format=Person, stream=True).final().parsed == Person(name="Ann")
