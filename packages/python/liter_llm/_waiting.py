"""How a coroutine waits for the engine, under asyncio (and uvloop) and under trio.

Each event loop has one wake-up, shared by all that wait in it: a file that the loop watches, or where it cannot, a call into
the loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, ref

from ._native import WakeUp

if TYPE_CHECKING:
    import asyncio

    from ._native import ChatCompletionChunk, Stream

# On Windows no signal ends the wait for a lock.
_SIGNAL_CHECK = 0.02 if sys.platform == "win32" else None

_wake_ups: WeakKeyDictionary[Any, WakeUp] = WeakKeyDictionary()


class Operation(Protocol):
    def watch(self, wake_up: WakeUp, callback: Any, /) -> bool: ...
    def abandon(self) -> None: ...


async def wait(operation: Operation) -> None:
    """Waits until the operation's result is there. Being cancelled abandons it."""
    if _in_trio():
        await _wait_in_trio(operation)
    else:
        await _wait_in_asyncio(operation)


class ThreadWaiter:
    """Waits in a thread, as an event loop does: one wake-up for all operations that are waited for here."""

    def __init__(self) -> None:
        from threading import Event

        self._woken = Event()
        self._wake_up = WakeUp(self._woken.set)

    def wait(self, operation: Operation) -> None:
        ready: list[bool] = []
        if self._woken.is_set():
            self._drain()
        if operation.watch(self._wake_up, lambda: ready.append(True)):
            return
        try:
            while not ready:
                self._woken.wait(_SIGNAL_CHECK)
                self._drain()
        except BaseException:
            operation.abandon()
            raise

    def _drain(self) -> None:
        self._woken.clear()
        self._wake_up.drain()


async def next_chunk(stream: Stream, is_turn_over: bool, owner: object) -> ChatCompletionChunk:
    """What awaiting an iterator's next chunk does when it is not there yet. `owner` is kept alive meanwhile."""
    if is_turn_over:
        await checkpoint()
    await wait(stream)
    chunk = stream.take()
    if chunk is None:
        raise StopAsyncIteration
    return chunk


def wake_up_of_running_loop() -> WakeUp | None:
    """The wake-up that the running loop's streams share, if any has waited yet."""
    if _in_trio():
        import trio

        return _wake_ups.get(trio.lowlevel.current_trio_token())
    import asyncio

    return _wake_ups.get(asyncio.get_running_loop())


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


async def checkpoint() -> None:
    """Gives the event loop its turn."""
    if _in_trio():
        import trio

        await trio.lowlevel.checkpoint()
    else:
        import asyncio

        await asyncio.sleep(0)


async def _wait_in_asyncio(operation: Operation) -> None:
    from asyncio import get_running_loop

    loop = get_running_loop()
    wake_up = _wake_ups.get(loop) or _watched_by_asyncio(loop)
    future = loop.create_future()
    if operation.watch(wake_up, partial(_settle, future)):
        return
    try:
        await future
    except BaseException:
        operation.abandon()
        raise


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _watched_by_asyncio(loop: asyncio.AbstractEventLoop) -> WakeUp:
    known = ref(loop)

    def start(work: Coroutine[Any, Any, None]) -> None:
        start_in_asyncio(known(), work)

    try:
        wake_up = WakeUp(start=start)
        loop.add_reader(wake_up.fileno(), wake_up.drain)
    except NotImplementedError:
        # A loop that cannot watch files, such as Windows' proactor.
        calls: list[WakeUp] = []
        wake_up = WakeUp(lambda: loop.call_soon_threadsafe(calls[0].drain), start)
        calls.append(wake_up)
    _wake_ups[loop] = wake_up
    return wake_up


def start_in_asyncio(loop: asyncio.AbstractEventLoop | None, work: Coroutine[Any, Any, None]) -> None:
    """Has a loop do some work, from any thread."""
    guest = Guest(work)
    # A loop that is closed does not take it, and one that is being closed lets go of it.
    with suppress(RuntimeError):
        if loop is not None:
            loop.call_soon_threadsafe(_started, loop, guest)


def _started(loop: asyncio.AbstractEventLoop, guest: Guest) -> None:
    task = loop.create_task(guest)
    # A loop that is closed before the first step drops it, and that is no mistake: the guest goes elsewhere.
    task._log_destroy_pending = False  # type: ignore[attr-defined]


async def _wait_in_trio(operation: Operation) -> None:
    import trio

    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()
    wake_up = _wake_ups.get(token)
    if wake_up is None:
        known = ref(token)

        def start(work: Coroutine[Any, Any, None]) -> None:
            token, guest = known(), Guest(work)
            with suppress(trio.RunFinishedError):
                if token is not None:
                    token.run_sync_soon(_started_in_trio, guest)

        wake_up = _wake_ups[token] = WakeUp(start=start)
        trio.lowlevel.spawn_system_task(_watch_in_trio, wake_up)
    if operation.watch(wake_up, partial(trio.lowlevel.reschedule, task)):
        return

    def abort(_: object) -> trio.lowlevel.Abort:
        operation.abandon()
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)


def _started_in_trio(guest: Guest) -> None:
    import trio

    async def run() -> None:
        await guest

    trio.lowlevel.spawn_system_task(run)


class Guest(Coroutine[Any, Any, None]):
    """Work that an event loop is to do for the engine; if that ends first, a loop of this package's own does it."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._is_begun = False

    def send(self, value: Any) -> Any:
        return self._go_on(self._work.send, value)

    def throw(self, *error: Any) -> Any:
        if not self._is_begun:
            # It is cancelled before it has begun, as all that is left when `asyncio.run` ends.
            self._go_elsewhere()
            raise error[0]
        return self._go_on(self._work.throw, *error)

    def close(self) -> None:
        if not self._is_begun:
            self._go_elsewhere()
        else:
            self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        self._is_begun = True
        return self._work.__await__()

    def __del__(self) -> None:
        if not self._is_begun:
            self._go_elsewhere()

    def _go_elsewhere(self) -> None:
        self._is_begun = True
        if sys.is_finalizing():
            # No thread begins any more.
            self._work.close()
        else:
            run_in_own_loop(self._work)

    def _go_on(self, step: Callable[..., Any], *arguments: Any) -> Any:
        self._is_begun = True
        # A loop holds its tasks but weakly.
        _under_way.add(self)
        try:
            return step(*arguments)
        except BaseException:
            _under_way.discard(self)
            raise


_under_way: set[Guest] = set()


def run_in_own_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs work that no event loop of the program's takes."""
    import asyncio

    asyncio.run_coroutine_threadsafe(work, _own_loop())


@cache
def _own_loop() -> asyncio.AbstractEventLoop:
    import asyncio
    from threading import Thread

    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="liter_llm-hooks", daemon=True).start()
    return loop


async def _watch_in_trio(wake_up: WakeUp) -> None:
    import trio

    while True:
        await trio.lowlevel.wait_readable(wake_up.fileno())
        wake_up.drain()
