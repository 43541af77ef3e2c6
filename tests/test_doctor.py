"""`clever doctor`: every failing condition is provoked once; its estimates are compared with measured values."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from clever.cli import main
from clever.config import Study, parse_study
from clever.crosschecks import prepared
from clever.data import DataOptions, Store, prepare
from clever.doctor import Finding, examine, gpus, machine, software, study
from clever.doctor.needs import activation_bytes, run_need
from clever.doctor.stores import store_bytes
from clever.equivariance import EQUIVARIANCES
from clever.pretraining.composition import compose
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from .miniature import changed, miniature
from .tiny_methods import tiny_method

RecipeMaker = Callable[..., RunRecipe]

EXAMINED: dict[str, Any] = {
    "study": "examined",
    "data": {"digits": None, "pictures": {"source": "arrays", "root": "pictures"}},
    "methods": {
        "dino+clever": None,
        "dino": {"baseline": {"name": "dino", "out_dim": 16, "hidden_dim": 16, "bottleneck_dim": 8}},
    },
    "pretraining": {"data": "pictures", "methods": ["dino"], "seeds": [0, 1], "optimisation": {"batch_size": 4}},
    "controls": None,
    "paper": ["report"],
    "evaluations": {"linear": None, "knn": {"perturbations": ["orig"], "neighbours": [5]}},
}


def examined(**changes: Any) -> str:
    """The study that the doctor examines, with changes merged in."""
    return miniature(small=True, **changed(EXAMINED, changes))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a study and its data."""
    (tmp_path / "study.yaml").write_text(examined())
    pictures = tmp_path / "data" / "pictures"
    pictures.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        np.save(pictures / f"{split}_images.npy", draw.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8))
        np.save(pictures / f"{split}_labels.npy", np.arange(count) % 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _examine(verify: bool = False, data_root: str | None = None) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(Path("study.yaml"), data_root, verify)}


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_a_sufficient_machine_passes_and_nothing_is_written(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    before = _tree(place)
    assert main(["doctor", "--study", "study.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert _tree(place) == before
    subjects = [line[9:].split(":")[0] for line in lines]
    for subject in (
        "Python",
        "packages",
        "torch",
        "cores",
        "working folder",
        "study",
        "results folder",
        "disk",
        "memory",
    ):
        assert subjects.count(subject) == 1, subject
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert any(line.startswith("ok       data pictures: ") for line in lines)


@pytest.mark.usefixtures("place")
def test_it_prints_json_and_works_without_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"subject", "state", "text"} == set(findings[0])
    assert not {"study", "disk", "memory"} & {finding["subject"] for finding in findings}


def test_a_missing_root_fails_until_it_is_given(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "data").rename(place / "moved")
    assert main(["doctor", "--study", "study.yaml"]) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL     data pictures: there is no folder data/pictures; give its parent with --data-root")
    assert main(["doctor", "--study", "study.yaml", "--data-root", "moved"]) == 0


def test_a_wrong_study_is_a_finding(place: Path) -> None:
    (place / "study.yaml").write_text(examined(pretraining={"methods": ["dyno"]}))
    found = _examine()
    assert found["study"].state == "FAIL"
    assert "did you mean 'dino'?" in found["study"].text
    assert found["clock"].state == "ok"


def test_a_damaged_store_fails(place: Path) -> None:
    folder = place / "results" / "examined" / "data" / "pictures"
    prepare(DataOptions(source="arrays", root="data/pictures"), folder, progress=False)
    shutil.rmtree(place / "data")  # a prepared data set no longer needs its source
    assert _examine(verify=True)["data pictures"].state == "ok"
    images = folder / "train_images.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    assert _examine()["data pictures"].state == "ok"  # the length is unchanged
    found = _examine(verify=True)["data pictures"]
    assert found.state == "FAIL"
    assert "train_images.npy: sha256 is" in found.text
    images.write_bytes(content[:-1])
    assert _examine()["data pictures"].state == "FAIL"


def test_a_study_is_compared_with_its_prepared_store(place: Path) -> None:
    folder = place / "results" / "examined" / "data" / "pictures"
    prepare(DataOptions(source="arrays", root="data/pictures"), folder, progress=False)
    Path("study.yaml").write_text(examined(pretraining={"optimisation": {"batch_size": 13}}))
    found = _examine()["data pictures"]
    assert found.state == "FAIL"
    assert "batch_size: 13 exceeds the 12 training images of the store of data.pictures" in found.text
    Path("study.yaml").write_text(examined(data={"pictures": {"image_size": 16, "subset_seed": 3}}))
    found = _examine()["data pictures"]
    assert found.state == "warning"
    assert "prepared with options other than the study's; it will be prepared again" in found.text


def test_the_padding_of_a_batch_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        for name, shape in (("cat", (20, 300)), ("dog", (400, 20))):
            target = tmp_path / "data" / "pictures" / split / name
            target.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((*shape, 3), 60 + number, dtype=np.uint8)).save(target / f"{number}.png")
    encoded = {"pictures": {"source": "image_folder", "format": "encoded"}}
    Path("study.yaml").write_text(examined(data=encoded, evaluations={"knn": {"image_size": 16}}))
    options = DataOptions(source="image_folder", root="data/pictures", format="encoded")
    prepare(options, tmp_path / "results" / "examined" / "data" / "pictures", progress=False)
    found = _examine()["data pictures"]
    assert found.state == "ok"
    assert "a batch of 4 padded to at most 400 x 300 pixels (0.00 GB)" in found.text
    monkeypatch.setattr(prepared, "machine_memory", lambda: (10**6, 10**6))
    found = _examine()["data pictures"]
    assert found.state == "FAIL"
    assert "4 images are padded to one size, at worst 400 x 300 pixels" in found.text


@pytest.mark.usefixtures("place")
def test_a_too_small_disk_fails_and_a_barely_sufficient_one_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = _study()
    needs = {run: run_need(recipe) for run, recipe in loaded.recipes().items()}
    monkeypatch.setattr(study, "_jobs", lambda: 1)
    stored = 18 * (16 * 16 * 3 + 8)
    backbones = sum(need.backbone for need in needs.values())
    needed = stored + backbones + 3 * max(need.state for need in needs.values()) + len(needs) * study.RESULT_BYTES
    states = {}
    for free in (needed - 1, needed, 2 * needed):
        filled = SimpleNamespace(f_bavail=free, f_frsize=1, f_blocks=10 * free, f_bfree=free, f_bsize=1)
        monkeypatch.setattr(os, "statvfs", lambda _, filled=filled: filled)
        states[free] = study.check_disk(loaded, needs, Path("results/examined")).state
    assert list(states.values()) == ["FAIL", "warning", "ok"]


def test_existing_files_need_no_additional_space(place: Path) -> None:
    loaded = _study()
    needs = {run: run_need(recipe) for run, recipe in loaded.recipes().items()}
    for run in needs:
        folder = place / "results" / "examined" / "runs" / run
        folder.mkdir(parents=True)
        (folder / "run.json").touch()
    store = place / "results" / "examined" / "data" / "pictures"
    store.mkdir(parents=True)
    (store / "store.json").touch()
    assert "about 0.00 GB needed" in study.check_disk(loaded, needs, Path("results/examined")).text


def _study() -> Study:
    import yaml

    return parse_study(yaml.safe_load(examined()), "STUDY")


def test_too_little_memory_warns_and_fails_if_even_the_weights_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    need = study.Need(backbone=1, state=1, fixed=1_000_000_000)
    monkeypatch.setattr(study, "_jobs", lambda: 2)
    runs, activations = {"a": need, "b": need}, {"a": 2_500_000_000, "b": None}

    def state(free: int, total: int) -> str:
        monkeypatch.setattr(study, "machine_memory", lambda: (free, total))
        found = study.check_memory(runs, activations)
        assert "the largest run, a, needs roughly 4.0 GB" in found.text
        return found.state + found.text.rpartition(";")[2].removeprefix(found.text) * (found.state == "warning")

    assert state(8_000_000_000, 10**10) == "ok"
    assert state(7_900_000_000, 10**10) == "warning use snakemake --cores 1"
    assert state(3_900_000_000, 10**10) == "warning raise optimisation.accumulate or use bf16"
    assert state(900_000_000, 900_000_000) == "FAIL"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, where no file can be created")
def test_an_unwritable_folder_fails() -> None:
    found = machine.check_folder("results folder", Path("/proc/self/results"))
    assert found.state == "FAIL"
    assert "cannot be written" in found.text


def test_a_file_server_with_another_clock_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_folder("folder", tmp_path).state == "ok"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    found = machine.check_folder("folder", tmp_path)
    assert found.state == "FAIL"
    assert "its clock differs from this machine's by 3600 s" in found.text


def test_a_file_with_a_future_date_fails(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.touch()
    assert machine.check_clock(files).state == "ok"
    os.utime(files[1], (time.time() + 7200, time.time() + 7200))
    found = machine.check_clock(files)
    assert found.state == "FAIL"
    assert f"{files[1]} is dated 120 minutes in the future" in found.text


def test_several_gpus_need_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=64 * 2**20))
    assert machine.check_shared_memory(1).state == "ok"
    found = machine.check_shared_memory(4)
    assert found.state == "warning"
    assert "--shm-size" in found.text


