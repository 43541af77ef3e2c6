"""Dry runs: the graph of each study, and how invalid studies are rejected."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from clever.augmentation import AugmentationOptions
from clever.config import load_study
from clever.results.run_id import setting

from ..miniature import MINIATURE
from .conftest import ROOT, Snakemake, planned_jobs

DRAWINGS = {"table_1": 1, "figure_robustness": 1, "figure_loss_terms": 1, "figure_claims": 1, "report": 1}
STUDIES = sorted((ROOT / "workflow" / "studies").glob("*.yaml"))
PROFILES = [*sorted((ROOT / "workflow" / "profiles").glob("*/config.yaml")), ROOT / "profiles/default/config.yaml"]


def test_the_demo_is_the_default_study(snakemake: Snakemake) -> None:
    planned = snakemake("--dry-run", "--quiet", "rules")
    assert planned.returncode == 0, planned.stdout
    # SimCLR and SimCLR+CLeVER with two augmentations and two seeds, and three controls.
    expected = {"prepare": 1, "pretrain": 11, "evaluate": 11, "collect": 1} | DRAWINGS
    assert planned_jobs(planned.stdout) == expected


CHAIN = """
study: chain
data: {digits: {source: digits, image_size: 16}}
backbones: {tiny: {name: resnet10t_half, image_size: 16}}
augmentations: {baug: {name: baug, global_size: 16, local_views: 0}}
methods: {first: {baseline: {name: simclr}}, second: {baseline: {name: simclr}}, alone: {baseline: {name: simclr}}}
pretrainings:
  - data: digits
    backbones: [tiny]
    methods: [second]
    augmentations: [baug]
    stage: {after: ["results/chain/runs/digits/tiny/first/baug/seed{seed}"]}
  - {data: digits, backbones: [tiny], methods: [first, alone], augmentations: [baug]}
