"""What a program puts around every call: hooks, and its own sources of tokens.

Their methods are run here, and what they return is put into words that the engine understands.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import LiterLlmError, from_json
from ._json import encode
from ._native import ChatCompletion, ChatCompletionChunk
from ._waiting import run_in_own_loop

if TYPE_CHECKING:
    from ._native import Reply

_log = logging.getLogger("liter_llm")

STAGES = ("before_request", "after_headers", "on_chunks", "on_error", "on_end")

Start = Callable[[Coroutine[Any, Any, None]], object]
"""Starts a coroutine in its caller's event loop, from any thread."""


class HookEvent:
    """Where in which call a hook is asked, and what about."""

    stage: str
    call: int
    """The number of the call, of its own in this process."""
    attempt: int
    """The number of the route in the call, from 1."""
    provider: str
    model: str
    """As the provider names it."""
    stream: bool
    """Whether the caller asked for a stream."""
    request: dict[str, Any] | None
    """`before_request`: what is about to be asked, as it is in JSON."""
    status: int | None
    """`after_headers`, with `headers` and `request_id`."""
    headers: dict[str, str]
    request_id: str | None
    chunks: list[ChatCompletionChunk]
    """`on_chunks`: what came together and is about to be handed out."""
    error: LiterLlmError | None
    """`on_error`: why the route failed. `on_end`: how the call did."""
    response: ChatCompletion | None
    """`on_end`: the answer, or what there is of it."""
    seconds: float | None
    """`on_end`: how long the call took."""

    def __init__(self, text: str) -> None:
        said = json.loads(text)
        self.stage = said["stage"]
        self.call = said["call"]
        self.attempt = said["attempt"]
        self.provider = said["provider"]
        self.model = said["model"]
        self.stream = said["stream"]
        self.request = said.get("request")
        self.status = said.get("status")
        self.headers = said.get("headers") or {}
        self.request_id = said.get("request_id")
        self.chunks = [ChatCompletionChunk.model_validate(chunk) for chunk in said.get("chunks") or ()]
        self.response = _answer(said.get("response"))
        self.error = _error(said.get("error"))
        self.seconds = said.get("seconds")

    def __repr__(self) -> str:
        return f"HookEvent({self.stage!r}, call={self.call}, attempt={self.attempt}, {self.provider}/{self.model})"


class Hook:
    """What is asked around every call of a client: `LlmClient(hooks=[…])`. Any object with some of these methods is one.

    A method may be a coroutine function: it runs in the caller's asyncio or trio loop, where the call was made in one. Others run
    in threads of their own and may block. `None` lets the call pass as it is. An exception refuses, and is the cause of what the
    caller gets.
    """

    def before_request(self, event: HookEvent) -> Any:
        """A model is about to be asked: before the first, and before each that goes on after a failure.

        Returned, a dict is what is asked instead, and a `ChatCompletion` or a text is the answer.
        """

    def after_headers(self, event: HookEvent) -> Any:
        """A model has answered well, and its content is about to come."""

    def on_chunks(self, event: HookEvent) -> Any:
        """Chunks are about to be handed out. Returned, a list of chunks, perhaps an empty one, takes their place."""

    def on_error(self, event: HookEvent) -> Any:
        """A model has failed, after all retries.

        A returned or raised error takes the place of this one; a `ChatCompletion` or a text answers, where none was shown yet.
        """

    def on_end(self, event: HookEvent) -> Any:
        """The call is over. Comes exactly once; there is nothing left to change."""


class LogCalls(Hook):
    """A line for every call in Python's logging."""

    def __init__(self, level: int = logging.INFO, logger: str = "liter_llm") -> None:
        self._level = level
        self._logger = logging.getLogger(logger)

    def on_end(self, event: HookEvent) -> None:
        if not self._logger.isEnabledFor(self._level):
            return
        meta = event.response.literllm if event.response else None
        usage = event.response.usage if event.response else None
        fields = {
            "provider": event.provider,
            "model": event.model,
            "stream": event.stream,
            "attempts": event.attempt,
            "cached": bool(meta and meta.cached),
            "prompt_tokens": usage.prompt_tokens if usage else None,
            "completion_tokens": usage.completion_tokens if usage else None,
            "cost": meta.cost if meta else None,
            "seconds": event.seconds,
            "ending": event.error.kind if event.error else "complete",
        }
        said = " ".join(
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in fields.items()
        )
        self._logger.log(self._level, "%s", said, extra={"literllm": fields})


class _Runs(Protocol):
    def __call__(self, event: str, reply: Reply, start: Start | None, /) -> None: ...


