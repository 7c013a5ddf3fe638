"""`LLMGate` and batches, over this package's own gate."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any

from ..._completion import environment
from ...gate import Gate, Setting
from .exceptions import BatchTimeoutError, LLMGateError, timed_out, translated, translating
from .middleware import BaseMiddleware, FallbackMiddleware, LoggingMiddleware
from .types import BatchError, BatchResult, CompletionRequest, CompletionResponse, StreamChunk, chunk_of, response_of

_REQUEST_FIELDS = frozenset(field.name for field in fields(CompletionRequest)) - {"extra_kwargs", "stream"}
_CLIENT_FIELDS = ("api_key", "provider", "base_url")


class LLMGate:
    """Calls that all go through the same middleware, the first of it outermost."""

    def __init__(
        self,
        middleware: Sequence[Any] | None = None,
        fallback_chain: Sequence[str] | None = None,
        fallback_on: tuple[type[BaseException], ...] | None = None,
        stream_fallback_mode: str = "restart",
        stream_resume_prompt: str | None = None,
        **defaults: Any,
    ) -> None:
        if stream_resume_prompt is not None:
            warnings.warn("stream_resume_prompt is not used: answers are joined by the engine's own request", stacklevel=2)
        if fallback_on is not None:
            warnings.warn("fallback_on is not used: the engine knows which failures another model can mend", stacklevel=2)
        given = list(middleware or ())
        self._wrapping = [item for item in given if not isinstance(item, (Setting, LoggingMiddleware))]
        for item in self._wrapping:
            if not isinstance(item, BaseMiddleware):
                raise TypeError(f"{type(item).__name__} is no middleware")
        self._chain = list(fallback_chain or ())
        self._more_models = [model for item in given if isinstance(item, FallbackMiddleware) for model in item.models]
        self._mode = stream_fallback_mode
        client = {name: defaults.pop(name) for name in _CLIENT_FIELDS if defaults.get(name) is not None}
        self._defaults = defaults
        self._gate = Gate([item for item in given if item not in self._wrapping], **client)

    def completion(
        self, model: str | Sequence[str] | None = None, messages: Sequence[Any] | None = None, **kwargs: Any
    ) -> CompletionResponse:
        response: CompletionResponse = self._wrapped("handle", self._whole)(self._request(model, messages, kwargs, stream=False))
        return response

    async def acompletion(
        self, model: str | Sequence[str] | None = None, messages: Sequence[Any] | None = None, **kwargs: Any
    ) -> CompletionResponse:
        call = self._wrapped("ahandle", self._awhole)
        response: CompletionResponse = await call(self._request(model, messages, kwargs, stream=False))
        return response

    def stream(
        self, model: str | Sequence[str] | None = None, messages: Sequence[Any] | None = None, **kwargs: Any
    ) -> Iterator[StreamChunk]:
        call = self._wrapped("stream_handle", self._stream)
        chunks: Iterator[StreamChunk] = call(self._request(model, messages, kwargs, stream=True))
        return chunks

    def astream(
        self, model: str | Sequence[str] | None = None, messages: Sequence[Any] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamChunk]:
        call = self._wrapped("astream_handle", self._astream)
        chunks: AsyncIterator[StreamChunk] = call(self._request(model, messages, kwargs, stream=True))
        return chunks

    def batch(
        self,
        requests: Sequence[CompletionRequest | Mapping[str, Any]],
        *,
        max_concurrency: int = 5,
        fail_fast: bool = False,
        timeout: float | None = None,
    ) -> BatchResult:
        asked = self._asked(requests, timeout)
        with translating([]):
            done = self._gate.batch([one.parameters() for one in asked], concurrency=max_concurrency, fail_fast=fail_fast)
        return _result(asked, done.answers, done.errors)

    async def abatch(
        self,
        requests: Sequence[CompletionRequest | Mapping[str, Any]],
        *,
        max_concurrency: int = 5,
        fail_fast: bool = False,
        timeout: float | None = None,
    ) -> BatchResult:
        asked = self._asked(requests, timeout)
        with translating([]):
            done = await self._gate.abatch([one.parameters() for one in asked], concurrency=max_concurrency, fail_fast=fail_fast)
        return _result(asked, done.answers, done.errors)

    def _asked(self, requests: Iterable[CompletionRequest | Mapping[str, Any]], timeout: float | None) -> list[CompletionRequest]:
        asked = [
            one if isinstance(one, CompletionRequest) else self._request(one.get("model"), one.get("messages"), one, stream=False)
            for one in requests
        ]
        for one in asked:
            if timeout is not None:
                one.extra_kwargs["timeout"] = timeout
        return asked

    def _request(self, model: Any, messages: Any, given: Mapping[str, Any], *, stream: bool) -> CompletionRequest:
        models = self._chain or ([model] if isinstance(model, str) else list(model or ()))
        models = [*models, *self._more_models]
        if not models or messages is None:
            raise ValueError("a call names a model, unless its gate has a `fallback_chain`, and has messages")
        fields = {**self._defaults, **given, "model": models[0] if len(models) == 1 else models, "messages": messages}
        own = {name: value for name, value in fields.items() if name in _REQUEST_FIELDS}
        extra = {name: value for name, value in fields.items() if name not in _REQUEST_FIELDS and name != "stream"}
        extra.update(extra.pop("extra_kwargs", None) or {})
        if len(models) > 1:
            extra.setdefault("stream_fallback_mode", self._mode)
        return CompletionRequest(**own, stream=stream, extra_kwargs=extra)

    def _wrapped(self, method: str, call: Callable[[CompletionRequest], Any]) -> Callable[[CompletionRequest], Any]:
        """A call with the program's own middleware around it."""
        for item in reversed(self._wrapping):
            call = partial(getattr(item, method), call_next=call)
        return call

    def _whole(self, request: CompletionRequest) -> CompletionResponse:
        with translating(request.models):
            return response_of(self._gate.completion(**request.parameters()), request.models)

    async def _awhole(self, request: CompletionRequest) -> CompletionResponse:
        with translating(request.models):
            return response_of(await self._gate.acompletion(**request.parameters()), request.models)

    def _stream(self, request: CompletionRequest) -> Iterator[StreamChunk]:
        with translating(request.models), self._gate.stream(**request.parameters()) as stream:
            provider = stream.provider
            for chunk in stream:
                provider = _told(chunk.literllm, provider)
                yield chunk_of(chunk, provider, request.models)

    async def _astream(self, request: CompletionRequest) -> AsyncIterator[StreamChunk]:
        with translating(request.models):
            async with await self._gate.acompletion(stream=True, **request.parameters()) as stream:
                provider = stream.provider
                async for chunk in stream:
                    provider = _told(chunk.literllm, provider)
                    yield chunk_of(chunk, provider, request.models)


