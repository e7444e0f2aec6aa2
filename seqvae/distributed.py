"""One training by many processes: who they are, and what they tell each other.

torchrun starts them and gives each its rank; they speak through gloo, and GPUs among themselves through NCCL. Each
computes its parts of every batch, and the gradients are averaged by DistributedDataParallel. All that is done once,
preparing data, validating, writing, is done by the first one, while the others wait.

A process that dies closes its connections, which ends the others at once; a machine that falls silent ends them when
they have waited LATE for their share of a step.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqvae.errors import TrainingError

LATE = timedelta(seconds=45)  # within a step
WAIT = timedelta(days=7)  # for what the first process does alone

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a training; one alone, unless `joined` says otherwise."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those on the same machine
    waiting: Any = None  # the group of those that wait for the first one

    @property
    def first(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.rank == 0

    def parts(self, each: int) -> range:
        """The parts of a batch that are this process's, when every process has `each`."""
        return range(self.rank * each, (self.rank + 1) * each)

    def by_first(self, work: Callable[[], T]) -> T:
        """What the work of the first process gives. Where it fails there, the others end, and leave it to say why."""
        if self.size == 1:
            return work()
        told: list[Any] = [False, None]
        try:
            if self.first:
                told = [True, work()]
        finally:
            dist.broadcast_object_list(told, group=self.waiting)
        if not told[0]:
            raise SystemExit(1)
        return told[1]

    def greatest(self, *values: float) -> list[float]:
        """The greatest of what the processes say, number by number, so that all decide alike."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)  # on the CPU: no GPU is waited for
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return numbers.tolist()

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by the first process's."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def parallel(self, model: nn.Module, *, in_turns: bool) -> nn.Module:
        """The model, with gradients that are averages over all processes; `in_turns`: of some parameters at a time."""
        if self.size == 1:
            return model
        with warnings.catch_warnings():  # torch 2.13 renames broadcast_buffers, which earlier ones need
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                model, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=in_turns
            )


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun has started; outside of it, be alone.

    Raises:
        TrainingError: another process has gone.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()) or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=LATE)
    rank, size = dist.get_rank(), dist.get_world_size()
    ended_well = False
    try:
        waiting = dist.new_group(backend="gloo", timeout=WAIT)
        yield World(rank, size, int(os.environ["LOCAL_RANK"]), waiting)
        ended_well = True
    except RuntimeError as error:
        if not _of_connection(error):
            raise
        raise TrainingError(
            f"process {rank + 1} of {size} stopped, as another one has gone or fallen silent; see its message above. "
            "Continue with --resume"
        ) from None
    finally:
        if ended_well or not torch.cuda.is_available():  # NCCL would wait for GPUs that wait for who has gone
            dist.destroy_process_group()


def _of_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)
