"""What a figure was measured on, to be printed beside it, and a median of several runs."""

import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from os import cpu_count, getloadavg
from pathlib import Path


def describe() -> str:
    """Date, processor, load and versions in two lines."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "symusic") if find_spec(name))
    load = getloadavg()[0]
    return (
        f"{date.today()}, {_processor()}, {cpu_count()} cores, load average {load:.2f}\n"
        f"Python {platform.python_version()}, {packages}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    """Wall seconds of the middle one of several runs, after one that is not counted."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
