"""The native half of the package. What is exported by `liter_llm` itself is meant for programs; the rest is how it works."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import GenericAlias
from typing import Any, Generic, Literal, final, type_check_only

from typing_extensions import Self, TypeVar

from ._fields import Fields

_Parsed = TypeVar("_Parsed", default=Any)

__all__ = [
    "Annotation",
    "AnswerMeta",
    "AttemptReport",
    "AudioAnswer",
    "Call",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "ChunkChoice",
    "Chunks",
    "Client",
    "CompletionTokensDetails",
    "Delta",
    "FailedRoute",
    "FunctionCall",
    "FunctionDelta",
    "LegEvent",
    "Message",
    "PromptTokensDetails",
    "Ready",
    "Reply",
    "Stream",
    "ThinkingBlock",
    "ToolCall",
    "ToolCallDelta",
    "UrlCitation",
    "Usage",
    "WakeUp",
    "__version__",
    "after_fork_in_child",
    "before_exit",
    "providers",
]

__version__: str

@type_check_only
class _Record:
    """Frozen. Unknown fields that the provider sent are attributes, too, and in `model_extra`."""

    def __new__(cls, **fields: Any) -> Self: ...
    @staticmethod
    def model_validate(obj: Any) -> Any:
        """Reads what `model_dump` gave, or any mapping of the same shape."""
    @staticmethod
    def model_validate_json(json_data: str) -> Any: ...
    def model_dump(self, *, mode: str = "python", exclude_none: bool = False, exclude_unset: bool = False) -> dict[str, Any]:
        """As a dict, `None` for what was not sent; without those where `exclude_none` says so; exactly as on the wire with
        `exclude_unset`."""
    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False, exclude_unset: bool = False) -> str: ...
    @property
    def model_extra(self) -> dict[str, Any]:
        """Fields that this version does not know."""
    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: Any, /) -> Self: ...

@final
class ChatCompletionChunk(_Record):
    """One piece of a streamed answer."""

    __match_args__ = ("choices", "id", "created", "model", "usage", "system_fingerprint", "service_tier", "literllm")
    @property
    def object(self) -> Literal["chat.completion.chunk"]: ...
    @property
    def choices(self) -> list[ChunkChoice]: ...
    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def system_fingerprint(self) -> str | None: ...
    @property
    def service_tier(self) -> str | None: ...
    @property
    def literllm(self) -> LegEvent | None:
        """On the first chunk of every later leg of an answer that was gone on with: what happened."""
    @property
    def delta(self) -> str:
        """The text that it adds to the first choice; empty when it adds none."""
    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ends, on the chunk that ends it."""
    @property
    def resumed_from_partial(self) -> bool:
        """Whether a model goes on here from what another had said."""
    @property
    def fallback_attempts(self) -> list[str]:
        """The models that failed before the one that begins here, as `provider/model`; empty on all other chunks."""

@final
class ChunkChoice(_Record):
    """What a chunk brings of one choice."""

    __match_args__ = ("delta", "index", "logprobs", "finish_reason", "native_finish_reason")
    @property
    def delta(self) -> Delta: ...
    @property
    def index(self) -> int: ...
    @property
    def logprobs(self) -> Fields | None: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def native_finish_reason(self) -> str | None: ...

@final
class Delta(_Record):
    """What a chunk adds to a choice's message."""

    __match_args__ = (
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "tool_calls",
        "function_call",
        "thinking_blocks",
        "reasoning_details",
        "annotations",
        "audio",
    )
    @property
    def role(self) -> str | None: ...
    @property
    def content(self) -> str | None: ...
    @property
    def refusal(self) -> str | None: ...
    @property
    def reasoning_content(self) -> str | None: ...
    @property
    def tool_calls(self) -> list[ToolCallDelta] | None: ...
    @property
    def function_call(self) -> FunctionCall | None: ...
    @property
    def thinking_blocks(self) -> list[ThinkingBlock] | None: ...
    @property
    def reasoning_details(self) -> list[Any] | None: ...
    @property
    def annotations(self) -> list[Annotation] | None: ...
    @property
    def audio(self) -> AudioAnswer | None: ...

@final
class ToolCallDelta(_Record):
    """A piece of a tool call. The first piece of a call carries `id`, `type` and the name; later ones only arguments."""

    __match_args__ = ("index", "id", "function", "type")
    @property
    def index(self) -> int: ...
    @property
    def id(self) -> str | None: ...
    @property
    def function(self) -> FunctionDelta | None: ...
    @property
    def type(self) -> str | None: ...

@final
class FunctionDelta(_Record):
    """A piece of a function's name and arguments."""

    __match_args__ = ("name", "arguments")
    @property
    def name(self) -> str | None: ...
    @property
    def arguments(self) -> str | None: ...

