"""How the package behaves in a process: signals, forks, subinterpreters, its end, and the guide's own code."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support import Mock

GUIDE = """
import asyncio, os
from liter_llm import LlmClient

async def main():
    client = LlmClient(api_key=os.environ["OPENAI_API_KEY"])
    async for chunk in await client.chat_stream(
        model="openai/gpt-4o", messages=[{"role": "user", "content": "Tell me a story"}], temperature=0.7, max_tokens=500
    ):
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="", flush=True)

asyncio.run(main())
"""


def test_the_guides_code_runs_unchanged(mock: Mock) -> None:
    code, out, err = mock.run(GUIDE)
    assert (code, err) == (0, "")
    assert out.startswith("A lighthouse keeper")
    assert out.endswith("thank you.")


READS_SYNC = """
from liter_llm import LlmClient
import time
try:
    for chunk in LlmClient().chat_stream_sync(model="openai/gpt-4o?id={id}&text=one two&stall=2", messages="hi"):
        print("chunk", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

READS_ASYNC = """
import asyncio
from liter_llm import LlmClient
async def main():
    async for chunk in await LlmClient().chat_stream(model="openai/gpt-4o?id={id}&text=one two&stall=2", messages="hi"):
        print("chunk", flush=True)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("code", [READS_SYNC, READS_ASYNC], ids=["sync", "async"])
def test_ctrl_c_works_at_once(mock: Mock, code: str) -> None:
    id = mock.id()
    process = mock.start(code.replace("{id}", id))
    assert process.stdout
    assert process.stdout.readline() == "chunk\n"
    assert process.stdout.readline() == "chunk\n"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert process.stdout.readline() == "interrupted\n"
    assert time.monotonic() - sent < 2
    assert process.wait(20) == 0
    mock.wait(id, "left")


@pytest.mark.parametrize("kept", ["streams.append(stream)", "pass"])
def test_the_process_ends_cleanly_with_streams_open(mock: Mock, kept: str) -> None:
    id = mock.id()
    code, out, err = mock.run(
        f"""
        import asyncio
        from liter_llm import LlmClient
        streams = []
        client = LlmClient()
        ask = dict(model="openai/gpt-4o?id={id}&text=one two&stall=2", messages="hi")
        async def main():
            stream = await client.chat_stream(**ask)
            await stream.__anext__()
            {kept}
        asyncio.run(main())
        stream = client.chat_stream_sync(**ask)
        next(stream)
        print("end")
        """,
    )
    assert (code, out, err) == (0, "end\n", "")
    mock.wait(id, "left", 1)
    mock.wait(id, "left", 2)


def test_a_task_that_still_waits_at_the_end_is_cancelled(mock: Mock) -> None:
    id = mock.id()
    code, _, err = mock.run(
        f"""
        import asyncio
        from liter_llm import LlmClient
        async def read():
            async for chunk in await LlmClient().chat_stream(model="openai/gpt-4o?id={id}&stall=2", messages="hi"):
                print("chunk")
        async def main():
            task = asyncio.create_task(read())
            await asyncio.sleep(0.3)
        asyncio.run(main())
        """,
    )
    assert (code, err) == (0, "")
    mock.wait(id, "left")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_is_told_and_leaves_the_parents_streams_alone(mock: Mock) -> None:
    code, out, err = mock.run(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from liter_llm import LlmClient
        client = LlmClient()
        stream = client.chat_stream_sync(model="openai/gpt-4o?text=one two three&pace=50", messages="hi")
        next(stream)
        child = os.fork()
        if child == 0:
            try:
                client.chat_sync(model="openai/gpt-4o", messages="hi")
            except RuntimeError as error:
                print("told:", "fork" in str(error), flush=True)
            del stream, client
            sys.exit()
        os.waitpid(child, 0)
        print(stream.final().text)
        """,
    )
    assert (code, out) == (0, "told: True\none two three\n"), err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_client_made_before_a_fork_works_after_it(mock: Mock) -> None:
    code, out, err = mock.run(
        """
        import os, sys
        from liter_llm import LlmClient
        client = LlmClient()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        print(client.chat_sync(model="openai/gpt-4o?text=one", messages="hi").text, flush=True)
        """,
    )
    assert (code, out) == (0, "one\none\n"), err


def test_a_subinterpreter_is_told(mock: Mock) -> None:
    code, out, err = mock.run(
        """
        import liter_llm
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        id = interpreters.create()
        code = '''
        try:
            import liter_llm
        except ImportError as error:
            print("told:", "nterpreter" in str(error), flush=True)
        '''
        import textwrap
        interpreters.run_string(id, textwrap.dedent(code))
        """,
    )
    assert (code, out) == (0, "told: True\n"), err


def test_logging_is_asked_for_by_a_variable(mock: Mock) -> None:
    os.environ["LITERLLM_LOG"] = "debug"
    try:
        code, out, err = mock.run(GUIDE)
    finally:
        del os.environ["LITERLLM_LOG"]
    assert code == 0, out
    assert "literllm" in err
    assert "test-key-1234" not in err
