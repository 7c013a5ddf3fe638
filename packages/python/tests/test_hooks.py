"""Hooks around every call, in threads of their own and in the caller's event loop; sources of tokens; the log."""

from __future__ import annotations

import asyncio
import logging
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from support import ASK, Mock, Outcome, both_ways

from liter_llm import (
    AllFailedError,
    AuthenticationError,
    ChatCompletion,
    ChatCompletionChunk,
    ContentPolicyError,
    Hook,
    HookEvent,
    InvalidRequestError,
    LlmClient,
    PermissionDeniedError,
    RateLimitedError,
    RequestCancelledError,
    ServerError,
)
from liter_llm._waiting import start_in_asyncio

Stream = Callable[..., Outcome]
STAGES = ("before_request", "after_headers", "on_chunks", "on_error", "on_end")


class Watch:
    """Any object with the methods is a hook."""

    def __init__(self) -> None:
        self.events: list[HookEvent] = []
        self.ended = threading.Event()

    def before_request(self, event: HookEvent) -> None:
        self.events.append(event)

    def after_headers(self, event: HookEvent) -> None:
        self.events.append(event)

    def on_chunks(self, event: HookEvent) -> None:
        self.events.append(event)

    def on_error(self, event: HookEvent) -> None:
        self.events.append(event)

    def on_end(self, event: HookEvent) -> None:
        self.events.append(event)
        self.ended.set()

    def of(self, stage: str) -> list[HookEvent]:
        return [event for event in self.events if event.stage == stage]


@both_ways
def test_every_stage_is_told(mock: Mock, stream: Stream) -> None:
    watch = Watch()
    outcome = stream(mock.client("text=one two; usage=3,4; request_id=req-7", hooks=[watch]), ASK)
    assert outcome.answer is not None
    stages = [event.stage for event in watch.events]
    assert stages[:2] == ["before_request", "after_headers"]
    assert set(stages[2:-1]) == {"on_chunks"}
    assert stages[-1] == "on_end"
    before, head, end = watch.of("before_request")[0], watch.of("after_headers")[0], watch.of("on_end")[0]
    assert (before.provider, before.model, before.attempt, before.stream) == ("openai", "gpt-4o", 1, True)
    assert before.request is not None
    assert before.request["messages"][0]["content"] == "Tell me a story"
    assert (head.status, head.request_id) == (200, "req-7")
    assert "text/event-stream" in head.headers["content-type"]
    seen = [chunk for event in watch.of("on_chunks") for chunk in event.chunks]
    assert seen == outcome.chunks
    assert end.response is not None
    assert end.response.text == "one two"
    assert end.response.usage is not None
    assert end.response.usage.total_tokens == 7
    assert end.error is None
    assert end.seconds
    assert len({event.call for event in watch.events}) == 1


@both_ways
def test_a_request_is_changed_on_its_way(mock: Mock, stream: Stream) -> None:
    id = mock.id()

    class Polite(Hook):
        def before_request(self, event: HookEvent) -> Any:
            assert event.request is not None
            return {
                **event.request,
                "temperature": 0.25,
                "messages": [*event.request["messages"], {"role": "user", "content": "!"}],
            }

    stream(mock.client(f"id={id}", hooks=[Polite()]), ASK)
    body = mock.wait(id, "done")["body"]
    assert (body["temperature"], body["messages"][-1]["content"]) == (0.25, "!")


@both_ways
def test_an_answer_from_elsewhere(mock: Mock, stream: Stream) -> None:
    id = mock.id()

    class Known(Hook):
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def before_request(self, event: HookEvent) -> Any:
            return self.answer

    given = ChatCompletion(
        id="kept", model="m", choices=[{"index": 0, "message": {"role": "assistant", "content": "kept"}, "finish_reason": "stop"}]
    )
    for answer, text in (("from here", "from here"), (given, "kept")):
        client = mock.client(f"id={id}", hooks=[Known(answer)])
        outcome = stream(client, ASK)
        assert outcome.answer is not None
        assert (outcome.answer.text, outcome.answer.finish_reason) == (text, "stop")
        assert "".join(chunk.delta for chunk in outcome.chunks) == text
        assert client.chat_sync(**ASK).text == text
    assert not mock.log(id)


