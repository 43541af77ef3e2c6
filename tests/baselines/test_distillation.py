"""The single-pass losses against the authors' double loop over pairs, rewritten in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss
from torch import Tensor

from clever.baselines.distillation import cosine, count_pairs, cross_entropy, teacher_distribution

STUDENT, TEACHER = 0.1, 0.04
Loss = Callable[..., Tensor]


def pair_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    return -(target * F.log_softmax(logits, dim=-1)).sum(-1).mean()


def pair_cosine(target: Tensor, logits: Tensor) -> Tensor:
    return F.cosine_similarity(target, F.softmax(logits, dim=-1), dim=1).mean().abs()


def reference(
    loss: Loss, student: Sequence[Tensor], teacher: Sequence[Tensor], centre: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Value and gradients of the double loop, in float64, for the same inputs as the loss."""
    pair = {cross_entropy: pair_cross_entropy, cosine: pair_cosine}[loss]
    leaves = [view.detach().double().requires_grad_() for view in student]
    total, pairs = torch.zeros((), dtype=torch.float64), 0
    for q, view in enumerate(teacher):
        target = F.softmax((view.detach().double() - centre.double()) / TEACHER, dim=-1)
        for v, leaf in enumerate(leaves):
            if v != q:
                total, pairs = total + pair(target, leaf / STUDENT), pairs + 1
    total = total / pairs
    # If the only student view is the teacher's crop, it belongs to no pair.
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    return total.detach(), tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)
    )


def ours(
    loss: Loss, student: Sequence[Tensor], teacher: Sequence[Tensor], centre: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    leaves = [view.detach().clone().requires_grad_() for view in student]
    value = loss(leaves, teacher, centre, student_temperature=STUDENT, teacher_temperature=TEACHER)
    return value.detach(), torch.autograd.grad(value, leaves)


def views(count: int, rows: int, width: int, scale: float = 1.0, seed: int = 0) -> list[Tensor]:
    """Logits in [-scale, scale], like cosines."""
    draw = torch.Generator().manual_seed(seed)
    return [(torch.rand(rows, width, generator=draw) * 2 - 1) * scale for _ in range(count)]


def centre_of(width: int) -> Tensor:
    return views(1, 1, width, 0.3, seed=9)[0]


def check(
    loss: Loss,
    student: list[Tensor],
    teacher: list[Tensor],
    centre: Tensor,
    tolerance: float = 1e-5,
    saturated: bool = False,
) -> None:
    """``saturated``: distributions with a single peak, whose gradient is the small remainder of large summands."""
    value, gradients = ours(loss, student, teacher, centre)
    expected, expected_gradients = reference(loss, student, teacher, centre)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=1e-9)
    for view, got, want in zip(student, gradients, expected_gradients, strict=True):
        assert got.dtype == view.dtype
        # Entries far smaller than the largest one are differences of nearly equal numbers.
        scale = 1 / (STUDENT * len(view)) if saturated else want.abs().max().item()
        torch.testing.assert_close(got.double(), want, rtol=10 * tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
@pytest.mark.parametrize(
    ("student_views", "teacher_views", "rows", "width"),
    [
        (2, 2, 5, 7),
        (3, 2, 1, 4),
        (10, 2, 4, 33),
        (2, 1, 3, 5),
        (10, 1, 3, 16),
        (3, 3, 4, 6),
        (10, 2, 6, 65536),  # two blocks; the last one is short
        (2, 2, 3, 300_001),  # a row longer than a block
    ],
)
def test_value_and_gradient_equal_the_double_loop(
    loss: Loss, student_views: int, teacher_views: int, rows: int, width: int
) -> None:
    student = views(student_views, rows, width, seed=1)
    teacher = views(teacher_views, rows, width, seed=2)
    check(loss, student, teacher, centre_of(width), tolerance=2e-5)


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_teachers_that_resemble_the_students(loss: Loss) -> None:
    student = views(4, 5, 40, seed=1)
    teacher = [view + 0.05 * noise for view, noise in zip(student[:2], views(2, 5, 40, seed=3), strict=True)]
    check(loss, student, teacher, torch.zeros(1, 40))


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
@pytest.mark.parametrize(("scale", "width"), [(1e-6, 50), (1.0, 2), (30.0, 50), (1e4, 50)])
def test_extreme_logits_stay_finite_and_exact(loss: Loss, scale: float, width: int) -> None:
    student, teacher = views(3, 4, width, scale, seed=1), views(2, 4, width, scale, seed=2)
    check(loss, student, teacher, centre_of(width), tolerance=1e-5, saturated=True)


def test_orthogonality_is_zero_for_disjoint_supports_and_one_for_equal_distributions() -> None:
    peak = 100 * F.one_hot(torch.tensor([0, 1, 2]), 6).float()
    other = 100 * F.one_hot(torch.tensor([3, 4, 5]), 6).float()
    zero = torch.zeros(1, 6)
    disjoint, gradients = ours(cosine, [peak, peak], [other, other], zero)
    assert disjoint == 0
    assert all(torch.equal(g, torch.zeros(3, 6)) for g in gradients)
    equal, _ = ours(cosine, [peak, peak], [peak, peak], zero)
    assert equal == pytest.approx(1.0, abs=1e-6)


def test_cross_entropy_of_uniform_distributions_is_the_logarithm_of_the_width() -> None:
    flat = [torch.full((3, 65536), 0.25)] * 2
    value, gradients = ours(cross_entropy, flat, flat, torch.zeros(1, 65536))
    assert value == pytest.approx(math.log(65536), rel=1e-6)
    assert all(gradient.abs().max() < 1e-9 for gradient in gradients)


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_bfloat16_logits_add_only_their_own_rounding(loss: Loss) -> None:
    student = [view.bfloat16() for view in views(4, 6, 300, seed=1)]
    teacher = [view.bfloat16() for view in views(2, 6, 300, seed=2)]
    centre = centre_of(300)
    value, gradients = ours(loss, student, teacher, centre)
    expected, expected_gradients = reference(loss, student, teacher, centre)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    for got, want in zip(gradients, expected_gradients, strict=True):
        assert got.dtype == torch.bfloat16
        # bfloat16 has 8 bits: half a unit in the last place is 2**-9; counted twice, because the factor 1 / (pairs x
        # rows) is rounded too.
        torch.testing.assert_close(got.double(), want, rtol=2**-8, atol=1e-6 * want.abs().max().item())


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_the_gradient_equals_central_differences(loss: Loss) -> None:
    """Central differences along every single logit. autograd.gradcheck cannot be used, because it runs backward
    twice."""
    student, teacher, centre = views(3, 3, 6, seed=1), views(2, 3, 6, seed=2), centre_of(6)
    step = 1e-2

    def value(moved: Tensor, view: int) -> Tensor:
        changed = [*student[:view], moved, *student[view + 1 :]]
        return loss(changed, teacher, centre, student_temperature=1.0, teacher_temperature=0.5).double()

    for view, logits in enumerate(student):
        leaf = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(leaf, view), leaf)
        directions = torch.eye(logits.numel()).reshape(-1, *logits.shape)
        slopes = [(value(logits + step * d, view) - value(logits - step * d, view)) / (2 * step) for d in directions]
        torch.testing.assert_close(torch.stack(slopes).reshape(logits.shape).float(), gradient, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_the_incoming_gradient_scales_the_outgoing_one(loss: Loss) -> None:
    student, teacher, centre = views(3, 4, 9, seed=1), views(2, 4, 9, seed=2), centre_of(9)
    _, gradients = ours(loss, student, teacher, centre)
    leaves = [view.clone().requires_grad_() for view in student]
    value = loss(leaves, teacher, centre, student_temperature=STUDENT, teacher_temperature=TEACHER)
    (-2.5 * value).backward()
    for leaf, gradient in zip(leaves, gradients, strict=True):
        torch.testing.assert_close(leaf.grad, -2.5 * gradient)


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_a_second_backward_pass_is_refused(loss: Loss) -> None:
    leaves = [view.requires_grad_() for view in views(2, 3, 5)]
    value = loss(leaves, views(2, 3, 5, seed=2), torch.zeros(1, 5), student_temperature=0.1, teacher_temperature=0.1)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="single backward"):
        value.backward()


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_teacher_and_centre_get_no_gradient_and_inputs_are_unchanged(loss: Loss) -> None:
    student = [view.requires_grad_() for view in views(3, 4, 9, seed=1)]
    teacher = [view.requires_grad_() for view in views(2, 4, 9, seed=2)]
    centre = centre_of(9).requires_grad_()
    copies = [tensor.detach().clone() for tensor in (*student, *teacher, centre)]
    loss(student, teacher, centre, student_temperature=0.1, teacher_temperature=0.04).backward()
    assert all(view.grad is not None for view in student)
    assert all(tensor.grad is None for tensor in (*teacher, centre))
    assert all(torch.equal(a, b) for a, b in zip((*student, *teacher, centre), copies, strict=True))