def test_busy_or_limited_cores_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(machine, "_processor_quota", lambda: None)
    for load, state in ((1.0, "ok"), (5.0, "warning")):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load))
        assert machine.check_cores().state == state
    monkeypatch.setattr(machine, "_processor_quota", lambda: 2.0)
    assert "use --cores 2" in machine.check_cores().text


def _versions(monkeypatch: pytest.MonkeyPatch, **fake: str | None) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = fake[name] if name in fake else real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("fake", "text"),
    [
        ({"timm": "0.9.1"}, "timm is 0.9.1 (the project needs >=1.0.20)"),
        ({"timm": None}, "timm is missing (the project needs >=1.0.20)"),
    ],
)
@pytest.mark.parametrize("in_checkout", [True, False])
def test_a_package_out_of_range_fails(
    monkeypatch: pytest.MonkeyPatch, fake: dict[str, str | None], text: str, in_checkout: bool
) -> None:
    _versions(monkeypatch, **fake)
    found = {
        finding.subject: finding for finding in software.check_packages(software.checkout() if in_checkout else None)
    }
    assert found["packages"].state == "FAIL"
    assert text in found["packages"].text


def test_a_version_that_differs_from_the_lock_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nrequires-python = ">=3.11"\ndependencies = ["numpy>=1.26", "tqdm>=4.66"]\n'
    )
    (tmp_path / "requirements.lock").write_text(
        '# pins\nnumpy==2.4.6\ntqdm==4.67.1\nnobody-has-this==1.0\nwindows-only==1.0 ; sys_platform == "win32"\n'
    )
    _versions(monkeypatch, numpy="2.4.6", tqdm="4.67.1")
    packages, lock = software.check_packages(tmp_path)
    assert (packages.state, lock.state) == ("ok", "ok")
    assert lock.text == "2 packages have the versions of requirements.lock, 1 not installed"
    _versions(monkeypatch, numpy="2.4.6+local", tqdm="4.66.0")
    packages, lock = software.check_packages(tmp_path)
    assert (packages.state, lock.state) == ("ok", "warning")
    assert lock.text.startswith("tqdm is 4.66.0 (==4.67.1)")
    assert "numpy" not in lock.text