def bound(hook: Any) -> tuple[list[str], bool, _Runs]:
    """The stages at which a hook wants to be asked, whether there are coroutines among its methods, and what asks it."""
    methods = {stage: getattr(hook, stage) for stage in STAGES if _is_wanted(hook, stage)}
    if not methods:
        raise TypeError(f"{type(hook).__name__} is no hook: it has none of the methods {', '.join(STAGES)}")

    def run(text: str, reply: Reply, start: Start | None) -> None:
        event = HookEvent(text)
        method = methods[event.stage]
        _run(lambda: method(event), lambda value: _said(event, value), lambda error: _refused(event, error), reply, start)

    return list(methods), any(map(inspect.iscoroutinefunction, methods.values())), run


def _is_wanted(hook: Any, stage: str) -> bool:
    own, default = getattr(type(hook), stage, None), getattr(Hook, stage)
    return own is not default if own is not None else callable(getattr(hook, stage, None))


def token_provider(give: Callable[[], Any]) -> _Runs:
    """What asks a source of tokens."""

    def run(_: str, reply: Reply, start: Start | None) -> None:
        _run(give, _token, lambda error: encode({"error": {"message": f"{type(error).__name__}: {error}"}}), reply, start)

    return run


def _token(given: Any) -> str:
    """`token`, `(token, expires_at)`, or a mapping of AWS credentials with an `expires_at` of its own."""
    if isinstance(given, Mapping):
        expires_at = given.get("expires_at")
        secret: Any = {name: given[name] for name in given if name != "expires_at"}
    else:
        secret, expires_at = given if isinstance(given, tuple) else (given, None)
        if not isinstance(secret, str):
            raise TypeError(
                "a token provider returns a text, a pair of a text and the time it expires, or a mapping of AWS credentials"
            )
    if isinstance(expires_at, datetime):
        expires_at = expires_at.timestamp()
    return encode({"token": {"secret": secret, "expires_at": expires_at}})


def _run(
    call: Callable[[], Any],
    said: Callable[[Any], str],
    refused: Callable[[BaseException], str],
    reply: Reply,
    start: Start | None,
) -> None:
    """Calls, awaits what is to be awaited, and answers."""
    try:
        value = call()
        if inspect.isawaitable(value):
            (start or run_in_own_loop)(_finish(value, said, refused, reply))
            return
        reply.answer(said(value))
    except BaseException as error:
        # Even `SystemExit` refuses: a call passes where it was let pass.
        reply.answer(refused(error), error)


async def _finish(
    value: Awaitable[Any], said: Callable[[Any], str], refused: Callable[[BaseException], str], reply: Reply
) -> None:
    try:
        reply.answer(said(await value))
    except BaseException as error:
        reply.answer(refused(error), error)
        if not isinstance(error, Exception):
            raise


def _said(event: HookEvent, value: Any) -> str:
    """What a method returned, as the engine takes it."""
    if value is None:
        return ""
    if event.stage in ("before_request", "on_error") and isinstance(value, (str, ChatCompletion)):
        return encode({"response": value if isinstance(value, ChatCompletion) else _made_up(event, value)})
    if event.stage == "before_request" and isinstance(value, Mapping):
        return encode({"request": value})
    if event.stage == "on_chunks" and isinstance(value, Iterable) and not isinstance(value, (str, Mapping)):
        return encode({"chunks": list(value)})
    if event.stage == "on_error" and isinstance(value, Exception):
        raise value
    if event.stage == "on_end":
        return ""
    raise LiterLlmError(f"{event.stage} cannot return {type(value).__name__}")


def _made_up(event: HookEvent, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": f"hook-{event.call}", "created": int(time.time()), "model": event.model, "choices": [choice]}


def _refused(event: HookEvent, error: BaseException) -> str:
    if event.stage == "on_end" and isinstance(error, Exception):
        # Nothing can be refused any more, and the error would be lost.
        _log.error("a hook failed at on_end", exc_info=error)
    if isinstance(error, LiterLlmError):
        kind, message = error.kind or "invalid_request", error.message
    else:
        kind, message = "permission", f"{type(error).__name__}: {error}"
    return encode({"error": {"kind": kind, "message": message}})


def _answer(said: Any) -> ChatCompletion | None:
    return None if said is None else ChatCompletion.model_validate(said)


def _error(said: Any) -> LiterLlmError | None:
    if said is None:
        return None
    causes = [cause for cause in map(_error, said.get("causes") or ()) if cause is not None]
    return from_json(json.dumps(said), _answer(said.get("partial")), list[BaseException](causes))
