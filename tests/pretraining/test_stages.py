"""A chain of runs: clusters of earlier features, batches from one cluster, resuming, and the concatenated probe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from clever.backbones import BackboneOptions, load_backbone
from clever.clustering import cluster_means
from clever.config import load_study
from clever.data import Batches, Store
from clever.earlier_runs import open_earlier
from clever.errors import UserError
from clever.evaluation.job import earlier_backbones
from clever.pretraining import stages as module
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions, StageOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.stages import combined, make_stage
from clever.results.run_description import read_run

from ..tiny_methods import tiny_method

CPU = torch.device("cpu")
EXECUTION = ExecutionOptions(device="cpu", threads=1)
BATCH = 8


@pytest.mark.parametrize("size", [3, 4])
def test_a_batch_has_images_of_one_group(size: int, digits_store: Store) -> None:
    split = digits_store.split("train")
    groups = torch.arange(len(split)) % 7 // 2  # four groups of unequal size
    batches = Batches(split, size, seed=0, device="cpu", groups=groups)
    epochs = [[batch.indices for batch in batches.epoch(number)] for number in range(2)]
    counts = [int((groups == name).sum()) // size for name in range(4)]
    for epoch in epochs:
        assert len(epoch) == len(batches) == sum(counts)
        names = [groups[rows].unique().tolist() for rows in epoch]
        assert all(len(name) == 1 for name in names)
        assert [names.count([name]) for name in range(4)] == counts
        assert len(torch.cat(epoch).unique()) == size * len(batches)
        assert names != sorted(names)
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    late = [batch.indices for batch in batches.epoch(1, start=3)]
    assert torch.equal(torch.cat(late), torch.cat(epochs[1][3:]))
    halves = [
        [b.indices for b in Batches(split, 4, seed=0, device="cpu", groups=groups, rank=r, world_size=2).epoch(0)]
        for r in range(2)
    ]
    whole = [batch.indices for batch in Batches(split, 4, seed=0, device="cpu", groups=groups).epoch(0)]
    assert torch.equal(torch.cat([torch.cat(pair) for pair in zip(*halves, strict=True)]), torch.cat(whole))


def test_groups_without_a_batch_are_rejected(digits_store: Store) -> None:
    split = digits_store.split("train")
    with pytest.raises(UserError, match="batch_size 3 exceeds the 2 images of the largest of 48 groups"):
        Batches(split, 3, seed=0, device="cpu", groups=torch.arange(len(split)) // 2)
    with pytest.raises(ValueError, match="groups cannot be combined"):
        Batches(split, 3, seed=0, device="cpu", groups=torch.zeros(len(split)), drop_last=False)


def test_a_pseudo_label_is_a_combination_of_clusters() -> None:
    draw = torch.Generator().manual_seed(0)
    one, other = (torch.randint(0, 3, (60,), generator=draw) for _ in range(2))
    found = combined([one, other])
    names = {pair: number for number, pair in enumerate(sorted(set(zip(one.tolist(), other.tolist(), strict=True))))}
    assert found.tolist() == [names[pair] for pair in zip(one.tolist(), other.tolist(), strict=True)]


@pytest.fixture(scope="module")
def chain(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Any, digits_store: Store
) -> tuple[Path, list[RunRecipe]]:
    """Train three stages of a run one after the other; return their folders ``0``, ``1``, ``2`` and recipes."""
    folder, recipes = tmp_path_factory.mktemp("chain"), []
    for number in range(3):
        recipe = recipe_of(make_recipe, folder, number)
        pretrain(recipe, digits_store, folder / str(number), EXECUTION)
        recipes.append(recipe)
    return folder, recipes


def recipe_of(make_recipe: Any, folder: Path, number: int) -> RunRecipe:
    whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": BATCH, "epochs": 2}).model_dump()
    plain = RunRecipe.model_validate(whole | {"method": tiny_method("simclr", "none")})
    after = [str(folder / str(earlier)) for earlier in range(number)]
    stage = StageOptions(after=after, clusters=3) if after else None
    return plain.model_copy(update={"stage": stage, "method_name": f"stage{number}"})


def features(folder: Path, store: Store) -> Tensor:
    options = BackboneOptions.model_validate(read_run(folder / "run.json")["recipe"]["backbone"])
    backbone = load_backbone(options, folder / "backbone.safetensors")
    batch = next(iter(Batches(store.split("train"), 96, seed=0, device="cpu", shuffle=False).epoch(0)))
    mean, std = (torch.tensor(moments).view(1, 3, 1, 1) for moments in (store.mean, store.std))
    with torch.no_grad():
        return F.normalize(backbone((batch.pixels / 255 - mean) / std), dim=1)


def within(vectors: Tensor, labels: Tensor) -> float:
    """The sum of squared distances to the cluster means."""
    means = cluster_means(vectors, labels, int(labels.max()) + 1)
    return float((vectors - means[labels]).square().sum())


def test_labels_are_clusters_of_the_earlier_features(chain: Any, digits_store: Store) -> None:
    folder, recipes = chain
    stage = make_stage(recipes[1].stage, digits_store, CPU)
    vectors = features(folder / "0", digits_store)
    known = torch.from_numpy(KMeans(3, n_init=10, random_state=0).fit_predict(vectors.numpy())).long()
    # Both are local optima; scikit-learn's is the best of ten starts.
    assert within(vectors, stage.labels) < 1.1 * within(vectors, known)
    means = F.normalize(torch.stack([vectors[stage.labels == label].mean(0) for label in range(3)]), dim=1)
    assert torch.equal((vectors @ means.T).argmax(dim=1), stage.labels)  # no image is nearer to another cluster
    two = make_stage(recipes[2].stage, digits_store, CPU)
    parts = [make_stage(StageOptions(after=[str(folder / n)], clusters=3), digits_store, CPU).labels for n in "01"]
    assert adjusted_rand_score(two.labels, combined(parts)) == 1
    assert torch.equal(parts[0], stage.labels)


def test_one_cluster_holds_all_images(chain: Any, digits_store: Store) -> None:
    after = [str(chain[0] / "0"), str(chain[0] / "1")]
    stage = make_stage(StageOptions(after=after, clusters=1), digits_store, CPU)
    assert stage.described()["images"] == [len(digits_store.split("train"))]


def test_the_run_names_its_earlier_runs(chain: Any) -> None:
    folder, recipes = chain
    described = [read_run(folder / str(number) / "run.json") for number in range(3)]
    assert "stage" not in described[0]
    assert [run["backbone_sha256"] for run in described[2]["stage"]["runs"]] == [
        run["backbone_sha256"] for run in described[:2]
    ]
    sizes = described[1]["stage"]["images"]
    assert sum(sizes) == 96
    assert described[1]["iterations"] == 2 * sum(size // BATCH for size in sizes)
    assert "stage" not in json.loads(recipes[0].canonical())
    assert recipes[2].earlier_files == [
        f"{folder}/{number}/{name}" for number in range(2) for name in ("backbone.safetensors", "run.json")
    ]


def test_a_stopped_stage_continues_with_the_same_bits(
    chain: Any, digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clever.pretraining import engine

    folder, recipes = chain

    class StoppedError(Exception):
        pass

    original, steps = engine.Trainer.step, [0]

    def step(self: Any, *arguments: Any) -> Any:
        steps[0] += 1
        if steps[0] == 7:
            raise StoppedError
        return original(self, *arguments)

    often = EXECUTION.model_copy(update={"state_every_seconds": 0.0, "state_gap_seconds": 0.0, "log_every": 1})
    with monkeypatch.context() as patched:
        patched.setattr(engine.Trainer, "step", step)
        with pytest.raises(StoppedError):
            pretrain(recipes[1], digits_store, tmp_path, often)
    computed: list[str] = []
    monkeypatch.setattr(module, "spherical_k_means", lambda *_: computed.append("again"))
    pretrain(recipes[1], digits_store, tmp_path, EXECUTION)
    assert computed == []  # the labels are in the state
    assert (tmp_path / "backbone.safetensors").read_bytes() == (folder / "1" / "backbone.safetensors").read_bytes()


def test_changed_earlier_runs_are_rejected(chain: Any, digits_store: Store, tmp_path: Path) -> None:
    folder, _ = chain
    sha256 = read_run(folder / "0" / "run.json")["backbone_sha256"]
    assert open_earlier(str(folder / "0"), digits_store.checksum, sha256).sha256 == sha256
    with pytest.raises(UserError, match="trained on other data"):
        open_earlier(str(folder / "0"), "0" * 64)
    with pytest.raises(UserError, match="train the run and the later stages again"):
        open_earlier(str(folder / "0"), digits_store.checksum, "0" * 64)
    with pytest.raises(UserError, match=r"run\.json"):
        open_earlier(str(tmp_path), digits_store.checksum)


def test_an_evaluation_gets_the_earlier_backbones(chain: Any) -> None:
    folder, _ = chain
    runs = [read_run(folder / number / "run.json") for number in ("0", "2")]
    assert earlier_backbones(runs[0]) == ()
    for number, backbone in enumerate(earlier_backbones(runs[1])):
        saved = load_file(folder / str(number) / "backbone.safetensors")
        assert all(torch.equal(value, saved[name]) for name, value in backbone.network.state_dict().items())


STUDY = """
study: s
data: {{digits: {{source: digits, image_size: 32}}, other: {{source: digits, image_size: 16}}}}
backbones: {{b: {{name: resnet10t_half, image_size: 32}}}}
augmentations: {{v: {{name: baug, global_size: 32, local_views: 0}}}}
methods: {{first: {{baseline: {{name: simclr}}}}, second: {{baseline: {{name: simclr}}}}}}
pretrainings:
  - {{data: digits, backbones: [b], methods: [first], augmentations: [v], seeds: [0, 1]}}
  - data: {data}
    backbones: [b]
    methods: [second]
    augmentations: [v]
    seeds: [0, 1]
    stage: {{after: ["{after}"]}}
evaluations: {{stages: {{}}, linear: {{}}}}
paper: [table_1]
"""


@pytest.mark.parametrize(
    ("data", "after", "words"),
    [
        ("digits", "digits/b/first/v/seed{seed}", None),
        ("digits", "digits/b/frist/v/seed{seed}", "has no run digits/b/frist/v/seed0; nearest: digits/b/first/v/seed0"),
        ("other", "digits/b/first/v/seed{seed}", "digits/b/first/v/seed0 is trained on digits, not on other"),
        ("digits", "digits/b/second/v/seed{seed}", "is not an earlier run"),
    ],
)
def test_earlier_runs_of_the_study_are_checked(tmp_path: Path, data: str, after: str, words: str | None) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(STUDY.format(data=data, after=f"results/s/runs/{after}"), encoding="utf-8")
    if words is None:
        recipe = load_study(path).recipe("digits/b/second/v/seed1")
        assert recipe.earlier_files[0] == "results/s/runs/digits/b/first/v/seed1/backbone.safetensors"
        return
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert words in str(caught.value)
