"""Streaming without a client."""

from __future__ import annotations

from . import openai

__all__ = ["openai"]
