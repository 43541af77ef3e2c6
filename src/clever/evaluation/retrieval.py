"""Protocol ``retrieval``: does a run's predictor find the photograph of an object after a given rotation? (3DIEBench)

For runs with a predictor (SIE): from the first photograph of an object, the predictor predicts the embedding of every
photograph of that object, given the relative rotation (Garrido et al. 2023, SIE, ``eval_*.py``).

- PRE, prediction retrieval error: let q_nn be the rotation of the prediction's nearest neighbour among all photographs
  of a split, and q the rotation of the right photograph, both absolute rotations as unit quaternions. PRE is the mean
  of 1 - <q, q_nn>^2. ``val_val`` predicts test photographs and retrieves from the test split; ``train_train`` does the
  same for training photographs; ``val_all`` retrieves test photographs from both splits.
- MRR and H@k: the prediction ranks all photographs of its object, including the first one. MRR is the mean of 1 / rank
  of the right photograph, and H@k is the share of predictions for which it is among the first k. Both are measured on
  the test split.

Neighbours are found by cosine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clever import threediebench
from clever.augmentation.pairs import PairParameterSpace
from clever.data import Split
from clever.errors import UserError
from clever.evaluation.features import SPLITS, FeatureExtractor
from clever.evaluation.options.retrieval import RetrievalOptions
from clever.evaluation.relative import require_threediebench
from clever.evaluation.subject import PredictorFunction, Subject
from clever.quaternions import quaternion, relative_quaternion
from clever.results.records import Record

ROTATION = PairParameterSpace("rotation").relative_names
"""The relative rotation, R = 4."""
ROTATION_AND_COLOUR = PairParameterSpace("rotation_and_colour").relative_names
"""The relative rotation, then the changes of floor and light hue, R = 6."""

_TILE = 4096
"""Maximum number of predictions, and of photographs to compare them with, at once: 64 MB of float32."""


@dataclass(frozen=True)
class Photographs:
    """A split's photographs as inputs of the predictor.

    ``features`` float32 [N, D]; ``embeddings`` float32 [N, E] of length 1; ``rotations`` float32 [N, 4], unit
    quaternions (x, y, z, w); ``hues`` float32 [N, 2] if they are inputs of the predictor, else [N, 0]; ``first`` int64
    [N], the row of the first photograph of the same object; ``views`` int64 [N], that object's number of photographs.
    """

    features: Tensor
    embeddings: Tensor
    rotations: Tensor
    hues: Tensor
    first: Tensor
    views: Tensor


def evaluate(subject: Subject, options: RetrievalOptions) -> list[Record]:
    """Measure the predictor of a run.

    Records, in fractions from 0 to 1: ``pre_train_train``, ``pre_val_val``, ``pre_val_all``, ``mrr``, ``hit_at_<k>``;
    the part is EF, or ALL for a run without a split (``subject.ir_dim`` None). Objects with a single photograph provide
    no queries. A run without a predictor has no records, and a line reports this: the runs of a study share their
    protocols, but only some have a predictor.

    Raises UserError if the store is not 3DIEBench, the predictor was trained with inputs other than `ROTATION` or
    `ROTATION_AND_COLOUR`, or features or embeddings are not finite.
    """
    if subject.predictor is None:
        print(f"retrieval: {subject.identity.run} has no predictor: no records", file=sys.stderr, flush=True)
        return []
    require_threediebench(subject.store, subject.identity.run, "retrieval")
    predictor, inputs = subject.predictor.predict, subject.predictor.relative_names
    if inputs not in (ROTATION, ROTATION_AND_COLOUR):
        raise UserError(
            f"{subject.identity.run}: its predictor takes {', '.join(inputs)} as input, but retrieval needs one that "
            "takes rotations: train it on augmentation pairs"
        )
    extractor = FeatureExtractor(subject, options, blocks=1, labelled=False)
    features = {split: extractor.perturbed(split, "orig").to(subject.device) for split in SPLITS}
    train, test = (photographs(features[name], extractor.split(name), predictor, inputs) for name in SPLITS)
    if not bool(train.embeddings.isfinite().all() & test.embeddings.isfinite().all()):
        raise UserError(f"{subject.identity.run}: embeddings are not finite: the predictor's weights are damaged")
    ranks = view_ranks(test, predictor).double()
    values = {
        "pre_train_train": (retrieval_error(train, [train], predictor), query_rows(train)),
        "pre_val_val": (retrieval_error(test, [test], predictor), query_rows(test)),
        "pre_val_all": (retrieval_error(test, [train, test], predictor), query_rows(test)),
        "mrr": (float((1.0 / ranks).mean()), query_rows(test)),
    }
    values |= {f"hit_at_{k}": (float((ranks <= k).double().mean()), query_rows(test)) for k in options.hits}
    return [
        subject.record(
            protocol="retrieval",
            part="ALL" if subject.ir_dim is None else "EF",
            perturbation="orig",
            metric=metric,
            value=value,
            n=len(rows),
        )
        for metric, (value, rows) in values.items()
    ]


@torch.no_grad()
def photographs(
    features: Tensor, split: Split, predictor: PredictorFunction, inputs: tuple[str, ...] = ROTATION
) -> Photographs:
    """A split's inputs of the predictor, from its features [N, D]; on the features' device."""
    assert split.latents is not None
    assert split.groups is not None
    device = features.device
    latents = split.latents.to(device)
    rotations = quaternion(latents[:, threediebench.ROTATION].double()).float()
    hues = latents[:, [threediebench.FLOOR_HUE, threediebench.LIGHT_HUE] if inputs == ROTATION_AND_COLOUR else []]
    _, places, counts = torch.unique(split.groups, return_inverse=True, return_counts=True)
    rows = torch.arange(len(places))
    first = torch.full_like(counts, len(places)).scatter_reduce_(0, places, rows, "amin")
    unchanged = torch.zeros(1, 4 + hues.shape[1], device=device)
    unchanged[:, 3] = 1.0
    embeddings = [
        F.normalize(predictor(chunk, unchanged.expand(len(chunk), -1))[0], dim=1)
        for chunk in torch.split(features, _TILE)
    ]
    return Photographs(
        features, torch.cat(embeddings), rotations, hues, first[places].to(device), counts[places].to(device)
    )


def query_rows(views: Photographs) -> Tensor:
    """The queries, int64 [M]: photographs of objects with at least two photographs."""
    return (views.views > 1).nonzero()[:, 0]


@torch.no_grad()
def predict(views: Photographs, rows: Tensor, predictor: PredictorFunction) -> Tensor:
    """The embeddings predicted for these rows from the first photograph of their object, float32 [M, E] of length 1."""
    sources = views.first[rows]
    rotation = relative_quaternion(views.rotations[sources], views.rotations[rows])
    change = torch.cat([rotation, views.hues[rows] - views.hues[sources]], 1)
    return F.normalize(predictor(views.features[sources], change)[1], dim=1)


def retrieval_error(views: Photographs, among: list[Photographs], predictor: PredictorFunction) -> float:
    """PRE of one split's photographs, retrieved from the photographs of some splits."""
    gallery = torch.cat([split.embeddings for split in among])
    rotations = torch.cat([split.rotations for split in among]).double()
    rows = query_rows(views)
    total = 0.0
    for chunk in torch.split(rows, _TILE):
        nearest = nearest_rows(predict(views, chunk, predictor), gallery)
        agreement = (views.rotations[chunk].double() * rotations[nearest]).sum(1)
        total += float((1.0 - agreement**2).sum())
    return total / len(rows)


