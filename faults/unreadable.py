"""Files that break parsers: studies, descriptions, arrays and weights that are damaged, deep, huge, or not files."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from faults.bench import Bench, make_recipe
from faults.job import Job
from faults.row import Row, Try, expect

_NINE = range(1, 12)
_STUDIES = {
    "a list as a key": ("data:\n  ? [a, b]\n  : c\n", "a list as a key (line 2)"),
    "a mapping as a key": ("data: {{a: b}: c}\n", "a mapping as a key (line 1)"),
    "lists 5,000 deep": ("study: " + "[" * 5000 + "]" * 5000, "deep"),
    "an integer of 5,000 digits": (f"a: {'9' * 5000}", "a: a number of 5000 characters (line 1)"),
    "a merge bomb": (
        "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in _NINE),
        "keys and values after expanding aliases",
    ),
    "an alias bomb": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in _NINE),
        "keys and values after expanding aliases",
    ),
    "an alias of itself": ("a: &a [*a]\n", "an alias inside the block that it refers to"),
    "a day that is none": ("a: 2026-99-99\n", "cannot be read as a timestamp"),
}
_DEEP = "[" * 5000 + "]" * 5000
_LINE = "one line with the file and the problem, at once, in little memory"


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Studies, then the files of a store and a run, then memory."""
    texts: list[Try] = [partial(_study, text, message) for text, message in _STUDIES.values()]
    odd: list[Try] = [partial(_no_file, kind) for kind in ("pipe", "device", "folder")]
    stores: list[Try] = [
        partial(_store, bench, change)
        for change in (_deep_store, _list_store, _no_count, _no_sha, _short_mean, _null_labels, _huge_labels)
    ]
    runs: list[Try] = [partial(_run, bench, change) for change in (_deep_run, _list_recipe, _text_seed, _list_header)]
    return [
        Row(13, "a study that breaks a YAML parser: `clever check`", _LINE, texts[:tries]),
        Row(13, "a pipe, a device or a folder as study: `clever check`", _LINE, odd[:tries]),
        Row(13, "a recipe of JSON 5,000 deep: `clever pretrain`", _LINE, [partial(_recipe, bench)]),
        Row(13, "a store whose description or arrays are damaged: `clever pretrain`", _LINE, stores[:tries]),
        Row(13, "a run whose description or weights are damaged: `clever evaluate`", _LINE, runs[:tries]),
        Row(13, "labels that claim 7 TB, and a label of 10**9: `clever prepare`", _LINE, _labels(bench)[:tries]),
        Row(
            13,
            "a data root in the home of an unknown user: `clever prepare`",
            "one line names it",
            [partial(_nobody, bench)],
        ),
        Row(
            13,
            "an address space too small for the store (ulimit -v)",
            "reported as lack of memory, not as damage",
            [partial(_little_memory, bench)],
        ),
        Row(
            13,
            "a photograph of 80 megapixels: `clever prepare`",
            "prepared with less than 1 GB more than decoding needs",
            [partial(_large_photograph, bench)],
        ),
    ]


def _study(text: str, message: str, folder: Path) -> str:
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    job = Job(["check", folder / "study.yaml"], folder / "check.log")
    said = job.must_refuse("study.yaml: ", message)
    expect(job.lines() == [said], f"more than one line: {job.said}")
    return said


def _no_file(kind: str, folder: Path) -> str:
    path = folder / "study.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    return Job(["check", path], folder / "check.log").must_refuse(f"{path}: cannot be read")


def _recipe(bench: Bench, folder: Path) -> str:
    words = ["pretrain", "--recipe", _DEEP, "--store", bench.store, "--output", folder / "run"]
    return Job(words, folder / "pretrain.log").must_refuse("--recipe: not valid JSON (nested too deeply)")


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    return target


def _store(bench: Bench, change: Callable[[Path], str], folder: Path) -> str:
    store = _copy(bench.store, folder / "store")
    message = change(store)
    return bench.pretrain(folder / "run", store=store).must_refuse(message, "prepare the data set again")


def _edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _deep_store(store: Path) -> str:
    (store / "store.json").write_text(_DEEP, encoding="utf-8")
    return "store.json: damaged, not valid JSON (nested too deeply)"


def _list_store(store: Path) -> str:
    (store / "store.json").write_text("[]", encoding="utf-8")
    return "store.json: damaged, it holds a JSON list, not an object"


def _no_count(store: Path) -> str:
    _edited(store / "store.json", lambda info: info["splits"]["train"].pop("count"))
    return "store.json: damaged, the key count is missing"


def _no_sha(store: Path) -> str:
    _edited(store / "store.json", lambda info: info["files"]["train_labels.npy"].pop("sha256"))
    return "store.json: damaged, the key sha256 is missing"