@both_ways
def test_chunks_are_changed_and_left_out(mock: Mock, stream: Stream) -> None:
    class Redact(Hook):
        def on_chunks(self, event: HookEvent) -> list[ChatCompletionChunk]:
            kept = []
            for chunk in event.chunks:
                if "two" in chunk.delta:
                    continue
                fields = chunk.model_dump(exclude_unset=True)
                for choice in fields["choices"]:
                    if "content" in choice["delta"]:
                        choice["delta"]["content"] = choice["delta"]["content"].upper()
                kept.append(ChatCompletionChunk.model_validate(fields))
            return kept

    client = mock.client("text=one two three", hooks=[Redact()])
    outcome = stream(client, ASK)
    assert outcome.answer is not None
    assert outcome.answer.text == "".join(chunk.delta for chunk in outcome.chunks) == "ONE THREE"
    # A whole answer comes in one piece.
    assert client.chat_sync(**ASK).text == ""


@both_ways
def test_an_exception_refuses(mock: Mock, stream: Stream) -> None:
    id = mock.id()

    class Refuse(Hook):
        def before_request(self, event: HookEvent) -> None:
            raise ContentPolicyError("not with us")

    error = stream(mock.client(f"id={id}", hooks=[Refuse()]), ASK).error
    assert isinstance(error, ContentPolicyError)
    assert "not with us" in str(error)
    assert not mock.log(id)

    class Stop(Hook):
        def on_chunks(self, event: HookEvent) -> None:
            if any("two" in chunk.delta for chunk in event.chunks):
                raise ValueError("no more")
            # Only now the next one is sent.
            mock.release(id)

    outcome = stream(mock.client(f"id={id}; text=one two three; withhold=1", hooks=[Stop()]), ASK)
    assert isinstance(outcome.error, PermissionDeniedError)
    assert "ValueError: no more" in str(outcome.error)
    assert outcome.error.partial is not None
    assert outcome.error.partial.text == "one"
    mock.wait(id, "left")


@both_ways
@pytest.mark.parametrize("stage", ["before_request", "after_headers", "on_chunks", "on_error"])
def test_what_a_hook_raised_is_the_cause(mock: Mock, stream: Stream, stage: str) -> None:
    raised = [ValueError("mine"), RateLimitedError("mine"), SystemExit("mine")]

    class Plain:
        def __init__(self, error: BaseException) -> None:
            def refuse(_: HookEvent) -> None:
                raise error

            async def refuse_later(event: HookEvent) -> None:
                refuse(event)

            # `SystemExit` in a coroutine ends its event loop, too.
            setattr(self, stage, refuse if isinstance(error, SystemExit) else refuse_later)

    behaviour = "status=500" if stage == "on_error" else "text=one"
    for error in raised:
        one = stream(mock.client(behaviour, hooks=[Plain(error)]), ASK).error
        assert one is not None
        assert (one.__cause__, one.kind) == (error, "rate_limited" if isinstance(error, RateLimitedError) else "permission")
        models = [f"openai/{name}-{stage}?{behaviour}" for name in ("a", "b")]
        both = stream(mock.client(hooks=[Plain(error)], cooldown=0), {**ASK, "model": models}).error
        assert both is not None
        assert [cause.__cause__ for cause in both.causes or [both]] == [error] * (len(both.causes) or 1)


def test_what_on_end_raises_is_not_lost(mock: Mock, caplog: pytest.LogCaptureFixture) -> None:
    class End:
        def on_end(self, event: HookEvent) -> None:
            raise ValueError("mine")

    class Later:
        async def on_end(self, event: HookEvent) -> None:
            raise ValueError("mine")

    for hook in (End(), Later()):
        caplog.clear()
        assert mock.client("text=one", hooks=[hook]).chat_sync(**ASK).text == "one"
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("liter_llm", logging.ERROR)
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "mine"


@both_ways
def test_an_error_is_changed_and_answered(mock: Mock, stream: Stream) -> None:
    class Other(Hook):
        def on_error(self, event: HookEvent) -> Any:
            assert isinstance(event.error, ServerError)
            assert event.error.status == 500
            return RateLimitedError("come back later")

    error = stream(mock.client("status=500", hooks=[Other()]), ASK).error
    assert isinstance(error, RateLimitedError)
    assert "come back later" in str(error)

    class Sorry(Hook):
        def on_error(self, event: HookEvent) -> str:
            return "sorry"

    outcome = stream(mock.client("status=500", hooks=[Sorry()]), ASK)
    assert outcome.answer is not None
    assert outcome.answer.text == "sorry"


