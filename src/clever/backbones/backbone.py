"""The interface of every backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clever.errors import UserError
from clever.files import replacing
from clever.parsing import decode_json, foreign

FORMAT = 1

DecayRule = Literal["standard", "authors", "all"]


class Backbone(nn.Module):
    """A network that maps each image to one vector.

    Shapes: N images, D features, T patch tokens, h heads. Images are float [N, 3, H, W], already normalised. Outputs
    have the dtype of the network's computation (bfloat16 or float32 under autocast).
    """

    name: str
    """The name with which the backbone was built."""
    feature_dim: int
    """D, the width of the representation."""
    has_blocks: bool = False
    """True for transformers with a [CLS] token: ``last_blocks``, ``patch_tokens``, ``attention`` and ``keys`` work."""

    def __init__(self, name: str, feature_dim: int) -> None:
        super().__init__()
        self.name = name
        self.feature_dim = feature_dim
        self._frozen_norms: list[str] = []

    def freeze(self, depth: int) -> None:
        """Freeze the first ``depth`` layers: their parameters get no gradient and their BatchNorms stay in evaluation
        mode.

        Raises:
            UserError: the order of the backbone's layers is unknown, or it has fewer than ``depth`` layers.
        """
        layers = self._layer_numbers()
        deepest = max(layers.values(), default=0)
        if depth > deepest:
            raise UserError(
                f"backbone {self.name} has {deepest} layers that can be frozen, so frozen_depth {depth} is too large"
            )
        parameters = dict(self.named_parameters())
        frozen = [name for name, number in layers.items() if number < depth]
        for name in frozen:
            parameters[name].requires_grad_(False)
        self._frozen_norms = sorted(
            {
                owner
                for owner in (name.rpartition(".")[0] for name in frozen)
                if isinstance(self.get_submodule(owner), nn.modules.batchnorm._BatchNorm)
            }
        )
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``, but frozen BatchNorms stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen_norms:  # by name, because several processes synchronise BatchNorms by replacing them
            self.get_submodule(name).eval()
        return self

    def _layer_numbers(self) -> dict[str, int]:
        """Map each name in ``named_parameters`` to the number of its layer; layers are counted from the input on."""
        self._lacks("known order of layers (frozen_depth)")

    def forward(self, images: Tensor) -> Tensor:
        """The representation [N, D]: the [CLS] token of a ViT after the final norm, or the pooled last map of a
        convolutional network."""
        raise NotImplementedError

    @property
    def feature_map_widths(self) -> tuple[int, ...]:
        """Channels of each intermediate map that :meth:`forward_with_maps` can return; empty if it supports none."""
        return ()

    def forward_with_maps(self, images: Tensor, numbers: Sequence[int]) -> tuple[Tensor, dict[int, Tensor]]:
        """The representation [N, D], as from ``forward``, and intermediate maps [N, C, H, W] of the same pass.

        Args:
            numbers: indices of the maps, from 0, as in ``feature_map_widths``. A ResNet has a map after the stem and
                after each stage; a ViT has one after each block: its patch tokens (before the final norm) as a grid.

        Raises:
            UserError: the backbone has no such map.
        """
        self.require_maps(numbers)
        raise NotImplementedError

    def require_maps(self, numbers: Sequence[int]) -> None:
        """Raise a UserError unless the backbone has all feature maps with these indices."""
        count = len(self.feature_map_widths)
        for number in numbers:
            if not 0 <= number < count:
                raise UserError(
                    f"backbone {self.name} has {count} feature maps: map {number} is not among them; "
                    "choose another backbone (a ResNet or a ViT) or another map"
                )

    def last_blocks(self, images: Tensor, n: int) -> list[Tensor]:
        """The [CLS] tokens of the last ``n`` blocks after the final norm, in the order of the blocks: ``n`` tensors [N,
        D].

        Raises:
            UserError: the backbone has no such blocks, or fewer than ``n``.
        """
        self._lacks("transformer blocks with a [CLS] token (last_blocks)")

    def patch_tokens(self, images: Tensor) -> Tensor:
        """The last block's patch tokens after the final norm [N, T, D], in row-major order.

        Raises:
            UserError: the backbone has none.
        """
        self._lacks("patch tokens (patch_tokens)")

    def attention(self, images: Tensor) -> Tensor:
        """The last block's attention [N, h, P + T, P + T]: softmax over the last axis; P prefix tokens, [CLS] first.

        P is 1 for the paper's ViTs, so ``attention(x)[:, :, 0, 1:]`` is the [CLS] token's attention map over the
        patches.

        Raises:
            UserError: the backbone has none.
        """
        self._lacks("attention maps (attention)")

    def keys(self, images: Tensor) -> Tensor:
        """The last block's keys of the patch tokens [N, T, D], heads concatenated, as TokenCut uses them.

        Raises:
            UserError: the backbone has none.
        """
        self._lacks("attention keys (keys)")

    def last_map(self, images: Tensor) -> Tensor:
        """The last map before pooling [N, C, H', W']; a ViT's patch tokens arranged as a grid (C = D).

        C is D if the representation is computed from this map by pooling alone (ResNet, VMamba, ViT).

        Raises:
            UserError: the backbone has none.
        """
        raise UserError(f"backbone {self.name} has no feature map (last_map): choose a ResNet, a VMamba or a ViT")

    def no_weight_decay_names(self, rule: DecayRule = "standard") -> set[str]:
        """Names, as in ``named_parameters()``, of the parameters that are exempt from weight decay.

        ``authors``: only biases by name (``.bias``) and one-dimensional parameters (authors' utils.py:667-678); this
        decays ViT's class token and positions and VMamba's ``A_logs`` and ``dt_projs_bias``. ``standard`` exempts those
        too, because they are not weights: shrinking them towards 0 changes positions, decay rates and step sizes.
        ``all``: no parameter is exempt.
        """
        if rule == "all":
            return set()
        names = {name for name, p in self.named_parameters() if p.ndim <= 1 or name.endswith(".bias")}
        return names if rule == "authors" else names | self._undecayed_by_design()

    def save(self, path: str | Path) -> None:
        """Write weights and buffers as safetensors, under timm's names if the network is timm's.

        The header has one entry, ``clever``, in JSON: ``create_model`` (arguments of ``timm.create_model``; null if
        timm lacks the model), ``stem`` and ``loading``, a few lines of Python that rebuild the network and load the
        file. The file is written atomically.
        """
        path = Path(path)
        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self._network_state().items()
        }
        # A single entry, because the order of several entries in the header is not fixed and equal weights should give
        # equal files.
        header = json.dumps({"format": FORMAT, "backbone": self.name, **self._description()}, sort_keys=True)
        with replacing(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"clever": header})
            except SafetensorError as error:  # raised by its writer on a full disk
                raise OSError(" ".join(str(error).split())) from error

    def load(self, path: str | Path) -> None:
        """Load the network's weights from a file of ``save``.

        Raises:
            UserError: the file is missing or damaged, or was saved with another backbone, stem or patch size.
        """
        path = Path(path)
        saved = read_description(path)
        mine = {"backbone": self.name, **self._description()}
        for key in ("backbone", "create_model", "stem"):
            if saved.get(key) != mine[key]:
                raise UserError(f"{path}: was saved with {key} {saved.get(key)}, but {mine[key]} is requested")
        with foreign(path, f"does not fit {self.name}"):
            self._load_network_state(load_file(path))

    def _lacks(self, what: str) -> NoReturn:
        raise UserError(f"backbone {self.name} has no {what}: choose vit_tiny, vit_small or another timm ViT")

    def _undecayed_by_design(self) -> set[str]:
        return set()

    def _network_state(self) -> dict[str, Tensor]:
        return self.state_dict()

    def _load_network_state(self, state: Mapping[str, Tensor]) -> None:
        self.load_state_dict(state)

    def _description(self) -> dict[str, Any]:
        return {"create_model": None, "stem": None, "loading": None}


def read_description(path: str | Path) -> dict[str, Any]:
    """The JSON header of a saved backbone: format, backbone, create_model, stem, loading.

    Raises:
        UserError: the file is missing, is not a safetensors file or was not written by ``Backbone.save``.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; choose the backbone.safetensors of a finished run")
    with foreign(path, "is damaged or not a safetensors file"), safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get("clever")
    if header is None:
        raise UserError(f"{path}: was not saved by this package: its header has no entry 'clever'")
    description = decode_json(header, path, "is damaged, its header's entry 'clever' is not JSON")
    if not isinstance(description, dict):
        raise UserError(f"{path}: is damaged, its header's entry 'clever' is not a JSON object")
    if description.get("format") != FORMAT:
        raise UserError(f"{path}: has format {description.get('format')}, this version reads format {FORMAT}")
    return description
