from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from clever import spirograph
from clever.augmentation.options.spirograph import SpirographViewOptions
from clever.augmentation.options.views import ExtraView
from clever.augmentation.spirograph import SpirographViews
from clever.augmentation.views import View
from clever.errors import UserError
from clever.randomness import make_generator
from clever.spirograph_images import draw, render

MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)
COUNT = 5


def maker(**options: Any) -> SpirographViews:
    return SpirographViews(SpirographViewOptions(**options), MEAN, STD)


def known(count: int = COUNT) -> Tensor:
    return draw(count, make_generator(0, "latents")).float()


def views(made: SpirographViews, seed: int = 0, pixel: int = 0, **asked: Any) -> list[View]:
    pixels = torch.full((COUNT, 3, 32, 32), pixel, dtype=torch.uint8)
    sizes = torch.full((COUNT, 2), 32)
    tables = made.draw(sizes, make_generator(seed, "views"))
    return made.apply(pixels, sizes, tables, **({"latents": known()} | asked))


def expected(latents: Tensor, view: View) -> Tensor:
    """The normalised images in float64, with each number taken from the source it should come from."""
    columns: dict[str, Tensor] = dict(zip(spirograph.NAMES, latents.double().unbind(1), strict=True))
    columns |= {name: column.double() for name, column in view.parameters.items()}
    images = render(torch.stack([columns[name] for name in spirograph.NAMES], 1))
    return (images - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)


@pytest.mark.parametrize("nuisances", [spirograph.NUISANCES, ("bback", "m", "rfore"), ("sigma",)])
def test_views_draw_the_data_parameters_with_fresh_nuisances(nuisances: tuple[str, ...]) -> None:
    made = maker(nuisances=nuisances)
    assert made.kinds == ["global", "global"]
    found = views(made)
    for view in found:
        assert view.images.dtype == torch.float32
        assert set(view.parameters) == set(nuisances)
        assert view.sizes.tolist() == [[32, 32]] * COUNT
        assert view.differentiable is None
        # The images' float32 error of 1e-4, divided by the smallest standard deviation.
        torch.testing.assert_close(view.images.double(), expected(known(), view), rtol=0, atol=5e-4)
        for number, name in enumerate(spirograph.NAMES):
            if name in nuisances:
                assert not torch.equal(view.parameters[name], known()[:, number])
    for fresh in nuisances:
        assert (found[0].parameters[fresh] != found[1].parameters[fresh]).all()


def test_stored_pixels_are_not_used() -> None:
    for dark, bright in zip(views(maker(), pixel=0), views(maker(), pixel=255), strict=True):
        assert torch.equal(dark.images, bright.images)


def test_convolutions_get_their_layout() -> None:
    made = SpirographViews(SpirographViewOptions(), MEAN, STD, channels_last=True)
    for view, plain in zip(views(made), views(maker()), strict=True):
        assert view.images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(view.images, plain.images)


def test_an_image_gets_the_same_nuisances_on_any_number_of_processes() -> None:
    made = maker()
    alone = made.draw(torch.full((6, 2), 32), make_generator(0, "views"))
    for share in range(3):
        tables = made.draw(torch.full((2, 2), 32), make_generator(0, "views"), share, 3)
        for whole, table in zip(alone, tables, strict=True):
            for name, column in table.items():
                assert column.dtype == torch.float32
                assert torch.equal(column, whole[name][2 * share : 2 * share + 2])
    fresh = made.redraw(6, 4, make_generator(1, "again"))
    assert fresh.shape == (4, 6, 6)
    assert torch.equal(made.redraw(3, 4, make_generator(1, "again"), 1, 2), fresh[:, 3:])


def test_redrawn_nuisances_follow_their_distributions() -> None:
    made = maker(nuisances=("h", "gback"))
    fresh = made.redraw(500, 20, make_generator(0, "again"))
    assert fresh.dtype == torch.float32
    for column, name in zip(fresh.unbind(2), ("h", "gback"), strict=True):
        low, high = spirograph.RANGES[name]  # type: ignore[index]
        share = ((column.flatten() - low) / (high - low)).sort().values
        assert share[0] >= 0
        assert share[-1] <= 1 + 1e-6
        assert (share - torch.arange(10000) / 10000).abs().max() < 1.95 / math.sqrt(10000)
    assert len(set(fresh.flatten().tolist())) > 19900


