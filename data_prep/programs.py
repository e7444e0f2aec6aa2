"""Sets of General MIDI programs (0-127) as people write them: numbers and ranges, "0-31" or "0-7,40,73-79"."""

import re

from data_prep.errors import InputError

HIGHEST = 127


def parse(text: str) -> frozenset[int]:
    """ "0-2,40" -> {0, 1, 2, 40}.

    Raises:
        InputError: not of this form, or none of MIDI's programs.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= HIGHEST:
            raise InputError(f"programs {text!r}: write numbers and ranges from 0 to {HIGHEST}, like 0-31 or 0-7,40")
        found.update(range(first, last + 1))
    return frozenset(found)


def check(programs: frozenset[int]) -> None:
    """Raises InputError where some are none of MIDI's."""
    for wrong in programs - set(range(HIGHEST + 1)):
        raise InputError(f"program {wrong!r}: MIDI has 0 to {HIGHEST}")


def text(programs: frozenset[int]) -> str:
    """{0, 1, 2, 40} -> "0-2,40"; the reverse of `parse`."""
    starts = [number for number in sorted(programs) if number - 1 not in programs]
    ends = [number for number in sorted(programs) if number + 1 not in programs]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
