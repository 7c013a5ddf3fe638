"""`LLMClient` and its responses, over this package's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._client import LlmClient
from ..._conversation import Conversation as _Conversation
from ..._native import ChatCompletion
from .config import SamplingParams
from .prompt import Message, as_conversation


@dataclass
class Usage:
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    prompt_tokens = property(lambda self: self.input_tokens)
    completion_tokens = property(lambda self: self.output_tokens)


@dataclass
class APIResponse:
    """A whole answer by lm-deluge's names; `answer` is this package's own."""

    id: int
    model_internal: str
    prompt: _Conversation
    sampling_params: SamplingParams
    answer: ChatCompletion
    status_code: int | None = 200
    is_error: bool | None = False
    error_message: str | None = None

    @property
    def completion(self) -> str:
        """The text."""
        return self.answer.text

    @property
    def content(self) -> Message:
        return Message.ai(self.answer.text)

    @property
    def thinking(self) -> str | None:
        return self.answer.message.reasoning_content if self.answer.message else None

    @property
    def finish_reason(self) -> str | None:
        return self.answer.finish_reason

    @property
    def model_external(self) -> str:
        return self.answer.model

    @property
    def cost(self) -> float | None:
        return self.answer.cost

    @property
    def usage(self) -> Usage | None:
        usage = self.answer.usage
        if usage is None:
            return None
        details = usage.prompt_tokens_details
        return Usage(usage.prompt_tokens, usage.completion_tokens, details.cached_tokens if details else None)


class LLMClient:
    """Streams one prompt after another with one model."""

    def __init__(
        self,
        model_names: str | Sequence[str] | None = None,
        *,
        model: str | None = None,
        max_new_tokens: int = 512,
        temperature: float = 1.0,
        top_p: float = 1.0,
        json_mode: bool = False,
        reasoning_effort: str | None = None,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        postprocess: Callable[[APIResponse], APIResponse] | None = None,
        **_: Any,
    ) -> None:
        names = model_names if model_names is not None else (model or "gpt-4o-mini")
        self.models = [names] if isinstance(names, str) else list(names)
        if sampling_params is None:
            sampling_params = SamplingParams(
                temperature=temperature,
                top_p=top_p,
                json_mode=json_mode,
                max_new_tokens=max_new_tokens,
                reasoning_effort=reasoning_effort,
            )
        self.sampling_params = sampling_params if isinstance(sampling_params, SamplingParams) else sampling_params[0]
        self.extra_headers = extra_headers
        self.postprocess = postprocess
        self._client = LlmClient()

    async def stream(self, prompt: Any, tools: Sequence[Any] | None = None) -> APIResponse | None:
        """Prints the answer as it comes, and returns it whole."""
        async for item in stream_with(self._client, self.models[0], prompt, self.sampling_params, tools, self.extra_headers):
            if isinstance(item, str):
                print(item, end="", flush=True)
            else:
                return self.postprocess(item) if self.postprocess else item
        return None


async def stream_with(
    client: LlmClient,
    model: str,
    prompt: Any,
    sampling_params: SamplingParams,
    tools: Sequence[Any] | None,
    extra_headers: Mapping[str, str] | None,
) -> AsyncIterator[str | APIResponse]:
    conversation = as_conversation(prompt)
    parameters = sampling_params.parameters()
    if extra_headers:
        parameters["headers"] = extra_headers
    async for item in client.chat_text(model=model, messages=conversation, tools=tools, **parameters):
        if isinstance(item, str):
            yield item
        else:
            yield APIResponse(0, model, conversation, sampling_params, item)
