"""An answer as it comes: `ChatStream` in coroutines, `SyncChatStream` in threads."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator, Iterator
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TextIO

from ._native import ChatCompletion, ChatCompletionChunk, Stream

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    Parsed = TypeVar("Parsed", default=Any)
else:
    from typing import TypeVar

    Parsed = TypeVar("Parsed")


class _Streamed(Generic[Parsed]):
    """What both kinds of stream share."""

    def __init__(self, stream: Stream, wanted: type[Parsed] | None) -> None:
        self._stream = stream
        self._wanted = wanted
        self._whole: ChatCompletion[Parsed] | None = None
        if wanted is not None:
            stream.keep_read()

    @property
    def provider(self) -> str:
        """The provider that answers."""
        return self._stream.meta()[0]

    @property
    def request_id(self) -> str | None:
        """The provider's name for the request."""
        return self._stream.meta()[1]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the provider's answer."""
        return self._stream.meta()[2]

    def snapshot(self) -> ChatCompletion:
        """The answer as far as it has arrived."""
        return self._stream.completion()

    def partial_output(self) -> Any:
        """What was read so far of an answer asked for with a class as `response_format`, as plain JSON values: what is open is
        closed, half a word is left out. `None` before anything was read."""
        return self._stream.read_json(0)

    def close(self) -> None:
        """Closes the connection at once. The iteration then ends, and `final` raises unless the answer was whole."""
        self._stream.close()

    def _finished(self) -> ChatCompletion[Parsed]:
        if self._whole is None:
            answer = self._stream.finish()
            if self._wanted is not None:
                from . import _structured

                answer = _structured.parse(answer, self._wanted)
            self._whole = answer
        return self._whole


class ChatStream(_Streamed[Parsed]):
    """Chunks as they come: `async for chunk in stream`.

    Leaving the loop early, `aclose()`, the end of an `async with` block, cancelling the task and dropping the stream close the
    connection at once.
    """

    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        return self._stream.chunks()

    async def __anext__(self) -> ChatCompletionChunk:
        chunk: ChatCompletionChunk = await self._stream.__anext__()
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def aclose(self) -> None:
        """As `close`."""
        self.close()

    async def final(self) -> ChatCompletion[Parsed]:
        """Reads what is left and returns the whole answer, with usage and cost, and `parsed` where a class was asked for."""
        async for _ in self._stream.chunks():
            pass
        return self._finished()

    async def text(self) -> AsyncIterator[str]:
        """The first choice's text as it comes."""
        async for chunk in self._stream.chunks():
            if text := _text(chunk):
                yield text

    async def text_then_final(self) -> AsyncIterator[str | ChatCompletion[Parsed]]:
        """The first choice's text as it comes, and last the whole answer."""
        async for text in self.text():
            yield text
        yield self._finished()

    async def print(self, file: TextIO | None = None) -> ChatCompletion[Parsed]:
        """Prints the text as it comes, and returns the whole answer."""
        async for text in self.text():
            print(text, end="", file=file or sys.stdout, flush=True)
        print(file=file or sys.stdout, flush=True)
        return self._finished()

    async def to_file(self, path: str | PathLike[str]) -> ChatCompletion[Parsed]:
        """Writes the text to a file as it comes, and returns the whole answer."""
        with open(path, "w", encoding="utf-8") as file:
            async for text in self.text():
                file.write(text)
                file.flush()
        return self._finished()


class SyncChatStream(_Streamed[Parsed]):
    """Chunks as they come: `for chunk in stream`. Waiting releases the interpreter, and Ctrl-C ends it.

    Leaving the loop early, `close()`, the end of a `with` block and dropping the stream close the connection at once.
    """

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._stream.chunks()

    def __next__(self) -> ChatCompletionChunk:
        return next(self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def final(self) -> ChatCompletion[Parsed]:
        """Reads what is left and returns the whole answer, with usage and cost, and `parsed` where a class was asked for."""
        for _ in self._stream.chunks():
            pass
        return self._finished()

    def text(self) -> Generator[str, None, None]:
        """The first choice's text as it comes."""
        for chunk in self._stream.chunks():
            if text := _text(chunk):
                yield text

    def text_then_final(self) -> Generator[str | ChatCompletion[Parsed], None, None]:
        """The first choice's text as it comes, and last the whole answer."""
        yield from self.text()
        yield self._finished()

    def print(self, file: TextIO | None = None) -> ChatCompletion[Parsed]:
        """Prints the text as it comes, and returns the whole answer."""
        for text in self.text():
            print(text, end="", file=file or sys.stdout, flush=True)
        print(file=file or sys.stdout, flush=True)
        return self._finished()

    def to_file(self, path: str | PathLike[str]) -> ChatCompletion[Parsed]:
        """Writes the text to a file as it comes, and returns the whole answer."""
        with open(path, "w", encoding="utf-8") as file:
            for text in self.text():
                file.write(text)
                file.flush()
        return self._finished()


def _text(chunk: ChatCompletionChunk) -> str | None:
    for choice in chunk.choices:
        if choice.index == 0:
            return choice.delta.content
    return None
