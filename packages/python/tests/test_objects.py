"""Chunks, answers, messages, errors as Python objects."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from support import ASK, Mock

import liter_llm
from liter_llm import ChatCompletion, ChatCompletionChunk, ChunkChoice, Conversation, Delta, LiterLlmError, LlmClient, Message

CHUNK: dict[str, Any] = {
    "object": "chat.completion.chunk",
    "id": "c1",
    "created": 17,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "assistant",
                "content": "hi",
                "refusal": "no",
                "reasoning_content": "hm",
                "tool_calls": [
                    {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}, "gate": 1}
                ],
                "function_call": {"name": "f", "arguments": "{}"},
                "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s", "data": "d"}],
                "reasoning_details": [{"type": "x"}],
                "annotations": [
                    {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}
                ],
                "audio": {"id": "a", "data": "AA==", "transcript": "x", "expires_at": 9},
            },
            "logprobs": {"content": [{"token": "hi", "logprob": -0.5}]},
            "finish_reason": "stop",
            "native_finish_reason": "end_turn",
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1, "cache_creation_tokens": 2, "audio_tokens": 3},
        "completion_tokens_details": {
            "reasoning_tokens": 1,
            "audio_tokens": 2,
            "accepted_prediction_tokens": 3,
            "rejected_prediction_tokens": 4,
        },
    },
    "system_fingerprint": "fp",
    "service_tier": "default",
    "literllm": {
        "event": "resumed",
        "attempt": 2,
        "provider": "p",
        "model": "m",
        "reason": "truncated",
        "mode": "prefill",
        "kept": 7,
        "failed": [{"provider": "o", "model": "m", "kind": "truncated", "message": "cut"}],
    },
    "x_vendor": {"a": [1, 2.5, None, True]},
}


def as_seen(value: Any) -> Any:
    """What the attributes say, read by name from every object on the way."""
    if isinstance(value, list):
        return [as_seen(item) for item in value]
    names = getattr(type(value), "__match_args__", None)
    if not names:
        return value
    seen = {name: as_seen(getattr(value, name)) for name in names}
    if hasattr(type(value), "object"):
        seen["object"] = value.object
    return {**seen, **value.model_extra}


def test_every_field_is_an_attribute() -> None:
    chunk = ChatCompletionChunk.model_validate(CHUNK)
    assert chunk.model_dump() == CHUNK
    assert as_seen(chunk) == CHUNK
    assert chunk.choices is chunk.choices
    assert chunk.choices[0].delta is chunk.choices[0].delta
    assert chunk.x_vendor == {"a": [1, 2.5, None, True]}
    assert chunk.choices[0].delta.tool_calls[0].gate == 1
    with pytest.raises(AttributeError, match="no attribute"):
        _ = chunk.nothing
    with pytest.raises(AttributeError):
        chunk.id = "other"


def test_dumps_are_those_of_pydantic() -> None:
    chunk = ChatCompletionChunk(id="c", choices=[{"index": 0, "delta": {"content": "hé"}}])
    assert chunk.model_dump()["usage"] is None
    assert chunk.model_dump()["choices"][0]["delta"]["role"] is None
    assert "usage" not in chunk.model_dump(exclude_none=True)
    wire = chunk.model_dump(exclude_unset=True)
    assert wire["choices"] == [{"index": 0, "delta": {"content": "hé"}, "finish_reason": None}]
    assert json.loads(chunk.model_dump_json()) == chunk.model_dump()
    assert json.loads(chunk.model_dump_json(exclude_unset=True)) == wire
    assert "\n " in chunk.model_dump_json(indent=1)
    assert "hé" in chunk.model_dump_json()
    assert ChatCompletionChunk.model_validate_json(chunk.model_dump_json()) == chunk
    with pytest.raises(ValueError, match="this is no ChatCompletionChunk"):
        ChatCompletionChunk.model_validate({"choices": 3})


def test_equality_repr_copies_and_pickles() -> None:
    chunk = ChatCompletionChunk.model_validate(CHUNK)
    same, other = ChatCompletionChunk(**CHUNK), ChatCompletionChunk(**{**CHUNK, "id": "c2"})
    assert chunk == same
    assert chunk != other
    assert chunk != CHUNK
    assert repr(chunk).startswith("ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(role='assistant', content='hi'")
    for whole in (chunk, chunk.choices[0], chunk.choices[0].delta, chunk.usage, Message.user("hi")):
        assert pickle.loads(pickle.dumps(whole)) == whole
        assert copy.copy(whole) == copy.deepcopy(whole) == whole


def test_pattern_matching() -> None:
    match ChatCompletionChunk.model_validate(CHUNK):
        case ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(content=str(text)), finish_reason="stop")]):
            assert text == "hi"
        case _:
            pytest.fail("it does not match")


def test_what_openai_code_reads_is_there(mock: Mock) -> None:
    answer = mock.client('tool=weather:{"city":"Oslo"}').chat_sync(**ASK)
    message = answer.choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    assert message.tool_calls[0].type == "function"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo"}
    assert answer.tool_calls == message.tool_calls
    assert answer.finish_reason == answer.choices[0].finish_reason == "tool_calls"
    assert mock.client("text=hi").chat_sync(**ASK).choices[0].message.tool_calls is None


def test_parameters_reach_the_provider(mock: Mock) -> None:
    id = mock.id()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    mock.client().chat_sync(
        model="openai/gpt-4o",
        messages=iter((Message.system("Be brief"), "hi", {"role": "assistant", "content": "hello"})),
        headers={"x-mock": f"id={id}"},
        temperature=0.5,
        max_tokens=9,
        stop=("a", "b"),
        tools=[tool],
        response_format={"type": "json_object"},
        user=None,
        extra_body={"top_k": 4},
    )
    body = mock.wait(id, "done")["body"]
    body = json.loads(body) if isinstance(body, str) else body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
    ]
    assert (body["temperature"], body["stop"], body["tools"], body["top_k"]) == (0.5, ["a", "b"], [tool], 4)
    assert body["response_format"] == {"type": "json_object"}
    assert "user" not in body


def test_what_cannot_be_sent_is_said_at_once() -> None:
    client = LlmClient(api_key="key")
    with pytest.raises(TypeError, match="cannot be part of a request"):
        client.chat_sync(model="openai/gpt-4o", messages=[{"role": "user", "content": b"bytes"}])
    with pytest.raises(liter_llm.InvalidRequestError, match="temperature"):
        client.chat_sync(model="openai/gpt-4o", messages="hi", temperature="warm")  # type: ignore[call-overload]
    with pytest.raises(liter_llm.InvalidRequestError):
        LlmClient(nonsense=1)
    assert "key" not in repr(client)


def test_errors_are_classes_and_travel() -> None:
    kinds = {kind.kind: kind for kind in LiterLlmError.__subclasses__()}
    assert len(kinds) == 16
    assert issubclass(liter_llm.RequestTimeoutError, TimeoutError)
    error = liter_llm.TruncatedError("cut", provider="p", status=200, partial=ChatCompletion(id="c"))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is liter_llm.TruncatedError
    assert vars(again) == vars(error)
    assert str(again) == "cut"


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Person(pydantic.BaseModel):
    name: str
    age: int = 3
    tags: list[str] = []


@dataclasses.dataclass
class Place:
    city: Annotated[str, "where it is"]
    size: float
    mood: Mood
    kind: Literal["a", "b"]
    people: list[Child]
    note: str | None = None


@dataclasses.dataclass
class Child:
    name: str
    ages: dict[str, int]


PLACE = '{"city":"Oslo","size":3,"mood":"good","kind":"a","people":[{"name":"Ann","ages":{"now":4}}],"note":null}'


def test_a_pydantic_model_is_asked_for_and_read(mock: Mock) -> None:
    id = mock.id()
    client = mock.client(f'id={id}; text={{"name":"Ann","age":4,"tags":["a","b"]}}')

    async def run() -> None:
        stream = await client.chat_stream(**ASK, response_format=Person)
        snapshots = []
        async for _ in stream:
            snapshots.append(stream.partial_output())
        assert {"name": "Ann"} in [snapshot and {"name": snapshot.get("name")} for snapshot in snapshots]
        assert snapshots[-1] == {"name": "Ann", "age": 4, "tags": ["a", "b"]}
        answer = await stream.final()
        assert answer.parsed == Person(name="Ann", age=4, tags=["a", "b"])

    asyncio.run(run())
    assert client.chat_sync(**ASK, response_format=Person).parsed == Person(name="Ann", age=4, tags=["a", "b"])
    body = mock.wait(id, "done")["body"]
    asked = (json.loads(body) if isinstance(body, str) else body)["response_format"]
    assert asked["json_schema"]["name"] == "Person"
    assert asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["schema"]["required"] == ["name", "age", "tags"]
    assert asked["json_schema"]["schema"]["additionalProperties"] is False


def test_a_dataclass_is_asked_for_and_read(mock: Mock) -> None:
    answer = mock.client(f"text={PLACE}").chat_sync(**ASK, response_format=Place)
    assert answer.parsed == Place("Oslo", 3.0, Mood.GOOD, "a", [Child("Ann", {"now": 4})])


def test_an_answer_of_another_form_is_an_error_that_carries_it(mock: Mock) -> None:
    for wanted, text in ((Person, '{"name":1}'), (Person, "nonsense"), (Place, PLACE.replace('"good"', '"odd"'))):
        with pytest.raises(liter_llm.ProtocolError) as caught:
            mock.client(f"text={text}").chat_sync(**ASK, response_format=wanted)
        assert caught.value.partial is not None
        assert caught.value.partial.text == text
    with pytest.raises(TypeError, match="pydantic model or a dataclass"):
        mock.client().chat_sync(**ASK, response_format=int)


def test_a_conversation_is_built_sent_and_kept(mock: Mock, tmp_path: Path) -> None:
    conversation = Conversation.system("Be brief").user("Tell me a story")
    answer = mock.client('text=Once; reasoning=hm; tool=f:{"a":1}').chat_sync(model="gpt-4o", messages=conversation)
    conversation.add(answer)
    message = answer.message
    assert message is not None
    assert conversation[2] == message
    conversation.tool(answer.tool_calls[0].id, "done").user("And then?")
    conversation.save(tmp_path / "kept.json")
    kept = Conversation.load(tmp_path / "kept.json")
    assert kept == conversation
    assert [message.role for message in kept] == ["system", "user", "assistant", "tool", "user"]
    assert kept.to_list()[2] == message.model_dump(exclude_unset=True)
    assert mock.client("text=The end").chat_sync(model="gpt-4o", messages=kept).text == "The end"
    branch = kept.copy().user("Other")
    assert (len(branch), len(kept)) == (6, 5)
    assert Conversation.user([{"type": "text", "text": "a"}])[0].text == "a"