def test_gradients_reach_the_nuisances_of_the_first_view() -> None:
    made = maker(nuisances=("h", "gfore", "sigma"))
    with torch.no_grad():  # callers that make views need not enable gradients
        first, second = views(made, differentiable=True)
    leaf = first.differentiable
    assert leaf is not None
    assert leaf.is_leaf
    assert leaf.requires_grad
    assert torch.equal(leaf.detach(), torch.stack([first.parameters[name] for name in ("h", "gfore", "sigma")], 1))
    assert second.differentiable is None
    assert not second.images.requires_grad
    assert not any(column.requires_grad for column in first.parameters.values())
    for plain, view in zip(views(made), (first, second), strict=True):
        torch.testing.assert_close(view.images.detach(), plain.images)

    weights = torch.randn(first.images.shape, generator=make_generator(0, "weights"))
    (gradient,) = torch.autograd.grad((first.images * weights).sum(), leaf, create_graph=True)
    step = 1e-6
    for number, name in enumerate(("h", "gfore", "sigma")):
        totals = []
        for change in (-step, step):
            moved = View(
                first.images, first.parameters | {name: first.parameters[name].double() + change}, "global", first.sizes
            )
            totals.append((expected(known(), moved) * weights).sum((1, 2, 3)))
        finite = (totals[1] - totals[0]) / (2 * step)
        torch.testing.assert_close(gradient[:, number].double(), finite, rtol=2e-3, atol=2e-2)
    # A gradient regulariser needs the second derivative.
    (twice,) = torch.autograd.grad(gradient.square().sum(), leaf)
    assert twice.isfinite().all()
    assert (twice != 0).any()


def test_vectors_are_standardised_nuisances() -> None:
    made = maker(nuisances=("rback", "h"))
    assert made.space.names == made.space.relative_names == ("rback", "h")
    one = View(
        torch.empty(0), {"h": torch.tensor([0.5, 1.5]), "rback": torch.tensor([0.6, 0.3])}, "global", torch.empty(0)
    )
    other = View(
        torch.empty(0), {"h": torch.tensor([2.5, 1.5]), "rback": torch.tensor([0.6, 0.0])}, "global", torch.empty(0)
    )
    root = math.sqrt(3)
    torch.testing.assert_close(made.space.vector(one), torch.tensor([[root, -root], [0.0, 0.0]]))
    torch.testing.assert_close(made.space.relative(one, other), torch.tensor([[0.0, 2 * root], [-root, 0.0]]))
    sizes = torch.full((20000, 2), 32)
    table = made.draw(sizes, make_generator(0, "many"))[0]
    vector = made.space.vector(View(torch.empty(0), table, "global", sizes))
    assert vector.mean(0).abs().max() < 0.03
    assert (vector.std(0) - 1).abs().max() < 0.02


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"latents": None}, "needs latents [5, 10], not none; prepare data of source spirograph"),
        ({"latents": torch.zeros(5, 7)}, "needs latents [5, 10], not [5, 7]"),
        ({"latents": torch.zeros(4, 10)}, "needs latents [5, 10], not [4, 10]"),
    ],
)
def test_data_without_spirograph_latents_are_rejected(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        views(maker(), **asked)
    assert message in str(caught.value)


def test_tables_that_do_not_fit_are_refused() -> None:
    made = maker()
    pixels, sizes = torch.zeros(COUNT, 3, 32, 32, dtype=torch.uint8), torch.full((COUNT, 2), 32)
    tables = made.draw(sizes, make_generator(0, "views"))
    short = made.draw(sizes[1:], make_generator(0, "views"))
    for wrong in (tables[:1], short, [tables[0], {"h": tables[1]["h"]}]):
        with pytest.raises(UserError, match="needs 2 tables of 5 rows of h, rback"):
            made.apply(pixels, sizes, wrong, latents=known())
    with pytest.raises(UserError, match="cannot make plain"):
        SpirographViews(SpirographViewOptions(), MEAN, STD, False, [ExtraView("plain")])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"nuisances": []}, "at least 1"),
        ({"nuisances": ["h", "h"]}, "h is listed more than once"),
        ({"nuisances": ["hue"]}, "Input should be"),
        ({"nuisances": list(spirograph.NAMES)}, "leave one out"),
        ({"global_size": 64}, "32"),
        ({"local_views": 2}, "0"),
    ],
)
def test_invalid_options_are_rejected(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SpirographViewOptions(**keys)