def _short_mean(store: Path) -> str:
    _edited(store / "store.json", lambda info: info["mean"].pop())
    return "store.json: "


def _null_labels(store: Path) -> str:
    path = store / "train_labels.npy"
    path.write_bytes(bytes(path.stat().st_size))
    return "train_labels.npy"


def _huge_labels(store: Path) -> str:
    path = store / "train_labels.npy"
    content = path.read_bytes()
    claim = b"'shape': (875000000000,)"
    start = content.index(b"'shape': (")
    path.write_bytes(content[:start] + claim + b", }" + content[start + len(claim) + 3 :])
    return "train_labels.npy"


def _run(bench: Bench, change: Callable[[Path], str], folder: Path) -> str:
    run = _copy(bench.reference, folder / "run")
    message = change(run)
    words = ["evaluate", "--options", '{"knn": {}}', "--run", run, "--store", bench.store]
    job = Job([*words, "--output-folder", folder, "--threads", "1"], folder / "evaluate.log")
    said = job.must_refuse(message)
    expect(not (folder / "knn.json").exists(), "records were written")
    return said


def _deep_run(run: Path) -> str:
    (run / "run.json").write_text(_DEEP, encoding="utf-8")
    return "run.json"


def _list_recipe(run: Path) -> str:
    _edited(run / "run.json", lambda content: content.update(recipe=[]))
    return "run.json"


def _text_seed(run: Path) -> str:
    _edited(run / "run.json", lambda content: content["recipe"].update(seed="0"))
    return "run.json"


def _list_header(run: Path) -> str:
    weights = {"weight": np.zeros(2, dtype=np.float32)}
    save_file(weights, run / "backbone.safetensors", metadata={"clever": "[1, 2]"})
    return "backbone.safetensors"


def _labels(bench: Bench) -> list[Try]:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (875000000000,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    claim = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(80)
    return [
        partial(_arrays, bench, claim, "train_labels.npy: not a complete .npy array"),
        partial(
            _arrays, bench, None, "train_labels.npy: label 1000000000 of row 9 is too large for 10 training images"
        ),
    ]


def _arrays(bench: Bench, labels: bytes | None, message: str, folder: Path) -> str:
    root = folder / "arrays"
    root.mkdir()
    for split in ("train", "test"):
        np.save(root / f"{split}_images.npy", np.zeros((10, 8, 8, 3), dtype=np.uint8))
        np.save(root / f"{split}_labels.npy", np.arange(10))
    if labels is None:
        np.save(root / "train_labels.npy", np.append(np.arange(9), 10**9))
    else:
        (root / "train_labels.npy").write_bytes(labels)
    job = bench.prepare({"source": "arrays", "root": str(root)}, folder / "store", folder, partial(_more_memory, 500))
    return job.must_refuse(message)


def _nobody(bench: Bench, folder: Path) -> str:
    options = {"source": "image_folder", "root": "~nosuchuser/photos", "image_size": 32}
    return bench.prepare(options, folder / "store", folder).must_refuse("there is no home folder ~nosuchuser")


def _more_memory(megabytes: int) -> None:
    """Limit the address space that this process may add."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _little_memory(bench: Bench, folder: Path) -> str:
    root = folder / "arrays"
    root.mkdir()
    for split, count in (("train", 4000), ("test", 10)):
        np.save(
            root / f"{split}_images.npy",
            np.arange(count * 12288, dtype=np.uint32).astype(np.uint8).reshape(count, 64, 64, 3),
        )
        np.save(root / f"{split}_labels.npy", np.arange(count) % 10)
    bench.prepare({"source": "arrays", "root": str(root)}, folder / "store", folder).must_end(0)
    job = bench.pretrain(folder / "run", make_recipe(), store=folder / "store", prepare=partial(_more_memory, 20))
    said = job.must_refuse("ulimit -v")
    expect("prepare the data set again" not in said, f"called damage: {said}")
    return said


def _large_photograph(bench: Bench, folder: Path) -> str:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / "photos" / split / name).mkdir(parents=True)
            Image.fromarray(np.full((40, 48, 3), 99, dtype=np.uint8)).save(folder / "photos" / split / name / "a.png")
    Image.new("RGB", (10_000, 8_000), (10, 200, 30)).save(folder / "photos" / "train" / "cat" / "large.jpg")
    # Decoding takes 0.24 GB for Pillow's pixels and 0.24 GB for the array.
    options = {"source": "image_folder", "root": str(folder / "photos"), "format": "encoded"}
    job = bench.prepare(options, folder / "store", folder, partial(_more_memory, 1500))
    return job.must_end(0, "3 train, 2 test images")