def test_an_old_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.14")
    found = software.check_python(software.checkout())
    assert (found.state, found.text[:40]) == ("FAIL", "3.10.14, but the project needs >=3.11; u")


@pytest.mark.parametrize(
    ("version", "state"), [(None, "warning"), ("9.26.9", "FAIL"), ("9.27.0", "ok"), ("10.0", "ok")]
)
def test_snakemake(monkeypatch: pytest.MonkeyPatch, version: str | None, state: str) -> None:
    _versions(monkeypatch, snakemake=version)
    assert software.check_snakemake().state == state


@pytest.mark.usefixtures("place")
def test_a_torchvision_for_another_torch_fails_and_ends_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    def nms(*_: object) -> torch.Tensor:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    found = _examine()
    assert found["torch"].state == found["the rest"].state == "FAIL"
    assert "operator torchvision::nms does not exist" in found["torch"].text
    assert "study" not in found


@pytest.mark.parametrize(
    ("source", "state"),
    [(("ab12" * 10, False), "ok"), (("ab12" * 10, True), "warning"), (("unknown", None), "warning")],
)
def test_uncommitted_changes_warn(monkeypatch: pytest.MonkeyPatch, source: tuple[str, bool | None], state: str) -> None:
    monkeypatch.setattr("clever.provenance.source_commit", lambda: source)
    assert software.check_source().state == state


