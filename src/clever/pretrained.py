"""A trained backbone for use in other code: ``clever.load``.

Reads the folder of a finished run or a folder that ``clever export`` wrote. Files are verified against their checksums
before the network is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clever.augmentation.pixels import check_normalisation, normalise_
from clever.backbones import Backbone, BackboneOptions, Split, load_backbone
from clever.data import Store
from clever.data.decoding import UnreadableError, decode_rgb, resize_square, to_rgb
from clever.data.verification import file_sha256
from clever.errors import UserError
from clever.files import expanded
from clever.options import parse
from clever.parsing import foreign, read_json_object, require_kinds
from clever.results.run_description import read_run
from clever.sealed import check_seal

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPORT_DESCRIPTION = "clever.json"
"""The file in an exported folder that describes backbone, split and images."""

EXPORT_FORMAT = 1


@dataclass(frozen=True)
class ImageTransform:
    """Turns an image into the network's input, as the evaluations do with images of a prepared store.

    The shorter side is resized to ``size`` (bicubic, antialiased), the centre is cropped, and the channels are
    normalised. The result has no batch axis, so the transform also serves as the ``transform`` of a torchvision data
    set.
    """

    size: int
    """Side in pixels of the square."""
    mean: tuple[float, float, float]
    """Means of the three channels, for pixels in [0, 1]."""
    std: tuple[float, float, float]
    """Standard deviations of the three channels."""

    def __call__(self, image: Image.Image | str | Path | NDArray[np.uint8]) -> Tensor:
        """Float32 [3, size, size].

        Args:
            image: a Pillow image, the path of an image file, or uint8 pixels [H, W, 3].

        Raises:
            UserError: the file cannot be read as an image, or the array is not uint8 [H, W, 3].
        """
        pixels = torch.from_numpy(np.array(resize_square(self._pixels(image), self.size)))
        return normalise_(pixels.permute(2, 0, 1)[None].float().div_(255), self.mean, self.std)[0].contiguous()

    @staticmethod
    def _pixels(image: Image.Image | str | Path | NDArray[np.uint8]) -> NDArray[np.uint8]:
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise UserError(f"an array of pixels must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
            return image
        try:
            if isinstance(image, Image.Image):
                return np.asarray(to_rgb(image))
            with foreign(image, "cannot be read"):
                content = Path(image).read_bytes()
            return decode_rgb(content)
        except UnreadableError as error:
            raise UserError(f"{image}: is not a readable image ({error})") from error


class Pretrained(NamedTuple):
    """The result of ``load``."""

    backbone: Backbone
    """Maps float32 images [N, 3, H, W] to the representation [N, feature_dim]; on the CPU, in evaluation mode."""
    split: Split | None
    """The split of the representation: ``split.ir(z)``, ``split.ef(z)``; None if the method does not split it."""
    transform: ImageTransform
    """Converts an image to the network's input."""


@dataclass(frozen=True)
class Source:
    """A folder with a trained backbone: its verified files and their description."""

    run: Mapping[str, Any]
    """The description of the run: ``run.json``, or the part of it that an export keeps."""
    weights: Path
    """The file of weights, whose SHA-256 agrees with the description."""
    options: BackboneOptions
    split: Split | None
    transform: ImageTransform


def load(folder: str | Path, *, store: str | Path | None = None) -> Pretrained:
    """Load the backbone, the split into IR and EF, and the image transform of a run or an export.

    >>> import clever
    >>> backbone, split, transform = clever.load("exported")            # doctest: +SKIP
    >>> z = backbone(transform("photo.jpg")[None])                      # doctest: +SKIP
    >>> ir, ef = split.ir(z), split.ef(z)                               # doctest: +SKIP

    Args:
        folder: the folder of a finished run (with ``run.json``) or of an export (with ``clever.json``).
        store: the prepared store of the run's data. Only runs of versions that did not keep the normalisation in
            ``run.json`` need it, and only if the run is not in the folder of its study.

    Raises:
        UserError: the folder is neither; a file is missing, was changed or does not belong to the others; or the
            normalisation is unknown.
    """
    found = find(folder, store=store)
    return Pretrained(load_backbone(found.options, found.weights), found.split, found.transform)