@pytest.mark.parametrize("loss", [cross_entropy, cosine])
def test_a_student_view_without_gradient_is_left_out_of_the_backward_pass(loss: Loss) -> None:
    student, teacher, centre = views(3, 4, 9, seed=1), views(2, 4, 9, seed=2), centre_of(9)
    _, gradients = ours(loss, student, teacher, centre)
    student[2].requires_grad_()
    loss(student, teacher, centre, student_temperature=STUDENT, teacher_temperature=TEACHER).backward()
    torch.testing.assert_close(student[2].grad, gradients[2])
    assert student[0].grad is None


def test_cross_entropy_equals_lightly() -> None:
    lightly = DINOLoss(
        output_dim=80,
        warmup_teacher_temp=TEACHER,
        teacher_temp=TEACHER,
        warmup_teacher_temp_epochs=1,
        student_temp=STUDENT,
    )
    centre = centre_of(80)
    lightly.center.copy_(centre.reshape(lightly.center.shape))
    student = [view.requires_grad_() for view in views(6, 5, 80, seed=1)]
    teacher = views(2, 5, 80, seed=2)
    expected = lightly(teacher, student, epoch=3)
    value = cross_entropy(student, teacher, centre, student_temperature=STUDENT, teacher_temperature=TEACHER)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    theirs = torch.autograd.grad(expected, student)
    for got, want in zip(torch.autograd.grad(value, student), theirs, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-7)


def test_teacher_distribution() -> None:
    logits, centre = views(1, 4, 30, seed=2)[0].requires_grad_(), centre_of(30)
    got = teacher_distribution(logits.bfloat16(), centre, TEACHER)
    assert got.dtype == torch.float32
    assert not got.requires_grad
    expected = F.softmax((logits.detach().bfloat16().double() - centre.double()) / TEACHER, dim=-1)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(("teachers", "students", "pairs"), [(2, 10, 18), (2, 2, 2), (1, 2, 1), (2, 3, 4)])
def test_count_pairs(teachers: int, students: int, pairs: int) -> None:
    assert count_pairs(teachers, students) == pairs
    assert pairs == sum(q != v for q in range(teachers) for v in range(students))
