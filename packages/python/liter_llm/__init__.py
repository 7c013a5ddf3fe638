"""Stream every LLM the same way.

client = LlmClient(api_key=os.environ["OPENAI_API_KEY"])
async for chunk in await client.chat_stream(model="openai/gpt-4o", messages=[{"role": "user", "content": "Tell me a story"}]):
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
"""

from __future__ import annotations

import atexit as _atexit
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import _interpreter as _interpreter
from ._client import LlmClient
from ._completion import acompletion, completion
from ._conversation import Conversation
from ._errors import (
    AllFailedError,
    AuthenticationError,
    ContentPolicyError,
    ContextLengthError,
    InvalidRequestError,
    LiterLlmError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PanicError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    RequestCancelledError,
    RequestTimeoutError,
    ServerError,
    TruncatedError,
)
from ._native import (
    Annotation,
    AnswerMeta,
    AttemptReport,
    AudioAnswer,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    CompletionTokensDetails,
    Delta,
    FailedRoute,
    FunctionCall,
    FunctionDelta,
    LegEvent,
    Message,
    PromptTokensDetails,
    ThinkingBlock,
    ToolCall,
    ToolCallDelta,
    UrlCitation,
    Usage,
    __version__,
)
from ._native import after_fork_in_child as _after_fork_in_child
from ._native import before_exit as _before_exit
from ._stream import ChatStream, SyncChatStream

if _TYPE_CHECKING:
    from ._batch import BatchProgress, BatchResult
    from ._hooks import Hook, HookEvent

# What not every program needs is loaded when it is first named.
_LATER = {"BatchProgress": "_batch", "BatchResult": "_batch", "Hook": "_hooks", "HookEvent": "_hooks"}


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return value


_atexit.register(_before_exit)
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_after_fork_in_child)

__all__ = [
    "AllFailedError",
    "Annotation",
    "AnswerMeta",
    "AttemptReport",
    "AudioAnswer",
    "AuthenticationError",
    "BatchProgress",
    "BatchResult",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatStream",
    "Choice",
    "ChunkChoice",
    "CompletionTokensDetails",
    "ContentPolicyError",
    "ContextLengthError",
    "Conversation",
    "Delta",
    "FailedRoute",
    "FunctionCall",
    "FunctionDelta",
    "Hook",
    "HookEvent",
    "InvalidRequestError",
    "LegEvent",
    "LiterLlmError",
    "LlmClient",
    "Message",
    "NetworkError",
    "NotFoundError",
    "OverloadedError",
    "PanicError",
    "PermissionDeniedError",
    "PromptTokensDetails",
    "ProtocolError",
    "RateLimitedError",
    "RequestCancelledError",
    "RequestTimeoutError",
    "ServerError",
    "SyncChatStream",
    "ThinkingBlock",
    "ToolCall",
    "ToolCallDelta",
    "TruncatedError",
    "UrlCitation",
    "Usage",
    "__version__",
    "acompletion",
    "completion",
]
