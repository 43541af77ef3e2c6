"""Every protocol on the pretended GPU gives the CPU's records, and waits for the device in known places only."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from clever.backbones import BackboneOptions, build_backbone
from clever.data import Store
from clever.evaluation import PROTOCOLS
from clever.evaluation.subject import Subject
from clever.options import parse
from clever.results.records import Record, RunIdentity

from .gpu import DEVICE, pretended_gpu

BATCHES = {
    "data/loading.py:_upload": "a split's pixels go to the device once",
    "data/loading.py:Batches.__init__": "and its labels and latents",
    "data/loading.py:Batches._from_device": "the order of an epoch",
    "data/store.py:ImageBatch.to.<locals>.<genexpr>": "the sizes of a batch",
}
FEATURES = BATCHES | {
    "evaluation/features.py:FeatureExtractor.__init__": "the backbone goes to the device",
    "evaluation/features.py:FeatureExtractor.extract": "the features of a batch go to the host",
    "evaluation/features.py:FeatureExtractor._require_finite": "whether features are finite, once a view",
    "evaluation/features.py:FeatureExtractor._features": "which images a batch holds, to draw their views",
    "augmentation/perturbations.py:perturbation_parameters": "which images a batch holds, to draw what changes them",
    "augmentation/perturbations.py:perturb": "what was drawn for a batch",
    "augmentation/probe.py:probe_views": "what was drawn for a batch",
    "augmentation/elastic.py:_smoothing": "a matrix that is made once",
    "augmentation/constants.py:constant": "numbers that are brought once",
}

DECLARED: dict[str, dict[str, str]] = {
    "linear": {
        "evaluation/linear.py:evaluate": "whether a classifier diverged, once an epoch",
        "evaluation/linear.py:evaluate.<locals>.<genexpr>": "labels",
        "evaluation/linear.py:_Views.__init__": "features go to the device",
        "evaluation/linear.py:_Views.__init__.<locals>.<listcomp>": "features go to the device",
        "evaluation/linear.py:_Views._scaled": "features go to the device",
        "evaluation/linear.py:SoftmaxRegression.initial": "weights that were drawn on the host",
        "evaluation/linear.py:train_epoch": "the order of an epoch",
        "evaluation/linear.py:_hits": "the accuracy of an epoch",
        "evaluation/accuracies.py:rank_accuracies": "scores",
    },
    "knn": {
        "evaluation/knn.py:evaluate": "features go to the device; how many are right",
        "evaluation/knn.py:evaluate.<locals>.<genexpr>": "labels",
    },
    "parameters": {
        "evaluation/parameters.py:evaluate": "features go to the device; scores",
        "evaluation/parameters.py:flip_accuracy": "scikit-learn fits on the host",
        "evaluation/parameters.py:_Views.features.<locals>.view": "which images a batch holds, to take what was drawn",
        "evaluation/regression.py:ridge_selected": "images that are held out",
        "evaluation/regression.py:ridge_selected.<locals>.<listcomp>": "how many rows are fitted",
        "evaluation/regression.py:ridge": "a decomposition",
    },
    "latents": {
        "evaluation/latents.py:evaluate": "features go to the device; scores",
        "evaluation/regression.py:ridge": "a decomposition",
    },
    "equivariance": {
        "evaluation/equivariance/protocol.py:evaluate": "the records, once",
        "evaluation/equivariance/linear_maps.py:RidgeMaps.__init__": "a decomposition",
        "evaluation/equivariance/similarity.py:_principal": "a decomposition",
        "evaluation/equivariance/similarity.py:mean_canonical_correlation": "a decomposition",
    },
    "quality": {
        "evaluation/quality/protocol.py:evaluate": "the records, once",
        "evaluation/quality/spectrum.py:rankme": "a decomposition",
        "evaluation/quality/spectrum.py:alpha_req": "a decomposition",
        "evaluation/quality/spectrum.py:lidar": "a decomposition",
    },
    "logistic": {
        "evaluation/logistic.py:evaluate": "features go to the device; scores",
        "evaluation/logistic.py:evaluate.<locals>.<genexpr>": "labels",
        "evaluation/logistic_regression.py:search_penalty": "rows that are held out",
        "evaluation/logistic_regression.py:fit": "the solution",
        "evaluation/logistic_regression.py:fit.<locals>.objective": "L-BFGS of SciPy reads each loss",
        "evaluation/accuracies.py:accuracy": "a score",
        "evaluation/accuracies.py:mean_class_accuracy": "a score",
    },
    "semi": {
        "evaluation/fine_tuned.py:FineTuning.__init__": "the network goes to the device",
        "evaluation/finetuning.py:_epoch": "the loss of an epoch",
        "evaluation/fine_tuned.py:FineTuning._test": "how many are right",
    },
    "relative_rotation": {
        "evaluation/relative.py:_Pairs.draw": "the pairs of an epoch",
        "evaluation/relative.py:evaluate_relative": "the order of an epoch; whether a head diverged",
        "evaluation/relative.py:pooled_r2": "a score",
    },
    "relative_colour": {
        "evaluation/relative.py:_Pairs.draw": "the pairs of an epoch",
        "evaluation/relative.py:evaluate_relative": "the order of an epoch; whether a head diverged",
        "evaluation/relative.py:pooled_r2": "a score",
        "evaluation/relative_colour.py:_scores": "scores",
    },
}
DECLARED["transfer"] = {
    **{place: why for mode in ("linear", "logistic", "semi") for place, why in DECLARED[mode].items()},
    "evaluation/accuracies.py:rank_accuracies": "scores",
}
"""Where each protocol waits beyond ``FEATURES``, and for what: but for ``logistic``, never once a step."""

ON_OBJECTS = ("latents", "relative_rotation", "relative_colour")

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("linear", "vit_micro", {"training_views": "plain", "standardise": True, "epochs": 2}),
    ("linear", "resnet10t_half", {"training_views": "fresh", "epochs": 2, "precision": "bf16"}),
    ("linear", "resnet10t_half", {"training_views": 1, "epochs": 1, "averaging": {"count": 3}}),
    ("knn", "resnet10t_half", {"neighbours": [5, 20]}),
    ("parameters", "resnet10t_half", {"with_original": True}),
    ("logistic", "resnet10t_half", {"penalties": 3, "perturbations": ["orig"], "max_iterations": 20}),
    ("semi", "resnet10t_half", {"epochs": 2, "shares": [0.5], "batch_size": 16, "perturbations": ["orig"]}),
    (
        *("semi", "resnet10t_half"),
        {"epochs": 2, "shares": [0.5], "batch_size": 16, "perturbations": ["orig"], "core_tuning": {}},
    ),
    # Not in one case: copying a network that is on the pretended device already keeps the original's stream.
    ("transfer", "resnet10t_half", {"data": ["other"], "modes": ["linear"], "linear": {"epochs": 2}}),
    ("transfer", "resnet10t_half", {"data": ["other"], "modes": ["finetune"], "finetune": {"epochs": 1}}),
    ("latents", "resnet10t_half", {}),
    ("equivariance", "resnet10t_half", {"angle_step": 60, "shifts": 2, "penalties": [1e-2, 1.0], "random_groups": 1}),
    ("quality", "resnet10t_half", {"views": 3, "alpha_last": 20}),
    ("relative_rotation", "resnet10t_half", {"epochs": 2}),
    ("relative_colour", "resnet10t_half", {"epochs": 2}),
]


@pytest.mark.parametrize(("protocol", "name", "options"), CASES, ids=lambda value: value if value is not None else "")
def test_a_protocol_gives_the_cpu_s_records(
    protocol: str, name: str, options: dict[str, Any], digits_store: Store, photographs: Store
) -> None:
    store = photographs if protocol in ON_OBJECTS else digits_store
    patch = {"patch_size": 8} if name == "vit_micro" else {}
    backbone = build_backbone(BackboneOptions(name=name, image_size=16, **patch), seed=0)
    ir_dim = backbone.feature_dim // 4 * 3
    chosen = parse(PROTOCOLS[protocol].options, options, "the options")
    identity = RunIdentity("data", "backbone", "method", "none", 0, data_checksum=store.checksum)

    def records(device: Any) -> list[Record]:
        subject = Subject(copy.deepcopy(backbone), ir_dim, store, identity, torch.device(device), 0)
        return PROTOCOLS[protocol].evaluate(subject, chosen)

    expected = records("cpu")
    with pretended_gpu() as gpu, gpu.waits_forbidden(FEATURES | DECLARED[protocol]):
        found = records(DEVICE)
    assert [(r.part, r.perturbation, r.metric) for r in found] == [(r.part, r.perturbation, r.metric) for r in expected]
    # An image in 32 may change sides where features are rounded to bfloat16.
    tolerance = 7.0 if chosen.precision == "bf16" else 1e-3
    assert [r.value for r in found] == pytest.approx([r.value for r in expected], abs=tolerance)


NOT_REHEARSED = {
    "stages": "it is the protocol linear on other features",
    "retrieval": "it needs a trained predictor",
    "corruption": "it needs images of 32 px and a further package",
    "saliency": "it reads its own data set",
    "video": "it reads its own data set",
    "attention": "it reads its own data set",
    "detection": "it reads its own data set",
}


def test_every_protocol_is_rehearsed_or_listed() -> None:
    rehearsed = {case[0] for case in CASES}
    assert rehearsed.isdisjoint(NOT_REHEARSED)
    assert rehearsed | set(NOT_REHEARSED) == set(PROTOCOLS)
