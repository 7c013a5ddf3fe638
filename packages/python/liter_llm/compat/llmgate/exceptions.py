"""Errors by llmgate's names. Each has this package's own error as its `__cause__`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..._errors import (
    AllFailedError,
    AuthenticationError,
    InvalidRequestError,
    LiterLlmError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
)


class LLMGateError(Exception):
    def __init__(self, message: str, *, provider: str | None = None) -> None:
        super().__init__(message)
        self.provider = provider


class ProviderError(LLMGateError):
    def __init__(self, message: str, *, provider: str | None = None, status_code: int | None = None) -> None:
        super().__init__(message, provider=provider)
        self.status_code = status_code


class AuthError(ProviderError):
    """The key is missing or refused."""


class RateLimitError(ProviderError):
    """Too many requests."""


class ProviderAPIError(ProviderError):
    """Anything else that went wrong at a provider."""


class ModelNotFoundError(LLMGateError):
    def __init__(self, model: str, message: str = "") -> None:
        super().__init__(message or f"no provider has the model {model!r}")
        self.model = model


class ConfigError(LLMGateError):
    """The call cannot be made as it is."""


class BatchTimeoutError(LLMGateError):
    """A prompt of a batch took too long."""


class AllProvidersFailedError(LLMGateError):
    """Every model failed; `errors` has each one with its error."""

    def __init__(self, errors: Sequence[tuple[str, Exception]]) -> None:
        super().__init__("; ".join(["all providers failed", *(f"{model}: {error}" for model, error in errors)]))
        self.errors = list(errors)


def named(provider: str, model: str, models: Sequence[str]) -> str:
    """A route as the caller named it."""
    whole = f"{provider}/{model}"
    return next((name for name in models if name in (whole, model) or name.endswith(f"/{model}")), whole)


def translated(error: LiterLlmError, models: Sequence[str]) -> LLMGateError:
    """This package's error by llmgate's names."""
    theirs: LLMGateError
    if isinstance(error, AllFailedError):
        causes = [cause for cause in error.causes if isinstance(cause, LiterLlmError)]
        named_causes = [(named(cause.provider or "", cause.model or "", models), translated(cause, models)) for cause in causes]
        theirs = AllProvidersFailedError(named_causes)
    elif isinstance(error, (AuthenticationError, PermissionDeniedError)):
        theirs = AuthError(str(error), provider=error.provider, status_code=error.status)
    elif isinstance(error, RateLimitedError):
        theirs = RateLimitError(str(error), provider=error.provider, status_code=error.status)
    elif isinstance(error, NotFoundError) or (isinstance(error, InvalidRequestError) and error.provider is None):
        theirs = ModelNotFoundError(error.model or (models[0] if models else ""), str(error))
    else:
        theirs = ProviderAPIError(str(error), provider=error.provider, status_code=error.status)
    theirs.__cause__ = error
    return theirs


@contextmanager
def translating(models: Sequence[str]) -> Iterator[None]:
    """Raises this package's errors by llmgate's names."""
    try:
        yield
    except LiterLlmError as error:
        raise translated(error, models) from error


def timed_out(error: LLMGateError) -> bool:
    return isinstance(error.__cause__, RequestTimeoutError)
