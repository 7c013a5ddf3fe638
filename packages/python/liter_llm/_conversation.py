"""A conversation that is built up, sent, appended to and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from typing import Any, Generic, TypeVar, overload

from ._native import ChatCompletion, Message

_Made = TypeVar("_Made")


class _OnClassToo(Generic[_Made]):
    """A method that, called on the class, begins a new conversation."""

    def __init__(self, method: Callable[..., _Made]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Conversation]) -> Callable[..., _Made]: ...
    @overload
    def __get__(self, instance: Conversation, owner: type[Conversation]) -> Callable[..., _Made]: ...
    def __get__(self, instance: Conversation | None, owner: type[Conversation]) -> Callable[..., _Made]:
        return self._method.__get__(owner() if instance is None else instance, owner)  # type: ignore[no-any-return]


class Conversation:
    """Messages in their order. It can be given wherever messages are wanted.

    conversation = Conversation.system("Be brief.").user("Tell me a story")
    answer = await client.chat(model="openai/gpt-4o", messages=conversation)
    conversation.add(answer).user("And then?")
    """

    messages: list[Message]

    def __init__(self, messages: Iterable[Message | Mapping[str, Any] | str] = ()) -> None:
        self.messages = []
        for message in messages:
            self.add(message)

    def add(self, message: Message | ChatCompletion | Mapping[str, Any] | str) -> Conversation:
        """Appends a message, or an answer as it came, thinking and tool calls included. A string is what the user says."""
        self.messages.append(_message(message))
        return self

    def _system(self, content: Any) -> Conversation:
        """Appends what the system says."""
        return self.add(Message.system(content))

    def _user(self, content: Any) -> Conversation:
        """Appends what the user says: text, or a list of content parts."""
        return self.add(Message.user(content))

    def _assistant(self, content: Any) -> Conversation:
        """Appends what the model said."""
        return self.add(Message.assistant(content))

    system = _OnClassToo(_system)
    user = _OnClassToo(_user)
    assistant = _OnClassToo(_assistant)

    def tool(self, tool_call_id: str, content: Any) -> Conversation:
        """Appends the result of a tool call."""
        return self.add(Message.tool(tool_call_id, content))

    def copy(self) -> Conversation:
        """A conversation that goes its own way from here."""
        return type(self)(self.messages)

    def to_list(self) -> list[dict[str, Any]]:
        """The messages as a request has them."""
        return [message.model_dump(exclude_unset=True) for message in self.messages]

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the messages to a file, as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_list(), file, ensure_ascii=False, indent=1)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Conversation:
        """Reads what `save` wrote."""
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __getitem__(self, at: int) -> Message:
        return self.messages[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conversation) and self.messages == other.messages

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Conversation({self.messages!r})"


def _message(given: Message | ChatCompletion | Mapping[str, Any] | str) -> Message:
    if isinstance(given, Message):
        return given
    if isinstance(given, str):
        return Message.user(given)
    if isinstance(given, ChatCompletion):
        if given.message is None:
            raise ValueError("this answer has no message to add")
        return given.message
    message: Message = Message.model_validate(given)
    return message
