"""`completion` and `acompletion`: a call without a client of one's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ._client import LlmClient
from ._native import ChatCompletion
from ._stream import ChatStream, SyncChatStream

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._parameters import CompletionParameters, Messages

_T = TypeVar("_T")


@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: type[_T],
    **parameters: Unpack[CompletionParameters],
) -> SyncChatStream[_T]: ...
@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: Mapping[str, Any] | None = None,
    **parameters: Unpack[CompletionParameters],
) -> SyncChatStream: ...
@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: type[_T],
    **parameters: Unpack[CompletionParameters],
) -> ChatCompletion[_T]: ...
@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: Mapping[str, Any] | None = None,
    **parameters: Unpack[CompletionParameters],
) -> ChatCompletion: ...
def completion(
    model: str | Sequence[str], messages: Messages, *, stream: bool = False, response_format: Any = None, **parameters: Any
) -> ChatCompletion[Any] | SyncChatStream[Any]:
    """Asks a model, or a list of them until one answers; with `stream`, chunks, whose `delta` is their text.

    An answer that breaks off is gone on with by the next model of the list, in the manner of `stream_fallback_mode`.
    """
    client = client_for(model, parameters)
    ask: Any = client.chat_stream_sync if stream else client.chat_sync
    answer: ChatCompletion[Any] | SyncChatStream[Any] = ask(
        model=model, messages=messages, response_format=response_format, **parameters
    )
    return answer


@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: type[_T],
    **parameters: Unpack[CompletionParameters],
) -> ChatStream[_T]: ...
@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: Mapping[str, Any] | None = None,
    **parameters: Unpack[CompletionParameters],
) -> ChatStream: ...
@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: type[_T],
    **parameters: Unpack[CompletionParameters],
) -> ChatCompletion[_T]: ...
@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: Mapping[str, Any] | None = None,
    **parameters: Unpack[CompletionParameters],
) -> ChatCompletion: ...
async def acompletion(
    model: str | Sequence[str], messages: Messages, *, stream: bool = False, response_format: Any = None, **parameters: Any
) -> ChatCompletion[Any] | ChatStream[Any]:
    """As `completion`, in a coroutine: `async for chunk in await acompletion(…, stream=True)`."""
    client = client_for(model, parameters)
    ask: Any = client.chat_stream if stream else client.chat
    answer: ChatCompletion[Any] | ChatStream[Any] = await ask(
        model=model, messages=messages, response_format=response_format, **parameters
    )
    return answer


def client_for(model: str | Sequence[str], parameters: dict[str, Any]) -> LlmClient:
    """A client with what among the parameters is a client's; it serves all such calls."""
    api_key, base_url, provider = (parameters.pop(name, None) for name in ("api_key", "base_url", "provider"))
    # A key that came with a model goes to no other model's provider.
    first = model if isinstance(model, str) else next(iter(model), "")
    owner = first.partition("/")[0] if api_key or base_url else ""
    return _client(api_key, base_url, provider, owner, environment())


@lru_cache(maxsize=64)
def _client(api_key: str | None, base_url: str | None, provider: str | None, _owner: str, _environment: object) -> LlmClient:
    return LlmClient(api_key=api_key, base_url=base_url, provider=provider)


def environment() -> frozenset[tuple[str, str]]:
    """The variables, where keys and addresses may come from. A client reads them once; where they change, another one serves."""
    return frozenset(os.environ.items())
