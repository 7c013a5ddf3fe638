"""`stream_chat`: text as it comes, and last the whole answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from ...._completion import client_for
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
    client = client_for(model_name, {})
    async for item in stream_with(client, model_name, prompt, sampling_params or SamplingParams(), tools, extra_headers):
        yield item
