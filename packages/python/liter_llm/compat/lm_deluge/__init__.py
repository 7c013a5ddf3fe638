"""lm-deluge's streaming interface: `LLMClient`, `Conversation`, `Message`, and `api_requests.openai.stream_chat`."""

from __future__ import annotations

from . import api_requests, config
from .client import APIResponse, LLMClient, Usage
from .config import SamplingParams
from .prompt import Conversation, Message

__all__ = ["APIResponse", "Conversation", "LLMClient", "Message", "SamplingParams", "Usage", "api_requests", "config"]
