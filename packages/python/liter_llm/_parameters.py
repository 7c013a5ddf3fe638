"""What a call can be given by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from ._conversation import Conversation
    from ._native import Message

    Messages = str | Conversation | Iterable[Message | Mapping[str, Any] | str]


class CacheOptions(TypedDict, total=False):
    """A cache of answers in memory. Requests that differ in anything that matters have answers of their own."""

    max_entries: int
    ttl: float
    """Seconds that an answer is kept."""


class Limit(TypedDict, total=False):
    """How much is asked of a provider, or of one of its models. What is over it waits its turn."""

    provider: str
    model: str
    requests_per_minute: float
    tokens_per_minute: float
    concurrency: int


class CallOptions(TypedDict, total=False):
    """What one call may set otherwise than its client."""

    headers: Mapping[str, str]
    connect_timeout: float
    """Seconds until the connection takes the request; 0 switches a deadline off."""
    first_token_timeout: float
    """Seconds from the request to the first token."""
    idle_timeout: float
    """Seconds between chunks."""
    timeout: float
    """Seconds for the whole call, retries included."""
    max_retries: int
    retry_base_delay: float
    retry_max_delay: float
    drop_unsupported: bool
    model_weights: Sequence[float]
    """Chooses the order of a list of models by chance, each weighing as much."""
    sticky_key: str
    """The same key has the same order each time: a user or a conversation, say."""


class Parameters(CallOptions, total=False):
    """OpenAI's request parameters, and the options of the call. What is `None` is not sent."""

    temperature: float | None
    top_p: float | None
    n: int | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[str, int] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Any] | None
    tool_choice: Literal["auto", "none", "required"] | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    reasoning_effort: str | None
    verbosity: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    web_search_options: Mapping[str, Any] | None
    metadata: Mapping[str, str] | None
    store: bool | None
    service_tier: str | None
    user: str | None
    stream_fallback_mode: Literal["auto", "prefill", "user_turn", "restart", "off"] | None
    """How an answer that breaks off is gone on with, where `model` is a list."""
    stream_options: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    """Whatever else the provider understands; unknown names among the keyword arguments are sent as well."""


class CompletionParameters(Parameters, total=False):
    """What a call without a client may say of it."""

    api_key: str | None
    base_url: str | None
    provider: str | None


OPTION_NAMES = frozenset(CallOptions.__annotations__)
