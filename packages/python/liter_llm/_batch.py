"""Many prompts, so many at a time, with a bar that shows how far they are and a journal to go on from after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from operator import length_hint
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, TextIO, cast

from ._errors import LiterLlmError
from ._native import Call, ChatCompletion, WakeUp
from ._waiting import ThreadWaiter, checkpoint, wait

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Parsed = TypeVar("Parsed", default=Any)
else:
    from typing import TypeVar

    Parsed = TypeVar("Parsed")

# Answers of a journal are there without waiting: after so many prompts an event loop has its turn.
_STEPS_A_TURN = 64

Ask = Callable[[Any], tuple[str, Callable[[], Call], Callable[[Any], ChatCompletion[Any]]]]
"""From a prompt: its request as JSON, what sends it, and what reads the answer."""


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is."""

    done: int
    """Prompts that have their answer or their error, those of the journal included."""
    total: int | None
    """How many there are, where that can be told."""
    failed: int
    resumed: int
    """Answers that the journal had."""
    tokens: int
    cost: float
    """US dollars, of the answers whose price is known."""
    seconds: float


@dataclass(frozen=True)
class BatchResult(Generic[Parsed]):
    """What came of a batch."""

    answers: list[ChatCompletion[Parsed] | None]
    """In the prompts' order; `None` where one failed."""
    errors: dict[int, LiterLlmError]
    """By the prompt's place."""
    progress: BatchProgress

    def raise_first(self) -> None:
        """Raises the first error, if there is any."""
        if self.errors:
            raise self.errors[min(self.errors)]


class InFlight:
    """Calls on their way, as one operation: it is ready whenever any of them is, and while there is room for more."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._new: list[tuple[int, Call]] = []
        self._running: dict[int, Call] = {}
        self._ended: deque[int] = deque()
        self._callback: Callable[[], object] | None = None

    def __len__(self) -> int:
        return len(self._new) + len(self._running)

    def add(self, at: int, call: Call) -> None:
        self._new.append((at, call))

    def watch(self, wake_up: WakeUp, callback: Callable[[], object]) -> bool:
        for at, call in self._new:
            self._running[at] = call
            if call.watch(wake_up, partial(self._end, at)):
                self._ended.append(at)
        self._new.clear()
        if self._ended or len(self._running) < self.most:
            return True
        self._callback = callback
        return False

    def _end(self, at: int) -> None:
        self._ended.append(at)
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def abandon(self) -> None:
        self._callback = None
        for call in self._running.values():
            call.abandon()

    def take(self) -> Iterable[tuple[int, Call]]:
        """The calls that have ended since."""
        while self._ended:
            at = self._ended.popleft()
            yield at, self._running.pop(at)


class Batch(Generic[Parsed]):
    """One run, in a coroutine or in a thread."""

    def __init__(
        self,
        ask: Ask,
        prompts: Iterable[Any],
        *,
        concurrency: int,
        journal: str | PathLike[str] | None,
        progress: bool | Callable[[BatchProgress], object] | None,
        fail_fast: bool,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency is 1 or more")
        if isinstance(prompts, (str, bytes, Mapping)):
            raise TypeError(f"a batch is of many prompts, such as a list of texts, and not a single {type(prompts).__name__}")
        self._ask = ask
        self._prompts = prompts
        self._concurrency = concurrency
        self._journal_path = journal
        self._fail_fast = fail_fast
        self._show = _shown(progress)
        self._total = length_hint(prompts) or None
        self._answers: list[ChatCompletion[Parsed] | None] = []
        self._errors: dict[int, LiterLlmError] = {}
        self._readers: dict[int, tuple[str, Callable[[Any], ChatCompletion[Any]]]] = {}
        self._done = self._resumed = self._tokens = 0
        self._cost = 0.0
        self._began = time.monotonic()

    async def run(self) -> BatchResult[Parsed]:
        with closing(self._steps()) as steps:
            for step, calls in enumerate(steps, 1):
                await wait(calls)
                if step % _STEPS_A_TURN == 0:
                    await checkpoint()
        return self._result()

    def run_sync(self) -> BatchResult[Parsed]:
        waiter = ThreadWaiter()
        with closing(self._steps()) as steps:
            for calls in steps:
                waiter.wait(calls)
        return self._result()

    def _result(self) -> BatchResult[Parsed]:
        return BatchResult(self._answers, self._errors, self._progress())

    def _steps(self) -> Generator[InFlight, None, None]:
        """Yields what is to be waited for."""
        calls = InFlight(self._concurrency)
        with Journal(self._journal_path) as journal:
            try:
                for at, prompt in enumerate(self._prompts):
                    self._answers.append(None)
                    self._begin(at, prompt, calls, journal)
                    # The call begins now, however long the next prompt takes to be made.
                    yield calls
                    self._collect(calls, journal)
                calls.most = 0
                while len(calls):
                    yield calls
                    self._collect(calls, journal)
            finally:
                calls.abandon()
                self._show(self._progress(), True)

    def _begin(self, at: int, prompt: Any, calls: InFlight, journal: Journal) -> None:
        try:
            request, send, read = self._ask(prompt)
            key = _key(request) if journal.is_kept else ""
            answer = self._kept(journal, key, read)
            if answer is None:
                calls.add(at, send())
                self._readers[at] = key, read
            else:
                self._answers[at] = answer
                self._resumed += 1
                self._end(answer)
        except LiterLlmError as error:
            self._fail(at, error)

    def _kept(self, journal: Journal, key: str, read: Callable[[Any], ChatCompletion[Any]]) -> ChatCompletion[Any] | None:
        """The journal's answer to a request. One that its class no longer takes is asked for anew."""
        while (kept := journal.take(key)) is not None:
            with suppress(LiterLlmError):
                return read(kept)
        return None

    def _collect(self, calls: InFlight, journal: Journal) -> None:
        for at, call in calls.take():
            key, read = self._readers.pop(at)
            try:
                answer = read(call.result())
            except LiterLlmError as error:
                self._fail(at, error)
            else:
                journal.write(key, answer)
                self._answers[at] = answer
                self._end(answer)

    def _fail(self, at: int, error: LiterLlmError) -> None:
        if self._fail_fast:
            raise error
        self._errors[at] = error
        self._end(None)

    def _end(self, answer: ChatCompletion | None) -> None:
        self._done += 1
        if answer is not None:
            self._tokens += answer.usage.total_tokens if answer.usage else 0
            self._cost += answer.cost or 0.0
        self._show(self._progress(), False)

    def _progress(self) -> BatchProgress:
        seconds = time.monotonic() - self._began
        return BatchProgress(self._done, self._total, len(self._errors), self._resumed, self._tokens, self._cost, seconds)


