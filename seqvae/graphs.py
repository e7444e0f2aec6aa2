"""Work that is always the same, recorded once as a CUDA graph: a GPU then gets all its kernels by one call.

Sampling launches some twenty small kernels a step; launching them one by one takes longer than they do. A recording
costs as much as a few runs, so that work is recorded when it comes for the second time.
"""

import gc
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

MOST = 4  # recordings kept for a model; each holds the memory that it works in

Work = Callable[..., Tensor]  # of tensors


class Recording(Protocol):
    """What `record` gives: the work, to be done again on other numbers in tensors of the same shapes."""

    def __call__(self, *inputs: Tensor) -> Tensor: ...


class CUDARecording:
    """A CUDA graph of some work; see torch.cuda.CUDAGraph for what that may do: it must not wait for the GPU."""

    def __init__(self, work: Work, *inputs: Tensor) -> None:
        self._work = work  # what it holds is read again at each replay
        self._inputs = [each.clone() for each in inputs]
        self._stream = torch.cuda.Stream()  # of its own: libraries keep memory for each, which ends with a recording
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):  # libraries choose their algorithms and take that memory before
            work(*self._inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        self._graph = torch.cuda.CUDAGraph()
        with _no_garbage_collection(), torch.cuda.graph(self._graph, stream=self._stream):
            self._result = work(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for ours, given in zip(self._inputs, inputs, strict=True):
            ours.copy_(given)
        self._graph.replay()
        return self._result.clone()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """It may come at any time and end the recording of a model that is gone, which no recording under way survives."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_TURN = threading.Lock()  # a recording has one place for its inputs, and while one is made a GPU can do nothing else


class Recordings:
    """The latest recordings of a model, by what tells one work from another."""

    def __init__(self, record: Callable[..., Recording] = CUDARecording) -> None:
        self._record = record
        self._seen: dict[Hashable, Recording | None] = {}  # the latest last; None: seen once

    def run(self, key: Hashable, work: Work, *inputs: Tensor) -> Tensor:
        """The result of `work(*inputs)`.

        Args:
            key: equal for equal work; what it depends on beside the inputs' shapes.
            work: the same kernels on the same memory whenever the key is the same.
        """
        key = (key, *((each.shape, each.dtype) for each in inputs))
        with _TURN:
            return self._run(key, work, *inputs)

    def _run(self, key: Hashable, work: Work, *inputs: Tensor) -> Tensor:
        known = key in self._seen
        recording = self._seen.pop(key, None)
        if recording is None and known:
            try:
                recording = self._record(work, *inputs)
            except torch.OutOfMemoryError:  # it needs memory of its own, and lasts: do without it from now on
                recording = work
        self._seen[key] = recording
        while len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]
        return work(*inputs) if recording is None else recording(*inputs)