def find(folder: str | Path, *, store: str | Path | None = None) -> Source:
    """Verify the files of a run or an export without building the network; arguments and errors are those of
    :func:`load`."""
    folder = expanded(folder)
    if (folder / EXPORT_DESCRIPTION).is_file():
        return _exported(folder)
    if not (folder / "run.json").is_file():
        raise UserError(
            f"{folder}: holds neither run.json nor {EXPORT_DESCRIPTION}; give the folder of a finished run or of an "
            "export"
        )
    run = read_run(folder / "run.json")
    where = str(folder / "run.json")
    images = run.get("images") or _images_of(run, folder, None if store is None else expanded(store))
    options = parse(BackboneOptions, run["recipe"]["backbone"], f"{where}: recipe.backbone")
    weights = folder / "backbone.safetensors"
    _require_sha256(weights, str(run["backbone_sha256"]), where)
    return Source(run, weights, options, _split(run), _transform(images, options, where))


def _exported(folder: Path) -> Source:
    path, advice = folder / EXPORT_DESCRIPTION, "restore the file, or export the run again"
    content = read_json_object(path, absent="the folder is not an export", advice=advice)
    check_seal(content, path, advice)
    if content.get("format") != EXPORT_FORMAT:
        raise UserError(f"{path}: has format {content.get('format')}, but this version reads {EXPORT_FORMAT}")
    require_kinds(content, {"run": dict, "weights": str, "weights_sha256": str, "images": dict}, path, advice)
    run = content["run"]
    options = parse(BackboneOptions, run["recipe"]["backbone"], f"{path}: run.recipe.backbone")
    weights = folder / Path(content["weights"]).name
    _require_sha256(weights, content["weights_sha256"], str(path))
    return Source(run, weights, options, _split(run), _transform(content["images"], options, str(path)))


def _split(run: Mapping[str, Any]) -> Split | None:
    method = run["recipe"].get("method") or {}
    add_on = method.get("equivariance") or {}
    if add_on.get("separation_ratio") is None:
        return None
    return Split(run["feature_dim"], add_on["separation_ratio"], add_on.get("split_rounding", "truncate"))


def _transform(images: Mapping[str, Any], options: BackboneOptions, where: str) -> ImageTransform:
    with foreign(where, "the key images is damaged"):
        mean, std = _triple(images["mean"]), _triple(images["std"])
        check_normalisation(mean, std)
        return ImageTransform(int(images["size"] or options.image_size), mean, std)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _images_of(run: Mapping[str, Any], folder: Path, given: Path | None) -> dict[str, Any]:
    """Size and normalisation of the run's images, from the store of its data."""
    # results/<study>/runs/<data>/<backbone>/<method>/<augmentation>/<seed> and results/<study>/data/<data>
    parents = folder.absolute().parents
    usual = parents[5] / "data" / run["recipe"]["data"] if len(parents) > 5 else None
    place = given or usual
    if place is None or (given is None and not (place / "store.json").is_file()):
        raise UserError(
            f"{folder / 'run.json'}: is of a version that did not keep the normalisation of the images; name the "
            "prepared store of its data (--store, or store= in Python)"
        )
    store = Store.open(place)
    if store.checksum != run["data_checksum"]:
        raise UserError(
            f"{place}: its checksum {store.checksum[:12]} is not that of the data of {run['run']} "
            f"({str(run['data_checksum'])[:12]}); name the store that the run was trained on"
        )
    return {"size": store.info["image_size"], "mean": store.mean, "std": store.std}


def _require_sha256(path: Path, recorded: str, where: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", recorded):
        raise UserError(f"{where}: damaged, the SHA-256 of {path.name} is {recorded!r:.80}")
    with foreign(path, "cannot be read"):
        found = file_sha256(path)
    if found != recorded:
        raise UserError(
            f"{path}: its SHA-256 is {found[:12]}, but {where} says {recorded[:12]}; restore the file, or train or "
            "export again"
        )