def nearest_rows(queries: Tensor, gallery: Tensor) -> Tensor:
    """The row of the gallery [N, E] with the largest dot product, int64 [M], for each query [M, E]."""
    best = torch.full((len(queries),), -torch.inf, device=queries.device)
    found = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(gallery), _TILE):
        similarity, row = (queries @ gallery[start : start + _TILE].t()).max(dim=1)
        better = similarity > best
        best = torch.where(better, similarity, best)
        found = torch.where(better, row + start, found)
    return found


def view_ranks(views: Photographs, predictor: PredictorFunction) -> Tensor:
    """The rank, from 1, that each prediction gives to the right photograph of its object: int64 [M].

    In the order of :func:`query_rows`, grouped by object. If photographs are equally similar, the earlier row comes
    first.
    """
    ranks: list[Tensor] = []
    rows = query_rows(views)
    rows = rows[views.first[rows].argsort(stable=True)]
    sizes = torch.unique_consecutive(views.first[rows], return_counts=True)[1].tolist()
    for members in torch.split(rows, sizes):
        similarity = predict(views, members, predictor) @ views.embeddings[members].t()
        right = similarity.diagonal().unsqueeze(1)
        place = torch.arange(len(members), device=members.device)
        earlier = place < place.unsqueeze(1)
        ranks.append(1 + ((similarity > right) | ((similarity == right) & earlier)).sum(1))
    return torch.cat(ranks)
