"""Requests, answers and chunks by llmgate's names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._native import ChatCompletion, ChatCompletionChunk, Choice, Message
from .exceptions import named

__all__ = [
    "BatchError",
    "BatchResult",
    "Choice",
    "CompletionRequest",
    "CompletionResponse",
    "Message",
    "StreamChunk",
    "TokenUsage",
    "ToolCall",
]


@dataclass
class CompletionRequest:
    """What is asked. What else is asked for, by its OpenAI name, is in `extra_kwargs`."""

    model: str | Sequence[str]
    messages: Sequence[Any]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool = False
    tools: Sequence[Any] | None = None
    tool_choice: Any = None
    response_format: Any = None
    extra_kwargs: dict[str, Any] = field(default_factory=dict)

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> CompletionRequest:
        return replace(self, **dict(update or {}))

    @property
    def models(self) -> list[str]:
        return [self.model] if isinstance(self.model, str) else list(self.model)

    def parameters(self) -> dict[str, Any]:
        """The call's keyword arguments."""
        names = ("model", "messages", "max_tokens", "temperature", "top_p", "tools", "tool_choice", "response_format")
        return {**{name: getattr(self, name) for name in names}, **self.extra_kwargs}


@dataclass
class TokenUsage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass
class ToolCall:
    id: str
    function: str
    """The function's name."""
    arguments: dict[str, Any]


@dataclass
class CompletionResponse:
    """A whole answer; `raw` is this package's own."""

    id: str
    model: str
    provider: str
    choices: list[Choice]
    usage: TokenUsage
    raw: ChatCompletion[Any]
    parsed: Any = None
    fallback_attempts: list[str] = field(default_factory=list)
    """The models that failed before the one that answered."""

    @property
    def text(self) -> str:
        return self.raw.text

    @property
    def tool_calls(self) -> list[ToolCall]:
        return [
            ToolCall(call.id, call.function.name, json.loads(call.function.arguments or "{}")) for call in self.raw.tool_calls
        ]


@dataclass
class StreamChunk:
    """A piece of an answer. `fallback_attempts` and `resumed_from_partial` are told by the first chunk of each model."""

    id: str
    model: str
    provider: str
    delta: str
    finish_reason: str | None = None
    index: int = 0
    usage: TokenUsage | None = None
    fallback_attempts: list[str] = field(default_factory=list)
    resumed_from_partial: bool = False


@dataclass
class BatchError:
    index: int
    request: CompletionRequest
    error: str
    error_type: str


@dataclass
class BatchResult:
    results: list[CompletionResponse | None]
    """In the requests' order; `None` where one failed."""
    errors: list[BatchError]
    successful: int
    failed: int
    total_tokens: int

    @property
    def success_rate(self) -> float:
        return self.successful / (self.successful + self.failed) if self.results else 0.0


def response_of(answer: ChatCompletion[Any], models: Sequence[str]) -> CompletionResponse:
    attempts = answer.literllm.attempts or [] if answer.literllm else []
    return CompletionResponse(
        id=answer.id,
        model=answer.model,
        provider=answer.provider or "",
        choices=answer.choices,
        usage=_usage(answer.usage) or TokenUsage(),
        raw=answer,
        parsed=answer.parsed,
        fallback_attempts=[named(each.provider, each.model, models) for each in attempts if each.error],
    )


def chunk_of(chunk: ChatCompletionChunk, provider: str, models: Sequence[str]) -> StreamChunk:
    event = chunk.literllm
    return StreamChunk(
        id=chunk.id,
        model=event.model if event else chunk.model,
        provider=provider,
        delta=chunk.delta,
        finish_reason=chunk.finish_reason,
        usage=_usage(chunk.usage),
        fallback_attempts=[named(route.provider, route.model, models) for route in event.failed or ()] if event else [],
        resumed_from_partial=chunk.resumed_from_partial,
    )


def _usage(usage: Any) -> TokenUsage | None:
    return TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) if usage else None
