"""Pictures of scores: piano rolls, one above another, on one scale of pitch and of time.

Time runs to the right, pitch upwards; a bar line is dark, a beat light, the rows of black keys are shaded. In a row
of scores the colour runs from the first to the last, so that an interpolation shows as one movement.

Drawn with matplotlib's figure objects alone, never pyplot: nothing global is touched and no window is opened.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_prep.files import atomic
from data_prep.meters import Meter, units_of_a_beat

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLACK_KEYS = (1, 3, 6, 8, 10)
FIRST_COLOUR, LAST_COLOUR = 0.08, 0.78  # of the colour map; beyond, it grows too light on white
INK, BAR_LINE, BEAT_LINE, SHADE = "#30343b", "#7d838c", "#dcdfe4", "#f3f4f6"
LARGEST_COLUMN = 8  # rows; more scores go side by side
MOST = 4 * LARGEST_COLUMN  # in one picture: it still fits a screen, and draws in about two seconds
WIDTH, HEIGHT = 8.0, 1.3  # inches of one panel
DPI = 150
MOST_NUMBERS = 32  # of bars along one panel; of more bars every second, fourth ... is numbered
LONGEST_TITLE = 70  # characters; they fit above a panel


class Note(Protocol):
    """As score.Note has it."""

    @property
    def pitch(self) -> int:
        """MIDI pitch."""

    @property
    def onset(self) -> int:
        """The step it begins on."""

    @property
    def end(self) -> int:
        """The step it is over on."""


class Roll(Protocol):
    """What can be drawn: score.Score, which itself calls this module and cannot be imported here."""

    @property
    def notes(self) -> Sequence[Note]:
        """The notes, in any order."""

    @property
    def steps(self) -> int:
        """Its length."""

    @property
    def steps_per_quarter(self) -> int:
        """The grid."""

    @property
    def meter(self) -> Meter:
        """The meter."""

    @property
    def name(self) -> str:
        """The title."""


def piano_roll(score: Roll, ax: "Axes | None" = None) -> "Axes":
    """Draw one score into `ax`, or into a new figure; return the axes."""
    if ax is None:
        ax = _figure(1, 1, height=2.6)[0, 0]
    _draw(ax, score, score.name, _colours(1)[0])
    _scales(ax, [score])
    return ax


def piano_rolls(scores: Sequence[Roll], titles: Sequence[str], path: Path, stack: int = 1) -> None:
    """Write a PNG of all scores, each with its title, in reading order; of more than 32 the first 32.

    Args:
        scores: at least one.
        titles: one for each score.
        path: where to; a picture there is replaced.
        stack: so many scores stand one below another, the next ones beside them or below.

    Raises:
        InputError: the place cannot be written to.
    """
    scores = scores[:MOST]
    columns = -(-len(scores) // LARGEST_COLUMN)
    rows = -(-len(scores) // (stack * columns)) * stack
    axes = _figure(rows, columns, HEIGHT)
    places = axes.reshape(-1, stack, columns).swapaxes(1, 2).ravel()  # stack after stack
    for ax, score, title, colour in zip(places, scores, titles, _colours(len(scores)), strict=False):
        _draw(ax, score, title, colour)
    _scales(axes[0, 0], scores)
    for ax in places[len(scores) :]:
        ax.set_visible(False)
    for column in axes.T:
        [ax for ax in column if ax.get_visible()][-1].tick_params(labelbottom=True)
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # one that the font has not is drawn as a box
        axes[0, 0].figure.savefig(temporary, dpi=DPI)


def _figure(rows: int, columns: int, height: float) -> Any:
    """The axes (rows, columns) of a new figure; all share their scales."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH if columns == 1 else 5.5 * columns, rows * height + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    reach = LAST_COLOUR - FIRST_COLOUR
    return [colormaps["plasma"](FIRST_COLOUR + reach * number / max(1, count - 1)) for number in range(count)]


def _draw(ax: "Axes", score: Roll, title: str, colour: Any) -> None:
    """The notes of one score, its bars and its beats."""
    gap = 0.12  # of a step, so that repeated notes stay apart
    _blocks(ax, [(note.onset, note.end - gap, note.pitch) for note in score.notes], colour, zorder=3)
    if not score.notes:
        ax.text(
            0.5, 0.5, "rest", transform=ax.transAxes, ha="center", va="center", color=BAR_LINE, backgroundcolor="white"
        )
    numerator, denominator = score.meter
    units = units_of_a_beat(score.meter)
    beat = score.steps_per_quarter * 4 * units / denominator
    beats = range(int(score.steps / beat) + 1)
    colours, widths = zip(
        *((BEAT_LINE, 0.6) if number % (numerator // units) else (BAR_LINE, 0.9) for number in beats), strict=True
    )
    places, everywhere = [number * beat for number in beats], ax.get_xaxis_transform()
    ax.vlines(places, 0, 1, colors=colours, linewidths=widths, transform=everywhere, zorder=2)
    plain = " ".join(title.encode("utf-8", "replace").decode().split())  # file names hold anything
    if len(plain) > LONGEST_TITLE:  # its end may tell what it is: a tune or its reconstruction
        plain = f"{plain[: LONGEST_TITLE // 2 - 1]} \N{HORIZONTAL ELLIPSIS} {plain[2 - LONGEST_TITLE // 2 :]}"
    ax.set_title(plain, loc="left", fontsize=9, color=colour, fontweight="bold", pad=3, parse_math=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=8, colors=INK)


def _blocks(ax: "Axes", blocks: Sequence[tuple[float, float, int]], colour: Any, zorder: int) -> None:
    """Blocks (begin, end, pitch), one semitone high. One collection of them draws much faster than a patch for each."""
    from matplotlib.collections import PolyCollection

    corners = [
        [(left, pitch - 0.5), (right, pitch - 0.5), (right, pitch + 0.5), (left, pitch + 0.5)]
        for left, right, pitch in blocks
    ]
    ax.add_collection(
        PolyCollection(corners, facecolors=[colour], linewidths=0, snap=False, zorder=zorder), autolim=False
    )


def _scales(ax: "Axes", scores: Sequence[Roll]) -> None:
    """One scale of pitch and time for all axes that share those of `ax`: octaves named, bars numbered."""
    pitches = [note.pitch for score in scores for note in score.notes] or [60, 72]
    low, high = min(pitches) - 2, max(pitches) + 2
    steps = max(score.steps for score in scores)
    black = [(-1.0, steps + 1.0, pitch) for pitch in range(low, high + 1) if pitch % 12 in BLACK_KEYS]
    for other in ax.figure.axes:
        _blocks(other, black, SHADE, zorder=0)
    ax.set_ylim(low - 0.5, high + 0.5)
    ax.set_yticks(*_pitch_names(low, high))
    numerator, denominator = scores[0].meter
    bar = scores[0].steps_per_quarter * 4 * numerator // denominator
    ax.set_xlim(-0.15, steps + 0.15)
    begins = range(0, steps, bar)
    apart = 1
    while len(begins) > MOST_NUMBERS * apart:
        apart *= 2
    ax.set_xticks(begins[::apart], [str(number + 1) for number in range(0, len(begins), apart)], ha="left")


def _pitch_names(low: int, high: int) -> tuple[list[int], list[str]]:
    """Where to write names beside the rows: each C, and each G where there are few of them."""
    named = [pitch for pitch in range(low, high + 1) if pitch % 12 in ((0, 7) if high - low < 30 else (0,))]
    return named, [f"{'C' if pitch % 12 == 0 else 'G'}{pitch // 12 - 1}" for pitch in named]
