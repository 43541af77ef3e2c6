"""Ridge regression against scikit-learn, and its choice of a penalty against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error as sklearn_mean_squared_error
from sklearn.metrics import r2_score
from torch import Tensor

from clever.evaluation.regression import _held_out, mean_squared_error, r2, ridge, ridge_selected
from clever.randomness import make_generator


def problem(n: int, width: int, noise: float = 0.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, width, generator=generator) @ torch.randn(width, width, generator=generator) + 3.0
    weight = torch.randn(width, 3, generator=generator)
    return features, features @ weight + 20.0 + noise * width * torch.randn(n, 3, generator=generator)


@pytest.mark.parametrize(("n", "width"), [(200, 12), (40, 90), (50, 50)], ids=["tall", "wide", "square"])
def test_ridge_equals_scikit_learn(n: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clever.evaluation.regression._CHUNK_ROWS", 17)
    features, targets = problem(n, width)
    penalties = [0.01, 10.0, 1e4]
    for penalty, found in zip(penalties, ridge(features, targets, penalties), strict=True):
        oracle = Ridge(alpha=penalty, solver="svd").fit(features.double().numpy(), targets.double().numpy())
        np.testing.assert_allclose(found.weight.numpy().T, oracle.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.bias.numpy(), oracle.intercept_, rtol=1e-6)
        np.testing.assert_allclose(
            found(features).numpy(), oracle.predict(features.double().numpy()), rtol=1e-8, atol=1e-6
        )


def test_dead_and_repeated_features_do_no_harm() -> None:
    features, targets = problem(100, 5)
    redundant = torch.cat([features, features, torch.zeros(100, 4), torch.full((100, 1), 7.0)], 1)
    plain, found = ridge(features, targets, [1e-6])[0], ridge(redundant, targets, [1e-6])[0]
    torch.testing.assert_close(found(redundant), plain(features), rtol=1e-6, atol=1e-5)
    assert not found.weight[10:].abs().max() > 1e-9


def test_each_target_gets_the_penalty_that_predicts_held_out_images_best() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.arange(60).repeat(2)
    features = torch.randn(120, 30, generator=generator)
    # The first target is a noise-free function of the features; the second one is almost pure noise.
    targets = torch.stack([features[:, 0], 0.1 * features[:, 1] + torch.randn(120, generator=generator)], 1)
    penalties = [1e-6, 1e-2, 10.0]
    found = ridge_selected(features, targets, images, penalties, make_generator(4, "held out"))
    held_out = _held_out(images, make_generator(4, "held out")).numpy()
    assert held_out.sum() == 24
    assert (held_out[:60] == held_out[60:]).all()
    x, y = features.double().numpy(), targets.double().numpy()
    chosen = []
    for target in range(2):
        errors = []
        for penalty in penalties:
            model = Ridge(alpha=penalty * 96).fit(x[~held_out], y[~held_out, target])
            errors.append(((model.predict(x[held_out]) - y[held_out, target]) ** 2).mean())
        chosen.append(penalties[int(np.argmin(errors))])
        oracle = Ridge(alpha=chosen[-1] * 120).fit(x, y[:, target])
        np.testing.assert_allclose(found.weight[:, target].numpy(), oracle.coef_, rtol=1e-6, atol=1e-9)
        assert float(found.bias[target]) == pytest.approx(oracle.intercept_, abs=1e-9)
    assert chosen[0] < chosen[1]


def test_only_some_images_are_held_out() -> None:
    assert _held_out(torch.tensor([5, 9]), make_generator(0)).sum() == 1
    assert _held_out(torch.tensor([5, 5, 9]), make_generator(0)).sum() in (1, 2)
    assert _held_out(torch.arange(10), make_generator(0)).sum() == 2


def test_scores_equal_scikit_learn() -> None:
    predictions, targets = problem(50, 3, seed=1)[1], problem(50, 3, seed=2)[1]
    np.testing.assert_allclose(
        r2(predictions, targets).numpy(),
        r2_score(targets.double().numpy(), predictions.double().numpy(), multioutput="raw_values"),
    )
    np.testing.assert_allclose(
        mean_squared_error(predictions, targets).numpy(),
        sklearn_mean_squared_error(targets.double().numpy(), predictions.double().numpy(), multioutput="raw_values"),
    )
    assert r2(targets, targets).tolist() == [1.0] * 3
