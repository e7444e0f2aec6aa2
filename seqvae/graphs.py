"""Work that is always the same, recorded once as a CUDA graph: a GPU then gets all its kernels by one call.

Sampling launches some twenty small kernels a step; launching them one by one takes longer than they do. A recording
costs as much as a few runs, so that work is recorded when it comes for the second time.
"""

from collections.abc import Callable, Hashable
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
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries choose their algorithms and take their memory before the recording
            work(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = work(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for ours, given in zip(self._inputs, inputs, strict=True):
            ours.copy_(given)
        self._graph.replay()
        return self._result.clone()


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
        known = key in self._seen
        recording = self._seen.pop(key, None)
        if recording is None and known:
            recording = self._record(work, *inputs)
        self._seen[key] = recording
        while len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]
        return work(*inputs) if recording is None else recording(*inputs)