@final
class ChatCompletion(_Record, Generic[_Parsed]):
    """A whole answer: what `chat` returns and what a stream adds up to."""

    __match_args__ = ("choices", "id", "created", "model", "usage", "system_fingerprint", "service_tier", "literllm")
    @property
    def object(self) -> Literal["chat.completion"]: ...
    @property
    def choices(self) -> list[Choice]: ...
    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def system_fingerprint(self) -> str | None: ...
    @property
    def service_tier(self) -> str | None: ...
    @property
    def literllm(self) -> AnswerMeta | None: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    @property
    def text(self) -> str:
        """The text of the first choice; empty when it has none."""
    @property
    def message(self) -> Message | None:
        """The first choice's message, to be appended to the conversation."""
    @property
    def tool_calls(self) -> list[ToolCall]:
        """The first choice's tool calls; an empty list when it has none."""
    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
    @property
    def fallback_attempts(self) -> list[str]:
        """The models that failed before the one that answered, or in the middle of the answer, as `provider/model`."""
    @property
    def provider(self) -> str | None:
        """The provider that answered."""
    @property
    def request_id(self) -> str | None:
        """The provider's name for the request."""
    @property
    def cost(self) -> float | None:
        """US dollars, where the model's price is known; never a guess."""
    @property
    def parsed(self) -> _Parsed | None:
        """The answer in the form that `response_format` asked for, validated."""
    def _with_parsed(self, parsed: Any) -> ChatCompletion[Any]: ...

@final
class Choice(_Record):
    """One of an answer's choices."""

    __match_args__ = ("index", "message", "logprobs", "finish_reason", "native_finish_reason")
    @property
    def index(self) -> int: ...
    @property
    def message(self) -> Message: ...
    @property
    def logprobs(self) -> Fields | None: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def native_finish_reason(self) -> str | None: ...

@final
class Message(_Record):
    """One message of a conversation, the same in a request and in an answer, so that an answer can be sent back as it came."""

    __match_args__ = (
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "refusal",
        "reasoning_content",
        "thinking_blocks",
        "reasoning_details",
        "annotations",
        "audio",
        "function_call",
    )
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str | list[Any] | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def tool_calls(self) -> list[ToolCall] | None: ...
    @property
    def tool_call_id(self) -> str | None: ...
    @property
    def refusal(self) -> str | None: ...
    @property
    def reasoning_content(self) -> str | None: ...
    @property
    def thinking_blocks(self) -> list[ThinkingBlock] | None: ...
    @property
    def reasoning_details(self) -> list[Any] | None: ...
    @property
    def annotations(self) -> list[Annotation] | None: ...
    @property
    def audio(self) -> AudioAnswer | None: ...
    @property
    def function_call(self) -> FunctionCall | None: ...
    @property
    def text(self) -> str:
        """Its text: the plain content, or the text parts joined."""
    @staticmethod
    def system(content: Any) -> Message: ...
    @staticmethod
    def user(content: Any) -> Message: ...
    @staticmethod
    def assistant(content: Any) -> Message: ...
    @staticmethod
    def tool(tool_call_id: str, content: Any) -> Message:
        """The result of a tool call."""

@final
class ToolCall(_Record):
    """A tool call of a whole answer."""

    __match_args__ = ("id", "function", "type")
    @property
    def id(self) -> str: ...
    @property
    def function(self) -> FunctionCall: ...
    @property
    def type(self) -> str | None: ...

@final
class FunctionCall(_Record):
    """A function's name and its arguments, as JSON text."""

    __match_args__ = ("name", "arguments")
    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> str: ...

@final
class ThinkingBlock(_Record):
    """A piece of thinking that the provider wants back unchanged."""

    __match_args__ = ("thinking", "signature", "data", "type")
    @property
    def thinking(self) -> str | None: ...
    @property
    def signature(self) -> str | None: ...
    @property
    def data(self) -> str | None: ...
    @property
    def type(self) -> str: ...

@final
class Annotation(_Record):
    """A source that the answer cites."""

    __match_args__ = ("url_citation", "type")
    @property
    def url_citation(self) -> UrlCitation | None: ...
    @property
    def type(self) -> str: ...

@final
class UrlCitation(_Record):
    """Where a cited page is."""

    __match_args__ = ("url", "title", "start_index", "end_index")
    @property
    def url(self) -> str | None: ...
    @property
    def title(self) -> str | None: ...
    @property
    def start_index(self) -> int | None: ...
    @property
    def end_index(self) -> int | None: ...

@final
class AudioAnswer(_Record):
    """A spoken answer."""

    __match_args__ = ("id", "data", "transcript", "expires_at")
    @property
    def id(self) -> str | None: ...
    @property
    def data(self) -> str | None: ...
    @property
    def transcript(self) -> str | None: ...
    @property
    def expires_at(self) -> int | None: ...