evaluations: {stages: {}, linear: {}}
paper: [table_1]
"""


def test_a_later_stage_waits_for_the_runs_that_it_names(snakemake: Snakemake, project: Path) -> None:
    (project / "chain.yaml").write_text(CHAIN, encoding="utf-8")
    last = "results/chain/runs/digits/tiny/second/baug/seed0/run.json"
    planned = snakemake("--dry-run", "--quiet", "rules", "--configfile", "chain.yaml", "--", last)
    assert planned.returncode == 0, planned.stdout
    assert planned_jobs(planned.stdout) == {"prepare": 1, "pretrain": 2}  # not for the run without stages


def test_the_papers_study_on_a_cluster_is_planned_without_its_data(snakemake: Snakemake) -> None:
    planned = snakemake(
        *("--dry-run", "--quiet", "rules", "--configfile", "workflow/studies/imagenet100.yaml"),
        *("--workflow-profile", "workflow/profiles/slurm"),
    )
    assert planned.returncode == 0, planned.stdout
    assert "note: data.imagenet100: there is no folder data/imagenet;" in planned.stdout
    study = load_study(ROOT / "workflow" / "studies" / "imagenet100.yaml")
    runs = len(study.recipes())
    expected = {"prepare": len(study.data), "pretrain": runs, "evaluate": runs, "collect": 1}
    assert planned_jobs(planned.stdout) == expected | dict.fromkeys(study.paper, 1)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_is_valid_and_named_like_its_file(path: Path) -> None:
    study = load_study(path)
    assert study.study == path.stem
    assert study.recipes()
    head = path.read_text(encoding="utf-8").split("study:")[0]
    assert "Cost:" in head
    assert "xpected" in head


def test_imagenet100_is_the_paper_s() -> None:
    study = load_study(ROOT / "workflow" / "studies" / "imagenet100.yaml")
    trained = [recipe for recipe in study.recipes().values() if recipe.method is not None]
    dino = [recipe for recipe in trained if recipe.method and recipe.method.baseline.name == "dino"]
    assert {recipe.optimisation.batch_size for recipe in dino if recipe.optimisation} == {512}
    assert {recipe.method.baseline.out_dim for recipe in dino if recipe.method} == {65536}  # type: ignore[attr-defined]
    assert len(set(study.data["imagenet100"].classes or [])) == 100
    by_backbone = {recipe.backbone_name: recipe.backbone.drop_path for recipe in trained}
    positions = {recipe.backbone_name: recipe.backbone.position_interpolation for recipe in trained}
    assert {name for name, kind in positions.items() if kind == "authors"} == {"vit_tiny", "vit_small"}
    assert by_backbone == {"resnet18": 0, "resnet50": 0, "vit_tiny": 0.1, "vit_small": 0.1, "vmamba_tiny": 0.2}
    # The main table: 5 backbones x 2 methods x 3 augmentations, 200 epochs each.
    table = [recipe for recipe in dino if recipe.method_name in ("dino", "dino+clever") and "@" not in recipe.run]
    assert len(table) == 30
    assert {recipe.optimisation.epochs for recipe in table if recipe.optimisation} == {200}
    # Backbones.png: 5 backbones x 2 methods x 5 schedules, of which the table contains 200 epochs, and one run with
    # BAug.
    epochs = Counter(recipe.optimisation.epochs for recipe in dino if recipe.optimisation and "@epochs" in recipe.run)
    assert epochs == {100: 10, 300: 10, 400: 10, 500: 11}
    # Figure 5.
    axes = Counter(setting(recipe.method_name)[0] for recipe in trained if setting(recipe.method_name))  # type: ignore[index]
    assert axes == {
        **{"separation_ratio": 4, "orthogonality_weight": 3, "head_norm_weight": 3},
        "ef_baseline.out_dim": 3,
    }


def test_the_ddcl_study_is_the_published_recipe() -> None:
    study = load_study(ROOT / "workflow" / "studies" / "imagenet100_ddcl.yaml")
    trained = [recipe for recipe in study.recipes().values() if recipe.method is not None]
    assert len(trained) == 9
    for recipe in trained:
        options, views = recipe.optimisation, recipe.augmentation
        assert options is not None
        # The published 500 epochs follow 30 warm-up epochs.
        assert (options.optimiser, options.epochs, options.warmup_epochs, options.rate_changes) == (
            "sgd",
            530,
            30,
            "epoch",
        )
        assert (options.learning_rate, options.weight_decay, options.final_weight_decay) == (0.05, 1e-4, None)
        assert (options.decay_rule, options.batch_size) == ("all", 256)
        assert isinstance(views, AugmentationOptions)
        assert views.rotates_after_blur
        assert (views.global_scale, views.blur_probability_global_1, views.saturation) == ((0.2, 1.0), 0.5, 0.4)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_no_profile_reruns_for_conda(path: Path) -> None:
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert sorted(profile["rerun-triggers"]) == ["code", "input", "mtime", "params"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_no_profile_looks_for_work_every_second(path: Path) -> None:
    """Snakemake's default of 100/1s uses a growing share of a core; see profiles/default/config.yaml."""
    most, _, time = yaml.safe_load(path.read_text(encoding="utf-8"))["max-jobs-per-timespan"].partition("/")
    seconds = int(time[:-1]) * {"s": 1, "m": 60}[time[-1]]
    assert seconds >= 3
    assert int(most) / seconds >= 10


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("methods:", "methds:"), "wrong.yaml: methds: unknown key; did you mean 'methods'?"),
        (
            ("{name: clever}", "{name: clever, separation_ratio: -0.5}"),
            "wrong.yaml: methods.dino+clever.equivariance.separation_ratio: input should be greater than 0, got -0.5",
        ),
        (("{name: dino,", "{name: dyno,"), "wrong.yaml: methods.dino+clever.baseline.name:"),
        (("[dino+clever]", "[dino+clevr]"), "wrong.yaml: pretrainings.0.methods: 'dino+clevr' is not defined; did you"),
        (("{source: digits,", "{source: arrays, root: absent,"), "data.digits: there is no folder data/absent;"),
        (("study: mini", "study: mini\ncontrols: []"), "wrong.yaml: not valid YAML: the key 'controls' appears twice"),
        (
            ("study: mini", "study: mini\ndata_root: pictures"),
            "wrong.yaml: data_root belongs on the command line: --config data_root=FOLDER",
        ),
    ],
    ids=[
        "unknown key",
        "negative ratio",
        "unknown method",
        "undefined method",
        "wrong data root",
        "key twice",
        "setting of the call",
    ],
)
def test_a_wrong_study_ends_in_one_line_before_any_job(
    project: Path, snakemake: Snakemake, change: tuple[str, str], line: str
) -> None:
    assert change[0] in MINIATURE
    (project / "wrong.yaml").write_text(MINIATURE.replace(*change, 1).replace("study: mini", "study: wrong"))
    refused = snakemake("--cores", "1", "--configfile", "wrong.yaml")
    assert refused.returncode != 0
    errors = [text for text in refused.stdout.splitlines() if text.startswith("error: ")]
    assert len(errors) == 1, refused.stdout
    assert errors[0].startswith(f"error: {line}")
    assert "Traceback" not in refused.stdout
    assert not re.search(r"^(Job|rule) ", refused.stdout, re.MULTILINE)
    assert not (project / "results" / "wrong").exists()


