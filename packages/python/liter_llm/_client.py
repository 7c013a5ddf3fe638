"""The client: every call in two forms, for coroutines and, ending in `_sync`, for threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar, cast, overload

from ._json import encode
from ._native import Call, ChatCompletion, Client, Stream
from ._parameters import OPTION_NAMES
from ._stream import ChatStream, SyncChatStream
from ._waiting import wait

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._batch import Batch, BatchProgress, BatchResult
    from ._parameters import CacheOptions, Limit, Messages, Parameters

_T = TypeVar("_T")
# The constructor's arguments that are no options of the engine's.
_NO_OPTIONS = frozenset(("self", "more", "hooks", "token_providers"))


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
        stream_fallback_mode: Literal["auto", "prefill", "user_turn", "restart", "off"] | None = None,
        cooldown: float | None = None,
        streams_per_connection: int | None = None,
        max_event_bytes: int | None = None,
        trace_content: bool | None = None,
        cache: CacheOptions | None = None,
        limits: Sequence[Limit] | None = None,
        key_pools: Mapping[str, Sequence[str]] | None = None,
        hedge_after: float | None = None,
        log_calls: bool = False,
        hooks: Sequence[Any] = (),
        token_providers: Mapping[str, Callable[[], Any]] | None = None,
        **more: Any,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in _NO_OPTIONS and value is not None}
        asked, tokens = list(hooks), token_providers or {}
        if asked or tokens or log_calls:
            from . import _hooks

            if log_calls:
                asked.append(_hooks.LogCalls())
            self._client = Client(
                encode({**options, **more}),
                [_hooks.bound(hook) for hook in asked],
                {name: _hooks.token_provider(give) for name, give in tokens.items()},
            )
        else:
            self._client = Client(encode({**options, **more}), [], {})
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

    async def batch(
        self,
        prompts: Iterable[Messages | Mapping[str, Any]],
        *,
        model: str | Sequence[str] | None = None,
        response_format: Any = None,
        concurrency: int = 32,
        journal: str | PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = None,
        fail_fast: bool = False,
        **parameters: Unpack[Parameters],
    ) -> BatchResult[Any]:
        """Asks many prompts, `concurrency` of them at a time, and returns what came of each, in their order.

        A prompt is what `messages` takes, or a mapping with `messages` and what else it wants its own: `model`, `temperature` …
        With `journal`, answers are kept in that file as they come, and a batch that is run again asks only what is missing there.
        `progress` shows a bar (unless told otherwise, on a terminal), or is called with each step. An error is the result of its
        prompt, and the batch goes on, unless `fail_fast` raises the first one. Rates are kept by the client's `limits`.
        """
        run = self._batch(prompts, model, response_format, parameters, concurrency, journal, progress, fail_fast)
        return await run.run()

    def batch_sync(
        self,
        prompts: Iterable[Messages | Mapping[str, Any]],
        *,
        model: str | Sequence[str] | None = None,
        response_format: Any = None,
        concurrency: int = 32,
        journal: str | PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = None,
        fail_fast: bool = False,
        **parameters: Unpack[Parameters],
    ) -> BatchResult[Any]:
        """As `batch`, in a thread."""
        run = self._batch(prompts, model, response_format, parameters, concurrency, journal, progress, fail_fast)
        return run.run_sync()

    def _batch(
        self,
        prompts: Iterable[Any],
        model: Any,
        response_format: Any,
        parameters: Mapping[str, Any],
        concurrency: int,
        journal: str | PathLike[str] | None,
        progress: bool | Callable[[BatchProgress], object] | None,
        fail_fast: bool,
    ) -> Batch[Any]:
        from ._batch import Batch, request_of

        common = {"model": model, "response_format": response_format, **parameters}

        def ask(prompt: Any) -> tuple[str, Callable[[], Call], Callable[[Any], ChatCompletion[Any]]]:
            fields = request_of(prompt, common)
            messages, model, form = fields.pop("messages"), fields.pop("model"), fields.pop("response_format")
            if model is None:
                raise TypeError("`model` is missing, and the prompt has none of its own")
            body, options, wanted = _request(model, messages, form, fields)
            return body, lambda: self._client.chat(body, options), lambda answer: _whole(answer, wanted)

        return Batch(ask, prompts, concurrency=concurrency, journal=journal, progress=progress, fail_fast=fail_fast)

    def _call(
        self, ask: Any, model: Any, messages: Any, response_format: Any, parameters: Mapping[str, Any]
    ) -> tuple[Call, type | None]:
        body, options, wanted = _request(model, messages, response_format, parameters)
        return ask(body, options), wanted


def _request(
    model: Any, messages: Any, response_format: Any, parameters: Mapping[str, Any]
) -> tuple[str, str | None, type | None]:
    """The request and the call's options as JSON, and the class that the answer is to be read into."""
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
    return encode(body), encode(options) if options else None, wanted


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
