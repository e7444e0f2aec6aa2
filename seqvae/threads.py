"""Rows that know nothing of each other, in threads of their own.

A decoder's step is some forty operations, most of them small. Where all threads of a CPU share each of them, they wait
for the slowest forty times a step. Where each has rows of its own, they wait once, at the end, and what a row needs
from one operation to the next stays nearer to its processor.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import torch
from torch import Tensor

ROWS = 128  # of a thread, at least: of fewer the products take longer for a row


def side_by_side(work: Callable[[slice], Tensor], rows: int, device: torch.device) -> Tensor:
    """What `work` gives for all rows, in order, on a CPU in as many parts as there are threads for.

    Args:
        work: from a slice of the rows to their results, one row of the tensor for each. It is called in inference mode,
            under the caller's autocast and int8; what it reads must not change meanwhile.
        rows: how many.
        device: on which `work` does it.
    """
    threads = torch.get_num_threads()
    parts = min(threads, rows // ROWS) if device.type == "cpu" else 1
    if parts < 2:
        with torch.inference_mode():
            return work(slice(0, rows))
    dtype, enabled = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def do(part: int) -> Tensor:
        torch.set_num_threads(threads // parts)  # of this thread
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled):
            return work(slice(rows * part // parts, rows * (part + 1) // parts))

    try:
        with ThreadPoolExecutor(parts - 1) as pool:
            others = [pool.submit(copy_context().run, do, part) for part in range(1, parts)]
            return torch.cat([do(0), *(other.result() for other in others)])
    finally:
        torch.set_num_threads(threads)  # of this thread, and of those to come