def test_stores_that_runs_are_evaluated_on_are_inputs_of_the_evaluation(project: Path, snakemake: Snakemake) -> None:
    content = yaml.safe_load(MINIATURE)
    content["study"] = "transferred"
    content["data"] |= {name: {"source": "digits", "image_size": 32, "test_limit": 50} for name in ("more", "unused")}
    content["evaluations"]["transfer"] = {"data": ["more"], "modes": ["linear"]}
    (project / "transferred.yaml").write_text(yaml.safe_dump(content))
    planned = snakemake("--dry-run", "--printshellcmds", "--configfile", "transferred.yaml")
    assert planned.returncode == 0, planned.stdout
    assert planned_jobs(planned.stdout)["prepare"] == 2
    commands = [line for line in planned.stdout.splitlines() if "clever evaluate" in line]
    assert len(commands) == 2
    assert all(" --other-store more=results/transferred/data/more " in command for command in commands)
    assert "evaluations/digits/tiny/dino+clever/caug/seed0/transfer+more.json" in planned.stdout


def test_a_run_waits_for_the_run_that_it_continues(project: Path, snakemake: Snakemake) -> None:
    content = yaml.safe_load(MINIATURE)
    content["study"] = "continued"
    first = "results/continued/runs/digits/tiny/dino+clever/caug/seed0"
    content["backbones"]["more"] = content["backbones"]["tiny"] | {"init": first}
    content["pretrainings"][0]["backbones"] = ["more"]
    (project / "continued.yaml").write_text(yaml.safe_dump(content))
    refused = snakemake("--dry-run", "--configfile", "continued.yaml")
    assert refused.returncode != 0
    assert "study continued has no run digits/tiny/dino+clever/caug/seed0" in refused.stdout

    content["pretrainings"][0]["backbones"] = ["more", "tiny"]
    (project / "continued.yaml").write_text(yaml.safe_dump(content))
    planned = snakemake("--dry-run", "--configfile", "continued.yaml")
    assert planned.returncode == 0, planned.stdout
    lines = iter(planned.stdout.splitlines())
    assert any("pre-train results/continued/runs/digits/more/dino+clever/caug/seed0" in line for line in lines)
    assert f"{first}/backbone.safetensors" in next(lines).split("Input files updated by another job")[1]


def test_a_run_that_no_study_has_is_refused(snakemake: Snakemake) -> None:
    target = "results/mini/runs/digits/tiny/dino/caug/seed0/run.json"
    refused = snakemake("--dry-run", target, "--configfile", "mini.yaml")
    assert refused.returncode != 0
    assert "study mini has no run digits/tiny/dino/caug/seed0; did you mean 'digits/tiny/dino+clever/caug/seed0'?" in (
        refused.stdout
    )
