"""Middleware by llmgate's names. The engine's own kinds are settings of its client; others wrap the call here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

from ...gate import Cache, Logging, RateLimit, Retry, Setting
from .types import CompletionRequest, CompletionResponse, StreamChunk


class BaseMiddleware:
    """What wraps a call. Each method may change what it is given, call `call_next` or not, and change what comes back."""

    def handle(
        self, request: CompletionRequest, call_next: Callable[[CompletionRequest], CompletionResponse]
    ) -> CompletionResponse:
        return call_next(request)

    async def ahandle(
        self, request: CompletionRequest, call_next: Callable[[CompletionRequest], Awaitable[CompletionResponse]]
    ) -> CompletionResponse:
        return await call_next(request)

    def stream_handle(
        self, request: CompletionRequest, call_next: Callable[[CompletionRequest], Iterator[StreamChunk]]
    ) -> Iterator[StreamChunk]:
        return call_next(request)

    async def astream_handle(
        self, request: CompletionRequest, call_next: Callable[[CompletionRequest], AsyncIterator[StreamChunk]]
    ) -> AsyncIterator[StreamChunk]:
        async for chunk in call_next(request):
            yield chunk


class RetryMiddleware(Retry, BaseMiddleware):
    """Tries again before the first chunk, after a wait that doubles each time."""

    def __init__(self, max_retries: int = 3, backoff_factor: float = 1.0, **_: Any) -> None:
        super().__init__(max_retries, base_delay=backoff_factor)


class LoggingMiddleware(Logging, BaseMiddleware):
    """A line for every call in Python's logger `liter_llm`."""

    def __init__(self, level: int | str = "INFO", **_: Any) -> None:
        super().__init__(level)


class CacheMiddleware(Cache, BaseMiddleware):
    """Keeps answers in memory, streamed ones too."""

    def __init__(self, ttl: float = 300.0, maxsize: int = 128) -> None:
        super().__init__(ttl, maxsize)


class RateLimitMiddleware(RateLimit, BaseMiddleware):
    """Has calls wait their turn, so many a minute of each provider."""

    def __init__(self, requests_per_minute: int = 60, *, rpm: int | None = None, **_: Any) -> None:
        super().__init__(rpm or requests_per_minute)


class FallbackMiddleware(Setting, BaseMiddleware):
    """Further models for every call."""

    def __init__(self, models: Sequence[str], **_: Any) -> None:
        if not models:
            raise ValueError("there are no models to fall back to")
        self.models = list(models)

    def set(self, options: MutableMapping[str, Any]) -> None:
        """Its gate puts the models behind those of each call."""
