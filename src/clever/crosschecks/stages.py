"""Check that the earlier runs of a chain exist in the study that names them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clever.config import Study


def stage_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each earlier run in this study's results that is not a run of the study, or that used other
    data.

    Folders elsewhere are not checked, because another study may still write them. Views of pairs of photographs also
    give a fault, because they cannot be drawn by cluster.
    """
    recipes, own = study.recipes(), Path("results") / study.study / "runs"
    after = {
        run: [str(Path(folder).relative_to(own)) for folder in recipe.stage.after if Path(folder).is_relative_to(own)]
        for run, recipe in recipes.items()
        if recipe.stage is not None
    }
    for run, recipe in recipes.items():
        if recipe.stage is not None and recipe.augmentation is not None and recipe.augmentation.pairs:
            yield f"{run}: a stage draws batches by cluster, but augmentations.{recipe.augmentation_name} needs pairs"
    for run, earlier in after.items():
        for name in earlier:
            if name not in recipes:
                near = difflib.get_close_matches(name, recipes, n=1, cutoff=0.0)
                yield f"stage.after of {run}: the study has no run {name}; nearest: {near[0]}"
            elif recipes[name].data != recipes[run].data:
                yield f"stage.after of {run}: {name} is trained on {recipes[name].data}, not on {recipes[run].data}"
            elif name == run or run in after.get(name, []):
                yield f"stage.after of {run}: {name} is not an earlier run, because it waits for this one"
