"""Malicious or misleading study files give one line with the place at once, whatever the file contains."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clever.config import load_study
from clever.errors import UserError
from clever.study_file import DEPTH_LIMIT, NODE_LIMIT, SIZE_LIMIT, read_study

MERGE_BOMB = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)
ALIAS_BOMB = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))

HOSTILE = {
    "a list as a key": ("data:\n  ? [digits, photos]\n  : {source: digits}\n", r"data: a list as a key \(line 2\)"),
    "a mapping as a key": ("data: {{a: b}: c}\n", r"data: a mapping as a key \(line 1\)"),
    "lists 5,000 deep": ("study: " + "[" * 5000 + "]" * 5000, rf"study\.0.*nested more than {DEPTH_LIMIT} deep"),
    "keys 5,000 deep": ("{" * 5000 + "}" * 5000, "nested more than|as a key"),
    "an integer of 5,000 digits": (
        f"data: {{seed: {'9' * 5000}}}",
        r"data\.seed: a number of 5000 characters \(line 1\)",
    ),
    "a hexadecimal of 5,000 digits": (f"a: 0x{'f' * 5000}", "a: a number of 5002 characters"),
    "a fraction of 5,000 digits": (f"a: 0.{'3' * 5000}", "a: a number of 5002 characters"),
    "a merge bomb": (MERGE_BOMB, rf"more than {NODE_LIMIT} keys and values"),
    "an alias bomb": (ALIAS_BOMB, rf"more than {NODE_LIMIT} keys and values"),
    "an alias of itself": ("a: &a [*a]\n", r"a\.0: an alias inside the block that it refers to"),
    "octal": ("pretrainings: [{seeds: [010]}]", r"pretrainings\.0\.seeds\.0: 010 is octal in YAML \(line 1\)"),
    "base 60": ("epochs: 1:30", "epochs: 1:30 is a base-60 number in YAML"),
    "a day that is none": ("a:\n  b: 2026-99-99\n", r"a\.b: '2026-99-99' cannot be read as a timestamp .*\(line 2\)"),
    "a tag that lies": ("a: !!int many\n", "a: 'many' cannot be read as a int"),
    "a truth that is none": ("a: !!bool perhaps\n", "a: 'perhaps' cannot be read as a bool"),
    "a control character": ("a: \x07\n", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not valid YAML"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_malicious_study_gives_one_line_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        load_study(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 1000


def test_the_bombs_are_small() -> None:
    assert len(MERGE_BOMB) < 1000
    assert len(ALIAS_BOMB) < 1000


def test_a_pipe_a_device_and_a_folder_are_rejected(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)  # opening it would wait for a writer forever
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match=r"cannot be read \((not a regular file|Is a directory)\)"):
            read_study(path)


def test_a_file_of_implausible_size(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("# " + "x" * SIZE_LIMIT)
    with pytest.raises(UserError, match=f"bytes, more than the {SIZE_LIMIT} allowed"):
        read_study(path)


def test_a_key_that_a_merge_overrides_is_not_a_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("deep: {inner: {b: &b {<<: &a {name: a, size: 1}, name: b}}}\nuse: {<<: *b, size: 2}\n")
    content = read_study(path)
    assert isinstance(content, dict)
    assert content["use"] == {"name": "b", "size": 2}
    assert content["deep"]["inner"]["b"] == {"name": "b", "size": 1}


def test_committed_studies_read_as_with_the_plain_loader() -> None:
    root = Path(__file__).parents[1]
    files = [root / "config.yaml", *sorted((root / "workflow" / "studies").glob("*.yaml"))]
    assert len(files) >= 6
    for file in files:
        assert read_study(file) == yaml.safe_load(file.read_text(encoding="utf-8"))


PIECES = st.sampled_from(
    [
        "study: trial",
        "data:",
        " digits:",
        " {",
        "}",
        "[",
        "]",
        ": ",
        ", ",
        "- ",
        "\n",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "!!int ",
        "!!set ",
        "!!omap ",
        "!!binary ",
        "!!python",
        "name:os.system ",
        "0x1f",
        "010",
        "1:30",
        "2026-02-30",
        "~",
        ".nan",
        "'",
        '"',
        "|",
        ">",
        "=",
        "é",
        "\t\n  ",
        "\u2028",
        "\ufeff",
        "%YAML 1.1\n---\n",
    ]
)


@settings(
    max_examples=400, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_gives_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(UserError) as raised:  # no such text is a valid study
        load_study(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).splitlines()) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.integers(10**30, 10**4000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RIGHT = yaml.safe_load((Path(__file__).parents[1] / "faults" / "wrong_studies.yaml").read_text())["right"]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(value=VALUES, choice=st.integers(0, 10**6))
def test_any_wrong_value_of_any_key_gives_one_line(value: object, choice: int) -> None:
    from clever.config import parse_study

    whole = yaml.safe_load(RIGHT)
    places = list(_places(whole))
    holder, key = places[choice % len(places)]
    holder[key] = value
    with suppress(UserError):
        parse_study(whole, "study.yaml")
        return
    with pytest.raises(UserError) as raised:
        parse_study(whole, "study.yaml")
    assert str(raised.value).startswith("study.yaml: ")
    assert len(str(raised.value).splitlines()) == 1


def _places(inner: object) -> list[tuple[dict[str, object] | list[object], object]]:
    """Every key and index of a study, with its container."""
    if isinstance(inner, dict):
        return [place for key, below in inner.items() for place in [(inner, key), *_places(below)]]
    if isinstance(inner, list):
        return [place for index, below in enumerate(inner) for place in [(inner, index), *_places(below)]]
    return []
