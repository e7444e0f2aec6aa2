"""Where and in which precision to compute."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from seqvae.config import PRECISIONS
from seqvae.distributed import ALONE, World
from seqvae.errors import OptionError
from seqvae.int8 import int8_products, is_fast


def choose_device(name: str | torch.device = "auto", world: World = ALONE) -> torch.device:
    """auto: CUDA, else Apple's MPS, else the CPU. Raises OptionError when the device asked for is not there.

    Of several processes on a machine each has a GPU of its own.
    """
    name = str(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if world.size > 1:
        there["mps"] = False
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if not there.get(name, False):
        usable = ", ".join(kind for kind, available in there.items() if available)
        raise OptionError(f"--device {name}: not available here; choose auto or {usable}")
    if name == "cuda" and world.size > 1:
        return _own_gpu(world)
    return torch.device(name)


def _own_gpu(world: World) -> torch.device:
    if world.local_rank >= (count := torch.cuda.device_count()):
        raise OptionError(f"--nproc-per-node: at most {count}, one for each GPU of this machine; or give --device cpu")
    device = torch.device("cuda", world.local_rank)
    torch.cuda.set_device(device)
    return device


def out_of_memory(error: RuntimeError) -> bool:
    """Whether this is torch's way to say that something is too large, on whatever device."""
    told = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)


def choose_precision(name: str, device: torch.device, allowed: Sequence[str] = PRECISIONS) -> str:
    """auto: bf16 where the processor multiplies it natively, else fp32. Raises OptionError for what it has not got."""
    if name not in allowed:
        raise OptionError(f"--precision {name}: must be one of {', '.join(allowed)}")
    if name == "int8" and not (device.type == "cpu" and is_fast()):
        raise OptionError("--precision int8: needs --device cpu, and a processor with AVX-512 VNNI; use auto")
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    native = native or (device.type == "cpu" and _multiplies_bf16())
    if name == "bf16" and not native:
        raise OptionError(f"--precision bf16: this {device.type} device has no bf16 arithmetic; use auto or fp32")
    return name if name != "auto" else ("bf16" if native else "fp32")


def _multiplies_bf16() -> bool:
    """Whether the processor has bf16 products; torch tells it under a private name, so it may be gone one day."""
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Run matrix products in bf16 or int8, sums and losses in fp32; with fp32, nothing is less precise than that.

    On a GPU that holds for cuDNN from here on: what goes backward does so after the context.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
    low = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with int8_products(precision == "int8"), low:
        yield


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. A copy to a GPU starts from pinned memory, so that the program need not wait for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)  # MPS may read memory that has been given away meanwhile
