"""The mock provider as the tests see it, and clients that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from liter_llm import ChatCompletion, ChatCompletionChunk, LiterLlmError, LlmClient

ROOT = Path(__file__).resolve().parents[3]
CASES = ROOT / "core" / "conformance"
_ids = itertools.count()


class Mock:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, data: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"{self.url}/_mock/{path}", data=data, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def wait(self, id: str, event: str, nth: int | None = None) -> Any:
        """The log entry, once the event has happened to the request."""
        return self.ask(f"wait?id={id}&event={event}&timeout_ms=20000" + (f"&nth={nth}" if nth else ""))

    def ended(self, id: str) -> None:
        """Returns once the latest such request is over, whichever side ended it."""
        for _ in range(400):
            last = self.log(id)[-1]
            if last.get("done_ms") is not None or last.get("left_ms") is not None:
                return
            with contextlib.suppress(urllib.error.HTTPError):
                self.ask(f"wait?id={id}&event=left&timeout_ms=50")
        pytest.fail("the connection stays open")

    def log(self, id: str) -> Any:
        return self.ask(f"log?id={id}")

    def release(self, id: str, n: int | str = 1, nth: int | None = None) -> None:
        self.ask(f"release?id={id}&n={n}" + (f"&nth={nth}" if nth else ""), b"")

    def stats(self) -> Any:
        return self.ask("stats")

    def id(self) -> str:
        return f"python-{next(_ids)}"

    def client(self, behaviour: str = "", **options: Any) -> LlmClient:
        return LlmClient(
            **{
                "api_key": "test-key-1234",
                "base_url": f"{self.url}/v1",
                "provider": "openai",
                "headers": {"x-mock": behaviour} if behaviour else {},
                "max_retries": 0,
                **options,
            }
        )

    def environment(self) -> dict[str, str]:
        """For a process that runs a guide's code."""
        return {**os.environ, "OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": "test-key-1234"}

    def start(self, code: str) -> subprocess.Popen[str]:
        """Runs code as a process of its own, in which every warning is an error."""
        return subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", textwrap.dedent(code)],
            env={**self.environment(), "PYTHONWARNINGS": "error"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> tuple[int, str, str]:
        """Its exit code, and what it wrote to stdout and stderr."""
        process = self.start(code)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def routes(test: str) -> list[str]:
    """A list whose first model is cut, and whose second one goes on. Its names are the test's own: a failure is remembered."""
    said = TEXT.replace(" ", "%20")
    return [f"openai/{test}-a?text={said}&cut=4", f"openai/{test}-b?text={said}&continue=1"]


TEXT = "one two three four five six seven eight nine ten eleven twelve"


# A hundred milliseconds are promised; a noisy machine has ten times that.
AT_ONCE = 1000

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Tell me a story"}]}


@dataclass
class Outcome:
    """What came of a streamed call."""

    chunks: list[ChatCompletionChunk] = field(default_factory=list)
    answer: ChatCompletion | None = None
    error: LiterLlmError | None = None
    at_call: bool = False
    """Whether the error came from the call, not from the iteration."""


def asynchronously(client: LlmClient, request: dict[str, Any]) -> Outcome:
    async def run() -> Outcome:
        outcome = Outcome()
        try:
            stream = await client.chat_stream(**request)
        except LiterLlmError as error:
            return Outcome(error=error, at_call=True)
        try:
            async for chunk in stream:
                outcome.chunks.append(chunk)
            outcome.answer = await stream.final()
        except LiterLlmError as error:
            outcome.error = error
        assert [chunk async for chunk in stream] == []
        return outcome

    return asyncio.run(run())


def synchronously(client: LlmClient, request: dict[str, Any]) -> Outcome:
    outcome = Outcome()
    try:
        stream = client.chat_stream_sync(**request)
    except LiterLlmError as error:
        return Outcome(error=error, at_call=True)
    try:
        for chunk in stream:
            outcome.chunks.append(chunk)
        outcome.answer = stream.final()
    except LiterLlmError as error:
        outcome.error = error
    assert list(stream) == []
    return outcome


both_ways = pytest.mark.parametrize("stream", [asynchronously, synchronously])

_tables: dict[str, dict[str, bool]] = {}


def count_row(table: str, row: str, passed: bool) -> None:
    """Counts one row of a table that the run's end sums up; a row that is run in several ways is right when all are."""
    rows = _tables.setdefault(table, {})
    rows[row] = rows.get(row, True) and passed


def table_lines() -> list[str]:
    recovery = _tables.get("recovery", {})
    return [
        *(
            f"table: {table}, {len(rows)} scenarios through python, {list(rows.values()).count(False)} wrong"
            for table, rows in _tables.items()
        ),
        *(f"row: python|{'ok' if passed else 'wrong'}|{row}" for row, passed in recovery.items()),
    ]
