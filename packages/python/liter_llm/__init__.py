"""Stream every LLM the same way.

client = LlmClient(api_key=os.environ["OPENAI_API_KEY"])
async for chunk in await client.chat_stream(model="openai/gpt-4o", messages=[{"role": "user", "content": "Tell me a story"}]):
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
"""

from __future__ import annotations

import os as _os

from . import _interpreter as _interpreter
from ._client import LlmClient
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
from ._stream import ChatStream, SyncChatStream

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_after_fork_in_child)

__all__ = [
    "AllFailedError",
    "Annotation",
    "AnswerMeta",
    "AttemptReport",
    "AudioAnswer",
    "AuthenticationError",
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
]