class _FakeGpus:
    """The answers of torch and the driver on a machine with GPUs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.set = monkeypatch.setattr
        self.file = folder / "version"
        self.set(gpus, "DRIVER_FILE", self.file)
        self.set(torch.version, "cuda", "13.0")

    def driver(self, version: str) -> None:
        self.file.write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Mon Jan  1 00:00:00 UTC 2024\n"
        )

    def usable(self, free: int, total: int, fails: bool = False) -> None:
        def ones(*_: object, **__: object) -> torch.Tensor:
            if fails:
                raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
            return torch.zeros(1)

        self.set(torch.cuda, "is_available", lambda: True)
        self.set(torch.cuda, "device_count", lambda: 1)
        self.set(torch.cuda, "get_device_name", lambda _: "A GPU")
        self.set(torch.cuda, "mem_get_info", lambda _: (free, total))
        self.set(torch, "ones", ones)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _FakeGpus:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return _FakeGpus(monkeypatch, tmp_path)


@pytest.mark.usefixtures("fake")
def test_a_machine_without_a_gpu_runs_on_the_cpu() -> None:
    assert list(gpus.check_gpus()) == [Finding("GPU", "ok", "no GPU: runs on the CPU")]


def test_a_too_old_driver_fails(fake: _FakeGpus) -> None:
    fake.driver("535.104.05")
    (found,) = gpus.check_gpus()
    assert found.state == "FAIL"
    assert "driver 535.104.05 is too old for CUDA 13.0, which torch was built for: 580 or newer is needed" in found.text


def test_a_cpu_build_of_torch_fails_if_there_is_a_gpu(fake: _FakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.driver("580.65.06")
    monkeypatch.setattr(torch.version, "cuda", None)
    (found,) = gpus.check_gpus()
    assert found.state == "FAIL"
    assert "this torch is built for the CPU" in found.text


def test_hidden_gpus_warn(fake: _FakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.driver("580.65.06")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (found,) = gpus.check_gpus()
    assert found.state == "warning"
    assert "CUDA_VISIBLE_DEVICES='' hides the GPUs" in found.text


@pytest.mark.parametrize(
    ("driver", "free", "fails", "states"),
    [
        ("580.65.06", 140, False, ["ok", "ok"]),
        ("580.65.06", 20, False, ["ok", "warning"]),
        ("580.65.06", 140, True, ["ok", "FAIL"]),
        ("535.104.05", 140, False, ["warning", "ok"]),
    ],
)
def test_gpus_that_torch_finds(fake: _FakeGpus, driver: str, free: int, fails: bool, states: list[str]) -> None:
    fake.driver(driver)
    fake.usable(free * 10**9, 141 * 10**9, fails)
    found = list(gpus.check_gpus())
    assert [finding.state for finding in found] == states
    assert driver in found[0].text
    assert ("no kernel image" if fails else f"141.0 GB, {free}.0 GB free") in found[1].text


def test_the_memory_of_a_gpu_counts_if_there_is_one(fake: _FakeGpus) -> None:
    fake.usable(2 * 10**9, 8 * 10**9)
    found = study.check_memory({"a": study.Need(1, 1, 10**9)}, {"a": 10**9})
    assert found.state == "warning"
    assert "2.0 GB of 8.0 GB free on the GPU" in found.text


@pytest.mark.parametrize(
    ("equivariance", "optimiser"), [("clever", "adamw"), ("none", "sgd"), ({"name": "equimod"}, "lars")]
)
def test_estimated_bytes_match_the_files(
    make_recipe: RecipeMaker, digits_store: Store, tmp_path: Path, equivariance: object, optimiser: str
) -> None:
    steps = {"epochs": 1, "optimiser": optimiser, "batch_size": 48}
    recipe = make_recipe(equivariance=equivariance, optimisation=steps)
    pretrain(recipe, digits_store, tmp_path, ExecutionOptions(device="cpu", threads=1, keep_state=True))
    need = run_need(recipe)
    (state,) = (tmp_path / "state").glob("state-*.pt")
    # The files also contain names, shapes and a few scalars.
    assert need.backbone <= (tmp_path / "backbone.safetensors").stat().st_size <= 1.02 * need.backbone
    assert need.state <= state.stat().st_size <= 1.05 * need.state


def test_a_memory_bank_of_all_training_images_is_counted(make_recipe: RecipeMaker) -> None:
    whole = make_recipe(augmentation={"local_views": 0}).model_dump()
    baseline = {"name": "interclr", "hidden_dim": 32, "out_dim": 64, "queue_length": 96, "images_per_cluster": 1000}
    method = {"baseline": baseline, "equivariance": {"name": "none"}}
    recipe = RunRecipe.model_validate(whole | {"method": method})
    # A float32 vector of 64 entries and an int64 label for each image; there are two clusters in both cases.
    added = run_need(recipe, 1500).fixed - run_need(recipe, 500).fixed
    assert added == 1000 * (64 * 4 + 8)
    assert run_need(recipe, 1500).state - run_need(recipe, 500).state == added


def test_a_control_needs_only_its_backbone() -> None:
    loaded = _study()
    control = next(recipe for recipe in loaded.recipes().values() if recipe.method is None)
    trained = next(iter(loaded.recipes().values()))
    need = run_need(control)
    assert need.backbone == run_need(trained).backbone
    assert (need.state, activation_bytes(control)) == (0, 0)


def test_estimated_activations_are_close_to_a_step_s(make_recipe: RecipeMaker, digits_store: Store) -> None:
    recipe = make_recipe()
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, 6, torch.device("cpu"))
    kept: dict[int, torch.Tensor] = {}
    owned = {p.untyped_storage().data_ptr() for p in trainer.student.state_dict().values()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in owned:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = digits_store.split("train").images(list(range(16)))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trainer.compute_gradients(batch, 0)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    counted = activation_bytes(recipe)
    assert counted is not None
    assert 0.8 * real < counted < 1.2 * real


def test_a_smaller_part_of_the_batch_and_bf16_halve_the_activations(make_recipe: RecipeMaker) -> None:
    whole = activation_bytes(make_recipe())
    assert whole is not None
    assert activation_bytes(make_recipe(optimisation={"accumulate": 2})) == pytest.approx(whole / 2, rel=1e-3)
    assert activation_bytes(make_recipe(optimisation={"precision": "bf16"})) == whole // 2


@pytest.mark.parametrize(
    "options",
    [
        {"source": "digits", "image_size": 16},
        {"source": "digits", "train_limit": 30, "test_limit": 400},
        {"source": "spirograph", "train_limit": 12, "test_limit": 7},
        {"source": "arrays"},
        {"source": "arrays", "image_size": 8, "train_limit": 5},
        {"source": "image_folder", "image_size": 16},
        {"source": "image_folder", "image_size": 16, "train_limit": 4, "classes": ["cat", "dog"]},
        {"source": "image_folder", "format": "encoded"},
    ],
)
def test_the_size_of_a_store_is_estimated_before_preparation(tmp_path: Path, options: dict[str, object]) -> None:
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        images, labels = draw.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8), np.arange(count) % 3
        np.save(tmp_path / f"{split}_images.npy", images)
        np.save(tmp_path / f"{split}_labels.npy", labels)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = tmp_path / split / ("cat", "dog", "emu")[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png")
    root = {"root": str(tmp_path)} if options["source"] in ("arrays", "image_folder") else {}
    chosen = DataOptions.model_validate(options | root)
    prepare(chosen, tmp_path / "store", progress=False)
    files = [path for path in (tmp_path / "store").iterdir() if path.name != "store.json"]
    found = store_bytes(chosen)
    assert found is not None
    # Each file has a header of 128 bytes; latents, offsets and sizes take a few numbers per image.
    assert sum(path.stat().st_size for path in files) == pytest.approx(found, rel=0.05, abs=128 * len(files))


def test_an_unknown_size_is_reported(place: Path) -> None:
    assert store_bytes(DataOptions(source="threediebench", root="absent", image_size=32)) is None
    assert store_bytes(DataOptions(source="image_folder", root="absent", image_size=32)) is None
    shutil.rmtree(place / "data")
    assert "(without pictures, of unknown size until prepared)" in _examine()["disk"].text


def test_it_starts_even_if_torch_does_not() -> None:
    program = "import sys; import clever.doctor; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(EQUIVARIANCES))
def test_every_addon_is_counted(make_recipe: RecipeMaker, name: str) -> None:
    whole = make_recipe(augmentation={"local_views": 0}).model_dump()
    recipe, plain = (
        RunRecipe.model_validate(whole | {"method": tiny_method("simclr", add_on)}) for add_on in (name, "none")
    )
    need, alone = run_need(recipe), run_need(plain)
    assert need.backbone == alone.backbone
    weights, fewer = (sum(p.numel() for p in compose(each).student.parameters()) for each in (recipe, plain))
    # The simclr heads have no buffers except BatchNorm's, which change with the weights.
    assert (need.state == alone.state) == (weights == fewer)
    assert (need.state > alone.state) == (weights > fewer)
    assert activation_bytes(recipe)
