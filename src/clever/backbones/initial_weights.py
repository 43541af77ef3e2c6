"""Initial weights for a backbone, from timm, the Hugging Face hub, a checkpoint or a finished run.

timm converts the formats that it knows (DINOv2, MAE, CLIP and others) and resizes positions and patch embeddings to the
backbone's grid. Tensors that match by name and shape are loaded; all others are listed and keep their initialisation.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor

from clever.backbones.backbone import Backbone
from clever.errors import UserError
from clever.parsing import foreign, read_json_object

LEAST_SHARE = 0.5
"""Share of the backbone's parameters that must be found; below it, the weights probably belong to another network."""
_WRAPPED_IN = ("teacher", "student", "model")
"""Keys under which training checkpoints store the network, in order of preference."""
_PREFIXES = ("module.", "backbone.", "network.")


@dataclass(frozen=True)
class InitialWeights:
    """What was loaded into a backbone, by the names of the backbone's tensors."""

    source: str
    sha256: str
    """SHA-256 of the names, shapes and bits of the loaded tensors."""
    loaded_share: float
    """Share of the backbone's parameters that was loaded, in (0, 1]."""
    resized: list[str]
    """Tensors loaded after resizing: positions, patch embeddings, tables of relative positions."""
    kept: list[str]
    """Tensors of the backbone that keep their initialisation, with the shape found in the source if it differs."""
    unused: list[str]
    """Tensors of the source without a counterpart, such as those of its classifier."""
    run: dict[str, Any] | None
    """If the source is a finished run, its ``run``, ``recipe_digest``, ``epochs``, ``backbone_sha256`` and its own
    ``initial_weights``, so that a chain of runs can be followed; else None."""

    def __str__(self) -> str:
        parts = [f"{100 * self.loaded_share:.4g} % of the parameters loaded from {self.source}"]
        for what, names in (("resized", self.resized), ("kept as initialised", self.kept), ("not used", self.unused)):
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            parts += [f"{what}: {', '.join(names[:8])}{more}"] if names else []
        return "; ".join(parts)


def load_initial_weights(backbone: Backbone, source: str) -> InitialWeights:
    """Load the matching tensors into a freshly built backbone on the CPU.

    Args:
        backbone: keeps its initialisation where no tensor matches.
        source: ``timm:NAME`` (with a tag if wanted, ``vit_small_patch16_224.dino``), ``hf-hub:OWNER/NAME``, or a
            path: a checkpoint, a run's folder, or a folder in the hub's layout (config.json and weights).

    Raises:
        UserError: the source does not exist, cannot be read, or contains less than half of the backbone's parameters.
    """
    found = _read(source)
    own = backbone._network_state()
    converted = _converted(backbone, found, source)
    fitting = {name: value for name, value in converted.items() if name in own and value.shape == own[name].shape}
    names = {name for name, _ in getattr(backbone, "network", backbone).named_parameters()}
    whole = sum(own[name].numel() for name in names)
    share = sum(fitting[name].numel() for name in names & fitting.keys()) / max(whole, 1)
    if share < LEAST_SHARE:
        raise UserError(
            f"{source}: only {100 * share:.3g} % of the parameters of backbone {backbone.name} are in it, by name and "
            "shape; choose weights of the same network, or another backbone"
        )
    backbone._load_network_state(own | {name: value.to(own[name].dtype) for name, value in fitting.items()})
    return InitialWeights(
        source=source,
        sha256=_digest(fitting),
        loaded_share=share,
        resized=sorted(n for n in fitting if n in found and found[n].shape != fitting[n].shape),
        kept=[_described(name, converted.get(name)) for name in own if name not in fitting],
        unused=sorted(name for name in converted if name not in own),
        run=_finished_run(source),
    )


def refusal(source: str) -> str | None:
    """The reason why timm cannot have these weights; None if it may have them, or if the source is not timm."""
    kind, _, name = source.partition(":")
    if kind != "timm":
        return None
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_pretrained(), n=3, cutoff=0.4)
        return f"{source}: timm has no model {name}; nearest: {', '.join(near) or 'none'}"
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the model exists, but not under this tag
        config = None
    if config is None or not config.has_weights:
        known = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        return f"{source}: timm has no such weights; for this model it has: {', '.join(known) or 'none'}"
    return None


def _described(name: str, found: Tensor | None) -> str:
    return name if found is None else f"{name} (found {'x'.join(map(str, found.shape))})"


def _read(source: str) -> dict[str, Tensor]:
    kind, _, name = source.partition(":")
    if reason := refusal(source):
        raise UserError(reason)
    if kind in ("timm", "hf-hub"):
        return _created(name if kind == "timm" else source, source, "could not be fetched")
    path = Path(source)
    if (path / "config.json").is_file():
        return _created(f"local-dir:{path}", source, "is not a folder in the hub's layout")
    file = path / "backbone.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"{source}: no such file; initial weights are timm:NAME, hf-hub:OWNER/NAME, a checkpoint or a run's folder"
        )
    # Training checkpoints of DINO and its relatives, the authors' among them, also contain their command line.
    with foreign(file, "is not a checkpoint of weights"), torch.serialization.safe_globals([argparse.Namespace]):
        content: Any = load_state_dict(str(file))
        for key in _WRAPPED_IN:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    tensors = {_bare(str(name)): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{source}: holds no weights by name")
    return tensors


def _created(name: str, source: str, fault: str) -> dict[str, Tensor]:
    with foreign(source, fault), torch.random.fork_rng(devices=[]):  # initialising it draws random numbers
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    return state


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _converted(backbone: Backbone, found: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The weights under the backbone's names, resized to its shapes where timm supports this for its family of
    models."""
    network = getattr(backbone, "network", None)
    adapt: Callable[..., dict[str, Tensor]] | None = getattr(
        sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None
    )
    if network is None or adapt is None:
        return found
    with foreign(source, f"cannot be adapted to backbone {backbone.name}"):
        return dict(adapt(dict(found), network))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        whole.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        whole.update(value.view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _finished_run(source: str) -> dict[str, Any] | None:
    """The part of the loaded run's description that identifies its weights."""
    path = Path(source)
    described = (path if path.is_dir() else path.parent) / "run.json"
    if (path.is_file() and path.name != "backbone.safetensors") or not described.is_file():
        return None
    run = read_json_object(described, absent="", advice="restore the file")
    return {key: run.get(key) for key in ("run", "recipe_digest", "epochs", "backbone_sha256", "initial_weights")}
