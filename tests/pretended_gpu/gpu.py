"""A pretended GPU: CUDA tensors whose values are in host memory, and a dispatch mode that keeps the two separate.

Every torch operation passes through ``PretendedGpu``. An operation on CUDA tensors, or with a CUDA device among its
arguments, is computed by the CPU's kernel on the values. So a step runs as on a GPU, with CUDA's rules for autocast and
our code's branches for CUDA, and its numbers can be compared with a CPU run. The mode rejects everything that a GPU
would reject or wait for:

* a tensor on the wrong device: ``WrongDeviceError``;
* an operation that makes the host wait for the device (reading a value, a shape that depends on values, a copy that is
  not asynchronous from pinned memory): ``HiddenWaitError``, within ``waits_forbidden``;
* a tensor of one stream that is used on another stream that has not waited for it: ``RaceError``.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

import clever

from .backward import accumulate, gradients_of

DEVICE = torch.device("cuda:0")

SOURCE = Path(clever.__file__).parent

aten = torch.ops.aten


class HiddenWaitError(RuntimeError):
    """The host would wait for the device, or the device for the host."""


class WrongDeviceError(RuntimeError):
    """Tensors of an operation are on different devices."""


class RaceError(RuntimeError):
    """A tensor is used on a stream that has not waited for the operation that made it."""


class CudaTensor(Tensor):
    """A tensor that claims to be on ``cuda:0``; ``value`` holds its entries in host memory."""

    value: Tensor
    stream: Stream
    launched: int
    """The index of the stream's operation that last wrote it."""

    @staticmethod
    def __new__(cls, value: Tensor, stream: Stream) -> CudaTensor:
        made: CudaTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.value, made.stream, made.launched = value, stream, stream.launched
        made.users = {id(stream)}
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on a CUDA tensor outside of the pretended GPU")

    def tolist(self) -> Any:
        """The values as Python numbers; the host waits for them."""
        return self.cpu().tolist()

    def record_stream(self, stream: Stream) -> None:
        """Keep the memory until ``stream`` is done with it."""
        self.users.add(id(stream))


