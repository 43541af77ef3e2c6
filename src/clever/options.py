"""The base of every typed block of a study, and its error messages."""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from clever.errors import UserError
from clever.parsing import decode_json, reason

WHOLE_LIMIT = 2**31 - 1
"""Largest whole number of any option. It exceeds the images, pixels, widths or steps that any machine can handle."""


def _numbers_alone(schema: Any) -> Any:
    """Bound all whole numbers in a core schema, and let them reject ``true`` and ``'3'``."""
    if isinstance(schema, list | tuple):
        return type(schema)(_numbers_alone(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "int":
        least = {} if {"ge", "gt"} & set(schema) else {"ge": -WHOLE_LIMIT}
        return {"le": WHOLE_LIMIT, **least, **schema, "strict": True}
    if schema.get("type") == "float":
        # Strings are accepted as floats: YAML reads 1e-3 as a string.
        return core_schema.no_info_before_validator_function(_refuse_truth, schema)
    return {key: _numbers_alone(part) for key, part in schema.items()}


def _refuse_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"input should be a number, got {str(value).lower()}")
    return value


class Options(BaseModel):
    """A frozen block of settings that rejects unknown keys.

    Every field has a docstring that says when a reader would change it; it becomes the JSON schema's description.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """pydantic's schema with strict numbers: ``true`` is not a number, and ``'3'`` is not a whole number."""
        schema: CoreSchema = _numbers_alone(handler(source))
        return schema

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """pydantic's JSON schema with the docstrings of the fields as their descriptions.

        pydantic's ``use_attribute_docstrings`` would parse the source of every block at every import, and only the
        schema needs the descriptions.
        """
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in cls.field_docstrings().items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema

    @classmethod
    def field_docstrings(cls) -> dict[str, str]:
        """The docstring of each field that has one, including inherited fields."""
        found: dict[str, str] = {}
        for block in reversed(cls.__mro__):
            if issubclass(block, Options):
                found |= _field_docstrings(block)
        return found

    def canonical(self, exclude: set[str] | None = None) -> str:
        """Sorted JSON without spaces and without the keys in ``exclude``; equal blocks yield equal text."""
        return json.dumps(self.model_dump(mode="json", exclude=exclude), sort_keys=True, separators=(",", ":"))


def _field_docstrings(block: type) -> dict[str, str]:
    """The docstrings below the fields that a class itself declares; none for a class without source."""
    try:
        source = inspect.getsource(block)
    except OSError:  # the class was made by pydantic's create_model
        return {}
    (declared,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(declared, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in pairwise(declared.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = inspect.cleandoc(text.value)
    return found


_Kind = TypeVar("_Kind", bound=Options)


def parse(kind: type[_Kind], content: object, source: str) -> _Kind:
    """Validate ``content`` as ``kind``.

    Args:
        kind: the type of the block.
        content: plain mappings, lists and scalars.
        source: the file or flag that it comes from, for the message.

    Raises:
        UserError: one line with ``source``, the key, the fault and what would be right, for the first fault.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        # Unknown keys come first: a misspelt key also makes the right one look missing.
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(f"{source}: {_describe(kind, faults[0])}{more}") from error
    except (RecursionError, OverflowError, ValueError) as error:  # numbers that Python cannot print
        raise UserError(f"{source}: cannot be read ({reason(error)})") from error


def parse_json(kind: type[_Kind], text: str, source: str) -> _Kind:
    """Validate a JSON text as ``kind``, as :func:`parse` does.

    Raises:
        UserError: the text is not JSON, or :func:`parse` rejects its content.
    """
    return parse(kind, decode_json(text, source), source)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the most similar known name, or all known names."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names[:12])}"


def _shown(value: object) -> str:
    """A value as short text for a message."""
    try:
        text = repr(value)
    except Exception:  # a whole number with more digits than Python prints, or a mapping nested too deeply
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _describe(kind: type[Options], fault: Any) -> str:
    *parents, last = fault["loc"] or ("",)
    shown, block = _walk(kind, parents)
    where = ".".join([*shown, *([] if last in ("", "[key]") else [str(last)])])
    place = f"{where}: " if where else ""
    match fault["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key{nearest(str(last), block.model_fields if block else [])}"
        case "missing":
            return f"{where}: this key is missing"
        case "union_tag_not_found":
            return f"{where}.name: this key is missing"
        case "union_tag_invalid":
            tag = fault["ctx"]["tag"]
            known = fault["ctx"]["expected_tags"].strip("'").split("', '")
            return f"{where}.name: {_shown(tag)} is unknown{nearest(str(tag), known)}"
        case "list_type":
            return f"{place}a list is expected, got {_shown(fault['input'])}; write [{_shown(fault['input'])}]"
        case "value_error":
            return f"{place}{fault['ctx']['error']}"
        case _:
            return f"{place}{fault['msg'][0].lower()}{fault['msg'][1:]}, got {_shown(fault['input'])}"


def _walk(kind: Any, location: Sequence[Any]) -> tuple[list[str], type[Options] | None]:
    """Follow a location into a block; return the parts to show and the block at the location.

    pydantic adds the tag of a union's member (``dino``) and a marker for a mapping's keys to a location. The user wrote
    neither, so they are left out.
    """
    shown: list[str] = []
    blocks = [kind]
    for part in location:
        if len(blocks) == 1 and part in blocks[0].model_fields:
            shown.append(str(part))
            blocks = _blocks(blocks[0].model_fields[part].annotation)
        elif tagged := [b for b in blocks if "name" in b.model_fields and b.model_fields["name"].default == part]:
            blocks = tagged
        elif part != "[key]":
            shown.append(str(part))
    return shown, blocks[0] if len(blocks) == 1 else None


def _blocks(annotation: Any) -> list[type[Options]]:
    """The blocks inside unions, lists, mappings and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return [annotation]
    return [block for part in get_args(annotation) for block in _blocks(part)]