def test_every_route_of_a_list_is_told(mock: Mock) -> None:
    watch = Watch()
    models = ["openai/hooked-a?status=500", "openai/hooked-b?status=401"]
    with pytest.raises(AllFailedError):
        mock.client(hooks=[watch], cooldown=0).chat_sync(**{**ASK, "model": models})
    assert [(event.attempt, event.model) for event in watch.of("before_request")] == [
        (1, "hooked-a?status=500"),
        (2, "hooked-b?status=401"),
    ]
    assert [event.error and event.error.kind for event in watch.of("on_error")] == ["server", "authentication"]
    (end,) = watch.of("on_end")
    assert isinstance(end.error, AllFailedError)
    assert [model for model, _ in end.error.errors] == models


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)], ids=["asyncio", "trio"])
def test_coroutines_run_in_the_callers_loop(mock: Mock, run: Callable[[Any], Any]) -> None:
    threads: dict[str, threading.Thread] = {}

    class Slow:
        async def _note(self, event: HookEvent) -> None:
            if run is asyncio.run:
                await asyncio.sleep(0.001)
            else:
                await trio.sleep(0.001)
            threads[event.stage] = threading.current_thread()

        before_request = after_headers = on_chunks = on_error = on_end = _note

    async def main() -> str:
        client = mock.client("text=one two", hooks=[Slow()])
        text = "".join([chunk.delta async for chunk in await client.chat_stream(**ASK)])
        return text + (await client.chat(**ASK)).text

    assert run(main()) == "one twoone two"
    assert set(threads) == set(STAGES) - {"on_error"}
    assert set(threads.values()) == {threading.main_thread()}


def test_coroutines_run_without_a_loop_too(mock: Mock) -> None:
    class Slow(Hook):
        async def before_request(self, event: HookEvent) -> Any:
            await asyncio.sleep(0.001)
            return "from afar"

    assert mock.client(hooks=[Slow()]).chat_sync(**ASK).text == "from afar"
    assert "".join(chunk.delta for chunk in mock.client(hooks=[Slow()]).chat_stream_sync(**ASK)) == "from afar"


def test_a_hook_may_block_while_others_go_on(mock: Mock) -> None:
    go = threading.Event()

    class Wait(Hook):
        def before_request(self, event: HookEvent) -> None:
            assert go.wait(20)

    async def run() -> None:
        held = [asyncio.ensure_future(mock.client("text=held", hooks=[Wait()]).chat(**ASK)) for _ in range(20)]
        assert (await mock.client("text=free").chat(**ASK)).text == "free"
        assert not any(task.done() for task in held)
        go.set()
        assert [answer.text for answer in await asyncio.gather(*held)] == ["held"] * 20

    asyncio.run(run())


def test_a_hook_may_call_the_client(mock: Mock) -> None:
    class Ask(Hook):
        def before_request(self, event: HookEvent) -> Any:
            return mock.client("text=asked").chat_sync(**ASK)

    assert mock.client(hooks=[Ask()]).chat_sync(**ASK).text == "asked"


def test_hooks_are_asked_in_their_order(mock: Mock) -> None:
    class Say(Hook):
        def __init__(self, word: str) -> None:
            self.word = word

        def before_request(self, event: HookEvent) -> Any:
            assert event.request is not None
            return {**event.request, "user": event.request.get("user", "") + self.word}

    id = mock.id()
    mock.client(f"id={id}", hooks=[Say("a"), Say("b"), Say("c")]).chat_sync(**ASK)
    assert mock.wait(id, "done")["body"]["user"] == "abc"


def test_what_a_hook_cannot_say_is_an_error(mock: Mock) -> None:
    class Wrong(Hook):
        def after_headers(self, event: HookEvent) -> Any:
            return 3

    with pytest.raises(InvalidRequestError, match="after_headers cannot return int"):
        mock.client(hooks=[Wrong()]).chat_sync(**ASK)
    with pytest.raises(TypeError, match="is no hook"):
        LlmClient(hooks=[object()])


def test_the_end_comes_once_however_a_stream_is_left(mock: Mock) -> None:
    def closes(stream: Any) -> None:
        next(stream)
        stream.close()
        with pytest.raises(RequestCancelledError):
            stream.final()

    def breaks(stream: Any) -> None:
        for _ in stream:
            break

    def drops(stream: Any) -> None:
        next(stream)

    for leave in (closes, breaks, drops):
        watch, id = Watch(), mock.id()
        stream = mock.client(f"id={id}; text=one two three; stall=2", hooks=[watch]).chat_stream_sync(**ASK)
        leave(stream)
        if leave is drops:
            del stream
        mock.wait(id, "left")
        assert watch.ended.wait(20), leave
        (end,) = watch.of("on_end")
        assert isinstance(end.error, RequestCancelledError)


