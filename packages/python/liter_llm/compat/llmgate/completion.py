"""`completion` and `acompletion`: calls without a gate of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal, overload

from .gate import LLMGate, gate_with
from .types import CompletionResponse, StreamChunk


@overload
def completion(
    model: str | Sequence[str], messages: Sequence[Any], *, stream: Literal[True], **kwargs: Any
) -> Iterator[StreamChunk]: ...
@overload
def completion(
    model: str | Sequence[str], messages: Sequence[Any], *, stream: Literal[False] = False, **kwargs: Any
) -> CompletionResponse: ...
def completion(
    model: str | Sequence[str], messages: Sequence[Any], *, stream: bool = False, **kwargs: Any
) -> CompletionResponse | Iterator[StreamChunk]:
    """Asks a model, or a list of them until one answers."""
    gate = _gate(kwargs)
    return gate.stream(model, messages, **kwargs) if stream else gate.completion(model, messages, **kwargs)


@overload
async def acompletion(
    model: str | Sequence[str], messages: Sequence[Any], *, stream: Literal[True], **kwargs: Any
) -> AsyncIterator[StreamChunk]: ...
@overload
async def acompletion(
    model: str | Sequence[str], messages: Sequence[Any], *, stream: Literal[False] = False, **kwargs: Any
) -> CompletionResponse: ...
async def acompletion(
    model: str | Sequence[str], messages: Sequence[Any], *, stream: bool = False, **kwargs: Any
) -> CompletionResponse | AsyncIterator[StreamChunk]:
    """As `completion`, in a coroutine."""
    gate = _gate(kwargs)
    return gate.astream(model, messages, **kwargs) if stream else await gate.acompletion(model, messages, **kwargs)


def parse(model: str | Sequence[str], messages: Sequence[Any], *, response_format: type, **kwargs: Any) -> Any:
    """An answer of a given form."""
    return completion(model, messages, response_format=response_format, **kwargs).parsed


async def aparse(model: str | Sequence[str], messages: Sequence[Any], *, response_format: type, **kwargs: Any) -> Any:
    """As `parse`, in a coroutine."""
    return (await acompletion(model, messages, response_format=response_format, **kwargs)).parsed


def _gate(kwargs: dict[str, Any]) -> LLMGate:
    """The gate that a call's own arguments ask for. Calls with the same ones share it, with all that its middleware keeps."""
    own = {name: kwargs.pop(name, None) for name in ("fallback_on", "stream_resume_prompt", "api_key", "provider")}
    given = {name: value for name, value in own.items() if value is not None}
    return gate_with(kwargs.pop("middleware", None), **given)
