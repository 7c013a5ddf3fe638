"""The mock provider as the tests see it, and clients that talk to it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from liter_llm import LlmClient

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

    def release(self, id: str, n: int | str = 1) -> None:
        self.ask(f"release?id={id}&n={n}", b"")

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


ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Tell me a story"}]}