@final
class Usage(_Record):
    """Token counts. `prompt_tokens` includes cached ones, `completion_tokens` includes reasoning."""

    __match_args__ = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def total_tokens(self) -> int: ...
    @property
    def prompt_tokens_details(self) -> PromptTokensDetails | None: ...
    @property
    def completion_tokens_details(self) -> CompletionTokensDetails | None: ...

@final
class PromptTokensDetails(_Record):
    """Of the prompt's tokens."""

    __match_args__ = ("cached_tokens", "cache_creation_tokens", "audio_tokens")
    @property
    def cached_tokens(self) -> int | None: ...
    @property
    def cache_creation_tokens(self) -> int | None: ...
    @property
    def audio_tokens(self) -> int | None: ...

@final
class CompletionTokensDetails(_Record):
    """Of the answer's tokens."""

    __match_args__ = ("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
    @property
    def reasoning_tokens(self) -> int | None: ...
    @property
    def audio_tokens(self) -> int | None: ...
    @property
    def accepted_prediction_tokens(self) -> int | None: ...
    @property
    def rejected_prediction_tokens(self) -> int | None: ...

@final
class AnswerMeta(_Record):
    """Who answered and at what cost."""

    __match_args__ = ("provider", "request_id", "headers", "cost", "cached", "attempts")
    @property
    def provider(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def headers(self) -> dict[str, str] | None: ...
    @property
    def cost(self) -> float | None: ...
    @property
    def cached(self) -> bool | None:
        """Whether the answer was kept from an earlier call; it cost nothing then."""
    @property
    def attempts(self) -> list[AttemptReport] | None:
        """Every route that was asked, in order, where `model` is a list."""

@final
class AttemptReport(_Record):
    """One route that was asked, and what came of it."""

    __match_args__ = (
        "provider",
        "model",
        "request_id",
        "mode",
        "error",
        "message",
        "started",
        "seconds",
        "characters",
        "usage",
        "cost",
    )
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def mode(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def started(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def characters(self) -> int: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def cost(self) -> float | None: ...

@final
class LegEvent(_Record):
    """How an answer goes on after a route failed."""

    __match_args__ = ("event", "attempt", "provider", "model", "reason", "mode", "kept", "failed")
    @property
    def event(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def kept(self) -> int: ...
    @property
    def failed(self) -> list[FailedRoute] | None: ...

@final
class FailedRoute(_Record):
    """A route that failed."""

    __match_args__ = ("provider", "model", "kind", "message")
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...

@final
class WakeUp:
    """An event loop's wake-up. Where a loop can watch a file, `fileno` is readable when `drain` is to be called; given an
    `announce`, that is called instead, from any thread."""

    def __new__(
        cls, announce: Callable[[], object] | None = None, start: Callable[[Coroutine[Any, Any, None]], object] | None = None
    ) -> Self: ...
    def fileno(self) -> int: ...
    def drain(self) -> None: ...
    @property
    def announced(self) -> int:
        """How often the loop has been woken."""
    @property
    def waiting(self) -> int:
        """How many operations `drain` would go on with."""

@final
class Client:
    def __new__(
        cls,
        config: str,
        hooks: Sequence[tuple[list[str], bool, Callable[..., None]]],
        token_providers: Mapping[str, Callable[..., None]],
    ) -> Self:
        """`hooks` are the stages of each, whether it has coroutines, and what runs it; `token_providers` what gives tokens."""
    def chat(self, request: str, options: str | None) -> Call: ...
    def chat_stream(self, request: str, options: str | None) -> Call: ...

@final
class Call:
    def watch(self, wake_up: WakeUp, callback: Callable[[], object]) -> bool: ...
    def block(self) -> None: ...
    def abandon(self) -> None: ...
    def result(self) -> Any: ...

@final
class Stream:
    def chunks(self) -> Chunks: ...
    def __anext__(self) -> Any: ...
    def __next__(self) -> ChatCompletionChunk: ...
    def watch(self, wake_up: WakeUp, callback: Callable[[], object]) -> bool: ...
    def abandon(self) -> None: ...
    def take(self) -> ChatCompletionChunk | None: ...
    def close(self) -> None: ...
    def finish(self) -> ChatCompletion[Any]: ...
    def completion(self) -> ChatCompletion[Any]: ...
    def meta(self) -> tuple[str, str | None, dict[str, str]]: ...
    def keep_read(self) -> None: ...
    def read_json(self, choice: int) -> Any: ...

@final
class Chunks:
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Any: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> ChatCompletionChunk: ...

@final
class Ready:
    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class Reply:
    """Where the answer to what the engine asks goes. Dropped unanswered, nothing was said."""

    def answer(self, text: str, raised: BaseException | None = None) -> None:
        """Only the first answer counts. The exception that an error comes from is the cause of what the caller gets."""

def after_fork_in_child() -> None: ...
def before_exit() -> None: ...
def providers() -> list[str]:
    """The names of all providers."""
