"""One training by many processes: who they are, and what they tell each other.

torchrun starts them and gives each its rank; they speak through gloo, and GPUs among themselves through NCCL. Each
computes its parts of every batch, and the gradients are averaged by DistributedDataParallel. All that is done once,
preparing data, validating, writing, is done by the first one, while the others wait.

A process that dies closes its connections, which ends the others at once; a machine that falls silent ends them when
they have waited LATE for its share of a step, or, where the first one works alone, for the next sign of its life.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np  # noqa: F401 - torch would load it itself, and lose an interruption that comes meanwhile
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqvae.errors import TrainingError

JOINING = timedelta(minutes=5)  # until all are there: from storage that many share torch is read for minutes
LATE = timedelta(seconds=45)  # for a share of a step, or for a sign of life; so all that each does by itself is short
SIGN_EVERY = 10.0  # seconds between two signs of life of the first process while it works alone
TELLING = timedelta(minutes=10)  # for what its work gives to reach the others: a training state may be gigabytes

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a training; one alone, unless `joined` says otherwise."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those on the same machine
    told: Any = None  # the group in which the first one tells what its work gives

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
        told: list[Any] = [False, None]  # whether it went well, and what it gave
        if self.first:
            try:
                with _giving_signs_of_life():
                    told = [True, work()]
            except BaseException:
                with suppress(RuntimeError):  # who is gone need not know; why the work failed must be told
                    self._tell(told)
                raise
            self._tell(told)
        else:
            while not _sign(over=False):
                pass
            dist.broadcast_object_list(told, group=self.told)
        if not told[0]:
            raise SystemExit(1)
        return told[1]

    def _tell(self, told: list[Any]) -> None:
        """Of the first process: end the others' waiting, and tell them this."""
        _sign(over=True)
        dist.broadcast_object_list(told, group=self.told)

    def by_all(self, work: Callable[[], T]) -> T:
        """What the work of this process gives. Where it fails in one, all end, before anything else is done."""
        try:
            result = work()
        except BaseException:
            with suppress(RuntimeError):
                self.greatest(True)
            raise
        if any(self.greatest(False)):
            raise SystemExit(1)  # the one that failed says why
        return result

    def greatest(self, *values: float) -> list[float]:
        """The greatest of what the processes say, number by number, so that all decide alike."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, device="cpu", dtype=torch.float64)  # no GPU is waited for
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
def _giving_signs_of_life() -> Iterator[None]:
    """Of the first process, now and then while it works alone."""
    over = threading.Event()

    def signs() -> None:
        with suppress(RuntimeError):  # of those that are gone the first process learns next
            while not over.wait(SIGN_EVERY):
                _sign(over=False)

    thread = threading.Thread(target=signs, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sign(over: bool) -> bool:
    """A sign of the first process's life that all get: whether its work is over, as it says."""
    sign = torch.tensor([int(over)], device="cpu")
    dist.broadcast(sign, 0)
    return bool(sign)


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun has started; outside of it, be alone.

    Raises:
        TrainingError: another process has gone.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()) or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    ended_well = False
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=_met(rank, size), rank=rank, world_size=size, timeout=LATE)
        yield World(rank, size, local_rank, dist.new_group(backend="gloo", timeout=TELLING))
        ended_well = True
    except RuntimeError as error:
        if not _of_connection(error):
            raise
        raise TrainingError(
            f"process {rank + 1} of {size} stopped, as another one has gone or fallen silent; see its message above. "
            "Continue with --resume"
        ) from None
    finally:
        # NCCL would wait for GPUs that wait for who has gone
        if dist.is_initialized() and (ended_well or not torch.cuda.is_available()):
            dist.destroy_process_group()


def _met(rank: int, size: int) -> dist.Store:
    """What the processes share, once all are there."""
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=JOINING))
        # torchrun's own outlives a restart, with the addresses of those that are gone
        store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        store.set(f"here-{rank}", "")
        store.wait([f"here-{each}" for each in range(size)], JOINING)
    except dist.DistError as error:
        raise TrainingError(
            f"process {rank + 1} of {size} waited {JOINING.total_seconds() / 60:g} minutes, and not all others came: "
            f"start all of them, where they reach {os.environ.get('MASTER_ADDR')}"
        ) from error
    store.set_timeout(LATE)
    return store


def _of_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)
