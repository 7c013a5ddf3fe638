"""Answers of a given form: from a pydantic model or a dataclass to the JSON schema that is asked for, and back from the text."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from ._errors import ProtocolError
from ._native import ChatCompletion


def response_format(wanted: type) -> dict[str, Any]:
    """What is asked for, where the answer is to be read into a class."""
    if dataclasses.is_dataclass(wanted) and not hasattr(wanted, "__pydantic_validator__"):
        schema = _schema(wanted)
    elif _is_pydantic(wanted):
        schema = _schema_of_pydantic(wanted)
    else:
        raise TypeError(f"response_format takes a dict, a pydantic model or a dataclass, not {wanted.__name__}")
    return {"type": "json_schema", "json_schema": {"name": wanted.__name__, "schema": schema, "strict": True}}


def parse(answer: ChatCompletion, wanted: type) -> ChatCompletion:
    """The answer with its text read as `wanted`. A refusal or a tool call has nothing to be read."""
    message = answer.message
    if message is None or message.refusal or (message.tool_calls and not answer.text):
        return answer
    try:
        if _is_pydantic(wanted):
            parsed = _pydantic_reader(wanted)(answer.text)
        else:
            parsed = _read(wanted, json.loads(answer.text), wanted.__name__)
    except (ValueError, TypeError, KeyError) as problem:
        why = "it was cut by the token limit" if answer.finish_reason == "length" else str(problem)
        raise ProtocolError(
            f"the answer is no {wanted.__name__}: {why}",
            provider=answer.provider,
            model=answer.model,
            request_id=answer.request_id,
            body=answer.text,
            partial=answer,
        ) from problem
    return answer._with_parsed(parsed)


def _is_pydantic(wanted: type) -> bool:
    return hasattr(wanted, "__pydantic_validator__")


def _schema_of_pydantic(wanted: Any) -> dict[str, Any]:
    if hasattr(wanted, "model_json_schema"):
        schema = wanted.model_json_schema()
    else:
        from pydantic import TypeAdapter

        schema = TypeAdapter(wanted).json_schema()
    return typing.cast("dict[str, Any]", _strict(schema))


def _pydantic_reader(wanted: Any) -> Any:
    if hasattr(wanted, "model_validate_json"):
        return wanted.model_validate_json
    from pydantic import TypeAdapter

    return TypeAdapter(wanted).validate_json


def _strict(schema: Any) -> Any:
    """As OpenAI's strict mode wants it: every field required, no other fields, no defaults, nothing beside a reference."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(value) for name, value in schema.items() if name != "default"}
    if "$ref" in strict:
        return {"$ref": strict["$ref"]}
    if strict.get("type") == "object" and "properties" in strict:
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    return strict


_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def _schema(wanted: Any) -> dict[str, Any]:
    if wanted in _PLAIN:
        return {"type": _PLAIN[wanted]}
    if dataclasses.is_dataclass(wanted):
        hints = _hints(wanted)
        fields = {field.name: _schema(hints[field.name]) for field in dataclasses.fields(wanted)}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return {"enum": [member.value for member in wanted]}
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (list, tuple, set):
        return {"type": "array", "items": _schema(arguments[0])} if arguments else {"type": "array"}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(argument) for argument in arguments]}
    if origin is typing.Annotated:
        description = [text for text in arguments[1:] if isinstance(text, str)]
        return {**_schema(arguments[0]), **({"description": description[0]} if description else {})}
    if wanted in (list, dict, Any):
        return {list: {"type": "array"}, dict: {"type": "object"}}.get(wanted, {})
    raise TypeError(f"{wanted!r} has no JSON schema here; use a pydantic model for it")


def _hints(wanted: Any) -> dict[str, Any]:
    return typing.get_type_hints(wanted, vars(sys.modules[wanted.__module__]), include_extras=True)


def _read(wanted: Any, value: Any, where: str) -> Any:
    """The value as `wanted`; a `ValueError` names the place that does not fit."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return _read(arguments[0], value, where)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _read_dataclass(wanted, value, where)
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            try:
                return _read(argument, value, where)
            except ValueError:
                continue
    elif wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif wanted in _PLAIN:
        if type(value) is wanted:
            return value
    elif wanted is Any:
        return value
    elif origin is typing.Literal:
        if value in arguments:
            return value
    elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return wanted(value)
    elif (origin or wanted) in (list, tuple, set) and isinstance(value, list):
        item, collect = arguments[0] if arguments else Any, typing.cast("Any", origin or wanted)
        return collect(_read(item, each, f"{where}[{at}]") for at, each in enumerate(value))
    elif (origin or wanted) is dict and isinstance(value, dict):
        item = arguments[1] if arguments else Any
        return {name: _read(item, each, f"{where}.{name}") for name, each in value.items()}
    raise ValueError(f"{where} is {value!r}, not {getattr(wanted, '__name__', wanted)}")


def _read_dataclass(wanted: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}, not an object")
    hints = _hints(wanted)
    given = {}
    for field in dataclasses.fields(wanted):
        if field.name in value:
            given[field.name] = _read(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}.{field.name} is missing")
    return wanted(**given)
