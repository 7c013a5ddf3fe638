"""What a stream promises: live, closed when it is left, one wake-up for all, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import io
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from support import ASK, AT_ONCE, Mock

from liter_llm import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatStream,
    LiterLlmError,
    RequestCancelledError,
    SyncChatStream,
    TruncatedError,
)
from liter_llm._waiting import wake_up_of_running_loop

WORDS = ["one", " two", " three", " four"]


def text_of(chunk: ChatCompletionChunk) -> str:
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


def test_each_chunk_is_there_before_the_next_is_sent(mock: Mock) -> None:
    id = mock.id()

    async def run() -> None:
        stream = await mock.client(f"id={id}; text=one two three four; withhold=1").chat_stream(**ASK)
        assert (await stream.__anext__()).choices[0].delta.role == "assistant"
        for word in WORDS:
            await asyncio.to_thread(mock.release, id)
            assert text_of(await asyncio.wait_for(stream.__anext__(), 20)) == word
        await asyncio.to_thread(mock.release, id, "all")
        assert (await stream.final()).text == "".join(WORDS)

    asyncio.run(run())


def test_each_chunk_is_there_before_the_next_is_sent_to_a_thread(mock: Mock) -> None:
    id = mock.id()
    stream = mock.client(f"id={id}; text=one two three four; withhold=1").chat_stream_sync(**ASK)
    assert next(stream).choices[0].delta.role == "assistant"
    for word in WORDS:
        mock.release(id)
        assert text_of(next(stream)) == word
    mock.release(id, "all")
    assert stream.final().text == "".join(WORDS)


async def breaks(stream: ChatStream) -> None:
    async for _ in stream:
        break


async def closes(stream: ChatStream) -> None:
    await stream.__anext__()
    await stream.aclose()


async def leaves_the_block(stream: ChatStream) -> None:
    async with stream:
        await stream.__anext__()


async def breaks_from_the_text(stream: ChatStream) -> None:
    async for _ in stream.text():
        break


async def is_cancelled(stream: ChatStream) -> None:
    async def read() -> None:
        async for _ in stream:
            pass

    task = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def runs_out_of_time(stream: ChatStream) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(stream.final(), 0.05)


async def fails(stream: ChatStream) -> None:
    try:
        async for _ in stream:
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


async def drops(stream: ChatStream) -> None:
    await stream.__anext__()


@pytest.mark.parametrize(
    "leave", [breaks, closes, leaves_the_block, breaks_from_the_text, is_cancelled, runs_out_of_time, fails, drops]
)
def test_leaving_a_stream_closes_its_connection(mock: Mock, leave: Callable[[ChatStream], Awaitable[None]]) -> None:
    id = mock.id()

    async def run() -> None:
        stream = await mock.client(f"id={id}; text=one two three; stall=2").chat_stream(**ASK)
        await leave(stream)
        if leave is drops:
            del stream
        left = time.monotonic()
        await asyncio.to_thread(mock.wait, id, "left")
        assert (time.monotonic() - left) * 1000 < AT_ONCE

    asyncio.run(run())


def test_garbage_in_a_cycle_closes_its_connection(mock: Mock) -> None:
    id = mock.id()

    async def run() -> None:
        cycle: list[Any] = [await mock.client(f"id={id}; text=one two three; stall=2").chat_stream(**ASK)]
        cycle.append(cycle)

    asyncio.run(run())
    gc.collect()
    mock.wait(id, "left")


def test_cancelling_a_call_that_has_no_answer_yet_closes_its_connection(mock: Mock) -> None:
    id = mock.id()

    async def run() -> None:
        task = asyncio.ensure_future(mock.client(f"id={id}; ttft=60000").chat_stream(**ASK))
        await asyncio.to_thread(mock.wait, id, "headers")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.to_thread(mock.wait, id, "left")

    asyncio.run(run())


def sync_breaks(stream: SyncChatStream) -> None:
    for _ in stream:
        break


def sync_closes(stream: SyncChatStream) -> None:
    next(stream)
    stream.close()


def sync_leaves_the_block(stream: SyncChatStream) -> None:
    with stream:
        next(stream)


def sync_breaks_from_the_text(stream: SyncChatStream) -> None:
    for _ in stream.text():
        break


@pytest.mark.parametrize("leave", [sync_breaks, sync_closes, sync_leaves_the_block, sync_breaks_from_the_text])
def test_leaving_a_stream_in_a_thread_closes_its_connection(mock: Mock, leave: Callable[[SyncChatStream], None]) -> None:
    id = mock.id()
    stream = mock.client(f"id={id}; text=one two three; stall=2").chat_stream_sync(**ASK)
    leave(stream)
    left = time.monotonic()
    mock.wait(id, "left")
    assert (time.monotonic() - left) * 1000 < AT_ONCE


def test_a_stream_can_be_closed_while_another_task_waits_for_it(mock: Mock) -> None:
    async def run() -> list[ChatCompletionChunk]:
        stream = await mock.client("text=one two three; stall=2").chat_stream(**ASK)

        async def read() -> list[ChatCompletionChunk]:
            return [chunk async for chunk in stream]

        task = asyncio.ensure_future(read())
        await asyncio.sleep(0.05)
        stream.close()
        return await asyncio.wait_for(task, 20)

    assert len(asyncio.run(run())) == 2


def test_a_stream_can_be_closed_while_another_thread_waits_for_it(mock: Mock) -> None:
    stream = mock.client("text=one two three; stall=2").chat_stream_sync(**ASK)
    chunks = [next(stream), next(stream)]
    thread = threading.Thread(target=lambda: chunks.extend(stream))
    thread.start()
    stream.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(chunks) == 2


def test_a_stream_that_was_left_has_no_whole_answer(mock: Mock) -> None:
    async def run() -> None:
        stream = await mock.client("text=one two three; stall=3").chat_stream(**ASK)
        async for chunk in stream:
            if text_of(chunk):
                break
        assert [chunk async for chunk in stream] == []
        with pytest.raises(RequestCancelledError) as caught:
            await stream.final()
        assert caught.value.partial is not None
        assert caught.value.partial.text.startswith("one")

    asyncio.run(run())


def test_what_failed_fails_again_when_the_whole_answer_is_asked_for(mock: Mock) -> None:
    stream = mock.client("text=one two three; cut=3").chat_stream_sync(**ASK)
    with pytest.raises(TruncatedError):
        list(stream)
    assert stream.snapshot().text == "one two"
    with pytest.raises(TruncatedError):
        stream.final()


def test_two_tasks_cannot_read_one_stream(mock: Mock) -> None:
    async def run() -> None:
        stream = await mock.client("stall=1").chat_stream(**ASK)
        await stream.__anext__()
        first = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="read already"):
            await stream.__anext__()
        stream.close()
        with pytest.raises(StopAsyncIteration):
            await first

    asyncio.run(run())


def test_a_second_task_is_refused_and_the_first_one_has_it_all(mock: Mock) -> None:
    async def run() -> str:
        id = mock.id()
        stream = await mock.client(f"id={id}; text=one two three; withhold=1").chat_stream(**ASK)
        await stream.__anext__()

        async def read() -> str:
            return "".join([chunk.delta async for chunk in stream])

        first = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="read already"):
            await read()
        mock.release(id, "all")
        return await first

    assert asyncio.run(run()) == "one two three"


def test_a_second_thread_is_refused_and_the_first_one_has_it_all(mock: Mock) -> None:
    id = mock.id()
    stream = mock.client(f"id={id}; text=one two three; withhold=1").chat_stream_sync(**ASK)
    next(stream)
    outcomes: queue.Queue[str] = queue.Queue()

    def read() -> None:
        try:
            outcomes.put("".join(chunk.delta for chunk in stream))
        except RuntimeError as error:
            outcomes.put(str(error))

    for _ in range(2):
        threading.Thread(target=read).start()
    assert "read already" in outcomes.get(timeout=20)
    mock.release(id, "all")
    assert outcomes.get(timeout=20) == "one two three"


def test_the_iterator_and_the_default_of_anext(mock: Mock) -> None:
    async def run() -> None:
        stream = await mock.client("text=one").chat_stream(**ASK)
        chunks = stream.__aiter__()
        while (chunk := await anext(chunks, None)) is not None:
            assert isinstance(chunk, ChatCompletionChunk)
        assert await anext(chunks, "over") == "over"

    asyncio.run(run())


def test_a_snapshot_can_be_taken_while_a_task_waits(mock: Mock) -> None:
    id = mock.id()

    async def run() -> None:
        stream = await mock.client(f"id={id}; text=one two three; withhold=2").chat_stream(**ASK)
        assert text_of(await stream.__anext__()) == ""
        assert text_of(await stream.__anext__()) == "one"
        waiting = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        assert stream.snapshot().text == "one"
        assert stream.provider == "openai"
        assert stream.request_id
        assert "text/event-stream" in stream.headers["content-type"]
        await asyncio.to_thread(mock.release, id, "all")
        assert text_of(await asyncio.wait_for(waiting, 20)) == " two"

    asyncio.run(run())


def test_a_busy_stream_lets_other_tasks_run(mock: Mock) -> None:
    async def run() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        stream = await mock.client("chunks=20000; bytes=287").chat_stream(**ASK)
        before = turns
        async for _ in stream:
            pass
        assert turns - before >= 10
        counting.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio", "anyio on asyncio", "anyio on trio"])
def test_every_event_loop(mock: Mock, loop: str) -> None:
    client = mock.client("text=one two three four; pace=2")

    async def run() -> str:
        text = ""
        async for chunk in await client.chat_stream(**ASK):
            text += text_of(chunk)
        return text + (await client.chat(**ASK)).text

    async def with_anyio() -> str:
        texts: list[str] = []

        async def one() -> None:
            texts.append(await run())

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
        assert texts[0] == texts[1]
        return texts[0]

    if loop == "asyncio":
        text = asyncio.run(run())
    elif loop == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        runner = uvloop.new_event_loop()
        text = runner.run_until_complete(run())
        runner.close()
    elif loop == "trio":
        text = trio.run(run)
    else:
        text = anyio.run(with_anyio, backend=loop.rsplit(" ", 1)[1])
    assert text == "".join(WORDS) * 2


def test_trio_cancels(mock: Mock) -> None:
    id = mock.id()

    async def run() -> None:
        with trio.move_on_after(0.05) as scope:
            async for _ in await mock.client(f"id={id}; text=one two three; stall=2").chat_stream(**ASK):
                pass
        assert scope.cancelled_caught
        # The loop goes on with others as before.
        assert (await mock.client("text=one").chat(**ASK)).text == "one"

    trio.run(run)
    mock.wait(id, "left")


def test_one_client_serves_many_loops_and_threads(mock: Mock) -> None:
    client = mock.client("text=one two three four")
    texts: list[str] = []

    async def run() -> str:
        return (await (await client.chat_stream(**ASK)).final()).text

    def work() -> None:
        texts.append(asyncio.run(run()))
        texts.append(client.chat_stream_sync(**ASK).final().text)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == ["".join(WORDS)] * 16


def test_waiting_releases_the_interpreter(mock: Mock) -> None:
    id = mock.id()
    stream = mock.client(f"id={id}; text=one; withhold=1").chat_stream_sync(**ASK)
    next(stream)
    # Only another thread can let the next chunk go.
    thread = threading.Thread(target=mock.release, args=(id, "all"))
    thread.start()
    assert text_of(next(stream)) == "one"
    thread.join()


def test_a_thousand_streams_run_in_one_loop(mock: Mock) -> None:
    count, chunks = 1000, 5

    async def run() -> None:
        client = mock.client(f"chunks={chunks}; bytes=287; pace=100")

        async def one() -> int:
            return sum(bool(text_of(chunk)) for chunk in [chunk async for chunk in await client.chat_stream(**ASK)])

        assert await asyncio.gather(*[one() for _ in range(count)]) == [chunks] * count

    asyncio.run(run())


def test_what_arrives_together_wakes_the_loop_once(mock: Mock) -> None:
    count, id = 100, mock.id()

    async def run() -> None:
        client = mock.client(f"id={id}; text=one two; withhold=2")
        streams = [await client.chat_stream(**ASK) for _ in range(count)]
        assert [text_of(await anext(stream)) + text_of(await anext(stream)) for stream in streams] == ["one"] * count
        nexts = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0)
        wake_up = wake_up_of_running_loop()
        assert wake_up is not None
        before = wake_up.announced
        # The loop stands still while everyone's next chunk arrives.
        for nth in range(1, count + 1):
            mock.release(id, "all", nth)
        deadline = time.monotonic() + 20
        while wake_up.waiting < count:
            assert time.monotonic() < deadline, wake_up.waiting
        assert wake_up.announced <= before + 1
        assert [text_of(chunk) for chunk in await asyncio.gather(*nexts)] == [" two"] * count

    asyncio.run(run())


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    pytest.skip("this system does not tell how much memory is in use")


def test_ten_thousand_streams_leave_nothing_behind(mock: Mock) -> None:
    client = mock.client("text=one two")

    async def some(count: int) -> None:
        for at in range(count):
            stream = await client.chat_stream(**ASK)
            async for chunk in stream:
                text_of(chunk)
                if at % 50 == 0:
                    break
            else:
                assert (await stream.final()).text == "one two"

    def some_sync(count: int) -> None:
        for _ in range(count):
            for chunk in client.chat_stream_sync(**ASK):
                text_of(chunk)

    async def run() -> None:
        await some(1500)
        some_sync(1000)
        gc.collect()
        before = resident()
        await some(5000)
        some_sync(5000)
        gc.collect()
        assert resident() - before < 8 * 1024

    asyncio.run(run())


def test_one_call_prints_and_returns_the_answer(mock: Mock) -> None:
    out = io.StringIO()
    answer = asyncio.run(mock.client("text=one two; usage=5,7").chat_print(**ASK, file=out))
    assert out.getvalue() == "one two\n"
    assert answer.text == "one two"
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 12
    assert answer.cost
    out = io.StringIO()
    assert mock.client("text=one two; usage=5,7").chat_print_sync(**ASK, file=out).usage == answer.usage
    assert out.getvalue() == "one two\n"


def test_text_comes_and_last_the_answer(mock: Mock) -> None:
    client = mock.client("text=one two three four")

    async def run() -> list[str | ChatCompletion]:
        return [item async for item in client.chat_text(**ASK)]

    for items in (asyncio.run(run()), list(client.chat_text_sync(**ASK))):
        assert items[:-1] == WORDS
        assert isinstance(items[-1], ChatCompletion)
        assert items[-1].text == "".join(WORDS)


def test_streaming_to_a_file(mock: Mock, tmp_path: Path) -> None:
    client = mock.client("text=één two")
    answer = asyncio.run(client.chat_to_file(tmp_path / "a", **ASK))
    client.chat_to_file_sync(tmp_path / "b", **ASK)
    assert (tmp_path / "a").read_text("utf-8") == (tmp_path / "b").read_text("utf-8") == answer.text == "één two"


def test_many_streams_gathered(mock: Mock) -> None:
    async def run() -> list[str]:
        streams = [mock.client(f"text=answer {at}").chat_stream(**ASK) for at in range(20)]
        return [(await stream.final()).text for stream in await asyncio.gather(*streams)]

    assert asyncio.run(run()) == [f"answer {at}" for at in range(20)]


def test_an_error_carries_what_is_known(mock: Mock) -> None:
    with pytest.raises(LiterLlmError) as caught:
        mock.client("status=429; retry_after=7; request_id=req-9").chat_sync(**ASK)
    error = caught.value
    assert (error.kind, error.status, error.retry_after) == ("rate_limited", 429, 7.0)
    assert (error.provider, error.model, error.request_id) == ("openai", "gpt-4o", "req-9")
    assert error.retryable