def test_a_cancelled_task_ends_its_call(mock: Mock) -> None:
    watch, id = Watch(), mock.id()

    async def run() -> None:
        task = asyncio.ensure_future(mock.client(f"id={id}; ttft=60000", hooks=[watch]).chat(**ASK))
        await asyncio.to_thread(mock.wait, id, "request")
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    mock.wait(id, "left")
    assert watch.ended.wait(20)
    assert len(watch.of("on_end")) == 1


async def breaks(mock: Mock, hook: Any, behaviour: str) -> None:
    async for _ in await mock.client(behaviour, hooks=[hook]).chat_stream(**ASK):
        break


async def drops(mock: Mock, hook: Any, behaviour: str) -> None:
    stream = await mock.client(behaviour, hooks=[hook]).chat_stream(**ASK)
    await stream.__anext__()
    del stream


async def closes(mock: Mock, hook: Any, behaviour: str) -> None:
    async with await mock.client(behaviour, hooks=[hook]).chat_stream(**ASK) as stream:
        await stream.__anext__()


async def is_cancelled(mock: Mock, hook: Any, behaviour: str) -> None:
    id = mock.id()
    task = asyncio.ensure_future(mock.client(f"{behaviour}; id={id}; ttft=60000", hooks=[hook]).chat(**ASK))
    await asyncio.to_thread(mock.wait, id, "request")
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("leave", [breaks, drops, closes, is_cancelled])
def test_the_end_is_told_in_the_callers_loop(mock: Mock, leave: Callable[..., Any]) -> None:
    async def run() -> None:
        ended = asyncio.Event()
        loops: list[Any] = []

        class End:
            async def on_end(self, event: HookEvent) -> None:
                loops.append(asyncio.get_running_loop())
                ended.set()

        await leave(mock, End(), "text=one two three; stall=2")
        await asyncio.wait_for(ended.wait(), 20)
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(run())


