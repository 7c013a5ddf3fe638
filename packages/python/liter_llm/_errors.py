"""What can go wrong: one class a kind, all of them a `LiterLlmError`."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from ._native import ChatCompletion


class LiterLlmError(Exception):
    """Anything that went wrong with a call."""

    kind: ClassVar[str] = ""

    message: str
    """What happened, with provider, model, status and request."""
    provider: str | None
    model: str | None
    status: int | None
    """The HTTP status, where there was an answer."""
    retry_after: float | None
    """How many seconds the provider asks to wait."""
    request_id: str | None
    """The provider's name for the request, for its support."""
    code: str | None
    """The provider's own code."""
    param: str | None
    """The request's field that the provider blames."""
    body: str | None
    """The raw body of the provider's error."""
    retryable: bool
    """Whether the same request may succeed later."""
    partial: ChatCompletion | None
    """What had been streamed before it."""
    causes: list[BaseException]
    """The error of each model tried, where all failed."""

    def __init__(
        self,
        message: str = "",
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        code: str | None = None,
        param: str | None = None,
        body: str | None = None,
        retryable: bool = False,
        partial: ChatCompletion | None = None,
        causes: list[BaseException] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.model = model
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.code = code
        self.param = param
        self.body = body
        self.retryable = retryable
        self.partial = partial
        self.causes = causes or []

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message,), self.__dict__)


class AuthenticationError(LiterLlmError):
    """The key is missing or refused."""

    kind = "authentication"


class PermissionDeniedError(LiterLlmError):
    """The key is good but may not do this."""

    kind = "permission"


class NotFoundError(LiterLlmError):
    """No such model, deployment or path."""

    kind = "not_found"


class InvalidRequestError(LiterLlmError):
    """The request cannot be served as it is."""

    kind = "invalid_request"


class ContextLengthError(LiterLlmError):
    """The conversation is longer than the model takes."""

    kind = "context_length"


class ContentPolicyError(LiterLlmError):
    """The provider refused the content."""

    kind = "content_policy"


class RateLimitedError(LiterLlmError):
    """Too many requests or tokens."""

    kind = "rate_limited"


class OverloadedError(LiterLlmError):
    """The provider has no capacity just now."""

    kind = "overloaded"


class ServerError(LiterLlmError):
    """The provider failed."""

    kind = "server"


class RequestTimeoutError(LiterLlmError, TimeoutError):
    """One of the deadlines passed. It is a `TimeoutError` too."""

    kind = "timeout"


class NetworkError(LiterLlmError):
    """The provider could not be reached."""

    kind = "network"


class TruncatedError(LiterLlmError):
    """The answer broke off; what had come is in `partial`."""

    kind = "truncated"


class ProtocolError(LiterLlmError):
    """The provider sent what is no answer in its own format, or an answer that is not of the form asked for."""

    kind = "protocol"


class RequestCancelledError(LiterLlmError):
    """The caller closed the stream and then asked for more."""

    kind = "cancelled"


class AllFailedError(LiterLlmError):
    """Every model of a list failed; each one's error is in `causes`."""

    kind = "all_failed"

    @property
    def errors(self) -> list[tuple[str, BaseException]]:
        """Each model, as `provider/model`, with its error."""
        return [(f"{getattr(cause, 'provider', None)}/{getattr(cause, 'model', None)}", cause) for cause in self.causes]


class PanicError(LiterLlmError):
    """A bug in liter-llm, caught before it could do harm."""

    kind = "panic"


_BY_KIND: dict[str, type[LiterLlmError]] = {kind.kind: kind for kind in LiterLlmError.__subclasses__()}


def from_json(text: str, partial: ChatCompletion | None, causes: list[BaseException]) -> LiterLlmError:
    """The exception for an engine's error."""
    fields = json.loads(text)
    kind = _BY_KIND.get(fields["kind"], LiterLlmError)
    names = ("provider", "model", "status", "retry_after", "request_id", "code", "param", "body", "retryable")
    return kind(fields["message"], partial=partial, causes=causes, **{name: fields[name] for name in names})
