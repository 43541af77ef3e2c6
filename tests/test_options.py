"""Typed blocks: canonical text and one-line errors, for blocks defined in these tests."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from clever.errors import UserError
from clever.options import Options, nearest, parse, parse_json


class Cat(Options):
    name: Literal["cat"] = "cat"
    lives: int = Field(default=9, ge=1)
    """How often it may fall."""


class Dog(Options):
    name: Literal["dog"] = "dog"
    barks: bool = True


class Zoo(Options):
    pet: Annotated[Cat | Dog, Field(discriminator="name")] = Cat()
    cages: dict[str, list[Cat]] = Field(default={})
    size: float = 1.0
    guard: Dog | None = None

    @model_validator(mode="after")
    def _big_enough(self) -> Zoo:
        if len(self.cages) > self.size:
            raise ValueError(f"{len(self.cages)} cages do not fit in size {self.size:g}")
        return self


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pets": {}}, "pets: unknown key; did you mean 'pet'?"),
        ({"pet": {"name": "cat", "live": 3}}, "pet.live: unknown key; did you mean 'lives'?"),
        ({"pet": {"name": "dog", "lives": 3}}, "pet.lives: unknown key; there are: name, barks"),
        ({"pet": {"name": "cow"}}, "pet.name: 'cow' is unknown; there are: cat, dog"),
        ({"pet": {"name": "dug"}}, "pet.name: 'dug' is unknown; did you mean 'dog'?"),
        ({"pet": {"lives": 3}}, "pet.name: this key is missing"),
        ({"cages": {"a": [{}, {"lives": 0}]}}, "cages.a.1.lives: input should be greater than or equal to 1, got 0"),
        ({"cages": {"a": [], "b": []}}, "2 cages do not fit in size 1"),
        ({"size": "big"}, "size: input should be a valid number, unable to parse string as a number, got 'big'"),
        ({"size": float("nan")}, "size: input should be a finite number, got nan"),
        ({"guard": {"bark": 1}}, "guard.bark: unknown key; did you mean 'barks'?"),
        ([], "input should be a valid dictionary or instance of Zoo, got []"),
    ],
)
def test_an_error_is_one_line_with_the_place_and_the_remedy(content: object, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(Zoo, content, "zoo.yaml")
    assert str(raised.value) == f"zoo.yaml: {message}"


def test_unknown_keys_come_first_and_other_errors_are_counted() -> None:
    with pytest.raises(UserError, match=r"^f: pest: unknown key; did you mean 'pet'\? \(and 2 more\)$"):
        parse(Zoo, {"size": "big", "pest": 1, "guard": 3}, "f")


def test_valid_values_are_parsed() -> None:
    zoo = parse(Zoo, {"pet": {"name": "dog"}, "cages": {"a": [{"lives": 2}]}}, "zoo.yaml")
    assert zoo == Zoo(pet=Dog(), cages={"a": [Cat(lives=2)]})


def test_json_text() -> None:
    assert parse_json(Cat, '{"lives": 4}', "--cat") == Cat(lives=4)
    with pytest.raises(UserError, match=r"^--cat: not valid JSON \("):
        parse_json(Cat, '{"lives": ', "--cat")
    with pytest.raises(UserError, match=r"^--cat: live: unknown key; did you mean 'lives'\?$"):
        parse_json(Cat, '{"live": 4}', "--cat")


def test_canonical_text_does_not_depend_on_order_or_explicit_defaults() -> None:
    first, second = Zoo(size=2, pet=Cat()), parse(Zoo, {"pet": {"lives": 9, "name": "cat"}, "size": 2.0}, "")
    assert first.canonical() == second.canonical()
    assert first.canonical() == '{"cages":{},"guard":null,"pet":{"lives":9,"name":"cat"},"size":2.0}'
    assert first.canonical(exclude={"pet", "cages", "guard"}) == '{"size":2.0}'
    assert first.canonical() != Zoo(size=3).canonical()


def test_blocks_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Cat().lives = 3


def test_a_field_s_docstring_is_its_description() -> None:
    assert Cat.model_json_schema()["properties"]["lives"]["description"] == "How often it may fall."
    assert Zoo.model_json_schema()["$defs"]["Cat"]["properties"]["lives"]["description"] == "How often it may fall."


def test_an_inherited_field_keeps_its_description_unless_it_is_declared_again() -> None:
    class Kitten(Cat):
        lives: int = 3
        """Fewer than a cat's."""

    class Lion(Cat):
        pass

    assert Lion.field_docstrings() == Cat.field_docstrings()
    assert Kitten.field_docstrings() == {**Cat.field_docstrings(), "lives": "Fewer than a cat's."}


def test_nearest() -> None:
    assert nearest("clevr", ["none", "ddcl", "clever"]) == "; did you mean 'clever'?"
    assert nearest("xyz", ["none", "ddcl"]) == "; there are: none, ddcl"
    assert nearest("xyz", [f"name{n}" for n in range(50)]).count(",") == 11


@pytest.mark.parametrize("lives", [True, "3", "1e3", 3.0, 10**11, -(10**11), 10**4000])
def test_an_integer_must_be_written_as_one(lives: object) -> None:
    with pytest.raises(UserError, match=r"^zoo\.yaml: cages\.a\.0\.lives: input should be "):
        parse(Zoo, {"cages": {"a": [{"lives": lives}]}}, "zoo.yaml")


def test_a_boolean_is_not_a_number_but_yaml_s_text_is() -> None:
    with pytest.raises(UserError, match=r"^zoo\.yaml: size: input should be a number, got true$"):
        parse(Zoo, {"size": True}, "zoo.yaml")
    assert parse(Zoo, {"size": "1e-3"}, "zoo.yaml").size == 0.001
    assert parse(Zoo, {"size": 2}, "zoo.yaml").size == 2


def test_a_long_value_is_abbreviated() -> None:
    with pytest.raises(UserError) as raised:
        parse(Zoo, {"size": "x" * 10_000}, "zoo.yaml")
    assert len(str(raised.value)) < 400
