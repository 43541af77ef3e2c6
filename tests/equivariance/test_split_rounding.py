"""``split_rounding``: the boundary between IR and EF if the ratio does not give a whole number of features."""

from __future__ import annotations

import pytest

from clever.baselines.options.simclr import SimclrOptions
from clever.baselines.simclr import Simclr
from clever.equivariance import Objective
from clever.equivariance.clever import Clever
from clever.equivariance.ddcl import Ddcl
from clever.equivariance.options.clever import CleverOptions
from clever.equivariance.options.ddcl import DdclOptions


@pytest.mark.parametrize("name", ["ddcl", "clever"])
@pytest.mark.parametrize(("settings", "boundary"), [({}, 409), ({"split_rounding": "nearest"}, 410)])
def test_the_parts_and_their_heads_follow(name: str, settings: dict[str, str], boundary: int) -> None:
    """0.8 of a ResNet-18's 512 features are 409.6."""
    add_on = (
        Ddcl(DdclOptions.model_validate(settings), feature_dim=512)
        if name == "ddcl"
        else Clever(CleverOptions.model_validate(settings), feature_dim=512)
    )
    assert add_on.split is not None
    assert (add_on.split.ir_dim, add_on.split.ef_dim) == (boundary, 512 - boundary)
    objective = Objective(add_on, lambda _: Simclr(SimclrOptions(hidden_dim=8, out_dim=4)))
    assert objective.parts == {"IR": slice(0, boundary), "EF": slice(boundary, 512)}
    widths = {name: next(head.parameters()).shape[1] for name, head in objective.make_heads().items()}
    assert widths == {"IR": boundary, "EF": 512 - boundary}
