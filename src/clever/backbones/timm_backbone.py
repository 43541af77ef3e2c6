"""Backbones from timm, with the paper's settings for ResNet and ViT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import timm
import torch
from timm.models import group_parameters
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from clever.backbones.backbone import Backbone
from clever.backbones.facts import default_patch
from clever.backbones.options import BackboneOptions
from clever.backbones.patch_projection import PatchProjection
from clever.errors import UserError

SMALL_IMAGE = 64
"""Largest side in pixels for which ``stem: auto`` uses the small stem."""


class TimmBackbone(Backbone):
    """Any timm model, used up to its pooled features; ``network`` is timm's own module."""

    network: Any

    def __init__(
        self,
        name: str,
        network: Any,
        feature_dim: int,
        create_model: Mapping[str, Any],
        stem: str | None,
        only_size: int | None = None,
    ) -> None:
        super().__init__(name, feature_dim)
        self.network = network
        self.create_model = dict(create_model)
        self.stem = stem
        self.only_size = only_size

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(self._checked(images))
        return features

    @property
    def feature_map_widths(self) -> tuple[int, ...]:
        if not hasattr(self.network, "forward_intermediates"):
            return ()
        return tuple(entry["num_chs"] for entry in self.network.feature_info)

    def forward_with_maps(self, images: Tensor, numbers: Sequence[int]) -> tuple[Tensor, dict[int, Tensor]]:
        self.require_maps(numbers)
        # In ascending order, as timm returns the maps.
        ascending = sorted(set(numbers))
        last, maps = self.network.forward_intermediates(self._checked(images), ascending, output_fmt="NCHW")
        features: Tensor = self.network.forward_head(last)
        return features, dict(zip(ascending, maps, strict=True))

    def _checked(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if self.only_size is not None and (height, width) != (self.only_size, self.only_size):
            raise UserError(
                f"backbone {self.name} accepts only images of the size it was built for, {self.only_size} px, not "
                f"{height}x{width}: make all crops {self.only_size} px or choose another backbone"
            )
        return images

    def last_map(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.forward_features(images)
        if features.ndim != 4:  # tokens of a transformer without a [CLS] token
            return super().last_map(images)
        return features.permute(0, 3, 1, 2) if getattr(self.network, "output_fmt", "NCHW") == "NHWC" else features

    def _undecayed_by_design(self) -> set[str]:
        own = getattr(self.network, "no_weight_decay", set)
        # timm's list may include parameters that this variant of the model does not have.
        return {f"network.{name}" for name in own()} & {name for name, _ in self.named_parameters()}

    def _layer_numbers(self) -> dict[str, int]:
        if not hasattr(self.network, "group_matcher"):
            self._lacks("known order of layers (frozen_depth)")
        numbers = group_parameters(self.network, self.network.group_matcher(coarse=False), reverse=True)
        return {f"network.{name}": number for name, number in numbers.items()}

    def _network_state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.network.state_dict()
        return state

    def _load_network_state(self, state: Mapping[str, Tensor]) -> None:
        self.network.load_state_dict(state)

    def _description(self) -> dict[str, Any]:
        return {"create_model": self.create_model, "stem": self.stem, "loading": self._loading()}

    def _loading(self) -> str:
        arguments = ", ".join(repr(v) if k == "model_name" else f"{k}={v!r}" for k, v in self.create_model.items())
        lines = ["import safetensors.torch, timm, torch", f"model = timm.create_model({arguments})"]
        if self.stem == "small":
            lines += _SMALL_STEM_DEEP if isinstance(self.network.conv1, nn.Sequential) else _SMALL_STEM_PLAIN
        return "\n".join([*lines, "model.load_state_dict(safetensors.torch.load_file('backbone.safetensors'))"])


class TimmTransformer(TimmBackbone):
    """A timm ViT with a [CLS] token."""

    has_blocks = True

    def last_blocks(self, images: Tensor, n: int) -> list[Tensor]:
        if not 1 <= n <= len(self.network.blocks):
            raise UserError(
                f"backbone {self.name} has {len(self.network.blocks)} blocks, but the last {n} were requested"
            )
        return [prefix[:, 0] for _, prefix in self._normed(images, n)]

    def patch_tokens(self, images: Tensor) -> Tensor:
        [(patches, _)] = self._normed(images, 1)
        return patches

    def last_map(self, images: Tensor) -> Tensor:
        tokens = self.patch_tokens(images)
        rows = images.shape[2] // self.network.patch_embed.patch_size[0]
        return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], rows, -1)

    def attention(self, images: Tensor) -> Tensor:
        query, key = self._last_query_and_key(images)
        # timm's fused attention does not form this matrix, so it is computed here from the same queries and keys.
        # float32: softmax over hundreds of tokens in bfloat16 would not sum to 1.
        scale = self.network.blocks[-1].attn.scale
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = query.float() * scale @ key.float().transpose(-2, -1)
        return logits.softmax(dim=-1)

    def keys(self, images: Tensor) -> Tensor:
        _, key = self._last_query_and_key(images)
        return key[:, :, self.network.num_prefix_tokens :].transpose(1, 2).flatten(2)

    def _checked(self, images: Tensor) -> Tensor:
        images = super()._checked(images)
        height, width = images.shape[-2:]
        patch_height, patch_width = self.network.patch_embed.patch_size
        if height % patch_height or width % patch_width:
            raise UserError(
                f"backbone {self.name}: images of {height}x{width} px do not divide into patches of "
                f"{patch_height}x{patch_width}: change the crop size or patch_size"
            )
        return images

    def _normed(self, images: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
        """(patch tokens [N, T, D], prefix tokens [N, P, D]) of each of the last n blocks, after the final norm."""
        pairs: list[tuple[Tensor, Tensor]] = self.network.forward_intermediates(
            self._checked(images), n, return_prefix_tokens=True, norm=True, output_fmt="NLC", intermediates_only=True
        )
        return pairs

    def _last_query_and_key(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last block's queries and keys, each [N, h, P + T, D / h]."""
        layer: Any = getattr(self.network.blocks[-1], "attn", None)
        if not hasattr(layer, "qkv"):  # timm's parallel blocks and similar ones
            self._lacks("blocks with one projection to queries, keys and values (attention, keys)")
        seen: list[Tensor] = []
        handle = layer.qkv.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            self(images)
        finally:
            handle.remove()
        [qkv] = seen
        query, key, _ = qkv.view(*qkv.shape[:2], 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
        return layer.q_norm(query), layer.k_norm(key)


def build_resnet(options: BackboneOptions, arguments: Mapping[str, Any]) -> TimmBackbone:
    """Build a timm ResNet; ``arguments`` are passed to ``timm.create_model``, in addition to those that the options
    set.

    ``zero_init_last=False`` because the paper uses torchvision's ResNets unchanged (authors' main_dino.py:216-222).
    """
    _refuse_patch_size(options)
    _refuse_position_interpolation(options)
    network, given = _create(options, {**arguments, "zero_init_last": False})
    stem = _apply_stem(options, network)
    return TimmBackbone(options.name, network, network.num_features, given, stem)


def build_vit(options: BackboneOptions, arguments: Mapping[str, Any]) -> TimmTransformer:
    """A timm ViT like the paper's: LayerNorm eps 1e-6, truncated-normal 0.02, positions interpolated for other sizes.

    timm's bicubic interpolation of positions is antialiased when it shrinks the grid; the authors' is not
    (``position_interpolation: authors``).
    """
    _refuse_stem(options)
    size = options.image_size
    patch = options.patch_size or default_patch(size)
    if size % patch:
        raise UserError(f"backbone {options.name}: image_size {size} is not a multiple of patch_size {patch}")
    network, given = _create(options, {**arguments, "img_size": size, "patch_size": patch, "dynamic_img_size": True})
    # timm initialises the [CLS] token with deviation 1e-6; the authors initialise it like the positions
    # (vision_transformer.py:152-155).
    nn.init.trunc_normal_(network.cls_token, std=0.02)
    if options.position_interpolation == "authors":
        network._pos_embed = partial(_with_authors_positions, network)
    network.patch_embed.proj = PatchProjection.of(network.patch_embed.proj)
    return TimmTransformer(options.name, network, network.num_features, given, None)


def _with_authors_positions(network: VisionTransformer, patches: Tensor) -> Tensor:
    """Map patches [N, H, W, D] to tokens [N, 1 + H W, D], adding the [CLS] token and positions, for images of any size.

    The grid of positions is interpolated as in the authors' vision_transformer.py:174-193, without antialiasing and
    with a scale that is 0.1 patches too large, a safeguard against rounding down.
    """
    count, height, width, _ = patches.shape
    assert network.pos_embed is not None
    assert network.cls_token is not None
    positions: Tensor = network.pos_embed
    rows, columns = network.patch_embed.grid_size
    if (height, width) != (rows, columns):
        grid = positions[:, 1:].float().reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
        scale = ((height + 0.1) / rows, (width + 0.1) / columns)
        grid = nn.functional.interpolate(grid, scale_factor=scale, mode="bicubic")
        positions = torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)
    tokens = torch.cat([network.cls_token.expand(count, -1, -1), patches.flatten(1, 2)], dim=1)
    return network.pos_drop(tokens + positions)  # type: ignore[no-any-return]


def build_other(options: BackboneOptions) -> TimmBackbone:
    """Build any other timm model by timm's name for it, with timm's initialisation.

    Raises:
        UserError: the model cannot be built for ``options.image_size``.
    """
    _refuse_position_interpolation(options)
    entry = timm.model_entrypoint(options.name)
    arguments: dict[str, Any] = {"model_name": options.name}
    is_vit = entry.__module__ == VisionTransformer.__module__
    config = timm.get_pretrained_cfg(options.name)
    if is_vit:
        arguments |= {"img_size": options.image_size, "dynamic_img_size": True}
        if options.patch_size is not None:
            arguments["patch_size"] = options.patch_size
    else:
        _refuse_patch_size(options)
        if config is not None and config.fixed_input_size:
            arguments["img_size"] = options.image_size
    try:
        network, given = _create(options, arguments)
        stem = _apply_stem(options, network) if isinstance(network, ResNet) else None
        feature_dim = _measure_width(network, options.image_size)
    except UserError:
        raise
    except Exception as error:  # depending on the family, timm asserts, raises TypeError or fails inside a convolution
        reason = " ".join(str(error).split())
        raise UserError(
            f"backbone {options.name} cannot be built for image_size {options.image_size}: {reason}"
        ) from error
    if stem is None:
        _refuse_stem(options)
    only_size = None if is_vit else arguments.get("img_size")
    if isinstance(network, VisionTransformer) and network.has_class_token and network.global_pool == "token":
        return TimmTransformer(options.name, network, feature_dim, given, stem, only_size)
    return TimmBackbone(options.name, network, feature_dim, given, stem, only_size)


def _create(options: BackboneOptions, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The network, and the arguments that rebuild it (except drop path, which has no parameters)."""
    given: dict[str, Any] = json.loads(json.dumps({**arguments, "num_classes": 0}))
    extra: dict[str, Any] = {"drop_path_rate": options.drop_path} if options.drop_path else {}
    return timm.create_model(**given, **extra), given


def _measure_width(network: Any, image_size: int) -> int:
    # A model's num_features is not always the width of its output, so one image is passed through.
    was_training = network.training
    network.eval()
    with torch.no_grad():
        features = network(torch.zeros(1, 3, image_size, image_size))
    network.train(was_training)
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ValueError("it does not pool its features to one vector an image")
    return int(features.shape[1])


# timm has no argument for this stem. Parameter names stay timm's. These lines are written into the header of a saved
# file and describe what _apply_stem does.
_SMALL_STEM_PLAIN = [
    "model.conv1 = torch.nn.Conv2d(3, model.conv1.out_channels, 3, padding=1, bias=False)",
    "model.maxpool = torch.nn.Identity()",
]
_SMALL_STEM_DEEP = ["model.conv1[0].stride = (1, 1)", "model.maxpool = torch.nn.Identity()"]


def _apply_stem(options: BackboneOptions, network: Any) -> str:
    plain = isinstance(network.conv1, nn.Conv2d)
    if options.stem == "imagenet" or (options.stem == "auto" and (options.image_size > SMALL_IMAGE or not plain)):
        return "imagenet"
    if plain:
        conv = nn.Conv2d(3, network.conv1.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        network.conv1 = conv
    else:
        network.conv1[0].stride = (1, 1)
    network.maxpool = nn.Identity()
    return "small"


def _refuse_position_interpolation(options: BackboneOptions) -> None:
    if options.position_interpolation == "authors":
        raise UserError(
            f"backbone {options.name} has no position_interpolation: only vit_tiny, vit_small and vit_micro have one; "
            "leave it out"
        )


def _refuse_stem(options: BackboneOptions) -> None:
    if options.stem == "small":
        raise UserError(f"backbone {options.name} has no small stem: only timm's ResNets have one; leave stem at auto")


def _refuse_patch_size(options: BackboneOptions) -> None:
    if options.patch_size is not None:
        raise UserError(f"backbone {options.name} has no patch_size: only timm's ViT class has one; leave it out")
