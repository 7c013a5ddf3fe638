"""Messages and conversations by lm-deluge's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..._conversation import Conversation as _Conversation
from ..._conversation import _OnClassToo
from ..._native import Message as _Message


class Message:
    """One message, whose parts can be added to."""

    def __init__(self, role: str, parts: Iterable[Any] = ()) -> None:
        self.role = role
        self.parts: list[Any] = []
        for part in parts:
            if isinstance(part, str):
                self.add_text(part)
            else:
                self.parts.append(part)

    @classmethod
    def system(cls, text: str | None = None) -> Message:
        return cls("system", [text] if text else [])

    @classmethod
    def user(cls, text: str | None = None, *, image: str | None = None) -> Message:
        message = cls("user", [text] if text else [])
        return message.add_image(image) if image else message

    @classmethod
    def ai(cls, text: str | None = None) -> Message:
        return cls("assistant", [text] if text else [])

    def add_text(self, content: str) -> Message:
        self.parts.append({"type": "text", "text": content})
        return self

    def add_image(self, data: str, *, detail: str = "auto") -> Message:
        """An image by address or `data:` URL."""
        self.parts.append({"type": "image_url", "image_url": {"url": data, "detail": detail}})
        return self

    with_text = add_text
    with_image = add_image

    @property
    def completion(self) -> str:
        """The text."""
        return "".join(part["text"] for part in self.parts if part.get("type") == "text")

    def to_message(self) -> _Message:
        """As this package's own message."""
        only_text = all(part.get("type") == "text" for part in self.parts)
        return _Message(role=self.role, content=self.completion if only_text else self.parts)

    def __repr__(self) -> str:
        return f"Message(role={self.role!r}, parts={self.parts!r})"


class Conversation(_Conversation):
    """A conversation that also takes lm-deluge's messages."""

    def add(self, message: Any) -> Conversation:
        super().add(message.to_message() if isinstance(message, Message) else message)
        return self

    with_message = add

    def with_response(self, response: Any) -> Conversation:
        """Appends what was answered."""
        return self.add(response.answer)

    def _system(self, content: str) -> Conversation:
        return self.add(Message.system(content))

    def _user(self, content: str | None = None, *, image: str | None = None) -> Conversation:
        return self.add(Message.user(content, image=image))

    def _ai(self, text: str) -> Conversation:
        return self.add(Message.ai(text))

    system: Callable[..., Conversation] = _OnClassToo(_system)  # type: ignore[assignment]
    user: Callable[..., Conversation] = _OnClassToo(_user)  # type: ignore[assignment]
    ai: Callable[..., Conversation] = _OnClassToo(_ai)  # type: ignore[assignment]


def as_conversation(prompt: Any) -> _Conversation:
    """Whatever can be asked: a text, a message, a list of them, a conversation."""
    if isinstance(prompt, _Conversation):
        return prompt
    if isinstance(prompt, Message):
        return Conversation().add(prompt)
    return Conversation([prompt] if isinstance(prompt, str) else prompt)
