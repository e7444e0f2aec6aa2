"""How messages count things and sum up reasons."""

from collections import Counter

Skipped = list[tuple[str, str]]  # source, and why it was left out

_MOST_TOLD = 3  # reasons in a message


def count(number: float, noun: str) -> str:
    """(1, "bar") -> "1 bar", (2, "bar") -> "2 bars", (0.5, "bar") -> "0.5 bars"."""
    shown = f"{round(number, 2):,}".removesuffix(".0")
    return f"{shown} {noun}" if shown == "1" else f"{shown} {noun}s"


def reasons(skipped: Skipped) -> str:
    """The most common reasons with their numbers."""
    common = Counter(reason for _, reason in skipped).most_common()
    told = [f"{times:,} x {reason}" if len(skipped) > 1 else reason for reason, times in common[:_MOST_TOLD]]
    rest = sum(times for _, times in common[_MOST_TOLD:])
    return "; ".join(told) + (f"; and {rest:,} for other reasons" if rest else "")
