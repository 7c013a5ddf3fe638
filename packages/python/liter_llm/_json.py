"""JSON of whatever a request may be made of: dicts, lists, this package's classes, pydantic models, dataclasses and enums."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any


def encode(value: Any) -> str:
    """JSON text for the engine, as it goes on the wire."""
    return json.dumps(value, default=_plain, separators=(",", ":"), allow_nan=False)


def dump(value: Any, indent: int | None) -> str:
    """JSON text for people."""
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ":") if indent is None else None)


def _plain(value: Any) -> Any:
    model_dump = getattr(value, "model_dump", None)
    if model_dump is not None and not isinstance(value, type):
        # What was not set is not sent: `null` means something else to some providers.
        return (
            model_dump(exclude_unset=True)
            if type(value).__module__ == "liter_llm"
            else model_dump(mode="json", exclude_none=True)
        )
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        import dataclasses

        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{type(value).__name__} cannot be part of a request")
    items: Any = value
    return list(items)
