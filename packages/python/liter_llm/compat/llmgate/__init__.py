"""llmgate's streaming interface: `completion`, `acompletion`, `LLMGate` and its middleware, batches and errors."""

from __future__ import annotations

from . import exceptions, middleware, types
from .completion import acompletion, aparse, completion, parse
from .exceptions import (
    AllProvidersFailedError,
    AuthError,
    BatchTimeoutError,
    ConfigError,
    LLMGateError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
)
from .gate import LLMGate, abatch, batch
from .middleware import (
    BaseMiddleware,
    CacheMiddleware,
    FallbackMiddleware,
    LoggingMiddleware,
    RateLimitMiddleware,
    RetryMiddleware,
)
from .types import BatchError, BatchResult, CompletionRequest, CompletionResponse, Message, StreamChunk, TokenUsage, ToolCall

__all__ = [
    "AllProvidersFailedError",
    "AuthError",
    "BaseMiddleware",
    "BatchError",
    "BatchResult",
    "BatchTimeoutError",
    "CacheMiddleware",
    "CompletionRequest",
    "CompletionResponse",
    "ConfigError",
    "FallbackMiddleware",
    "LLMGate",
    "LLMGateError",
    "LoggingMiddleware",
    "Message",
    "ModelNotFoundError",
    "ProviderAPIError",
    "ProviderError",
    "RateLimitError",
    "RateLimitMiddleware",
    "RetryMiddleware",
    "StreamChunk",
    "TokenUsage",
    "ToolCall",
    "abatch",
    "acompletion",
    "aparse",
    "batch",
    "completion",
    "exceptions",
    "middleware",
    "parse",
    "types",
]
