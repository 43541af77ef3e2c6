"""Blocks of runs: every combination of backbones, methods, augmentations and seeds, and ablations along an axis.

An axis varies one option of a method (or of its schedule) while all others keep their values. Each value gives a run
whose id contains it: in its method, as in ``dino+clever@separation_ratio=0.5``, or in its augmentation, as in
``caug@epochs=100``. A schedule is shown with the augmentation because it is part of how a run is trained and is shared
by the methods that are compared.
"""

from __future__ import annotations

import copy
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from pydantic import Field, WithJsonSchema, field_validator

from clever.augmentation import ViewOptions
from clever.backbones import BackboneOptions
from clever.errors import UserError
from clever.options import Options, parse
from clever.pretraining.options import OnlineProbeOptions, OptimisationOptions, StageOptions
from clever.pretraining.recipe import MethodOptions
from clever.results.run_id import Name, varied

SCHEDULE = "optimisation"
"""The section of a block's optimiser and schedules."""
SECTIONS = ("baseline", "equivariance", SCHEDULE)
"""The sections that an axis may vary: a method's baseline or add-on, or the block's optimisation."""
_LETTERS = frozenset(string.ascii_letters + string.digits + "_.+-")

AxisValue = Annotated[Any, WithJsonSchema({"type": ["number", "string", "boolean", "null"]})]

_Kind = TypeVar("_Kind", bound=Options)


class PretrainingOptions(Options):
    """A block of runs: every combination of its lists, and one further run per value of an axis."""

    data: Name
    """A name from ``data``."""
    backbones: list[Name] = Field(min_length=1)
    """Names from ``backbones``."""
    methods: list[Name] = Field(min_length=1)
    """Names from ``methods``."""
    augmentations: list[Name] = Field(min_length=1)
    """Names from ``augmentations``."""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    """Seeds, one run each; use three or more if the table should show a spread."""
    optimisation: OptimisationOptions = OptimisationOptions()
    """Optimiser and schedules of these runs."""
    online_probe: OnlineProbeOptions | None = None
    """Measure the features of these runs while they train; omit to train without a probe."""
    stage: StageOptions | None = None
    """Draw batches by the clusters of earlier runs (MCL); omit for ordinary batches."""
    axes: dict[str, Annotated[list[AxisValue], Field(min_length=1)]] = Field(default={})
    """Ablations: an option of the block's methods or of its optimisation, and the values that it takes in turn while
    every other option keeps its value, as in ``{equivariance.separation_ratio: [0.5, 0.6, 0.7, 0.8, 0.9]}`` or
    ``{optimisation.epochs: [100, 200]}``. A block with axes has only these runs. The value that an option already has
    gives the plain run, which another block may list too; any other value appears in the run's id, as in
    ``dino+clever@separation_ratio=0.5`` or ``caug@epochs=100``."""

    @field_validator("axes")
    @classmethod
    def _axes_are_options(cls, axes: dict[str, list[object]]) -> dict[str, list[object]]:
        for key, values in axes.items():
            section, _, option = key.partition(".")
            if section not in SECTIONS or not option:
                raise ValueError(
                    f"{key}: an axis is baseline.<option>, equivariance.<option> or optimisation.<option>, for example "
                    "equivariance.separation_ratio"
                )
            if option == "name":
                raise ValueError(f"{key}: another {section} is another method; define it under methods")
            for value in values:
                word = isinstance(value, str) and value and _LETTERS.issuperset(value)
                if not word and not isinstance(value, bool | int | float | None):
                    raise ValueError(f"{key}: {value!r} is not a number, word or null, which a run's id could carry")
        return axes


@dataclass(frozen=True)
class Block:
    """A block of runs, with its names replaced by options; ``where`` is its place in the study file, for messages."""

    where: str
    data: str
    backbones: Mapping[str, BackboneOptions]
    methods: Mapping[str, MethodOptions]
    augmentations: Mapping[str, ViewOptions]
    seeds: Sequence[int]
    optimisation: OptimisationOptions
    online_probe: OnlineProbeOptions | None = None
    stage: StageOptions | None = None
    of_axis: bool = False
    """Whether an axis created this block. If so, another block may also list its run with the unchanged option."""


def expand(block: Block, axes: Mapping[str, Sequence[object]]) -> Iterator[Block]:
    """Return the block itself if it has no axes, else one block per value of each axis.

    Raises:
        UserError: a method lacks an option, a value is invalid, or a value is listed twice.
    """
    if not axes:
        yield block
    for key, values in axes.items():
        seen: dict[str, object] = {}
        for value in values:
            one, text = _with_value(block, key, value)
            if text in seen:
                raise UserError(f"{block.where}.axes.{key}: {value!r} is listed twice; remove one of them")
            seen[text] = value
            yield one


def _with_value(block: Block, key: str, value: object) -> tuple[Block, str]:
    """Return the block with one option set, and the value as text for the run's id."""
    section, _, option = key.partition(".")
    where = f"{block.where}.axes"
    if section == SCHEDULE:
        optimisation, text, same = _replaced(block.optimisation, [option], value, f"{where}: {SCHEDULE}")
        if same:
            return replace(block, of_axis=True), text
        names = {name if same else varied(name, option, text): views for name, views in block.augmentations.items()}
        return replace(block, optimisation=optimisation, augmentations=names, of_axis=True), text
    methods: dict[str, MethodOptions] = {}
    text = ""
    for name, method in block.methods.items():
        changed, text, same = _replaced(method, key.split("."), value, f"{where}: methods.{name}")
        methods[name if same else varied(name, option, text)] = changed
    return replace(block, methods=methods, of_axis=True), text


def _replaced(options: _Kind, path: Sequence[str], value: object, where: str) -> tuple[_Kind, str, bool]:
    """Return the options with the one at ``path`` set, its new value as text, and whether it already had this value."""
    before = options.model_dump()
    content = copy.deepcopy(before)
    inner: Any = content
    for key in path[:-1]:
        inner = inner.get(key) if isinstance(inner, dict) else None
    if not isinstance(inner, dict):
        raise UserError(f"{where}: has no option {'.'.join(path)}")
    inner[path[-1]] = value
    changed = parse(type(options), content, where)
    found = _value(changed.model_dump(), path)
    same = found == _value(before, path)
    return options if same else changed, _text(found), same


def _value(content: Mapping[str, Any], path: Sequence[str]) -> object:
    inner: Any = content
    for key in path[:-1]:
        inner = inner[key]
    if path[-1] not in inner and path[:2] == ["equivariance", "ef_baseline"]:
        # The EF's head inherits options that it does not set from the baseline.
        return content["baseline"].get(path[-1])
    return inner[path[-1]]


def _text(value: object) -> str:
    """A value as a run's id shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "none" if value is None else str(value)
