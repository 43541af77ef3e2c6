"""The miniature study of the tests: one tiny run on scikit-learn's digits, complete and quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

MINIATURE = """\
study: mini
data:
  digits: {source: digits, image_size: 32, train_limit: 60, test_limit: 40}
backbones:
  tiny: {name: resnet10t_half, image_size: 32}
augmentations:
  caug: {name: caug, global_size: 32, local_size: 16, local_views: 1}
methods:
  dino+clever:
    baseline: {name: dino, out_dim: 16, hidden_dim: 16, bottleneck_dim: 8, momentum: 0.5}
    equivariance: {name: clever}
pretrainings:
  - data: digits
    backbones: [tiny]
    methods: [dino+clever]
    augmentations: [caug]
    optimisation: {epochs: 1, batch_size: 20, warmup_epochs: 0}
controls: [untrained]
evaluations:
  linear: {perturbations: [orig, rot180], training_views: plain, epochs: 2}
"""
RUN = "digits/tiny/dino+clever/caug/seed0"
"""Its only run."""

_SMALL = {
    "data": {"digits": {"image_size": 16}},
    "backbones": {"tiny": {"image_size": 16}},
    "augmentations": {"caug": {"global_size": 16, "local_size": 8}},
}


def changed(study: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the changes into the study: mappings are merged key by key, None removes a key, and other values replace.

    Args:
        study: a study as read from YAML.
        changes: the same keys as a study; ``pretraining`` is merged into the only block of ``pretrainings``.
    """
    found = dict(study)
    for key, change in changes.items():
        if key == "pretraining" and "pretrainings" in study:
            (block,) = study["pretrainings"]
            found["pretrainings"] = [changed(block, change)]
        elif change is None:
            found.pop(key, None)
        elif isinstance(change, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = changed(found[key], change)
        else:
            found[key] = change
    return found


def miniature(*, small: bool = False, **changes: Any) -> str:
    """The miniature study as YAML with changes.

    Args:
        small: 16 px instead of 32, and no local views.
        changes: top-level keys, merged as by :func:`changed`.
    """
    study = yaml.safe_load(MINIATURE)
    if small:
        study = changed(study, changed(_SMALL, {"augmentations": {"caug": {"local_views": 0}}}))
    return yaml.safe_dump(changed(study, changes), sort_keys=False, allow_unicode=True)