# How a journal's lines begin; the request's key follows.
_BEGINNING = b'{"request":"'


class Journal:
    """The answers of a batch on disk, a line of JSON each, written as they come.

    What a crash tore at the end is dropped. An answer belongs to its request, wherever that stands among the prompts.
    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self._path = path
        self._file: int | None = None
        self._kept: dict[str, deque[ChatCompletion]] = {}

    @property
    def is_kept(self) -> bool:
        return self._path is not None

    def __enter__(self) -> Journal:
        if self._path is not None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                _lock(self._file, self._path)
                self._read(self._file)
            except BaseException:
                os.close(self._file)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def take(self, key: str) -> ChatCompletion | None:
        """The answer to a request, once for every time that it was answered."""
        answers = self._kept.get(key)
        return answers.popleft() if answers else None

    def write(self, key: str, answer: ChatCompletion) -> None:
        if self._file is not None:
            line = _BEGINNING + f'{key}","answer":{answer.model_dump_json(exclude_unset=True)}}}\n'.encode()
            # A line is whole or torn at the file's end: what a full disk cuts is taken back.
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(f"the journal {self._path} cannot be written: there is no space")

    def _read(self, file: int) -> None:
        whole = 0
        with open(file, "rb", closefd=False) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    if not line.endswith(b"\n"):
                        if _BEGINNING.startswith(line[: len(_BEGINNING)]):
                            break
                        raise ValueError("it is none, whole or torn")
                    entry = json.loads(line)
                    answer = ChatCompletion.model_validate(entry["answer"])
                    self._kept.setdefault(entry["request"], deque()).append(answer)
                except (ValueError, TypeError, KeyError) as problem:
                    raise ValueError(f"{self._path} is no journal of a batch: line {number} is none of its lines") from problem
                whole += len(line)
        if whole < os.fstat(file).st_size:
            os.ftruncate(file, whole)


def _lock(file: int, path: object) -> None:
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another batch is writing the journal {path}") from None


def _key(request: str) -> str:
    """A name for a request: the same however its fields are ordered."""
    return hashlib.sha256(json.dumps(json.loads(request), sort_keys=True).encode()).hexdigest()


def _shown(progress: bool | Callable[[BatchProgress], object] | None) -> Callable[[BatchProgress, bool], object]:
    if callable(progress):
        return lambda state, is_last: None if is_last else progress(state)
    if progress or (progress is None and sys.stderr is not None and sys.stderr.isatty()):
        return Bar(sys.stderr)
    return lambda *_: None


class Bar:
    """A line that is written over on a terminal, and elsewhere a line now and then."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._pause = 0.1 if self._is_terminal else 10.0
        self._next = 0.0 if self._is_terminal else self._pause

    def __call__(self, state: BatchProgress, is_last: bool) -> None:
        if state.seconds < self._next and not is_last:
            return
        self._next = state.seconds + self._pause
        width = shutil.get_terminal_size().columns - 1
        if self._is_terminal:
            self._out.write("\r" + describe(state, width).ljust(width) + ("\n" if is_last else ""))
        else:
            self._out.write(describe(state, width) + "\n")
        self._out.flush()


def describe(state: BatchProgress, width: int) -> str:
    """`734/5000 ━━━━╸─────  15 %  12.3/s  2 failed  1.2 M tokens  $0.42  5:47 left`, as far as it fits."""
    asked = state.done - state.resumed
    speed = asked / state.seconds if state.seconds > 0 else 0.0
    said = [f"{speed:.1f}/s"]
    if state.failed:
        said.append(f"{state.failed} failed")
    if state.tokens:
        said.append(f"{state.tokens:,} tokens")
    if state.cost:
        said.append(f"${state.cost:.2f}")
    if state.total is None:
        return "  ".join([f"{state.done} done", *said])[:width]
    if speed and state.done < state.total:
        left = int((state.total - state.done) / speed)
        said.append(f"{left // 60}:{left % 60:02} left")
    part = state.done / state.total if state.total else 1.0
    said.insert(0, f"{part:4.0%}")
    head, tail = f"{state.done}/{state.total} ", "  ".join(said)
    room = min(30, width - len(head) - len(tail) - 1)
    bar = "━" * round(part * room) + "─" * (room - round(part * room)) + " " if room > 3 else ""
    return (head + bar + tail)[:width]


def request_of(prompt: Any, common: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt's call: messages, or a mapping that says more than that."""
    if isinstance(prompt, Mapping):
        if "messages" not in prompt:
            raise TypeError("a prompt that is a mapping has `messages`, and what else is its own: `model`, `temperature` …")
        return {**common, **cast("Mapping[str, Any]", prompt)}
    return {**common, "messages": prompt}
