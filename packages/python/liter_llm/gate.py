"""A gate: a client with what every call of it goes through, whole or streamed, in coroutines and in threads.

gate = Gate([Retry(3), Logging(), Cache(ttl=300), RateLimit(requests_per_minute=60), MyHook()])
for chunk in gate.stream("openai/gpt-4o", "Tell me a story"):
    print(chunk.delta, end="", flush=True)
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from ._batch import BatchResult
from ._client import LlmClient
from ._hooks import Hook, HookEvent, LogCalls
from ._native import ChatCompletion, ChatCompletionChunk, providers
from ._stream import ChatStream, SyncChatStream

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._parameters import Messages, Parameters

__all__ = ["Cache", "Gate", "Hook", "HookEvent", "Logging", "RateLimit", "Retry", "Setting"]


class Setting(ABC):
    """Middleware that the engine has itself: it is set, and costs nothing here."""

    @abstractmethod
    def set(self, options: MutableMapping[str, Any]) -> None:
        """Puts itself among a client's options."""


class Retry(Setting):
    """Tries a failed call again before its first chunk, after a wait that doubles each time."""

    def __init__(self, max_retries: int = 3, *, base_delay: float = 0.5, max_delay: float = 60.0) -> None:
        self._options = {"max_retries": max_retries, "retry_base_delay": base_delay, "retry_max_delay": max_delay}

    def set(self, options: MutableMapping[str, Any]) -> None:
        options.update(self._options)


class Cache(Setting):
    """Keeps answers in memory. The same request has the same answer, as a stream too; asked at once, it is asked once."""

    def __init__(self, ttl: float = 300.0, max_entries: int = 1000) -> None:
        self._options = {"ttl": ttl, "max_entries": max_entries}

    def set(self, options: MutableMapping[str, Any]) -> None:
        options["cache"] = self._options


class RateLimit(Setting):
    """Asks no more than so much of a provider or a model, or of each provider where none is named; what is over it waits."""

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        concurrency: int | None = None,
        *,
        provider: str | None = None,
        model: str | None = None,
    ) -> None:
        if model is not None and provider is None:
            raise ValueError("a model's limit names its provider")
        limit = {
            "model": model,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "concurrency": concurrency,
        }
        self._limit = {name: value for name, value in limit.items() if value is not None}
        self._provider = provider

    def set(self, options: MutableMapping[str, Any]) -> None:
        if self._provider is None:
            own = [host["name"] for host in options.get("hosts") or ()]
            names = [*providers(), *own]
        else:
            names = [self._provider]
        options["limits"] = [*options.get("limits", ()), *({"provider": name, **self._limit} for name in names)]


class Logging(LogCalls):
    """A line for every call in Python's logging: model, attempts, tokens, cost, seconds and ending."""

    def __init__(self, level: int | str = logging.INFO, logger: str = "liter_llm") -> None:
        super().__init__(int(getattr(logging, level.upper())) if isinstance(level, str) else level, logger)


class Gate:
    """Calls that all go through the same middleware: settings of the engine's, and hooks, which are asked in their order.

    `models` are asked where a call names none. Other options are those of `LlmClient`.
    """

    client: LlmClient
    """The client of all calls, for what a gate has no method for."""

    def __init__(self, middleware: Iterable[Any] = (), *, models: str | Sequence[str] | None = None, **options: Any) -> None:
        hooks = list(options.pop("hooks", ()))
        for item in middleware:
            if isinstance(item, Setting):
                item.set(options)
            else:
                hooks.append(item)
        self.client = LlmClient(hooks=hooks, **options)
        self._models = models

    @overload
    def completion(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        stream: Literal[False] = False,
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion: ...
    @overload
    def completion(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        stream: Literal[True],
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> SyncChatStream: ...
    def completion(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        stream: bool = False,
        response_format: Any = None,
        **parameters: Any,
    ) -> ChatCompletion | SyncChatStream:
        """Asks for a whole answer, or with `stream` for chunks."""
        ask: Any = self.client.chat_stream_sync if stream else self.client.chat_sync
        answer: ChatCompletion | SyncChatStream = ask(
            **self._asked(model, messages), response_format=response_format, **parameters
        )
        return answer

    @overload
    async def acompletion(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        stream: Literal[False] = False,
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion: ...
    @overload
    async def acompletion(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        stream: Literal[True],
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> ChatStream: ...
    async def acompletion(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        stream: bool = False,
        response_format: Any = None,
        **parameters: Any,
    ) -> ChatCompletion | ChatStream:
        """As `completion`, in a coroutine."""
        ask: Any = self.client.chat_stream if stream else self.client.chat
        answer: ChatCompletion | ChatStream = await ask(
            **self._asked(model, messages), response_format=response_format, **parameters
        )
        return answer

    def stream(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> SyncChatStream:
        """Asks for chunks."""
        return self.completion(model, messages, stream=True, response_format=response_format, **parameters)

    async def astream(
        self,
        model: str | Sequence[str] | None = None,
        messages: Messages | None = None,
        *,
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Chunks in a coroutine: `async for chunk in gate.astream(…)`."""
        async with await self.acompletion(model, messages, stream=True, response_format=response_format, **parameters) as stream:
            async for chunk in stream:
                yield chunk

    def batch(self, prompts: Iterable[Messages | Mapping[str, Any]], **options: Any) -> BatchResult[Any]:
        """Many prompts at once; see `LlmClient.batch`."""
        return self.client.batch_sync(prompts, **self._asks(options))

    async def abatch(self, prompts: Iterable[Messages | Mapping[str, Any]], **options: Any) -> BatchResult[Any]:
        """As `batch`, in a coroutine."""
        return await self.client.batch(prompts, **self._asks(options))

    def _asks(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self._models, **options}

    def _asked(self, model: str | Sequence[str] | None, messages: Any) -> dict[str, Any]:
        model = self._models if model is None else model
        if model is None or messages is None:
            raise TypeError("a call names a model, unless its gate has `models`, and has messages")
        return {"model": model, "messages": messages}
