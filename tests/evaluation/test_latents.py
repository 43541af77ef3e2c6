"""Linear regression of a store's latents: against scikit-learn, full-batch LBFGS, and images that show the latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import Ridge
from torch import Tensor

from clever import spirograph
from clever.backbones import Backbone
from clever.data import DataOptions, Store, prepare
from clever.errors import UserError
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.latents import evaluate
from clever.evaluation.options.latents import LatentsOptions
from clever.evaluation.regression import ridge
from clever.results.records import Record, RunIdentity

from .subjects import subject_of
from .toys import TwoParts, coloured

REHEARSALS = [("resnet10t_half", {})]
WAITS = {
    "evaluation/latents.py:evaluate": "features go to the device; scores",
    "evaluation/regression.py:ridge": "a decomposition",
}

CPU = torch.device("cpu")
RUN = RunIdentity("spirograph", "corner", "gradient", "spirograph", 0)


@pytest.fixture(scope="module")
def spirographs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    options = DataOptions(source="spirograph", train_limit=300, test_limit=80)
    return prepare(options, tmp_path_factory.mktemp("spirograph") / "store", progress=False)


class Corner(Backbone):
    """[IR | EF] = [a random projection of the image to four numbers | the corner's colour, which is the background]."""

    def __init__(self) -> None:
        super().__init__("corner", 7)
        self.register_buffer("weight", torch.randn(3 * 32 * 32, 4, generator=torch.Generator().manual_seed(0)) / 50)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images.flatten(1) @ self.get_buffer("weight"), images[:, :, 0, 0]], 1)


def run(store: Store, **options: object) -> dict[tuple[str, str, str], Record]:
    chosen = LatentsOptions.model_validate(options)
    records = evaluate(subject_of(Corner(), store, ir_dim=4, identity=RUN), chosen)
    found = {(record.part, record.perturbation, record.metric): record for record in records}
    assert len(found) == len(records)
    return found


def metrics(*names: str) -> set[str]:
    return {f"{kind}_{name}" for kind in ("mse", "r2") for name in names} | {"mean_mse"}


def test_errors_equal_scikit_learn(spirographs: Store) -> None:
    records = run(spirographs, perturbations=["orig", "cj"])
    names = ("m", "b", "sigma", "rfore")
    assert {metric for _, _, metric in records} == metrics(*names)
    options = LatentsOptions(perturbations=["orig"])
    source = FeatureExtractor(subject_of(Corner(), spirographs), options, blocks=1, labelled=False)
    train = source.perturbed("train", "orig").double().numpy()
    train_latents, test_latents = (spirographs.split(split).latents for split in ("train", "test"))
    assert train_latents is not None
    assert test_latents is not None
    y, truth = train_latents[:, :4].double().numpy(), test_latents[:, :4].double().numpy()
    for part, where in (("ALL", slice(0, 7)), ("IR", slice(0, 4)), ("EF", slice(4, 7))):
        # A penalty of 1e-8 on a mean over 300 images and 4 targets is 1200e-8 on the sum.
        model = Ridge(alpha=1200e-8, solver="svd").fit(train[:, where], y)
        for perturbation in ("orig", "cj"):
            test = source.perturbed("test", perturbation).double().numpy()
            errors = ((model.predict(test[:, where]) - truth) ** 2).mean(0)
            for name, error, variance in zip(names, errors, truth.var(0), strict=True):
                assert records[part, perturbation, f"mse_{name}"].value == pytest.approx(error, rel=1e-6)
                assert records[part, perturbation, f"r2_{name}"].value == pytest.approx(1 - error / variance, abs=1e-6)
            assert records[part, perturbation, "mean_mse"].value == pytest.approx(errors.mean(), rel=1e-6)
    assert {(r.protocol, r.n, r.epoch, r.selection) for r in records.values()} == {("latents", 80, 0, "last")}


