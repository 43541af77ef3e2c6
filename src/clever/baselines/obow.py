"""OBoW: online bag-of-visual-words prediction (Gidaris et al. 2021, arXiv 2012.11552).

Details follow the authors' code (valeoai/obow, obow/builder_obow.py, 45af149).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.baselines.baseline import Baseline, Head, HeadOutput
from clever.baselines.contrast import scaled_products
from clever.baselines.cosine import diagnose_cosines, mean_cosine
from clever.baselines.mlp import last_layer_parameters, make_mlp
from clever.baselines.options.obow import ObowOptions
from clever.baselines.samples import Samples
from clever.collectives import average_over_processes, gather_rows, uniform_rows

_ELEMENTS = 2**26
"""Maximum number of distances between cells and words in memory at once."""
_DECAY = 0.99
"""Momentum of the running mean of distances."""


class WordHead(Head):
    """Generates a weight vector, as wide as the features, for each word; the head's output is the features
    themselves."""

    def __init__(self, width: int, map_widths: Sequence[int], hidden_dim: int | None) -> None:
        super().__init__()
        self.generators = nn.ModuleList(make_mlp([words, hidden_dim or 2 * width, width]) for words in map_widths)

    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width], unchanged."""
        return HeadOutput(features)

    def weights(self, level: int, words: Tensor) -> Tensor:
        """Unit vectors float32 [vocabulary, width] for words [vocabulary, C]."""
        with torch.autocast(words.device.type, enabled=False):
            made: Tensor = self.generators[level](F.normalize(words, dim=1))
            return F.normalize(made, dim=1)

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters of the layers that compute the weights."""
        return [p for mlp in self.generators for p in last_layer_parameters(mlp)]  # type: ignore[arg-type]


class Obow(Baseline[WordHead]):
    """Predicts, from a view's features, which visual words the teacher's feature maps of another view contain.

    The words of a map are the teacher's newest local features: one randomly placed cell per image, taken from the map
    after 3x3 average pooling. For the target, each cell is assigned to words by the softmax of -distance^2 * sharpness
    / d, where d is the running mean of the distances to the nearest word. The target is the maximum of these
    assignments over the cells, divided by its sum over the words. The prediction is the softmax of kappa f.w, where f
    are the features and w is a word's generated weight vector. The loss is the KL divergence between target and
    prediction, averaged over maps and pairs of views, and summed over the two kinds of views (global, local).

    The similarity for the orthogonality term is the absolute value of the batch mean of the cosine between a view's
    scores f.w and the scores of the teacher's features of another view, averaged over the maps and the global views.

    We made these choices. The teacher sees the two global views, and each view predicts the other one (the authors'
    teacher sees a third, mildly augmented image). d is the value before the step. New words come from the first view.
    The border of a map is cut off if the map is at least 5 cells wide, and maps narrower than 3 cells are not pooled.
    The student's backbone is evaluated.

    The authors' recipe is known only for ImageNet: ResNet-50, 200 epochs of SGD at 0.03 for a batch of 256 with 10
    epochs of warm-up and a cosine decay to 3e-5, weight decay 1e-4, crops of 160 px (scale 0.08 to 0.6) and 5 patches
    of 96 px. It reaches 73.8 linear top-1 (README).

    >>> import torch
    >>> from clever.baselines.obow import Obow
    >>> from clever.baselines.options.obow import ObowOptions
    >>> from clever.baselines.samples import Samples
    >>> _ = torch.manual_seed(0)
    >>> obow = Obow(ObowOptions(feature_maps=(0,), vocabulary=64, hidden_dim=32))
    >>> obow.prepare(map_widths=(8,))
    >>> head = obow.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> rows = torch.arange(32).expand(2, -1)
    >>> maps = [{0: torch.randn(32, 8, 6, 6)} for _ in range(2)]  # in training those of a momentum teacher
    >>> loss = obow.attract_samples(views, views, head, Samples(rows, labels=rows % 10, maps=maps))
    >>> loss.backward()
    >>> loss.item() > 0
    True
    """

    options: ObowOptions
    mean_distance: Tensor
    """float32 [levels]."""

    def __init__(self, options: ObowOptions) -> None:
        super().__init__(options)
        self.feature_maps = options.feature_maps

    def prepare(self, training_images: int | None = None, map_widths: Sequence[int] = ()) -> None:
        generator = torch.Generator().manual_seed(0)
        self.map_widths = [map_widths[number] for number in self.feature_maps]
        for level, channels in enumerate(self.map_widths):
            words = torch.randn(self.options.vocabulary, channels, generator=generator).clamp_min(0)
            self.register_buffer(f"words_{level}", words)
        self.register_buffer("mean_distance", torch.full((len(self.map_widths),), 0.5))

    def make_head(self, width: int) -> WordHead:
        return WordHead(width, self.map_widths, self.options.hidden_dim)

    def words(self, level: int) -> Tensor:
        """The vocabulary float32 [vocabulary, C] of one of ``feature_maps``, newest word first."""
        return self.get_buffer(f"words_{level}")

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: WordHead) -> Tensor:
        raise TypeError("obow describes the teacher's feature maps: call attract_samples")

    def attract_samples(
        self,
        student: Sequence[HeadOutput],
        teacher: Sequence[HeadOutput],
        head: WordHead,
        samples: Samples | None = None,
    ) -> Tensor:
        assert samples is not None
        assert samples.maps is not None
        losses: dict[bool, list[Tensor]] = {False: [], True: []}  # keyed by whether the predicting view is local
        for level, number in enumerate(self.feature_maps):
            weights = head.weights(level, self.words(level))
            targets = [self.describe(level, maps[number]) for maps in samples.maps]
            for place, view in enumerate(student):
                predicted = F.log_softmax(self.options.kappa * _scores(view, weights), dim=1)
                for source, target in enumerate(targets):
                    if source != place:
                        loss = F.kl_div(predicted, target, reduction="batchmean")
                        losses[place >= len(targets)].append(loss)
        return torch.stack([torch.stack(kind).mean() for kind in losses.values() if kind]).sum()

    @torch.no_grad()
    def describe(self, level: int, maps: Tensor) -> Tensor:
        """The bags of words float32 [N, vocabulary] of maps [N, C, H, W]; each sums to 1."""
        sharpness = self.options.sharpness / self.mean_distance[level]
        bags = [torch.softmax(-sharpness * distances, dim=2).amax(dim=1) for distances in self._distances(level, maps)]
        return F.normalize(torch.cat(bags), p=1, dim=1)

    def _distances(self, level: int, maps: Tensor) -> Iterator[Tensor]:
        """Squared distances [n, cells, vocabulary] of every cell to every word, a few images at a time."""
        cells, words = _inner(maps.float()).flatten(2).transpose(1, 2), self.words(level)
        few = max(1, _ELEMENTS // (cells.shape[1] * len(words)))
        for part in torch.split(cells, few):
            lengths = part.square().sum(dim=2, keepdim=True) + words.square().sum(dim=1)
            yield (lengths - 2 * scaled_products(part, words, 1.0)).clamp_min(0)

    @torch.no_grad()
    def observe_samples(self, teacher: Sequence[HeadOutput], samples: Samples | None) -> None:
        """Update the mean distances, then insert one cell of every image at the front of each vocabulary."""
        assert samples is not None
        assert samples.maps is not None
        for level, number in enumerate(self.feature_maps):
            near = [
                distances.amin(dim=2).mean(dim=1)
                for maps in samples.maps
                for distances in self._distances(level, maps[number])
            ]
            mean = average_over_processes(torch.cat(near).mean())
            self.mean_distance[level].mul_(_DECAY).add_((1 - _DECAY) * mean)
            fresh = gather_rows(self._drawn_cells(samples.maps[0][number]))
            words = self.words(level)
            words.copy_(torch.cat([fresh, words])[: len(words)])

    def _drawn_cells(self, maps: Tensor) -> Tensor:
        """One randomly drawn cell [N, C] of each map [N, C, H, W], after pooling."""
        inner = _inner(maps.float())
        if min(inner.shape[2:]) >= 3:
            inner = F.avg_pool2d(inner, 3, stride=1)
        cells = inner.flatten(2)
        place = (uniform_rows(len(cells), device=cells.device) * cells.shape[2]).long().clamp_max(cells.shape[2] - 1)
        return cells.gather(2, place.view(-1, 1, 1).expand(-1, cells.shape[1], -1)).squeeze(2)

    def similarity(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: WordHead) -> Tensor:
        cosines = []
        for level in range(len(self.feature_maps)):
            weights = head.weights(level, self.words(level))
            for view, other in zip(student[:2], reversed(teacher), strict=True):
                target = _scores(other, weights).detach()
                cosines.append(mean_cosine(_scores(view, weights), target))
        return torch.stack(cosines).mean().abs()

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)


def _inner(maps: Tensor) -> Tensor:
    """Maps [N, C, H, W] without their border, whose cells see padding; small maps are returned whole."""
    return maps[:, :, 1:-1, 1:-1] if min(maps.shape[2:]) >= 5 else maps


def _scores(view: HeadOutput, weights: Tensor) -> Tensor:
    """Inner products float32 [N, vocabulary] of features and weights."""
    return scaled_products(view.projection.float(), weights, 1.0)
