"""Fields that this package has no class for."""

from __future__ import annotations

from typing import Any

# What OpenAI's own classes for log probabilities have, sent or not.
_MAY_BE_LEFT_OUT = frozenset(("content", "refusal", "token", "bytes", "logprob", "top_logprobs"))


class Fields(dict[str, Any]):
    """A dict whose fields are attributes too: `choice.logprobs.content[0].token`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            if name in _MAY_BE_LEFT_OUT:
                return None
            raise AttributeError(f"there is no field {name!r} here") from None