def test_the_closed_form_equals_full_batch_lbfgs() -> None:
    """The objective is the mean squared error over all entries plus reg ||W||^2, without a penalty on the bias."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 8, generator=generator).double() + 1.0
    targets = features @ torch.randn(8, 3, generator=generator).double() + torch.randn(60, 3, generator=generator)
    for weight_penalty in (1e-8, 0.3):
        layer = torch.nn.Linear(8, 3, dtype=torch.float64)
        solver = torch.optim.LBFGS(
            layer.parameters(), max_iter=2000, tolerance_grad=1e-13, tolerance_change=0.0, line_search_fn="strong_wolfe"
        )

        def loss(
            layer: torch.nn.Linear = layer, solver: torch.optim.Optimizer = solver, weight: float = weight_penalty
        ) -> Tensor:
            solver.zero_grad()
            value = torch.nn.functional.mse_loss(layer(features), targets) + weight * (layer.weight**2).sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        solver.step(loss)  # type: ignore[no-untyped-call]
        found = ridge(features, targets, [weight_penalty * targets.numel()])[0]
        torch.testing.assert_close(found.weight.t(), layer.weight.detach(), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.bias, layer.bias.detach(), rtol=1e-5, atol=1e-7)


def test_the_background_is_predicted_from_the_corner_unless_it_is_redrawn(spirographs: Store) -> None:
    targets = ["rback", "gback", "bback"]
    stored = run(spirographs, targets=targets)
    assert {metric for _, _, metric in stored} == metrics(*targets)
    for name in targets:
        # Grey levels are integers, and a curve may come close to the corner.
        assert stored["EF", "orig", f"r2_{name}"].value > 0.99
        assert stored["IR", "orig", f"r2_{name}"].value < 0.9
    again = run(spirographs, targets=targets, averaging={"count": 1, "augmentation": {"name": "spirograph"}})
    for name in targets:
        assert again["EF", "orig", f"r2_{name}"].value < 0.1


def test_averaging_over_nuisances_keeps_the_target(spirographs: Store) -> None:
    """The mean foreground over renderings no longer hides rfore, which is the target and not a nuisance."""
    once, often = (
        run(spirographs, targets=["rfore"], averaging={"count": count, "augmentation": {"name": "spirograph"}})
        for count in (1, 8)
    )
    assert often["ALL", "orig", "mse_rfore"].value < 0.8 * once["ALL", "orig", "mse_rfore"].value


def test_every_latent_can_be_a_target(spirographs: Store) -> None:
    records = run(spirographs, targets=list(spirograph.NAMES))
    assert {m for _, _, m in records if m.startswith("r2_")} == {f"r2_{name}" for name in spirograph.NAMES}
    mean = np.mean([records["ALL", "orig", f"mse_{name}"].value for name in spirograph.NAMES])
    assert records["ALL", "orig", "mean_mse"].value == pytest.approx(mean)


def test_a_latent_that_the_store_lacks_is_named(spirographs: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spirograph/corner/.*: targets: .* no latent sigmo; did you mean 'sigma'"):
        run(spirographs, targets=["sigmo"])
    with pytest.raises(UserError, match="targets: m is listed twice"):
        run(spirographs, targets=["m", "m"])
    options = LatentsOptions()
    with pytest.raises(UserError, match="its data have no latents"):
        evaluate(subject_of(TwoParts(), coloured(tmp_path, 3), identity=RUN), options)


def test_a_latent_that_does_not_vary_is_named(spirographs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    split = type(spirographs.split("test"))
    whole = split.__init__

    def flat(self: object, *arguments: object) -> None:
        whole(self, *arguments)  # type: ignore[arg-type]
        self.latents[:, 1] = 0.5  # type: ignore[attr-defined]

    monkeypatch.setattr(split, "__init__", flat)
    with pytest.raises(UserError, match="the latent b is the same in all test images"):
        run(spirographs)


@pytest.mark.parametrize("wrong", [{"targets": []}, {"penalty": 0.0}, {"perturbations": []}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LatentsOptions.model_validate(wrong)
