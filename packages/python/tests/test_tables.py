"""The tables that every language runs: the conformance cases and the faults, in coroutines and in threads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import CASES, Mock, Outcome, both_ways

from liter_llm import ChatCompletionChunk, LlmClient

STORY = {"model": "openai/demo", "messages": [{"role": "user", "content": "Tell me a story"}]}
cases = sorted(path.parent for path in CASES.glob("*/*/request.json"))
faults = json.loads((CASES / "faults.json").read_text())


@both_ways
@pytest.mark.parametrize("case", cases, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_case_gives_its_chunks(mock: Mock, case: Any, stream: Callable[..., Outcome]) -> None:
    config = json.loads((case.parent / "client.json").read_text().replace("{MOCK}", mock.url))
    config.setdefault("headers", {})["x-mock"] = f"case={case.parent.name}/{case.name}"
    outcome = stream(LlmClient(**{**config, "max_retries": 0}), json.loads((case / "request.json").read_text()))
    expected = json.loads((case / "expected.json").read_text())
    assert [chunk.model_dump(exclude_unset=True) for chunk in outcome.chunks] == expected["chunks"]
    assert (outcome.error and {"kind": outcome.error.kind}) == expected["error"]
    for chunk in outcome.chunks:
        assert ChatCompletionChunk.model_validate(chunk.model_dump()) == chunk


@both_ways
@pytest.mark.parametrize("row", faults, ids=lambda row: row["name"])
def test_a_fault_ends_as_the_table_says(mock: Mock, row: dict[str, Any], stream: Callable[..., Outcome]) -> None:
    id = mock.id()
    config = {
        "api_keys": {"openai": "test-key-1234"},
        "base_urls": {"openai": f"{mock.url}/v1"},
        "headers": {"x-mock": f"id={id}; {row['mock']}"},
        "max_retries": 0,
        **row.get("config", {}),
    }
    outcome = stream(LlmClient(**config), row.get("request", STORY))
    chunks, error = outcome.chunks, outcome.error
    expect = row["expect"]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert (error and error.kind) == expect["kind"], text
    if "text" in expect:
        assert text == expect["text"]
    if "finish_reason" in expect:
        reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
        assert reasons == [expect["finish_reason"]]
    if error is not None:
        assert outcome.at_call == (expect["when"] == "call")
        assert (error.partial is not None) == expect["partial"]
        assert error.partial is None or error.partial.text == text
        assert error.status == expect.get("status", error.status)
        assert error.retry_after == expect.get("retry_after", error.retry_after)
        assert "test-key-1234" not in str(error)
    if "requests" in expect:
        assert len(mock.log(id) or []) == expect["requests"]
    if expect.get("requests") != 0:
        mock.ended(id)
