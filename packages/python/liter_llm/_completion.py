"""`completion` and `acompletion`: a call without a client of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ._client import LlmClient
from ._native import ChatCompletion
from ._stream import ChatStream, SyncChatStream

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._parameters import Messages, Parameters

_T = TypeVar("_T")


@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: type[_T],
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> SyncChatStream[_T]: ...
@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> SyncChatStream: ...
@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: type[_T],
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> ChatCompletion[_T]: ...
@overload
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> ChatCompletion: ...
def completion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: bool = False,
    response_format: Any = None,
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Any,
) -> ChatCompletion[Any] | SyncChatStream[Any]:
    """Asks a model, or a list of them until one answers; with `stream`, chunks, whose `delta` is their text.

    An answer that breaks off is gone on with by the next model of the list, in the manner of `stream_fallback_mode`.
    """
    client = _client(api_key, base_url, provider, _owner(model) if api_key or base_url else "")
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
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> ChatStream[_T]: ...
@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[True],
    response_format: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> ChatStream: ...
@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: type[_T],
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> ChatCompletion[_T]: ...
@overload
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: Literal[False] = False,
    response_format: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Unpack[Parameters],
) -> ChatCompletion: ...
async def acompletion(
    model: str | Sequence[str],
    messages: Messages,
    *,
    stream: bool = False,
    response_format: Any = None,
    api_key: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    **parameters: Any,
) -> ChatCompletion[Any] | ChatStream[Any]:
    """As `completion`, in a coroutine: `async for chunk in await acompletion(…, stream=True)`."""
    client = _client(api_key, base_url, provider, _owner(model) if api_key or base_url else "")
    ask: Any = client.chat_stream if stream else client.chat
    answer: ChatCompletion[Any] | ChatStream[Any] = await ask(
        model=model, messages=messages, response_format=response_format, **parameters
    )
    return answer


def _owner(model: str | Sequence[str]) -> str:
    """Whose a key is that came with a model: it goes to no other provider."""
    return (model if isinstance(model, str) else model[0]).partition("/")[0]


@lru_cache(maxsize=64)
def _client(api_key: str | None, base_url: str | None, provider: str | None, _owner: str) -> LlmClient:
    return LlmClient(api_key=api_key, base_url=base_url, provider=provider)
