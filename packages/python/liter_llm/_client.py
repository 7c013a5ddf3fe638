"""The client: every call in two forms, for coroutines and, ending in `_sync`, for threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast, overload

from ._json import encode
from ._native import Call, ChatCompletion, Client, Stream
from ._parameters import OPTION_NAMES
from ._stream import ChatStream, SyncChatStream
from ._waiting import wait

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._parameters import Messages, Parameters

_T = TypeVar("_T")


class LlmClient:
    """Talks to every provider. `model` is `provider/model`; keys come from the arguments or from the usual variables.

    One client serves any number of threads, tasks and event loops. A deadline of 0 is none; see the README for all the options.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        provider: str | None = None,
        api_keys: Mapping[str, str] | None = None,
        base_urls: Mapping[str, str] | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        hosts: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float | None = None,
        first_token_timeout: float | None = None,
        idle_timeout: float | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        retry_base_delay: float | None = None,
        retry_max_delay: float | None = None,
        proxy: str | None = None,
        root_certificates: Sequence[str] | None = None,
        client_certificate: Mapping[str, str] | None = None,
        user_agent: str | None = None,
        http1_only: bool | None = None,
        http2_only: bool | None = None,
        drop_unsupported: bool | None = None,
        max_event_bytes: int | None = None,
        trace_content: bool | None = None,
        **more: Any,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in ("self", "more") and value is not None}
        self._client = Client(encode({**options, **more}))
        self._provider = provider

    def __repr__(self) -> str:
        return "LlmClient()" if self._provider is None else f"LlmClient(provider={self._provider!r})"

    @overload
    async def chat(
        self, *, model: str | Sequence[str], messages: Messages, response_format: type[_T], **parameters: Unpack[Parameters]
    ) -> ChatCompletion[_T]: ...
    @overload
    async def chat(
        self,
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion: ...
    async def chat(
        self, *, model: str | Sequence[str], messages: Messages, response_format: Any = None, **parameters: Any
    ) -> ChatCompletion[Any]:
        """Asks for a whole answer. With a pydantic model or a dataclass as `response_format`, its `parsed` is one."""
        call, wanted = self._call(self._client.chat, model, messages, response_format, parameters)
        return _whole(await _answer(call), wanted)

    @overload
    def chat_sync(
        self, *, model: str | Sequence[str], messages: Messages, response_format: type[_T], **parameters: Unpack[Parameters]
    ) -> ChatCompletion[_T]: ...
    @overload
    def chat_sync(
        self,
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion: ...
    def chat_sync(
        self, *, model: str | Sequence[str], messages: Messages, response_format: Any = None, **parameters: Any
    ) -> ChatCompletion[Any]:
        """As `chat`, in a thread."""
        call, wanted = self._call(self._client.chat, model, messages, response_format, parameters)
        return _whole(_answer_sync(call), wanted)

    @overload
    async def chat_stream(
        self, *, model: str | Sequence[str], messages: Messages, response_format: type[_T], **parameters: Unpack[Parameters]
    ) -> ChatStream[_T]: ...
    @overload
    async def chat_stream(
        self,
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> ChatStream: ...
    async def chat_stream(
        self, *, model: str | Sequence[str], messages: Messages, response_format: Any = None, **parameters: Any
    ) -> ChatStream[Any]:
        """Asks for a stream. An error before the first chunk is raised here, a later one by the iteration."""
        call, wanted = self._call(self._client.chat_stream, model, messages, response_format, parameters)
        return ChatStream(cast("Stream", await _answer(call)), wanted)

    @overload
    def chat_stream_sync(
        self, *, model: str | Sequence[str], messages: Messages, response_format: type[_T], **parameters: Unpack[Parameters]
    ) -> SyncChatStream[_T]: ...
    @overload
    def chat_stream_sync(
        self,
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> SyncChatStream: ...
    def chat_stream_sync(
        self, *, model: str | Sequence[str], messages: Messages, response_format: Any = None, **parameters: Any
    ) -> SyncChatStream[Any]:
        """As `chat_stream`, in a thread: `for chunk in client.chat_stream_sync(…)`."""
        call, wanted = self._call(self._client.chat_stream, model, messages, response_format, parameters)
        return SyncChatStream(cast("Stream", _answer_sync(call)), wanted)

    async def chat_print(
        self,
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Any = None,
        file: TextIO | None = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion[Any]:
        """Prints the answer as it comes and returns it whole, with usage, finish reason and cost."""
        stream = await self.chat_stream(model=model, messages=messages, response_format=response_format, **parameters)
        return await stream.print(file)

    def chat_print_sync(
        self,
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Any = None,
        file: TextIO | None = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion[Any]:
        """As `chat_print`, in a thread."""
        stream = self.chat_stream_sync(model=model, messages=messages, response_format=response_format, **parameters)
        return stream.print(file)

    async def chat_text(
        self, *, model: str | Sequence[str], messages: Messages, response_format: Any = None, **parameters: Unpack[Parameters]
    ) -> AsyncIterator[str | ChatCompletion[Any]]:
        """Yields the answer's text as it comes, and last the whole answer."""
        stream = await self.chat_stream(model=model, messages=messages, response_format=response_format, **parameters)
        async for item in stream.text_then_final():
            yield item

    def chat_text_sync(
        self, *, model: str | Sequence[str], messages: Messages, response_format: Any = None, **parameters: Unpack[Parameters]
    ) -> Iterator[str | ChatCompletion[Any]]:
        """As `chat_text`, in a thread."""
        stream = self.chat_stream_sync(model=model, messages=messages, response_format=response_format, **parameters)
        yield from stream.text_then_final()

    async def chat_to_file(
        self,
        path: str | PathLike[str],
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion[Any]:
        """Writes the answer's text to a file as it comes, and returns the whole answer."""
        stream = await self.chat_stream(model=model, messages=messages, response_format=response_format, **parameters)
        return await stream.to_file(path)

    def chat_to_file_sync(
        self,
        path: str | PathLike[str],
        *,
        model: str | Sequence[str],
        messages: Messages,
        response_format: Any = None,
        **parameters: Unpack[Parameters],
    ) -> ChatCompletion[Any]:
        """As `chat_to_file`, in a thread."""
        stream = self.chat_stream_sync(model=model, messages=messages, response_format=response_format, **parameters)
        return stream.to_file(path)

    def _call(
        self, ask: Any, model: Any, messages: Any, response_format: Any, parameters: Mapping[str, Any]
    ) -> tuple[Call, type | None]:
        wanted = None
        if isinstance(response_format, type):
            from . import _structured

            response_format, wanted = _structured.response_format(response_format), response_format
        if isinstance(messages, str):
            messages = [messages]
        body: dict[str, Any] = {"model": model, "messages": [_message(message) for message in messages]}
        if response_format is not None:
            body["response_format"] = response_format
        options: dict[str, Any] = {}
        for name, value in parameters.items():
            if value is None:
                continue
            if name == "extra_body":
                body.update(value)
            else:
                (options if name in OPTION_NAMES else body)[name] = value
        return ask(encode(body), encode(options) if options else None), wanted


def _message(message: Any) -> Any:
    return {"role": "user", "content": message} if isinstance(message, str) else message


async def _answer(call: Call) -> ChatCompletion | Stream:
    await wait(call)
    return cast("ChatCompletion | Stream", call.result())


def _answer_sync(call: Call) -> ChatCompletion | Stream:
    call.block()
    return cast("ChatCompletion | Stream", call.result())


def _whole(answer: ChatCompletion | Stream, wanted: type | None) -> ChatCompletion[Any]:
    answer = cast("ChatCompletion[Any]", answer)
    if wanted is None:
        return answer
    from . import _structured

    return _structured.parse(answer, wanted)
