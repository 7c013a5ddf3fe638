"""How an answer is to be sampled, by lm-deluge's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class SamplingParams:
    temperature: float = 1.0
    top_p: float = 1.0
    json_mode: bool = False
    max_new_tokens: int = 2048
    reasoning_effort: str | None = None
    logprobs: bool = False
    top_logprobs: int | None = None

    def parameters(self) -> dict[str, Any]:
        """As the request's parameters."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_completion_tokens": self.max_new_tokens,
            "reasoning_effort": self.reasoning_effort,
            "logprobs": self.logprobs or None,
            "top_logprobs": self.top_logprobs,
            "response_format": {"type": "json_object"} if self.json_mode else None,
        }
