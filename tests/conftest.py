"""Settings for all tests: property tests draw the same examples in every run, and tiny models get one thread.

What several files of tests share stands here, too.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads cost more than they save here

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 is taken as given, slow where the processor imitates it; no test where it cannot (no AVX-512)."""
    import torch

    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError as error:
        pytest.skip(f"this processor has no bf16: {error}")
    monkeypatch.setattr("seqvae.devices._multiplies_bf16", lambda: True)


@pytest.fixture
def int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 is taken as given; where the processor has not got it, its products are imitated by slow, exact ones."""
    import torch
    from torch import Tensor

    from seqvae import int8

    def product(x: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
        found = x.int() @ weight.int()
        return found if out is None else out.copy_(found)

    if not int8.is_fast():
        monkeypatch.setattr(int8, "packs", lambda: False)
        monkeypatch.setattr(torch, "_int_mm", product, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)


@pytest.fixture
def sighup() -> Iterator[None]:
    """SIGHUP is heeded, even where the tests run under nohup, which has it ignored; afterwards it is as it was."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """Tensors are float64 unless told otherwise."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
