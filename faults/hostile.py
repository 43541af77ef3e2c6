"""Malicious files: archives that write outside their folder, arrays and weights that contain code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from clever.sealed import sealed
from faults.bench import Bench
from faults.job import Job
from faults.row import Row, Try, expect

# The project itself unpacks nothing; torchvision unpacks CIFAR's archive if a study has `download: true`.
_ARCHIVE = "cifar-10-python.tar.gz"


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """The archive with a wrong and with a right checksum, and pickles in place of arrays, batches and weights."""
    planted: dict[str, Try] = {
        "CIFAR's batch files": partial(_planted_batch, bench),
        "a .npy file": partial(_planted_array, bench),
        "backbone.safetensors": partial(_planted_backbone, bench),
        "a study file": _planted_study,
    }
    return [
        Row(
            10,
            "an archive with ../ paths in place of CIFAR's (torchvision's download)",
            "rejected by its checksum, and by its paths if it had CIFAR's checksum; nothing is written outside",
            [partial(_archive, bench, right) for right in (False, True)][:tries],
        ),
        *(
            Row(10, f"a pickle payload in {where}", "rejected; nothing is executed", [attempt])
            for where, attempt in planted.items()
        ),
    ]


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def _archive(bench: Bench, right: bool, folder: Path) -> str:
    root, served = folder / "a" / "root", folder / "served"
    root.mkdir(parents=True)
    served.mkdir()
    with tarfile.open(served / _ARCHIVE, "w:gz") as archive:
        for name in ("../../escaped", "cifar-10-batches-py/../../../escaped too", str(folder / "absolute")):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    checksum = hashlib.md5((served / _ARCHIVE).read_bytes()).hexdigest()
    os.environ["no_proxy"] = "127.0.0.1"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(served))) as server:

        def fetch_from_here() -> None:
            from torchvision.datasets import CIFAR10

            CIFAR10.url = f"http://127.0.0.1:{server.server_port}/{_ARCHIVE}"
            if right:
                CIFAR10.tgz_md5 = checksum

        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = {"source": "cifar10", "root": str(root), "download": True}
        why = "outside the destination" if right else "File not found or corrupted"
        job = bench.prepare(options, folder / "store", folder, fetch_from_here)
        said = job.must_refuse("torchvision could not download cifar10", why)
        server.shutdown()
    outside = [path.name for path in folder.rglob("*") if "escaped" in path.name or path.name == "absolute"]
    expect(not outside, f"written outside: {outside}")
    return said


def _planted_batch(bench: Bench, folder: Path) -> str:
    batches = folder / "root" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (batches / name).write_bytes(pickle.dumps(_Trap(folder / "sprung")))
    options = {"source": "cifar10", "root": str(folder / "root")}
    said = bench.prepare(options, folder / "store", folder).must_refuse("data_batch_1: md5 is", "not the published")
    return _not_sprung(folder, said)


def _planted_array(bench: Bench, folder: Path) -> str:
    root = folder / "arrays"
    root.mkdir()
    for split in ("train", "test"):
        np.save(root / f"{split}_images.npy", np.array([_Trap(folder / "sprung")], dtype=object), allow_pickle=True)
        np.save(root / f"{split}_labels.npy", np.zeros(1, dtype=np.int64))
    options = {"source": "arrays", "root": str(root)}
    said = bench.prepare(options, folder / "store", folder).must_refuse("train_images.npy", "without pickles")
    return _not_sprung(folder, said)


def _planted_backbone(bench: Bench, folder: Path) -> str:
    run = folder / "run"
    run.mkdir()
    payload = pickle.dumps(_Trap(folder / "sprung"))
    (run / "backbone.safetensors").write_bytes(payload)
    # Whoever plants a backbone can also write its checksum into the run's description.
    description = json.loads((bench.reference / "run.json").read_text(encoding="utf-8"))
    description["backbone_sha256"] = hashlib.sha256(payload).hexdigest()
    (run / "run.json").write_text(json.dumps(sealed(description)), encoding="utf-8")
    words = ["evaluate", "--options", '{"knn": {}}', "--run", run, "--store", bench.store]
    job = Job([*words, "--output-folder", folder, "--threads", "1"], folder / "evaluate.log")
    said = job.must_refuse("backbone.safetensors", "is damaged or not a safetensors file")
    return _not_sprung(folder, said)


def _planted_study(folder: Path) -> str:
    (folder / "study.yaml").write_text(f"study: !!python/object/apply:os.mkdir ['{folder / 'sprung'}']\n")
    said = Job(["check", folder / "study.yaml"], folder / "check.log").must_refuse("study.yaml", "not valid YAML")
    return _not_sprung(folder, said)


def _not_sprung(folder: Path, said: str) -> str:
    expect(not (folder / "sprung").exists(), "the code was executed")
    return said
