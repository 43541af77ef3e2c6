"""Options of optimisation, and options of execution, which do not change the result."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from clever.options import Options


class OptimisationOptions(Options):
    """Optimiser and schedules; the defaults are the paper's (authors' main_dino.py:78-105, 302-329; run.sh)."""

    optimiser: Literal["adamw", "sgd", "lars"] = "adamw"
    """adamw: every backbone of the paper. sgd (momentum 0.9): SimSiam's and DDCL's recipe. lars (sgd with a rate for
    each layer): solo-learn's recipes for most other baselines, and large batches."""
    trust_coefficient: float = Field(default=0.001, gt=0)
    """lars only. Share of a layer's norm by which a step at learning rate 1 moves the layer: 0.001 in the papers, 0.02
    together with ``clip_trust`` in solo-learn's recipes."""
    clip_trust: bool = False
    """lars only. Never move a layer faster than sgd with the same learning rate would (LARC), as solo-learn's recipes
    do."""
    epochs: int = Field(default=200, ge=1)
    """Passes over the training images. The paper runs 200, and up to 500 in one figure."""
    batch_size: PositiveInt = 512
    """Images in one optimiser step, over all processes and accumulated steps together."""
    accumulate: PositiveInt = 1
    """Number of chunks into which a batch is split if it does not fit in memory; BatchNorm and contrastive losses see
    one chunk at a time."""
    learning_rate: float = Field(default=0.0005, gt=0)
    """Peak learning rate for a batch of 256; scaled linearly with the batch size."""
    final_learning_rate: float = Field(default=1e-6, ge=0)
    """Learning rate at the end of the cosine; not scaled with the batch size."""
    warmup_epochs: float = Field(default=10, ge=0)
    """Epochs of linear warm-up from 0. About a tenth of the epochs; more for larger batches."""
    rate_changes: Literal["step", "epoch"] = "step"
    """How often the learning rate changes. epoch: it keeps the value of an epoch's first step, and reaches the peak in
    the first epoch after the warm-up, as in SimSiam's and DDCL's code. DDCL's 30 extra epochs of warm-up are
    ``warmup_epochs: 30`` and 30 more ``epochs``."""
    weight_decay: float = Field(default=0.04, ge=0)
    """Weight decay at the start."""
    final_weight_decay: float | None = Field(default=0.4, ge=0)
    """Weight decay at the end, reached by a cosine; null keeps it constant."""
    decay_rule: Literal["standard", "authors", "all"] = "standard"
    """Which parameters get no weight decay. authors: biases (by name) and 1-D tensors only. standard: also what
    the backbone itself names (position embeddings, class tokens, the state-space parameters of VMamba). all: every
    parameter is decayed, as in SimSiam's and DDCL's code."""
    clip_gradient: float | None = Field(default=3.0, gt=0)
    """Largest gradient norm of each single parameter tensor (not of all together); null turns clipping off."""
    non_finite: Literal["stop", "skip"] = "stop"
    """How to handle a step whose loss or gradient is NaN or infinite. stop: the run ends with the last good state
    kept. skip: the step is skipped and counted in metrics.csv; more than ten in a row end the run. Choose skip for a
    long run that a rare bad batch would end."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products and convolutions under autocast, with parameters, losses and statistics in fp32. Use it on
    a GPU; on most CPUs it is slower."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass, so that a larger batch fits in memory; a step is a third slower."""
    teacher_drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Drop path of the momentum teacher's backbone. The authors' VMamba teacher keeps 0.2, by oversight."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} exceed epochs {self.epochs}")
        if self.optimiser != "lars" and (self.clip_trust or self.trust_coefficient != 0.001):
            raise ValueError(f"trust_coefficient and clip_trust are lars's; leave them out with {self.optimiser}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self


class OnlineProbeOptions(Options):
    """A linear classifier and nearest neighbours on the frozen features while a run trains.

    They observe the run and do not change its result. Their accuracies, ``online_linear_<part>`` and
    ``online_knn_<part>`` in metrics.csv, differ from those of the protocols ``linear`` and ``knn``, because the probe
    uses fewer images and a classifier that keeps learning from one measurement to the next. Report the accuracies of
    the protocols.
    """

    every: PositiveInt = 5
    """Epochs between two measurements; the last epoch is always measured. Raise it where epochs are short."""
    images: PositiveInt = 5000
    """Number of training images that the probe learns from, and of test images that it is measured on; the same images
    in every epoch and for every seed. Lower it if a measurement takes long."""
    passes: PositiveInt = 10
    """Passes of the linear classifier over these images at each measurement."""
    learning_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the linear classifier, for standardised features divided by the root of their number."""
    neighbours: PositiveInt = 20
    """Number of neighbours that vote."""
    temperature: float = Field(default=0.07, gt=0)
    """Softmax temperature of the votes."""


class StageOptions(Options):
    """A later stage of a chain of runs (MCL): batches of images that earlier runs find alike.

    Every batch has the images of one pseudo-label, the combination of their clusters in all earlier runs. Images that
    do not fill a batch are left out of an epoch. Define the stage as a separate method with the options of the first
    one, so that its runs have other ids.
    """

    after: list[str] = Field(min_length=1)
    """Folders of the finished runs of all earlier stages, in order; {seed} stands for the run's seed. Runs of the same
    study, results/<study>/runs/<run id>, are trained first."""
    clusters: int = Field(default=10, ge=1)
    """Number of clusters of each earlier run's features. A pseudo-label with fewer images than batch_size has no batch.
    1: ordinary batches of all images; choose it, with other seeds, for an ensemble as a control."""

    def of_seed(self, seed: int) -> StageOptions:
        """The options of the run with this seed."""
        return self.model_copy(update={"after": [folder.replace("{seed}", str(seed)) for folder in self.after]})

    @property
    def files(self) -> list[str]:
        """The files of the earlier runs that the stage reads."""
        return [f"{folder}/{name}" for folder in self.after for name in ("backbone.safetensors", "run.json")]


class ExecutionOptions(Options):
    """How a run is executed; nothing here changes what is computed."""

    device: str = "auto"
    """auto uses a GPU if there is one; cpu or cuda:1 force it."""
    threads: PositiveInt | None = None
    """CPU threads of torch; null leaves torch's choice. The bits of a CPU run depend on it."""
    accept_other_threads: bool = False
    """Resume a run on a CPU with a different number of threads or processes than before."""
    placement: Literal["auto", "device", "host", "stream"] = "auto"
    """Where the training images are kept; auto chooses by their size and the free memory, and reports its choice."""
    workers: int = Field(default=0, ge=0)
    """Decoding threads when images are streamed."""
    compile: bool = False
    """torch.compile the student's backbone: pays on a GPU for long runs."""
    log_every: PositiveInt = 20
    """Steps between two checks of the loss (each one waits for the device)."""
    state_every_seconds: float = Field(default=300.0, gt=0)
    """Longest time between two saved states; a state is also saved at the end of an epoch."""
    state_gap_seconds: float = Field(default=0.0, ge=0)
    """Shortest time between two states saved at the end of an epoch; raise it where an epoch takes a second or two, so
    that saving does not take as long as training. A state is always saved after the last epoch."""
    keep_state: bool = False
    """Keep the last training state after the run has succeeded."""
    log_to: list[str] = Field(default=[])
    """Loggers that get a copy of metrics.csv while the run trains (``clever.loggers``)."""
