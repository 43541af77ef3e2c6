"""The health of a representation against closed forms, and the messages for a collapse."""

from __future__ import annotations

import math

import pytest
import torch

from clever.pretraining.diagnostics import HEALTHY, assess, diagnose_features, effective_rank, feature_std


def orthonormal(rows: int, columns: int) -> torch.Tensor:
    """A matrix [rows, columns] with orthonormal columns of mean zero."""
    noise = torch.randn(rows, columns + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[:, 0] = 1
    q, _ = torch.linalg.qr(noise)
    return q[:, 1:]


def test_effective_rank_of_equal_and_of_given_singular_values() -> None:
    assert effective_rank(orthonormal(40, 6)).item() == pytest.approx(6, rel=1e-9)
    scaled = orthonormal(40, 3) * torch.tensor([4.0, 2.0, 2.0], dtype=torch.float64)
    entropy = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    assert effective_rank(scaled).item() == pytest.approx(math.exp(entropy), rel=1e-9)


def test_effective_rank_ignores_the_mean_and_the_scale() -> None:
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    assert effective_rank(1e-3 * features + 50).item() == pytest.approx(effective_rank(features).item(), rel=1e-3)


def test_effective_rank_of_a_line_and_of_a_point() -> None:
    line = torch.linspace(-1, 1, 20).unsqueeze(1) * torch.ones(1, 8)
    assert effective_rank(line).item() == pytest.approx(1, abs=1e-6)
    assert effective_rank(torch.ones(20, 8)).item() == 1


def test_feature_std_of_isotropic_and_of_equal_features() -> None:
    isotropic = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_std(isotropic).item() == pytest.approx(1, rel=0.01)
    assert feature_std(7 * isotropic).item() == pytest.approx(feature_std(isotropic).item(), rel=1e-5)
    assert feature_std(torch.ones(50, 64)).item() == pytest.approx(0, abs=1e-6)


def test_feature_std_of_two_opposite_rows() -> None:
    # The unit rows are (3, 4)/5 and its opposite: their standard deviations are sqrt(2) * 3/5 and sqrt(2) * 4/5, times
    # sqrt(D) = sqrt(2).
    features = torch.tensor([[3.0, 4.0], [-6.0, -8.0]])
    assert feature_std(features).item() == pytest.approx(math.sqrt(2) * math.sqrt(2) * 0.7, rel=1e-6)


def test_features_are_diagnosed_part_by_part() -> None:
    first = torch.randn(30, 10, generator=torch.Generator().manual_seed(0))
    second = first.clone()
    second[:, 8:] *= -1
    parts = {"all": slice(0, 10), "IR": slice(0, 8), "EF": slice(8, 10)}
    values = diagnose_features(parts, [first, second, torch.full((30, 10), torch.nan)])
    assert set(values) == {
        f"{kind}_{part}" for kind in ("feature_std", "effective_rank", "view_cosine") for part in ("all", "ir", "ef")
    }
    assert values["view_cosine_ir"] == pytest.approx(1)
    assert values["view_cosine_ef"] == pytest.approx(-1)
    for part, columns in parts.items():
        assert values[f"feature_std_{part.lower()}"] == pytest.approx(feature_std(first[:, columns]).item())
        assert values[f"effective_rank_{part.lower()}"] == pytest.approx(effective_rank(first[:, columns]).item())


GOOD = {
    "teacher_entropy_ratio": 0.6,
    "teacher_student_divergence_ratio": 0.1,
    "feature_std_all": 0.8,
    "feature_std_ir": 0.8,
    "feature_std_ef": 0.5,
    "effective_rank_all": 30.0,
    "effective_rank_ir": 25.0,
    "effective_rank_ef": 6.0,
    "loss": 6.0,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, HEALTHY),
        (
            {"teacher_entropy_ratio": 0.999, "teacher_student_divergence_ratio": 1e-4},
            "teacher collapsed to the uniform distribution",
        ),
        ({"teacher_entropy_ratio": 0.001, "teacher_student_divergence_ratio": 1e-4}, "teacher collapsed to one output"),
        # A run at its start, nearly uniform but still far from converged; and a good run with moderate entropy.
        ({"teacher_entropy_ratio": 0.999, "teacher_student_divergence_ratio": 0.2}, HEALTHY),
        ({"teacher_entropy_ratio": 0.5, "teacher_student_divergence_ratio": 1e-4}, HEALTHY),
        ({"effective_rank_ef": 1.2}, "EF collapsed to a line (effective rank 1.20)"),
        ({"feature_std_ir": 0.001}, "IR is the same for all images (std 0.0010)"),
        (
            {"feature_std_all": 0.0, "effective_rank_all": 1.0},
            "ALL is the same for all images (std 0.0000); ALL collapsed to a line (effective rank 1.00)",
        ),
    ],
)
def test_assessment(change: dict[str, float], words: str) -> None:
    assert assess(GOOD | change) == words


def test_a_method_without_a_teacher_is_assessed_by_its_features() -> None:
    assert assess({"loss": 1.0, "feature_std_all": 0.9, "effective_rank_all": 20.0}) == HEALTHY
    assert assess({"loss": 1.0, "feature_std_all": 0.0, "effective_rank_all": 20.0}) != HEALTHY
