"""`stream_chat`: text as it comes, and last the whole answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import Any

from ...._client import LlmClient
from ..client import APIResponse, stream_with
from ..config import SamplingParams


async def stream_chat(
    model_name: str,
    prompt: Any,
    sampling_params: SamplingParams | None = None,
    tools: Sequence[Any] | None = None,
    cache: Any = None,
    extra_headers: Mapping[str, str] | None = None,
) -> AsyncIterator[str | APIResponse]:
    async for item in stream_with(_client(), model_name, prompt, sampling_params or SamplingParams(), tools, extra_headers):
        yield item


@cache
def _client() -> LlmClient:
    return LlmClient()
