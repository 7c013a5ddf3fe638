"""Many prompts at once: bounded, in order, resumable."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import trio
from support import Mock

from liter_llm import BatchProgress, BatchResult, LlmClient, ServerError
from liter_llm._batch import Bar, describe

Run = Callable[..., BatchResult]


def in_asyncio(client: LlmClient, *prompts: Any, **options: Any) -> BatchResult:
    return asyncio.run(client.batch(*prompts, **options))


def in_trio(client: LlmClient, *prompts: Any, **options: Any) -> BatchResult:
    async def run() -> BatchResult:
        return await client.batch(*prompts, **options)

    return trio.run(run)


def in_a_thread(client: LlmClient, *prompts: Any, **options: Any) -> BatchResult:
    return client.batch_sync(*prompts, **options)


every_way = pytest.mark.parametrize("run", [in_asyncio, in_trio, in_a_thread])


@every_way
def test_answers_come_in_the_prompts_order(mock: Mock, run: Run) -> None:
    prompts = [{"model": f"gpt-4o?text=answer {at}&ttft={(at * 7) % 30}", "messages": "hi"} for at in range(100)]
    result = run(mock.client(), prompts, concurrency=16)
    assert [answer.text for answer in result.answers if answer] == [f"answer {at}" for at in range(100)]
    assert (result.errors, result.progress.done, result.progress.total) == ({}, 100, 100)
    assert result.progress.tokens > 0


@every_way
def test_no_more_run_at_a_time_than_is_said(mock: Mock, run: Run) -> None:
    asked: list[int] = []
    seen: list[int] = []

    def prompts() -> Any:
        for at in range(40):
            asked.append(at)
            yield "hi"

    def watch(state: BatchProgress) -> None:
        seen.append(len(asked) - state.done)

    result = run(mock.client("text=ok; ttft=5"), prompts(), model="gpt-4o", concurrency=4, progress=watch)
    assert len(result.answers) == 40
    # Prompts are taken as they are needed, and so many are under way.
    assert max(seen) <= 4
    assert result.progress.total is None


@every_way
def test_thousands_of_prompts(mock: Mock, run: Run) -> None:
    result = run(mock.client("text=ok"), ["hi"] * 3000, model="gpt-4o", concurrency=64)
    assert sum(answer is not None and answer.text == "ok" for answer in result.answers) == 3000


@every_way
def test_an_error_is_its_prompts_result(mock: Mock, run: Run) -> None:
    prompts = [
        {"model": "gpt-4o?text=a", "messages": "hi"},
        {"model": "gpt-4o?status=500", "messages": "hi"},
        {"model": "gpt-4o", "messages": "hi", "temperature": "warm"},
    ]
    result = run(mock.client(), prompts)
    assert [answer and answer.text for answer in result.answers] == ["a", None, None]
    assert {at: error.kind for at, error in result.errors.items()} == {1: "server", 2: "invalid_request"}
    assert result.progress.failed == 2
    with pytest.raises(ServerError):
        result.raise_first()
    with pytest.raises(ServerError):
        run(mock.client(), prompts[:2], fail_fast=True)


@every_way
def test_what_cannot_be_a_prompt_is_said_and_ends_the_rest(mock: Mock, run: Run) -> None:
    id = mock.id()
    with pytest.raises(TypeError, match="messages"):
        run(mock.client(f"id={id}; ttft=60000"), ["hi", {"model": "gpt-4o"}], model="gpt-4o")
    with pytest.raises(TypeError, match="model"):
        run(mock.client(), ["hi"])
    with pytest.raises(ValueError, match="concurrency"):
        run(mock.client(), ["hi"], model="gpt-4o", concurrency=0)


@pytest.mark.parametrize("prompts", ["hi", b"hi", {"messages": "hi"}])
def test_a_single_prompt_is_no_batch(mock: Mock, prompts: Any) -> None:
    with pytest.raises(TypeError, match="many prompts"):
        mock.client().batch_sync(prompts, model="gpt-4o")


@every_way
def test_a_call_begins_while_the_next_prompt_is_made(mock: Mock, run: Run) -> None:
    id = mock.id()

    def prompts() -> Any:
        yield "hi"
        mock.wait(id, "done")
        yield "hi"

    assert len(run(mock.client(f"id={id}; text=ok"), prompts(), model="gpt-4o").answers) == 2


def test_cancelling_a_batch_closes_its_connections(mock: Mock) -> None:
    ids = [mock.id() for _ in range(3)]
    prompts = [{"model": f"gpt-4o?id={id}&ttft=60000", "messages": "hi"} for id in ids]

    async def run() -> None:
        task = asyncio.ensure_future(mock.client().batch(prompts))
        for id in ids:
            await asyncio.to_thread(mock.wait, id, "request")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())
    for id in ids:
        mock.wait(id, "left")


@every_way
def test_a_batch_goes_on_from_its_journal(mock: Mock, tmp_path: Path, run: Run) -> None:
    journal = tmp_path / "journal.jsonl"
    prompts = [f"prompt {at}" for at in range(20)]
    id = mock.id()
    first = run(mock.client(f"id={id}; text=ok; usage=3,4"), prompts[:12], model="gpt-4o", journal=journal)
    assert first.progress.resumed == 0
    # A crash in the middle of writing.
    whole = journal.read_bytes()
    assert whole.count(b"\n") == 12
    journal.write_bytes(whole + whole.splitlines()[0][:37])
    # Another order, and one more of the same: what is there is used once each.
    again = run(mock.client(f"id={id}; text=ok"), [*reversed(prompts), "prompt 3"], model="gpt-4o", journal=journal)
    assert (again.progress.resumed, again.progress.done) == (12, 21)
    assert len(mock.log(id)) == 12 + 9
    assert [answer.usage.total_tokens for answer in again.answers if answer and answer.usage].count(7) >= 12
    lines = journal.read_text().splitlines()
    assert len(lines) == 21
    assert all(set(json.loads(line)) == {"request", "answer"} for line in lines)
    third = run(mock.client(f"id={id}"), prompts, model="gpt-4o", journal=journal)
    assert third.progress.resumed == 20
    assert len(mock.log(id)) == 21
    # Another request has another answer.
    other = run(mock.client(f"id={id}; text=new"), prompts[:1], model="gpt-4o", temperature=0.1, journal=journal)
    assert other.progress.resumed == 0


def test_a_journal_keeps_only_what_could_be_read(mock: Mock, tmp_path: Path) -> None:
    class Person(pydantic.BaseModel):
        name: str

    journal = tmp_path / "journal.jsonl"
    ask: dict[str, Any] = {"model": "gpt-4o", "response_format": Person, "journal": journal}
    assert list(mock.client("text=nonsense").batch_sync(["who?"], **ask).errors) == [0]
    assert journal.read_text() == ""
    for resumed in (0, 1):
        result = mock.client('text={"name":"Ann"}').batch_sync(["who?"], **ask)
        assert result.answers[0] is not None
        assert result.answers[0].parsed == Person(name="Ann")
        assert result.progress.resumed == resumed


@pytest.mark.parametrize("text", ["dear diary\n", "dear diary", '["hi"]', "{}"])
def test_another_file_is_no_journal(mock: Mock, tmp_path: Path, text: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match="line 1"):
        mock.client().batch_sync(["hi"], model="gpt-4o", journal=file)
    assert file.read_text() == text


@pytest.mark.parametrize("kept", [1, 11, 12, 60, -1])
def test_a_journal_may_be_torn_anywhere(mock: Mock, tmp_path: Path, kept: int) -> None:
    journal = tmp_path / "journal.jsonl"
    for resumed, done in ((0, 1), (0, 1), (1, 1)):
        progress = mock.client("text=ok").batch_sync(["hi"], model="gpt-4o", journal=journal).progress
        assert (progress.resumed, progress.done) == (resumed, done)
        if not resumed and kept:
            journal.write_bytes(journal.read_bytes()[:kept])
            kept = 0


def test_a_journals_answer_that_no_longer_fits_is_asked_for_anew(mock: Mock, tmp_path: Path) -> None:
    def asking_for(name: str) -> BatchResult:
        class Person(pydantic.BaseModel):
            name: str

            @pydantic.field_validator("name")
            @classmethod
            def is_called(cls, given: str) -> str:
                if given != name:
                    raise ValueError(f"not {name}")
                return given

        text = json.dumps({"name": name})
        ask: dict[str, Any] = {"model": "gpt-4o", "response_format": Person, "journal": tmp_path / "journal.jsonl"}
        return mock.client(f"text={text}").batch_sync(["who?"], **ask)

    for name, resumed in (("Ann", 0), ("Ann", 1), ("Bob", 0), ("Bob", 1)):
        result = asking_for(name)
        assert (result.errors, result.progress.resumed) == ({}, resumed)


def test_an_event_loop_has_its_turns_while_a_journal_is_read(mock: Mock, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    prompts = [f"prompt {at}" for at in range(1000)]
    mock.client("text=ok").batch_sync(prompts, model="gpt-4o", journal=journal)

    async def run() -> int:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(take_turns())
        assert (await mock.client().batch(prompts, model="gpt-4o", journal=journal)).progress.resumed == 1000
        task.cancel()
        return turns

    assert asyncio.run(run()) >= 10


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_a_journal_has_one_writer(mock: Mock, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"

    def during(_: BatchProgress) -> None:
        with pytest.raises(RuntimeError, match="another batch"):
            mock.client("text=ok").batch_sync(["hi"], model="gpt-4o", journal=journal)

    mock.client("text=ok").batch_sync(["hi"], model="gpt-4o", journal=journal, progress=during)


def test_a_batch_that_was_killed_goes_on(mock: Mock, tmp_path: Path) -> None:
    journal, id = tmp_path / "journal.jsonl", mock.id()
    code = f"""
        import os, signal
        from liter_llm import LlmClient
        def die(state):
            if state.done == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        prompts = [f"prompt {{at}}" for at in range(30)]
        result = LlmClient().batch_sync(
            prompts, model="openai/gpt-4o?id={id}&text=ok", concurrency=1, journal={str(journal)!r}, progress=PROGRESS
        )
        print(result.progress.resumed, result.progress.done)
    """

    assert mock.run(code.replace("PROGRESS", "die"))[0] == -signal.SIGKILL
    assert mock.run(code.replace("PROGRESS", "False")) == (0, "7 30\n", "")
    assert len(mock.log(id)) == 30


def test_ctrl_c_ends_a_batch(mock: Mock) -> None:
    id = mock.id()
    code = f"""
        from liter_llm import LlmClient
        try:
            LlmClient().batch_sync(["hi"] * 4, model="openai/gpt-4o?id={id}&ttft=60000")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    process = mock.start(code)
    mock.wait(id, "request", 4)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    mock.wait(id, "left", 4)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_written_over_on_a_terminal(mock: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    monkeypatch.setenv("COLUMNS", "80")
    mock.client("text=ok").batch_sync(["hi"] * 10, model="gpt-4o")
    shown = out.getvalue()
    assert shown.startswith("\r")
    assert shown.count("\n") == 1
    assert shown.rsplit("\r", 1)[1].startswith("10/10 ")
    assert all(len(line) <= 80 for line in shown.split("\r"))
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with pytest.raises(ServerError):
        mock.client("status=500").batch_sync(["hi"], model="gpt-4o", fail_fast=True)
    # What is written next begins a line of its own.
    assert out.getvalue().endswith("\n")
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    mock.client("text=ok").batch_sync(["hi"], model="gpt-4o", progress=False)
    assert out.getvalue() == ""


def test_what_the_bar_says() -> None:
    state = BatchProgress(done=25, total=100, failed=2, resumed=5, tokens=12345, cost=1.5, seconds=10.0)
    line = describe(state, 100)
    assert line.startswith("25/100 ━")
    assert "25%" in line
    assert line.endswith("2.0/s  2 failed  12,345 tokens  $1.50  0:37 left")
    assert len(describe(state, 40)) <= 40
    assert describe(BatchProgress(3, None, 0, 0, 0, 0.0, 1.0), 80) == "3 done  3.0/s"
    out = io.StringIO()
    bar = Bar(out)
    bar(state, False)
    bar(state, True)
    assert out.getvalue().count("\n") == 2
