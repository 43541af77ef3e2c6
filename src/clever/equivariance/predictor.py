"""The predictor of a transformed image's embedding: layers of an add-on that a run saves to a separate file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from clever.baselines.mlp import make_mlp
from clever.equivariance.hypernetwork import Hypernetwork
from clever.equivariance.options.hypernetwork import Start
from clever.errors import UserError
from clever.files import write_bytes
from clever.options import Options, parse_json
from clever.parsing import decode_json, foreign
from clever.results.run_description import read_run

FORMAT = 1

PREDICTOR_FILE = "predictor.safetensors"


class PredictorShape(Options):
    """Everything needed to rebuild a predictor's layers."""

    feature_dim: int
    """Width of the representation."""
    ir_dim: int
    """Index of the EF's first entry in the representation."""
    hidden_dim: int
    """Width of the projector's two hidden layers."""
    out_dim: int
    """Width of the embedding."""
    relative_names: tuple[str, ...]
    """Names of the R entries of a relative transformation."""
    adds_one: bool
    """Whether a constant 1 is appended to these entries; it is needed if they are 0 for the identity."""


class Predictor(nn.Module):
    """A projector on the EF, and a hypernetwork that transforms its embedding by a relative transformation.

    The projector has three linear layers, the first two with BatchNorm and ReLU, the last without a bias. The
    hypernetwork is linear, so it maps a vector of zeros to zeros. Therefore, if the relative parameters are zero for
    the identity, a constant 1 is appended to them, with a learned matrix like the others. Unit quaternions are used
    unchanged.

    ``start`` selects the initialisation of the hypernetwork.
    """

    def __init__(self, shape: PredictorShape, start: Start = "equal_length") -> None:
        super().__init__()
        self.shape = shape
        hidden, out = shape.hidden_dim, shape.out_dim
        self.projector = make_mlp([shape.feature_dim - shape.ir_dim, hidden, hidden, out], final_bias=False)
        entries = len(shape.relative_names)
        # The difference of two numbers with standard deviation 1 has mean square 2; the constant adds 1.
        squared_length = 2.0 * entries + 1.0 if shape.adds_one else 1.0
        self.hypernetwork = Hypernetwork(entries + shape.adds_one, out, squared_length, start)

    def forward(self, features: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding of the given images, and the predicted embedding of the transformed images.

        Args:
            features: [N, feature_dim], whole representations.
            relative: float32 [N, R], the transformation from each image to the transformed one
                (``ParameterSpace.relative``).

        Returns:
            Two float32 tensors [N, out_dim].
        """
        embedding = self.embed(features)
        return embedding, self.predict(embedding, relative)

    def embed(self, features: Tensor) -> Tensor:
        """Representations [N, feature_dim] to embeddings, float32 [N, out_dim]."""
        embedding: Tensor = self.projector(features[:, self.shape.ir_dim :].float())
        return embedding.float()

    def predict(self, embedding: Tensor, relative: Tensor) -> Tensor:
        """Embeddings float32 [N, out_dim] after the transformations ``relative`` float32 [N, R].

        Raises:
            ValueError: ``relative`` has the wrong number of columns.
        """
        if relative.shape[1] != len(self.shape.relative_names):
            raise ValueError(f"the predictor needs {self.shape.relative_names}, not {relative.shape[1]} columns")
        if self.shape.adds_one:
            relative = torch.cat([relative, torch.ones_like(embedding[:, :1])], 1)
        moved: Tensor = self.hypernetwork(embedding, relative)
        return moved

    def save(self, path: Path) -> str:
        """Write layers and shape as safetensors, atomically.

        Returns:
            The file's SHA-256, which ``run.json`` records.

        Raises:
            UserError: the disk is full, or the folder is not writable.
        """
        # One metadata entry: the order of several entries in the header is not fixed, and equal layers should give
        # equal files.
        header = json.dumps({"format": FORMAT, "shape": self.shape.model_dump(mode="json")}, sort_keys=True)
        content = save({name: value.cpu() for name, value in self.state_dict().items()}, {"clever": header})
        write_bytes(path, content)
        return hashlib.sha256(content).hexdigest()


def find_predictor(layers: nn.ModuleDict) -> Predictor | None:
    """Find the predictor among an add-on's layers; None if the add-on has none."""
    return next((layer for layer in layers.values() if isinstance(layer, Predictor)), None)


def load_predictor(run_folder: Path) -> Predictor | None:
    """Load the predictor of a finished run, on the CPU, in evaluation mode and without gradients.

    The layers are the student's, because a momentum teacher has no predictor. If the teacher's backbone is evaluated
    (DINO), the layers were still trained on the student's features; the teacher averages the student's weights.

    Returns:
        None if the run's add-on has no predictor.

    Raises:
        UserError: the run is unfinished or damaged, or the file is missing, damaged or from another run.
    """
    described, path = run_folder / "run.json", run_folder / PREDICTOR_FILE
    run = read_run(described)
    expected = run.get("predictor_sha256")
    if expected is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), but {described} names it") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise UserError(
            f"{path}: is not the predictor of {run['run']}: its SHA-256 is {found[:12]}, {described} names "
            f"{expected[:12]}; restore the file, or train the run again"
        )
    predictor = Predictor(_read_shape(path))
    with foreign(path, "does not fit its own description"):
        predictor.load_state_dict(load(content))
    return predictor.requires_grad_(False).eval()


def _read_shape(path: Path) -> PredictorShape:
    with foreign(path, "was not saved by this package"), safe_open(path, framework="pt") as file:
        header = decode_json((file.metadata() or {})["clever"], path)
    if not isinstance(header, dict):
        raise UserError(f"{path}: was not saved by this package (its header's entry 'clever' is not a JSON object)")
    if header.get("format") != FORMAT:
        raise UserError(f"{path}: has format {header.get('format')}, this version reads format {FORMAT}")
    return parse_json(PredictorShape, json.dumps(header.get("shape")), str(path))
