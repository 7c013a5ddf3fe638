"""lm-deluge's guides with only the import line changed."""

from __future__ import annotations

import asyncio

import pytest
from support import Mock

from liter_llm import Conversation as OwnConversation
from liter_llm.compat.lm_deluge import APIResponse, Conversation, LLMClient, Message
from liter_llm.compat.lm_deluge.api_requests.openai import stream_chat
from liter_llm.compat.lm_deluge.config import SamplingParams


@pytest.fixture(autouse=True)
def _environment(mock: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{mock.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "test-key-1234")


def test_the_client_prints_and_returns(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        for client in (LLMClient("gpt-4o?text=one two"), LLMClient(model="gpt-4o?text=one two", temperature=0.5)):
            response = await client.stream("Tell me a story")
            assert response is not None
            assert response.completion == response.content.completion == "one two"
            assert response.usage is not None
            assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
        conversation = Conversation().add(Message.system("Be brief")).add(Message.user("hi"))
        response = await LLMClient("gpt-4o?text=three").stream(conversation)
        assert response is not None
        assert [message.role for message in conversation.with_response(response)] == ["system", "user", "assistant"]

    asyncio.run(run())
    assert capsys.readouterr().out == "one twoone twothree"


def test_conversations_begin_on_the_class_and_go_on() -> None:
    conversation = Conversation.system("Be brief").user("hi").ai("hello").user("look", image="https://example.com/a.png")
    assert isinstance(conversation, OwnConversation)
    assert [message.role for message in conversation] == ["system", "user", "assistant", "user"]
    assert Conversation.user("hi")[0].text == "hi"
    assert Conversation().user("hi").to_list() == [{"role": "user", "content": "hi"}]
    assert Message.ai("yes").completion == "yes"


def test_stream_chat_yields_text_and_last_the_response() -> None:
    async def run() -> list[str | APIResponse]:
        return [
            item
            async for item in stream_chat(
                model_name="gpt-4o?text=one two",
                prompt=Conversation.user("hi"),
                sampling_params=SamplingParams(temperature=0.7, max_new_tokens=50),
            )
        ]

    *texts, last = asyncio.run(run())
    assert texts == ["one", " two"]
    assert isinstance(last, APIResponse)
    assert last.model_internal == "gpt-4o?text=one two"
    assert last.usage is not None
    assert last.usage.total_tokens > 0
