"""A GPU that is none, as a plugin of pytest: what is for GPUs alone runs by the CPU's kernels on the host's memory.

    make test-gpu        .venv/bin/python -m pytest -p tests.pretended_gpu

`device="cuda"` and `--device auto` then take a device of torch's (pretended_gpu.cpp) on which tensors of two devices do
not mix, numbers of a generator come from the device's own, and it is an error to wait for it where that is forbidden.
The rest of torch.cuda that seqvae uses stands here: streams, graphs, which do again what was done while they were
recorded, on the same memory, and cuDNN's LSTM, in fp16 under autocast. It takes a compiler of C++20 and the torch of
constraints.txt in its CPU build. Processes that a test starts have no such device. What it cannot tell: whether a real
kernel takes what it is given, and how fast it is.
"""

import ctypes
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".cpp")


def _compiled() -> Path:
    """The device as a library, made when it has changed."""
    found = importlib.util.find_spec("torch")  # which must not be imported yet
    assert found is not None
    assert found.submodule_search_locations is not None
    torch = Path(found.submodule_search_locations[0])
    version = (torch / "version.py").read_bytes()
    if b"cuda: Optional[str] = None" not in version:
        sys.exit(
            "tests.pretended_gpu: torch has a CUDA of its own; its CPU build is needed (README.md tells how to get it)"
        )
    made_of = hashlib.sha256(version + SOURCE.read_bytes()).hexdigest()
    library = SOURCE.parents[1] / "build" / f"pretended_gpu-{made_of[:16]}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        made = library.with_suffix(f".{os.getpid()}")
        where = [f"-I{torch}/include", f"-I{torch}/include/torch/csrc/api/include", f"-L{torch}/lib"]
        how = ["-std=c++20", "-O1", "-shared", "-fPIC", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch}/lib"]
        subprocess.run([os.environ.get("CXX", "g++"), SOURCE, "-o", made, *where, *how], check=True)
        made.replace(library)
    return library


device = ctypes.CDLL(str(_compiled()), mode=ctypes.RTLD_GLOBAL)  # before torch, which then finds it first

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

device.forbid_waiting.argtypes, device.forbid_waiting.restype = [ctypes.c_bool], ctypes.c_bool


@contextmanager
def waiting(allowed: bool) -> Iterator[None]:
    """Whether the host may wait for the device meanwhile."""
    before = device.forbid_waiting(not allowed)
    try:
        yield
    finally:
        device.forbid_waiting(before)


class Stream:
    """There is but one, in which all is done at once."""

    def wait_stream(self, other: "Stream") -> None:
        pass


class _Log(TorchDispatchMode):
    """All operations, with what they were given and what they gave."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any, bool]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.done.append((operation, args, kwargs or {}, result, torch.is_autocast_enabled("cuda")))
        return result


class CUDAGraph:
    """What was done while it was recorded, to be done again on the same memory."""

    def __init__(self) -> None:
        self.log = _Log()

    def replay(self) -> None:
        for operation, args, kwargs, before, low in self.log.done:
            with torch.autocast("cuda", torch.bfloat16, enabled=low, cache_enabled=False):
                now = operation(*args, **kwargs)
            for new, old in zip(tree_leaves(now), tree_leaves(before), strict=True):
                if isinstance(old, Tensor) and new.untyped_storage().data_ptr() != old.untyped_storage().data_ptr():
                    old.copy_(new)


@contextmanager
def graph(cuda_graph: CUDAGraph, stream: Stream | None = None) -> Iterator[None]:
    with waiting(allowed=False), cuda_graph.log:
        yield


class CuDNN(torch.autograd.Function):
    """The LSTM of torch on the CPU, of numbers rounded as cuDNN is given them."""

    @staticmethod
    def forward(ctx: Any, how: tuple[Any, ...], dtype: torch.dtype, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.dtypes, wide = [tensor.dtype for tensor in given], torch.promote_types(dtype, torch.float32)
        with (
            waiting(allowed=True),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cuda", enabled=False),
        ):
            with torch.profiler.record_function("aten::_cudnn_rnn"):
                ctx.given = [tensor.detach().to(dtype).cpu().to(wide).clone().requires_grad_() for tensor in given]
                x, hidden, cell, *weights = ctx.given
                ctx.found = _torch_lstm(x, (hidden, cell), weights, *how)
            return tuple(tensor.detach().to(dtype).cuda() for tensor in ctx.found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        with waiting(allowed=True), torch.profiler.record_function("aten::_cudnn_rnn_backward"):
            raised = [gradient.cpu().to(found.dtype) for gradient, found in zip(gradients, ctx.found, strict=True)]
            wanted = torch.autograd.grad(ctx.found, ctx.given, raised)
            low = gradients[0].dtype
            return None, None, *(each.to(low).to(dtype).cuda() for each, dtype in zip(wanted, ctx.dtypes, strict=True))


_torch_lstm = torch._VF.lstm


def lstm(x: Tensor, state: tuple[Tensor, Tensor], weights: list[Tensor], *how: Any) -> tuple[Tensor, ...]:
    """torch.lstm, which on a GPU is cuDNN's."""
    if not x.is_cuda:
        return _torch_lstm(x, state, weights, *how)
    low = torch.is_autocast_enabled("cuda")
    given = (x, *state, *weights)
    assert all(tensor.is_cuda for tensor in given), "all tensors must be on the device"
    assert x.dtype in (torch.float16, torch.float32, torch.float64), f"cuDNN may not take {x.dtype}"
    assert low or all(tensor.dtype == x.dtype for tensor in given), "all tensors must be of a type"
    return CuDNN.apply(how, torch.float16 if low else x.dtype, *given)


@contextmanager
def stream(taken: Stream) -> Iterator[None]:
    yield


torch._VF.lstm = torch.lstm = lstm
torch.backends.cudnn.is_acceptable = lambda tensor: False  # weights lie as they lie
torch.Tensor.pin_memory = lambda tensor: tensor.clone()
for name, part in {
    "is_available": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_name": lambda device=None: "no GPU, but pretended",
    "mem_get_info": lambda device=None: (2**37, 2**37),
    "set_sync_debug_mode": lambda mode: device.forbid_waiting(mode == "error"),
    "current_stream": lambda device=None: Stream(),
    "Stream": Stream,
    "stream": stream,
    "CUDAGraph": CUDAGraph,
    "graph": graph,
    "synchronize": lambda device=None: None,
    "set_device": lambda device: None,
    "_lazy_init": lambda: None,
}.items():
    setattr(torch.cuda, name, part)