@pytest.mark.parametrize("turns", [0, 1], ids=["before the task", "before its first step"])
def test_the_end_is_told_elsewhere_where_the_loop_is_closed_first(turns: int, caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    async def tell() -> None:
        ended.set()

    loop = asyncio.new_event_loop()
    start_in_asyncio(loop, tell())
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert not ended.is_set()
    loop.close()
    assert ended.wait(20)
    # A loop that is closed already.
    ended.clear()
    start_in_asyncio(loop, tell())
    assert ended.wait(20)
    assert caplog.records == []


def test_unused_stages_cost_nothing(mock: Mock) -> None:
    class OnlyEnd(Hook):
        def on_end(self, event: HookEvent) -> None:
            pass

    def seconds(client: LlmClient) -> float:
        begun = time.perf_counter()
        assert sum(1 for _ in client.chat_stream_sync(**ASK)) > 5000
        return time.perf_counter() - begun

    plain, hooked = mock.client("chunks=5000"), mock.client("chunks=5000", hooks=[OnlyEnd()])
    assert min(seconds(hooked) for _ in range(3)) < 10 * min(seconds(plain) for _ in range(3))


def test_a_thousand_calls_with_hooks(mock: Mock) -> None:
    count = 0

    class Count(Hook):
        async def before_request(self, event: HookEvent) -> None:
            nonlocal count
            count += 1

        def on_end(self, event: HookEvent) -> None:
            pass

    async def run() -> None:
        client = mock.client("text=ok", hooks=[Count()])
        answers = await asyncio.gather(*[client.chat(**ASK) for _ in range(1000)])
        assert [answer.text for answer in answers] == ["ok"] * 1000

    asyncio.run(run())
    assert count == 1000


def test_the_process_ends_cleanly_while_hooks_run(mock: Mock) -> None:
    code = """
        import threading, time
        from liter_llm import Hook, LlmClient
        begun = threading.Event()
        class Slow(Hook):
            def before_request(self, event):
                begun.set()
                time.sleep(0.3)
                print("through", flush=True)
        def work():
            try:
                LlmClient(hooks=[Slow()]).chat_sync(model="openai/gpt-4o", messages="hi")
            except BaseException:
                pass
        threading.Thread(target=work, daemon=True).start()
        begun.wait()
    """
    assert mock.run(code) == (0, "through\n", "")


@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize(
    "leave",
    [
        """
        for _ in client.chat_stream_sync(**ask):
            break
        """,
        """
        async def main():
            async for _ in await client.chat_stream(**ask):
                break
        asyncio.run(main())
        """,
        """
        async def main():
            async def read():
                async for _ in await client.chat_stream(**ask):
                    begun.set()
            begun = asyncio.Event()
            task = asyncio.ensure_future(read())
            await begun.wait()
        asyncio.run(main())
        """,
        """
        async def main():
            task = asyncio.ensure_future(client.chat(**{**ask, "model": "openai/gpt-4o?ttft=60000"}))
            await asyncio.to_thread(asked.wait)
        asyncio.run(main())
        """,
    ],
    ids=["threads", "break", "cancelled", "whole"],
)
def test_the_end_is_told_though_the_process_exits(mock: Mock, kind: str, leave: str) -> None:
    code = f"""
import asyncio, threading
from liter_llm import Hook, LlmClient
asked = threading.Event()
class End(Hook):
    def before_request(self, event):
        asked.set()
    {kind}def on_end(self, event):
        print("end", flush=True)
client = LlmClient(hooks=[End()])
ask = {{"model": "openai/gpt-4o?text=one two three&stall=2", "messages": "hi"}}
{textwrap.dedent(leave)}
"""
    for _ in range(3):
        assert mock.run(code) == (0, "end\n", "")


def test_calls_are_logged(mock: Mock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "liter_llm"):
        list(mock.client("text=one; usage=3,4", log_calls=True).chat_stream_sync(**ASK))
        with pytest.raises(AllFailedError):
            mock.client(log_calls=True, cooldown=0).chat_sync(
                **{**ASK, "model": ["openai/logged-a?status=500", "openai/logged-b?status=503"]}
            )
    records: list[Any] = [record for record in caplog.records if record.name == "liter_llm"]
    assert [record.literllm["ending"] for record in records] == ["complete", "all_failed"]
    assert (records[0].literllm["prompt_tokens"], records[0].literllm["completion_tokens"]) == (3, 4)
    assert records[0].literllm["cost"] > 0
    assert records[1].literllm["attempts"] == 2
    assert "provider=openai" in records[0].getMessage()
    assert "Tell me a story" not in caplog.text


@both_ways
def test_tokens_come_from_the_program(mock: Mock, stream: Stream) -> None:
    asked: list[int] = []

    def give() -> tuple[str, float]:
        # The first is as good as over when it comes.
        asked.append(1)
        return "token-1", time.time() + (1 if len(asked) == 1 else 3600)

    async def give_later() -> str:
        await asyncio.sleep(0)
        return "token-1"

    options: dict[str, Any] = {
        "api_key": None,
        "provider": None,
        "base_url": None,
        "base_urls": {"vertex_ai": mock.url},
        "settings": {"vertex_ai": {"project": "p", "location": "us-central1"}},
    }
    request = {**ASK, "model": "vertex_ai/gemini-2.5-flash"}
    client = mock.client("expect_key=token-1", **options, token_providers={"vertex_ai": give})
    for calls in (1, 2, 2):
        assert stream(client, request).error is None
        assert len(asked) == calls
    assert stream(mock.client("expect_key=token-1", **options, token_providers={"vertex_ai": give_later}), request).error is None

    id = mock.id()
    bedrock = {**options, "base_urls": {"bedrock": mock.url}, "settings": {"bedrock": {"region": "us-east-1"}}}
    keys = {"access_key_id": "AKIDOWN", "secret_access_key": "s", "session_token": "t", "expires_at": time.time() + 3600}
    signing = mock.client(f"id={id}", **bedrock, token_providers={"bedrock": lambda: keys})
    assert stream(signing, {**ASK, "model": "bedrock/amazon.nova-lite-v1:0"}).error is None
    assert "x-amz-security-token" in dict(mock.log(id)[0]["headers"])

    def fail() -> str:
        raise OSError("the vault is closed")

    error = stream(mock.client(**options, token_providers={"vertex_ai": fail}), request).error
    assert isinstance(error, AuthenticationError)
    assert "OSError: the vault is closed" in str(error)
    assert isinstance(error.__cause__, OSError)

    error = stream(mock.client(**options, token_providers={"vertex_ai": lambda: ["token-1"]}), request).error
    assert isinstance(error, AuthenticationError)
    assert "token-1" not in str(error)
