"""The typed study: one YAML file that defines everything, read, checked and expanded into runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, create_model, model_validator

from clever.backbones import BackboneOptions
from clever.backbones.options import OWN_NAMES
from clever.baselines import BASELINES
from clever.blocks import Block, PretrainingOptions, expand
from clever.crosschecks import refuse_contradictions
from clever.crosschecks.data_needs import measured_on, needs_classes
from clever.data import DataOptions
from clever.drawings import DRAWINGS
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.options.protocol import ProtocolOptions
from clever.invocation import DATA_ROOT, refuse_settings
from clever.options import Options, nearest, parse
from clever.pretraining.recipe import AugmentationChoice, MethodOptions, RunRecipe
from clever.results.run_id import NO_AUGMENTATION, PIXELS, UNTRAINED, Name
from clever.study_file import read_study

if TYPE_CHECKING:
    PaperItem = str
    EvaluationOptions = Options
else:
    PaperItem = Literal[tuple(DRAWINGS)]
    EvaluationOptions = create_model(
        "EvaluationOptions",
        __base__=Options,
        **{name: (protocol.options | None, None) for name, protocol in PROTOCOLS.items()},
    )


class Study(Options):
    """One study: data, pre-trainings, evaluations and paper items."""

    study: Name
    """Name of the study and of its folder under results/."""
    data: dict[Name, DataOptions] = Field(min_length=1)
    """The data sets, by the name that run ids use."""
    backbones: dict[Name, BackboneOptions] = Field(min_length=1)
    """The backbones, by the name that run ids use."""
    augmentations: dict[Name, AugmentationChoice] = Field(min_length=1)
    """The training augmentations, by the name that run ids use."""
    methods: dict[Name, MethodOptions] = Field(min_length=1)
    """The methods, by the name that run ids use."""
    pretrainings: list[PretrainingOptions] = Field(min_length=1)
    """The runs, as blocks of combinations."""
    controls: list[Literal["untrained", "pixels"]] = Field(default=["untrained", "pixels"])
    """Control rows of every table."""
    evaluations: EvaluationOptions
    """The protocols that evaluate every run and control."""
    paper: list[PaperItem] = Field(
        default=["table_1", "figure_robustness", "figure_loss_terms", "figure_claims", "report"]
    )
    """The tables and figures to draw. Add table_matrix if several methods share a baseline and there are enough
    seeds for confidence intervals; findings for every comparison behind the verdict on each claim of the paper;
    table_latents for the protocol latents; and table_references if others have published accuracies for the baseline
    and data."""

    @model_validator(mode="after")
    def _references_resolve(self) -> Self:
        for key, options in self.backbones.items():
            _require_backbone(f"backbones.{key}.name", options.name)
        for place, block in enumerate(self.pretrainings):
            where = f"pretrainings.{place}"
            _require(f"{where}.data", block.data, self.data)
            for key, known in (
                ("backbones", self.backbones),
                ("methods", self.methods),
                ("augmentations", self.augmentations),
            ):
                names = getattr(block, key)
                for name in names:
                    _require(f"{where}.{key}", name, known)
                    if names.count(name) > 1:
                        raise ValueError(f"{where}.{key}: {name} is listed twice; remove one of them")
            for backbone in block.backbones:
                for augmentation in block.augmentations:
                    sizes = self.backbones[backbone].image_size, self.augmentations[augmentation].global_size
                    if sizes[0] != sizes[1]:
                        raise ValueError(
                            f"{where}: backbones.{backbone}.image_size is {sizes[0]}, but augmentations.{augmentation}"
                            f".global_size is {sizes[1]}; make them equal"
                        )
            for augmentation in block.augmentations:
                needed, given = self.augmentations[augmentation].source, self.data[block.data].source
                if needed not in (None, given):
                    raise ValueError(
                        f"{where}: augmentations.{augmentation} needs the source {needed}, but data.{block.data} "
                        f"has source {given}"
                    )
        for name, settings in self.evaluation_options().items():
            other = settings.evaluation_data()
            if other is not None:
                _require(f"evaluations.{name.partition('+')[0]}.data", other, self.data)
        for section, reserved in (
            ("methods", UNTRAINED),
            ("backbones", PIXELS),
            ("augmentations", NO_AUGMENTATION),
        ):
            if reserved in getattr(self, section):
                raise ValueError(f"{section}.{reserved}: this name is reserved for the control runs; choose another")
        try:
            blocks = self.blocks()
        except UserError as error:  # pydantic adds the study's file only to a ValueError
            raise ValueError(str(error)) from error
        for expanded in blocks:
            for method in expanded.methods:
                _check_method(expanded, method)
        self._refuse_repeated(blocks)
        return self

    def _refuse_repeated(self, blocks: Sequence[Block]) -> None:
        seen: dict[str, tuple[RunRecipe, Block]] = {}
        for block in blocks:
            for recipe in _runs(block):
                if recipe.run not in seen:
                    seen[recipe.run] = recipe, block
                    continue
                earlier, first = seen[recipe.run]
                if not (block.of_axis or first.of_axis):
                    raise ValueError(f"pretrainings: the run {recipe.run} is listed twice; remove one of them")
                if earlier != recipe:
                    raise ValueError(
                        f"{block.where}: the run {recipe.run} also comes from {first.where}, with other options; make "
                        "their options equal, leave this value out of the axis, or give the method another name"
                    )

    @model_validator(mode="after")
    def _labels_suffice(self) -> Self:
        for name in self.evaluation_options():
            for data in measured_on(self, name) if needs_classes(name) else ():
                if not self.data[data].labelled:
                    raise ValueError(
                        f"evaluations.{name}: needs labels, but data.{data} has `labelled: false`; leave it out"
                    )
        return self

    def blocks(self) -> list[Block]:
        """The blocks of ``pretrainings`` with their options, and one block per value of each of their axes.

        Raises:
            UserError: an axis names an option that a method lacks, or an invalid value.
        """
        return [
            block
            for place, options in enumerate(self.pretrainings)
            for block in expand(
                Block(
                    where=f"pretrainings.{place}",
                    data=options.data,
                    backbones={name: self.backbones[name] for name in options.backbones},
                    methods={name: self.methods[name] for name in options.methods},
                    augmentations={name: self.augmentations[name] for name in options.augmentations},
                    seeds=options.seeds,
                    optimisation=options.optimisation,
                    online_probe=options.online_probe,
                    stage=options.stage,
                ),
                options.axes,
            )
        ]

    def _trained(self) -> Iterable[RunRecipe]:
        for block in self.blocks():
            yield from _runs(block)

    def _controls(self) -> Iterable[RunRecipe]:
        seen: set[str] = set()
        for trained in self._trained():
            wanted = []
            if "untrained" in self.controls:
                wanted.append((trained.backbone_name, trained.backbone, trained.seed))
            if "pixels" in self.controls:
                wanted.append((PIXELS, BackboneOptions(name=PIXELS, image_size=trained.backbone.image_size), 0))
            for name, backbone, seed in wanted:
                recipe = RunRecipe(
                    data=trained.data,
                    backbone_name=name,
                    backbone=backbone,
                    method_name=UNTRAINED,
                    method=None,
                    augmentation_name=NO_AUGMENTATION,
                    augmentation=None,
                    optimisation=None,
                    seed=seed,
                )
                if recipe.run not in seen:
                    seen.add(recipe.run)
                    yield recipe

    def recipes(self) -> dict[str, RunRecipe]:
        """All runs of the study by their ids, controls last."""
        return {recipe.run: recipe for recipe in (*self._trained(), *self._controls())}

    def recipe(self, run: str) -> RunRecipe:
        """The recipe of one run.

        Raises:
            UserError: the study has no such run.
        """
        recipes = self.recipes()
        if run not in recipes:
            raise UserError(f"study {self.study} has no run {run}{nearest(run, recipes)}")
        return recipes[run]

    def data_options(self, name: str, data_root: str = DATA_ROOT) -> DataOptions:
        """The options of one data set, with its root joined to ``data_root``.

        Raises:
            UserError: the study has no such data set.
        """
        if name not in self.data:
            raise UserError(f"study {self.study} has no data set {name}{nearest(name, self.data)}")
        options = self.data[name]
        if options.root is None:
            return options
        return options.model_copy(update={"root": str(Path(data_root) / options.root)})

    def evaluation_options(self, data_root: str = DATA_ROOT) -> dict[str, ProtocolOptions]:
        """The evaluations of the study and their options: <protocol>, <protocol>+<variant>, transfer+<data>.

        The root of a protocol's data set is joined to ``data_root``.
        """
        found: dict[str, ProtocolOptions] = {}
        for protocol in PROTOCOLS:
            options: ProtocolOptions | None = getattr(self.evaluations, protocol)
            for name, settings in ({} if options is None else options.named(protocol)).items():
                found[name] = settings.at(data_root)
        return found

    def evaluation_data(self) -> list[str]:
        """The data sets that runs are evaluated on besides their own, sorted."""
        return sorted({name for options in self.evaluation_options().values() if (name := options.evaluation_data())})


def _runs(block: Block) -> Iterator[RunRecipe]:
    for backbone in block.backbones:
        for method in block.methods:
            for augmentation in block.augmentations:
                for seed in block.seeds:
                    yield RunRecipe(
                        data=block.data,
                        backbone_name=backbone,
                        backbone=block.backbones[backbone],
                        method_name=method,
                        method=block.methods[method],
                        augmentation_name=augmentation,
                        augmentation=block.augmentations[augmentation],
                        optimisation=block.optimisation,
                        seed=seed,
                        online_probe=block.online_probe,
                        stage=None if block.stage is None else block.stage.of_seed(seed),
                    )


def _check_method(block: Block, method: str) -> None:
    """Reject a method that does not work with the views or backbones of its block."""
    where = block.where
    baseline, equivariance = block.methods[method].baseline.name, block.methods[method].equivariance
    for augmentation, views in block.augmentations.items():
        if views.local_views and not BASELINES[baseline].options.accepts_local_views:
            raise ValueError(
                f"{where}: methods.{method}: {baseline} compares exactly two views, but "
                f"augmentations.{augmentation}.local_views is {views.local_views}; set it to 0"
            )
        for backbone, options in block.backbones.items():
            reason = equivariance.refusal(views, options)
            if reason is not None:
                raise ValueError(
                    f"{where}: methods.{method}, augmentations.{augmentation}, backbones.{backbone}: {reason}"
                )
        if equivariance.extra_views() and not views.augments:
            raise ValueError(
                f"{where}: methods.{method}: {equivariance.name} needs additional views of every image, which "
                f"augmentations.{augmentation} ({views.name}) cannot make; use one of baug, caug, caug_plus"
            )
        if equivariance.shared_draws > 1 and not views.augments:
            raise ValueError(
                f"{where}: methods.{method}: {equivariance.name} needs images that share view parameters, "
                f"which augmentations.{augmentation} ({views.name}) cannot do; use one of baug, caug, caug_plus"
            )
    images = block.optimisation.batch_size // block.optimisation.accumulate
    reason = block.methods[method].baseline.refusal(images)
    if reason is not None:
        raise ValueError(f"{where}: methods.{method}: {reason}")
    for group in (equivariance.shared_draws, *(view.shared_draws for view in equivariance.extra_views())):
        if images % group:
            raise ValueError(
                f"{where}: methods.{method}: {equivariance.name} lets {group} images share the parameters of a "
                f"view, but batch_size / accumulate = {images} is not a multiple of {group}; change "
                "optimisation.batch_size"
            )
    if equivariance.redraws and block.optimisation.accumulate > 1:
        raise ValueError(
            f"{where}: methods.{method}: {equivariance.name} differentiates through the views of a whole batch; "
            f"set optimisation.accumulate ({block.optimisation.accumulate}) to 1"
        )


def _require_backbone(where: str, name: str) -> None:
    if name in OWN_NAMES:
        return
    from clever.backbones.registry import check_name  # loads timm, which takes seconds

    try:
        check_name(name)
    except UserError as error:
        raise ValueError(f"{where}: {error}") from error


def _require(where: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is not defined{nearest(name, known)}")


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        UserError: see :func:`read_study` and :func:`parse_study`.
    """
    return parse_study(read_study(path), str(path))


def parse_study(content: object, source: str, from_measured: bool = False) -> Study:
    """Check an already parsed study.

    Args:
        content: the content of the YAML.
        source: the file's name, for messages.
        from_measured: whether committed records are drawn and nothing is measured.

    Raises:
        UserError: one line that names the key, the value, and what would be right; also if options that are valid by
            themselves contradict each other.
    """
    if not isinstance(content, dict):
        raise UserError(f"{source}: a study must be a mapping of keys, but this is a {type(content).__name__}")
    refuse_settings(content, source)
    study = parse(Study, content, source)
    refuse_contradictions(study, source, from_measured)
    return study