class Event:
    """A place in a stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.launched = stream, stream.launched


class Stream:
    """A queue of operations."""

    def __init__(self, device: Any = None) -> None:
        self.launched = 0
        self.waited: dict[int, int] = {}
        """For other streams, by id: how many of their operations this one has waited for."""

    def record_event(self) -> Event:
        return Event(self)

    def wait_event(self, event: Event) -> None:
        before = self.waited.get(id(event.stream), 0)
        self.waited[id(event.stream)] = max(before, event.launched)


DEFAULT = Stream()
"""The default stream of all threads. They share one, because the package keeps some tensors permanently."""


class PretendedGpu(TorchDispatchMode):
    """The dispatch mode. Enter it with :func:`pretended_gpu`, which also replaces torch's calls to the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        """How often the host waited, by ``file:function`` of the package."""
        self._forbidden = False
        self._declared: Collection[str] = ()
        self._pinned: dict[int, Tensor] = {}
        self._default = DEFAULT
        self._current = threading.local()

    @contextmanager
    def waits_forbidden(self, declared: Collection[str] = ()) -> Iterator[None]:
        """Reject every wait except in the ``declared`` places, each given as ``file:function`` below ``src/clever``."""
        self._forbidden, self._declared = True, declared
        try:
            yield
        finally:
            self._forbidden, self._declared = False, ()

    @property
    def stream(self) -> Stream:
        """The current stream of this thread."""
        current: Stream = getattr(self._current, "stream", self._default)
        return current

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """Make ``stream`` the current stream of this thread."""
        before, self._current.stream = self.stream, stream
        try:
            yield
        finally:
            self._current.stream = before

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in pinned memory."""
        if isinstance(tensor, CudaTensor):
            raise RuntimeError("cannot pin a CUDA tensor")
        return self._mark_pinned(tensor.clone())

    def _mark_pinned(self, tensor: Tensor) -> Tensor:
        self._pinned[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        return tensor.numel() == 0 or tensor.untyped_storage().data_ptr() in self._pinned

    def wait(self, why: str) -> None:
        """Record a wait, or reject it."""
        place = _place()
        if self._forbidden and place not in self._declared:
            raise HiddenWaitError(f"{why}, in {place}")
        self.waits[place] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [*_tensors_in(args), *_tensors_in(kwargs.values())]
        on_gpu = [tensor for tensor in tensors if isinstance(tensor, CudaTensor)]
        pinned = kwargs.pop("pin_memory", None)
        target = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
        if not on_gpu and target != "cuda":
            made = func(*args, **kwargs)
            return self._mark_pinned(made) if pinned else made
        self._check_devices(func, args, kwargs, tensors, on_gpu, target)
        self._check_reads(func, args, kwargs)
        for tensor in on_gpu:
            self._check_stream(tensor)
        values = {name: _values_of(entry) for name, entry in kwargs.items()}
        result = func(*(_values_of(entry) for entry in args), **values)
        if func in _TO_HOST or target == "cpu":
            return result
        stream = self.stream
        stream.launched += 1
        known = {id(tensor.value): tensor for tensor in on_gpu}

        def wrapped(entry: Any) -> Any:
            if isinstance(entry, list | tuple):
                return type(entry)(map(wrapped, entry))
            if not isinstance(entry, Tensor):
                return entry
            if id(entry) not in known:
                return CudaTensor(entry, stream)
            written = known[id(entry)]  # in place
            if written.shape != entry.shape:
                with no_dispatch():  # the wrapper gets the new shape too
                    func(written, *args[1:], **kwargs)
            written.stream, written.launched = stream, stream.launched
            return written

        return wrapped(result)

    def _check_devices(
        self, func: Any, args: Any, kwargs: Any, tensors: Sequence[Tensor], on_gpu: Sequence[CudaTensor], target: Any
    ) -> None:
        host = [tensor for tensor in tensors if not isinstance(tensor, CudaTensor)]
        name = str(func)
        if func in (aten._to_copy.default, aten.copy_.default):
            asynchronous = kwargs.get("non_blocking") or (func is aten.copy_.default and len(args) > 2 and args[2])
            source = args[0] if func is aten._to_copy.default else args[1]
            to_gpu = target == "cuda" if func is aten._to_copy.default else isinstance(args[0], CudaTensor)
            if func is aten._to_copy.default and target is None:
                return
            if not to_gpu and isinstance(source, CudaTensor):
                self.wait("a copy to the host")
            if to_gpu and not isinstance(source, CudaTensor) and not (asynchronous and self.is_pinned(source)):
                self.wait("a copy to the device that is not asynchronous or not from pinned memory")
            return
        if func in _INDEXED and isinstance(args[0], CudaTensor):
            indices = [index for index in args[1] if index is not None]
            if any(not isinstance(index, CudaTensor) for index in indices):
                self.wait(f"{name} with an index on the host")
            host = [tensor for tensor in host if all(tensor is not index for index in indices)]
        scalars_allowed = torch.Tag.pointwise in func.tags or func in _TAKE_HOST_SCALARS
        wrong = [tensor for tensor in host if tensor.ndim or not scalars_allowed]
        if wrong:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in wrong)
            raise WrongDeviceError(f"{name}: {shapes} on the host, others on the device, in {_place()}")

    def _check_reads(self, func: Any, args: Any, kwargs: Any) -> None:
        if func in _INDEXED:
            masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            filled = func is not aten.index.Tensor and args[2].numel() == 1  # a masked fill
            if masks and not filled:
                self.wait(f"{func} by a mask")
        elif func is aten.repeat_interleave.Tensor:
            if kwargs.get("output_size") is None:
                self.wait(f"{func} without output_size")
        elif func in _READING or any(tag in func.tags for tag in _READING_TAGS):
            self.wait(f"{func} reads values")

    def _check_stream(self, tensor: CudaTensor) -> None:
        here = self.stream
        if tensor.stream is here:
            return
        if here.waited.get(id(tensor.stream), 0) < tensor.launched:
            raise RaceError(f"a tensor of another stream is used before it is ready, in {_place()}")
        if id(here) not in tensor.users:
            raise RaceError(f"a tensor of another stream is used without record_stream, in {_place()}")


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Pretend, within the block, that this machine has one GPU."""
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    gpu = PretendedGpu()
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    # As on a GPU, a module that is moved keeps its parameter objects.
    torch.__future__.set_swap_module_params_on_conversion(True)
    # torch.tensor(list, device=...) then makes a CPU tensor and copies it through the mode.
    lifted = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for name, stand_in in _stand_ins(gpu).items():
            stack.enter_context(mock.patch(name, stand_in))
        # The cuDNN and fused attention kernels have no counterpart on the CPU; the plain kernels compute the same
        # values.
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        for name in ("flash", "mem_efficient", "cudnn"):
            enabled, enable = (getattr(torch.backends.cuda, f"{verb}{name}_sdp{end}") for verb, end in _SDP)
            stack.callback(enable, enabled())
            enable(False)
        stack.enter_context(gpu)
        try:
            yield gpu
        finally:
            torch.__future__.set_swap_module_params_on_conversion(swapped)
            torch._C._set_only_lift_cpu_tensors(lifted)  # type: ignore[attr-defined]


