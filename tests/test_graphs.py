"""Work is recorded when it comes again, and a recording is not used for anything else; a GPU's own is in gpu.py."""

from collections.abc import Callable

import torch
from torch import Tensor

from seqvae.graphs import MOST, Recordings


class Recorded:
    """As a CUDA graph does: the work is done on tensors of its own, into which the inputs are copied."""

    made = 0

    def __init__(self, work: Callable[..., Tensor], *inputs: Tensor) -> None:
        Recorded.made += 1
        self.work, self.inputs = work, [each.clone() for each in inputs]

    def __call__(self, *inputs: Tensor) -> Tensor:
        for ours, given in zip(self.inputs, inputs, strict=True):
            ours.copy_(given)
        return self.work(*self.inputs)


def test_work_is_recorded_when_it_comes_again() -> None:
    Recorded.made = 0
    recordings = Recordings(Recorded)
    for n in range(1, 5):
        x = torch.full((3,), float(n))
        assert recordings.run("double", lambda x: 2 * x, x).tolist() == [2.0 * n] * 3
        assert Recorded.made == (n > 1)
    recordings.run("double", lambda x: 2 * x, torch.ones(4))  # another shape
    recordings.run("triple", lambda x: 3 * x, torch.ones(3))  # other work
    assert Recorded.made == 1


def test_where_memory_is_short_work_is_done_without_a_recording() -> None:
    tried = []

    def record(work: Callable[..., Tensor], *inputs: Tensor) -> Recorded:
        tried.append(work)
        raise torch.OutOfMemoryError("CUDA out of memory")

    recordings = Recordings(record)
    for n in range(4):
        assert recordings.run("double", lambda x: 2 * x, torch.tensor([float(n)])).tolist() == [2.0 * n]
    assert len(tried) == 1


def test_the_oldest_recordings_go_first() -> None:
    Recorded.made = 0
    recordings = Recordings(Recorded)
    for key in [*range(MOST), 0, *range(MOST, 2 * MOST - 1), 0]:  # 0 is used again and stays
        recordings.run(key, lambda x: x, torch.ones(1))
    assert Recorded.made == 1
    recordings.run(1, lambda x: x, torch.ones(1))  # forgotten: comes as if for the first time
    assert Recorded.made == 1
