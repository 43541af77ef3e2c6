"""Parsing of untrusted content: every exception of a parser becomes one line that names the file."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from clever.backbones.backbone import read_description
from clever.data import Store
from clever.data.array_files import load_array
from clever.errors import UserError
from clever.parsing import decode_json, foreign, lacks_memory, read_json_object
from clever.results.run_description import read_run

FUZZED = settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

DEEP = "[" * 5000 + "]" * 5000


def refusal(attempt: Callable[[], object]) -> str | None:
    """The one-line error; None if the attempt succeeds. Any other exception fails the test."""
    try:
        attempt()
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("first\nsecond"), "first second"),
        (KeyError("seed"), "the key 'seed' is missing"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (AttributeError(), "AttributeError"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "No such file or directory"),
    ],
)
def test_every_parser_exception_gives_one_line(error: Exception, said: str) -> None:
    with pytest.raises(UserError) as raised, foreign("run.json", "damaged", "train it again"):
        raise error
    assert str(raised.value) == f"run.json: damaged ({said}); train it again"
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_a_lack_of_memory_is_not_reported_as_damage(error: Exception) -> None:
    assert lacks_memory(error)
    with (
        pytest.raises(UserError, match=r"^store: could not be read, because .*ulimit -v") as raised,
        foreign("store", "damaged", "prepare the data set again"),
    ):
        raise error
    assert "prepare" not in str(raised.value)


@pytest.mark.parametrize("text", [DEEP, "", "{", "NaN}", '{"a": ' + "9" * 5000 + "}", "\ud800"])
def test_invalid_json(text: str) -> None:
    with pytest.raises(UserError, match=r"^--recipe: not valid JSON \("):
        decode_json(text, "--recipe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP, r"damaged, not valid JSON \(nested too deeply\)"),
        ("[1]", "damaged, it holds a JSON list, not an object"),
        ("null", "damaged, it holds a JSON null, not an object"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_is_not_a_json_object(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=rf"run\.json: {message}.*; train it again$"):
        read_json_object(path, absent="the run has not finished", advice="train it again")


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (
        lambda path: read_json_object(path, absent="", advice="train it again"),
        lambda path: load_array(path, memory_mapped=False),
        lambda path: load_array(path, memory_mapped=True),
    ):
        with pytest.raises(UserError, match="not a regular file"):
            read(tmp_path / "pipe")
    with pytest.raises(UserError, match="no such file"):
        read_description(tmp_path / "pipe")


RUN = {
    "format": 1,
    "run": "digits/small/dino/baug/seed0",
    "recipe": {
        "data": "digits",
        "backbone_name": "small",
        "backbone": {"name": "resnet10t_half", "image_size": 32},
        "method_name": "dino",
        "augmentation_name": "baug",
        "seed": 0,
    },
    "recipe_digest": "2a63bb8b1c3c9a6e",
    "data_checksum": "0" * 64,
    "git_commit": "unknown",
    "backbone_sha256": "0" * 64,
    "feature_dim": 256,
    "ir_dim": None,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": []}, "the key recipe holds a list"),
        ({"recipe": RUN["recipe"] | {"backbone": 3}}, "the key backbone holds a int"),  # type: ignore[operator]
        ({"recipe": {"data": "digits"}}, "the key backbone_name is missing"),
        ({"ir_dim": "12"}, "the key ir_dim holds a str"),
        ({"ir_dim": True}, "the key ir_dim holds a bool"),
        ({"run": None}, "the key run holds a NoneType"),
    ],
)
def test_a_run_description_with_wrong_types(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(RUN))
    assert read_run(path) == RUN
    path.write_text(json.dumps(RUN | change))
    with pytest.raises(UserError, match=rf"run\.json: damaged, {message}; restore the file, or train the run again"):
        read_run(path)


@pytest.mark.parametrize("header", ["[1, 2]", "3", "null", DEEP, "{"])
def test_a_safetensors_header_that_is_not_an_object(tmp_path: Path, header: str) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file({"weight": np.zeros(2, dtype=np.float32)}, path, metadata={"clever": header})
    with pytest.raises(UserError, match=r"backbone\.safetensors: is damaged, its header's entry 'clever'"):
        read_description(path)


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<i8', 'fortran_order': False, 'shape': (875000000000,), }", bytes(80)),  # 7 TB
        npy("{'descr': '<i8', 'fortran_order': False, 'shape': (9999999999999999999999,), }", bytes(80)),
        npy("{'descr': '<i8', 'fortran_order': False, 'shape': (-10,), }", bytes(80)),
        npy("{'descr': '<i8', 'fortran_order': False, 'shape': ([],), }", bytes(80)),
        npy("{'descr': '<q9', 'fortran_order': False, 'shape': (10,), }", bytes(80)),
        npy("{'descr': [['a', ['b']]], 'fortran_order': False, 'shape': (10,), }", bytes(80)),
        npy("{'descr': '<i8', 'shape': (10,), }", bytes(80)),
        npy("{'descr': '<i8', 'fortran_order': False, 'shape': (" + "(" * 300, bytes(80)),
        npy("import os", bytes(80)),
        npy("[" * 5000),
        b"\x93NUMPY\x09\x00" + bytes(100),
        b"\x93NUMPY\x01\x00\xff\xff",
        b"PK\x03\x04 not a zip file",
        b"PK\x05\x06" + bytes(18),
        b"",
    ],
)
@pytest.mark.parametrize("memory_mapped", [True, False])
def test_damaged_arrays(tmp_path: Path, content: bytes, memory_mapped: bool) -> None:
    path = tmp_path / "train_labels.npy"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"train_labels\.npy: not a (complete|single) \.npy array"):
        load_array(path, memory_mapped=memory_mapped)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@FUZZED
@given(where=st.integers(0, 127), byte=st.integers(0, 255), cut=st.integers(0, 208))
def test_any_changed_byte_of_an_array_file_gives_one_line_or_is_harmless(
    tmp_path: Path, where: int, byte: int, cut: int
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(10))
    content = bytearray(path.read_bytes())
    content[where] = byte
    path.write_bytes(content[: cut or None])
    said = refusal(lambda: load_array(path, memory_mapped=False))
    assert said is None or (said.startswith(f"{path}: ") and len(said.splitlines()) == 1)


@FUZZED
@given(key=st.integers(0, 40), value=st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]))
def test_any_wrong_value_in_a_store_description_gives_one_line(
    make_small_store: Store, key: int, value: object
) -> None:
    path = make_small_store.folder / "store.json"
    right = path.read_text(encoding="utf-8")
    info = json.loads(right)
    holders = [(info, name) for name in info] + [(info["splits"]["train"], name) for name in info["splits"]["train"]]
    holders += [(info["files"], name) for name in info["files"]]
    holder, name = holders[key % len(holders)]
    holder[name] = value
    path.write_text(json.dumps(info), encoding="utf-8")
    try:
        said = refusal(lambda: Store.open(make_small_store.folder).split("train"))
    finally:
        path.write_text(right, encoding="utf-8")
    assert said is None or (str(make_small_store.folder) in said and len(said.splitlines()) == 1)


@pytest.fixture(scope="module")
def make_small_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    from clever.data import DataOptions, prepare

    options = DataOptions(source="digits", train_limit=20, test_limit=10)
    return prepare(options, tmp_path_factory.mktemp("parsing") / "store", progress=False)


def test_debug_shows_the_traceback_behind_the_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("a: 2026-99-99")
    for words in (["check", str(path)], ["--debug", "check", str(path)], ["check", str(path), "--debug"]):
        done = subprocess.run([sys.executable, "-m", "clever.cli", *words], capture_output=True, text=True, timeout=100)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"error: {path}: not valid YAML: a: '2026-99-99' cannot")
        assert ("month must be in 1..12" in done.stderr.replace(done.stderr.splitlines()[-1], "")) == (len(words) == 3)
        assert ("Traceback" in done.stderr) == (len(words) == 3)


def test_an_address_space_limit_is_named(make_small_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmap

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(UserError, match="ulimit -v") as raised:
        make_small_store.split("train")
    assert "prepare" not in str(raised.value)
