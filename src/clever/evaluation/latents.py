"""Protocol ``latents``: linear regression of each image's latents from frozen features.

It applies to data sets generated from known parameters. On Spirograph, Foster et al. 2021 (invclr,
``evaluate/lbfgs.py``) regress the four parameters of interest (m, b, sigma, rfore, in their own units) from features
averaged over 30 renderings with fresh nuisances, for training and test images alike: ``averaging: {count: 30,
augmentation: {name: spirograph}}``. A count of 1 is their evaluation on transformed images. Stored images already
contain nuisances that were drawn at random once, so omitting ``averaging`` measures the same on one fixed draw.

They minimise the mean squared error over all targets plus 1e-8 ||W||^2, without a penalty on the bias, by full-batch
LBFGS. That minimum has a closed form, which is computed here.
"""

from __future__ import annotations

from clever import spirograph
from clever.data import Store
from clever.errors import UserError
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.options.latents import LatentsOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.regression import mean_squared_error, r2, ridge
from clever.evaluation.subject import Subject
from clever.options import nearest
from clever.results.records import Record


def evaluate(subject: Subject, options: LatentsOptions) -> list[Record]:
    """Fit one linear map to all targets for each part, on the un-standardised output vector of the backbone.

    The subject's seed draws perturbations and transformations. Records, for each perturbation:
    ``mse_<target>`` (in the square of the target's unit), ``r2_<target>`` (1 is perfect), and ``mean_mse`` over the
    targets.

    Raises UserError if the store has no such latents, a target does not vary, or features are not finite.
    """
    names = _targets(subject.store, options, subject.identity.run)
    columns = [subject.store.latent_names.index(name) for name in names]
    extractor = FeatureExtractor(subject, options, blocks=1, labelled=False)
    train_latents, test_latents = extractor.split("train").latents, extractor.split("test").latents
    assert train_latents is not None
    assert test_latents is not None
    train_targets, test_targets = (
        train_latents[:, columns].to(subject.device),
        test_latents[:, columns].to(subject.device),
    )
    for name, column in zip(names, test_targets.unbind(1), strict=True):
        if bool((column == column[0]).all()):
            raise UserError(
                f"{subject.identity.run}: the latent {name} is the same in all test images: leave it out of targets"
            )
    train = extractor.perturbed("train", "orig").to(subject.device)
    # ridge() sums squared errors; the loss averages them over images and targets.
    penalty = options.penalty * train_targets.numel()
    maps = {
        part: ridge(train[:, where], train_targets, [penalty])[0]
        for part, where in part_selections(subject.backbone.feature_dim, subject.ir_dim).items()
    }
    records: list[Record] = []
    for perturbation in options.perturbations:
        test = extractor.perturbed("test", perturbation).to(subject.device)
        for part, where in part_selections(subject.backbone.feature_dim, subject.ir_dim).items():
            predictions = maps[part](test[:, where])
            errors, determination = mean_squared_error(predictions, test_targets), r2(predictions, test_targets)
            values = {f"mse_{name}": value for name, value in zip(names, errors.tolist(), strict=True)}
            values |= {f"r2_{name}": value for name, value in zip(names, determination.tolist(), strict=True)}
            values["mean_mse"] = float(errors.mean())
            records += [
                subject.record(
                    protocol="latents",
                    part=part,
                    perturbation=perturbation,
                    metric=metric,
                    value=value,
                    n=len(test_targets),
                )
                for metric, value in values.items()
            ]
    return records


def _targets(store: Store, options: LatentsOptions, run: str) -> list[str]:
    known = list(store.latent_names)
    if not known:
        raise UserError(f"{run}: its data have no latents: the protocol latents is for generated images (spirograph)")
    names = options.targets or list(spirograph.OF_INTEREST if store.latent_names == spirograph.NAMES else known)
    for name in names:
        if name not in known:
            raise UserError(f"{run}: targets: its data have no latent {name}{nearest(name, known)}")
        if names.count(name) > 1:
            raise UserError(f"{run}: targets: {name} is listed twice")
    return names