def _told(event: Any, provider: str) -> str:
    if event is None:
        return provider
    warnings.warn(f"{event.provider}/{event.model} goes on after {event.reason}", UserWarning, stacklevel=3)
    return str(event.provider)


def _result(asked: Sequence[CompletionRequest], answers: Sequence[Any], errors: Mapping[int, Any]) -> BatchResult:
    results = [answer and response_of(answer, one.models) for one, answer in zip(asked, answers, strict=True)]
    failures = []
    for at, error in errors.items():
        theirs: LLMGateError = translated(error, asked[at].models)
        kind = BatchTimeoutError if timed_out(theirs) else type(theirs)
        failures.append(BatchError(at, asked[at], str(theirs), kind.__name__))
    tokens = sum(result.usage.total_tokens for result in results if result)
    return BatchResult(results, failures, len(asked) - len(failures), len(failures), tokens)


def batch(
    requests: Sequence[CompletionRequest | Mapping[str, Any]], *, middleware: Sequence[Any] | None = None, **options: Any
) -> BatchResult:
    """Many requests at once."""
    return gate_with(middleware).batch(requests, **options)


async def abatch(
    requests: Sequence[CompletionRequest | Mapping[str, Any]], *, middleware: Sequence[Any] | None = None, **options: Any
) -> BatchResult:
    """As `batch`, in a coroutine."""
    return await gate_with(middleware).abatch(requests, **options)


def gate_with(middleware: Sequence[Any] | None, **options: Any) -> LLMGate:
    """A gate for calls that have none of their own; the same for the same middleware and options."""
    return _gate(tuple(_Same(item) for item in middleware or ()), environment(), **options)


@lru_cache(maxsize=64)
def _gate(middleware: tuple[_Same, ...], _environment: object, **options: Any) -> LLMGate:
    return LLMGate([same.item for same in middleware], **options)


@dataclass(frozen=True, eq=False)
class _Same:
    """An object as itself, whatever it calls equal."""

    item: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.item is self.item

    def __hash__(self) -> int:
        return id(self.item)
