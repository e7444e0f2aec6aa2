"""Meters on a grid of 16th notes.

A bar of n/d holds 16 n / d steps; only meters where that is a whole number can be used. A meter has a *beat class*:
compound (6/8, 9/8, 12/8: beats of three) where n is a multiple of three above three, simple otherwise. One meter
serves for another when bars are equally long and the beat class is the same: 2/2 reads as 4/4, 6/8 not as 3/4.
"""

import re

from data_prep.errors import InputError

DEFAULT_TEMPO = 120.0  # quarters a minute, of what says nothing
STEPS_PER_QUARTER = 4
STEPS_PER_WHOLE = 4 * STEPS_PER_QUARTER

Meter = tuple[int, int]


def is_tempo(tempo: float | None) -> bool:
    """Whether so many quarters a minute are a tempo of written music; beyond, something else was meant."""
    return tempo is not None and 10 <= tempo <= 1000


def parse_meter(text: str) -> Meter:
    """A meter as people write it: "6/8" -> (6, 8).

    Raises:
        InputError: not of this form, or a bar that is no whole number of 16th notes.
    """
    match = re.fullmatch(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*", text)
    if not match:
        raise InputError(f"meter {text!r}: write it like 4/4, 3/4 or 6/8")
    meter = int(match[1]), int(match[2])
    steps_per_bar(meter)
    return meter


def steps_per_bar(meter: Meter) -> int:
    """How many 16th notes a bar has.

    Raises:
        InputError: no meter at all (0/4, 4/3), or a bar that is no whole number of 16ths (3/32).
    """
    if not is_meter(meter):
        raise InputError(
            f"meter {name(meter)} is none: the upper number must be 1 or more, the lower one 1, 2, 4, 8, 16 ..."
        )
    steps = STEPS_PER_WHOLE * _length(meter)
    if not on_grid(meter):
        raise InputError(f"meter {name(meter)} has {steps:g} 16th notes a bar, where a whole number is needed")
    return int(steps)


def on_grid(meter: Meter) -> bool:
    """Whether a bar is a whole number of 16th notes."""
    return is_meter(meter) and STEPS_PER_WHOLE * meter[0] % meter[1] == 0


def is_meter(meter: Meter) -> bool:
    """Whether these numbers are a meter: both positive, the lower one a power of two."""
    numerator, denominator = meter
    return numerator > 0 and denominator > 0 and denominator & (denominator - 1) == 0


def name(meter: Meter) -> str:
    """(6, 8) -> "6/8"."""
    return f"{meter[0]}/{meter[1]}"


def serves(meter: Meter, wanted: Meter) -> bool:
    """Whether music in `meter` reads as music in `wanted`: bars equally long, beats of the same class."""
    if meter == wanted:
        return True
    return is_meter(meter) and _length(meter) == _length(wanted) and _compound(meter) == _compound(wanted)


def pairs(meter: Meter, wanted: Meter) -> bool:
    """Whether two bars of `meter` read as one of `wanted`: two of 2/4 as one of 4/4, two of 3/8 as one of 6/8."""
    return serves((2 * meter[0], meter[1]), wanted)


def units_of_a_beat(meter: Meter) -> int:
    """How many of a meter's notes make a beat: one, of a compound meter (6/8, 12/8) three."""
    return 3 if _compound(meter) else 1


def _length(meter: Meter) -> float:
    return meter[0] / meter[1]  # exact: the lower number is a power of two


def _compound(meter: Meter) -> bool:
    return meter[0] > 3 and meter[0] % 3 == 0