_SDP = (("", "_enabled"), ("enable_", ""))


def _stand_ins(gpu: PretendedGpu) -> dict[str, Any]:
    """The replacements for torch's functions, by name."""

    class Threads(ThreadPoolExecutor):
        """Threads that see the GPU; a dispatch mode applies only to the thread that enters it."""

        def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            def run() -> Any:
                with gpu:
                    return function(*args, **kwargs)

            return super().submit(run)

    def backward(tensors: Any, grad_tensors: Any = None, _: Any = None, create_graph: bool = False, **__: Any) -> None:
        roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        given = [grad_tensors] if isinstance(grad_tensors, Tensor) else grad_tensors
        with _one_graph_task():
            accumulate(roots, given or [torch.ones_like(root) for root in roots], create_graph)

    def grad(
        outputs: Any, inputs: Any, grad_outputs: Any = None, *_: Any, create_graph: bool = False, **__: Any
    ) -> Any:
        roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        given = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
        with _one_graph_task():
            return gradients_of(roots, given or [torch.ones_like(root) for root in roots], wanted, create_graph)

    engine_backward, engine_grad = torch.autograd.backward, torch.autograd.grad

    def chosen(ours: Callable[..., Any], engines: Callable[..., Any]) -> Callable[..., Any]:
        def differentiate(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            first = outputs if isinstance(outputs, Tensor) else outputs[0]
            return (ours if isinstance(first, CudaTensor) else engines)(outputs, *args, **kwargs)

        return differentiate

    return {
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.is_bf16_supported": lambda *_: True,
        "torch.cuda.is_current_stream_capturing": lambda: False,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0,
        # Random numbers on the pretended device come from the CPU's generator.
        "torch.cuda.get_rng_state": lambda *_: torch.zeros(0, dtype=torch.uint8),
        "torch.cuda.set_rng_state": lambda *_: None,
        "torch.cuda.set_device": lambda *_: None,
        "torch.cuda.get_device_name": lambda *_: "pretended GPU",
        "torch.cuda.mem_get_info": lambda *_: (60 * 10**9, 80 * 10**9),
        "torch.cuda.max_memory_allocated": lambda *_: 0,
        "torch.cuda.synchronize": lambda *_: gpu.wait("synchronize"),
        "torch.cuda.device": lambda *_: nullcontext(),
        "torch.cuda.Stream": Stream,
        "torch.cuda.current_stream": lambda *_: gpu.stream,
        "torch.cuda.stream": gpu.on,
        "torch.Tensor.pin_memory": lambda tensor, *_: gpu.pin(tensor),
        "torch.autograd.backward": chosen(backward, engine_backward),
        "torch.autograd.grad": chosen(grad, engine_grad),
        "clever.data.loading.ThreadPoolExecutor": Threads,
    }


@contextmanager
def _one_graph_task() -> Iterator[None]:
    """Let activation checkpointing see a single backward pass, because it recomputes once per pass."""
    task = object()
    with mock.patch("torch._C._current_graph_task_id", return_value=id(task)):
        yield


def _place() -> str:
    """``file:function`` of the package's innermost frame, or of the caller of torch."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SOURCE):
            return f"{path.relative_to(SOURCE).as_posix()}:{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "the test"


def _tensors_in(entries: Iterable[Any]) -> Iterator[Tensor]:
    for entry in entries:
        if isinstance(entry, Tensor):
            yield entry
        elif isinstance(entry, list | tuple):
            yield from _tensors_in(entry)


def _values_of(entry: Any) -> Any:
    if isinstance(entry, CudaTensor):
        return entry.value
    if isinstance(entry, list | tuple):
        return type(entry)(map(_values_of, entry))
    if isinstance(entry, torch.device) and entry.type == "cuda":
        return torch.device("cpu")
    return entry


_TO_HOST = (aten._local_scalar_dense.default, aten.equal.default)

_INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)

_TAKE_HOST_SCALARS = (*_INDEXED, aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor)

_READING_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)

_READING = (aten._linalg_check_errors.default, aten._linalg_eigh.default, aten._linalg_svd.default)
"""Operations that read on the host although their tags do not say so: errors in decompositions."""
