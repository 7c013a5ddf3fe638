"""One client of the comparison, in a process of its own: it reads commands from stdin and answers each with a line of JSON.

`chunks N` reads N streams, touching the text of each chunk, and gives the processor time a chunk; `first N` gives the median time
to the first text; `memory` the most memory held; `paced N SECONDS` reads N streams at once and gives the wall time over the ideal
one.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CHUNKS = 2000
MESSAGES = [{"role": "user", "content": "Tell me a story"}]
Read = Callable[[], Awaitable[tuple[int, float]]]


def literllm_python(url: str) -> Read:
    from liter_llm import LlmClient

    client = LlmClient(api_key="key", base_url=url)

    async def read() -> tuple[int, float]:
        count, first = 0, 0.0
        async for chunk in await client.chat_stream(model="openai/gpt-4o", messages=MESSAGES):
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.perf_counter()
                count += 1
        return count, first

    return read


def openai_python(url: str) -> Read:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="key", base_url=url)

    async def read() -> tuple[int, float]:
        count, first = 0, 0.0
        async for chunk in await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.perf_counter()
                count += 1
        return count, first

    return read


def litellm(url: str) -> Read:
    import litellm

    async def read() -> tuple[int, float]:
        count, first = 0, 0.0
        stream = await litellm.acompletion(model="openai/gpt-4o", api_base=url, api_key="key", messages=MESSAGES, stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.perf_counter()
                count += 1
        return count, first

    return read


def peer_liter_llm(url: str) -> Read:
    import liter_llm

    client = liter_llm.create_client(api_key="key", base_url=url)
    # Its public class of this name is another one, which its client does not take.
    request = liter_llm._internal_bindings.ChatCompletionRequest.from_json(json.dumps({"model": "gpt-4o", "messages": MESSAGES}))

    async def read() -> tuple[int, float]:
        count, first = 0, 0.0
        async for chunk in client.chat_stream(request):
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.perf_counter()
                count += 1
        return count, first

    return read


def lm_deluge(url: str) -> Read:
    from types import SimpleNamespace

    from lm_deluge import Conversation
    from lm_deluge.api_requests import openai
    from lm_deluge.models import register_model

    class Context(SimpleNamespace):
        """Version 0.0.168 asks more of a context than its own `stream_chat` puts there."""

        def validate_request_config(self) -> None:
            pass

        def __getattr__(self, _: str) -> None:
            return None

    openai.SimpleNamespace = Context
    stream_chat = openai.stream_chat

    register_model(id="bench", name="gpt-4o", api_base=url, api_key_env_var="OPENAI_API_KEY", api_spec="openai")

    async def read() -> tuple[int, float]:
        count, first = 0, 0.0
        async for item in stream_chat("bench", Conversation().user("Tell me a story")):
            if not isinstance(item, str):
                return count, first
            first = first or time.perf_counter()
            count += 1
        return count, first

    return read


def llmgate(url: str) -> Read:
    from llmgate import acompletion

    async def read() -> tuple[int, float]:
        count, first = 0, 0.0
        async for chunk in await acompletion(model="gpt-4o", messages=MESSAGES, stream=True, api_key="key"):
            if chunk.delta:
                first = first or time.perf_counter()
                count += 1
        return count, first

    return read


def floor_python(url: str) -> Read:
    """The least that a client in Python can do: aiohttp, and json.loads of every event."""
    import aiohttp

    session: aiohttp.ClientSession | None = None

    async def read() -> tuple[int, float]:
        nonlocal session
        session = session or aiohttp.ClientSession()
        count, first = 0, 0.0
        body = {"model": "gpt-4o", "messages": MESSAGES, "stream": True}
        async with session.post(f"{url}/chat/completions", json=body) as answer:
            rest = b""
            async for piece in answer.content.iter_any():
                *events, rest = (rest + piece).split(b"\n\n")
                for event in events:
                    if event != b"data: [DONE]":
                        choices = json.loads(event[6:])["choices"]
                        if choices and choices[0]["delta"].get("content"):
                            first = first or time.perf_counter()
                            count += 1
        return count, first

    return read


ASYNC = {
    "literllm-python": literllm_python,
    "openai-python": openai_python,
    "litellm": litellm,
    "peer-liter-llm": peer_liter_llm,
    "lm-deluge": lm_deluge,
    "llmgate": llmgate,
    "floor-python": floor_python,
}


def processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


# Answers go where stdout was; what a peer prints goes to stderr.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


# How long first tokens are measured at most.
MOST_SECONDS = 10


def answer(value: object) -> None:
    print(json.dumps(value), file=answers, flush=True)


async def serve(client: Callable[[str], Read], url: str, quick_url: str, paced_url: str) -> None:
    read, quick, paced = client(url), client(quick_url), client(paced_url)
    loop = asyncio.get_running_loop()
    answer("ready")
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if command[0] == "chunks":
            before, count = processor(), 0
            for _ in range(int(command[1])):
                count += (await read())[0]
            answer((processor() - before) * 1e6 / count)
        elif command[0] == "first":
            times, started = [], time.perf_counter()
            # A client whose every call takes a second is known after a few.
            while len(times) < int(command[1]) and time.perf_counter() - started < MOST_SECONDS:
                begun = time.perf_counter()
                times.append((await quick())[1] - begun)
            answer(statistics.median(times) * 1e6)
        elif command[0] == "paced":
            begun = time.perf_counter()
            await asyncio.gather(*[paced() for _ in range(int(command[1]))])
            answer((time.perf_counter() - begun) / float(command[2]))
        else:
            answer(memory())


def serve_sync(url: str, quick_url: str) -> None:
    from liter_llm import LlmClient

    client = LlmClient(api_key="key", base_url=url)
    quick = LlmClient(api_key="key", base_url=quick_url)
    ask: dict[str, Any] = {"model": "openai/gpt-4o", "messages": MESSAGES}
    answer("ready")
    while command := sys.stdin.readline().split():
        if command[0] == "chunks":
            before, count = processor(), 0
            for _ in range(int(command[1])):
                for chunk in client.chat_stream_sync(**ask):
                    if chunk.choices and chunk.choices[0].delta.content:
                        count += 1
            answer((processor() - before) * 1e6 / count)
        elif command[0] == "first":
            times = []
            for _ in range(int(command[1])):
                begun = time.perf_counter()
                for chunk in quick.chat_stream_sync(**ask):
                    if begun and chunk.choices and chunk.choices[0].delta.content:
                        times.append(time.perf_counter() - begun)
                        begun = 0.0
            answer(statistics.median(times) * 1e6)
        else:
            answer(memory())


if __name__ == "__main__":
    _, name, mock = sys.argv
    stream, short = f"{mock}/mock/chunks={CHUNKS},bytes=287/v1", f"{mock}/mock/chunks=2,bytes=287/v1"
    os.environ.update(OPENAI_API_KEY="key", OPENAI_BASE_URL=stream)
    if name == "literllm-python-sync":
        serve_sync(stream, short)
    else:
        asyncio.run(serve(ASYNC[name], stream, short, f"{mock}/mock/chunks=250,bytes=287,pace=20/v1"))
