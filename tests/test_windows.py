"""Windows by Magenta's rules: each rule by hand, all of them against a second, plain way to reckon."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.meters import pairs, parse_meter, serves, steps_per_bar
from data_prep.piece import Piece, Track
from data_prep.windows import MelodyOptions, Window, whole, windows

Rows = list[tuple[int, ...]]  # onset, end (16ths), pitch, and maybe velocity


def track(rows: Rows, program: int = 0, is_drum: bool = False, step: int = 120) -> Track:
    notes = [(round(on * step), round(end * step), pitch, *(rest or [80])) for on, end, pitch, *rest in sorted(rows)]
    return Track("", program, is_drum, np.array(notes, dtype=np.int64).reshape(-1, 4))


def piece(*rows: Rows, meters: Rows = [], tempos: list[tuple[int, float]] = []) -> Piece:  # noqa: B006
    """Tracks of 16ths, at 480 ticks a quarter."""
    tracks = tuple(track(each) for each in rows)
    return Piece("", 480, tracks, tuple((s * 120, n, d) for s, n, d in meters), tuple((s * 120, t) for s, t in tempos))


def text(window: Window) -> str:
    """Ids as a line: a letter where a note begins (c = 60), . for no event, - for note-off; bars apart."""
    line = "".join(".-"[i] if i < 2 else chr(ord("c") + i - 41) for i in window.ids)
    return " ".join(line[begin : begin + 16] for begin in range(0, len(line), 16))


def lines(music: Piece, **options: object) -> list[str]:
    return [text(window) for window in windows(music, MelodyOptions(**{"bars": 1} | options))]  # type: ignore[arg-type]


def test_note_offs_stand_where_a_rest_begins() -> None:
    assert lines(piece([(0, 2, 60), (2, 4, 62), (6, 7, 62)])) == ["c.e.-.e-........"]


def test_a_note_to_the_bar_line_has_no_note_off() -> None:
    assert lines(piece([(0, 16, 60)])) == ["c..............."]
    assert lines(piece([(0, 15, 60)])) == ["c..............-"]


def test_the_last_bar_is_filled_up() -> None:
    assert lines(piece([(0, 17, 60)]), bars=2) == ["c............... .-.............."]


def test_of_notes_on_one_step_the_highest_stays() -> None:
    assert lines(piece([(0, 8, 60), (0, 2, 64), (0, 4, 62)])) == ["g.-............."]


def test_of_one_pitch_twice_the_first_struck_stays() -> None:
    assert lines(piece([(0.2, 4, 60), (0, 2, 60)])) == ["c.-............."]


def test_a_new_note_cuts_what_sounds_for_good() -> None:
    assert lines(piece([(0, 8, 60), (2, 3, 62)])) == ["c.e-............"]


def test_ticks_are_rounded_half_up_and_no_note_vanishes() -> None:
    assert lines(piece([(0.5, 0.5, 60), (2.49, 2.49, 62), (4.4, 4.6, 64)])) == [".ce-g-.........."]


def test_a_melody_starts_at_the_bar_of_its_first_note() -> None:
    (window,) = windows(piece([(37, 40, 60)]), MelodyOptions(bars=1))
    assert (text(window), window.bar) == (".....c..-.......", 2)


def test_a_rest_of_a_bar_ends_a_melody() -> None:
    apart = piece([(0, 4, 60), (20, 24, 62)])  # 16 steps of rest
    assert lines(apart) == ["c...-...........", "....e...-......."]
    with pytest.raises(InputError, match="longest melody has 1 bar, a window 2"):
        lines(apart, bars=2)
    assert lines(piece([(0, 5, 60), (20, 24, 62)]), bars=2) == ["c....-.......... ....e...-......."]


def test_windows_begin_at_every_bar() -> None:
    music = piece([(0, 4, 60), (14, 22, 61), (36, 48, 63)])
    assert lines(music, bars=2) == ["c...-.........d. ......-.........", "................ ....f..........."]
    assert [window.bar for window in windows(music, MelodyOptions(bars=2))] == [0, 1]


def test_a_note_off_before_the_first_note_is_none_and_a_window_without_notes_too() -> None:
    assert lines(piece([(0, 36, 60), (40, 48, 62)])) == ["c...............", "........e......."]


def test_equal_windows_count_once() -> None:
    found = windows(piece([(0, 2, 60), (16, 18, 60), (32, 34, 61)], [(0, 2, 61)]), MelodyOptions(bars=1))
    assert [(text(window)[0], window.bar) for window in found] == [("c", 0), ("d", 2)]


def test_a_melody_has_at_most_a_hundred_bars() -> None:
    music = piece([(bar * 16 + bar // 60, bar * 16 + 16, 21 + bar % 60) for bar in range(120)])  # no two alike
    assert len(lines(music)) == 100
    assert len(lines(music, max_bars=3)) == 3
    assert len(windows(music, MelodyOptions(bars=110))) == 1  # or as many as a window


def test_every_change_of_tempo_and_meter_begins_a_part() -> None:
    music = piece([(0, 20, 60), (22, 30, 62), (38, 40, 64)], tempos=[(0, 120.0), (18, 90.0)])
    found = windows(music, MelodyOptions(bars=1))
    assert [text(window) for window in found] == ["c...............", "....e.......-...", "....g.-........."]
    assert [(window.bar, window.tempo) for window in found] == [(0, 120.0), (1, 90.0), (2, 90.0)]
    assert lines(piece([(0, 4, 60)], meters=[(0, 4, 4), (7, 4, 4)], tempos=[(8, 120.0)])) == ["c...-..........."]


def test_no_note_sounds_beyond_its_part() -> None:
    music = piece([(0, 4, 60), (8, 40, 62)], tempos=[(0, 120.0), (20, 90.0)])
    assert lines(music, bars=2) == ["c...-...e....... ....-..........."]


def test_bars_are_counted_as_the_meters_have_them() -> None:
    meters = [(0, 3, 4), (36, 4, 4), (68, 6, 8), (80, 4, 4)]
    music = piece([(0, 4, 60), (36, 52, 62), (80, 96, 64)], meters=meters)
    found = windows(music, MelodyOptions(bars=1))
    assert [(text(window)[0], window.bar) for window in found] == [("e", 3), ("g", 6)]


def test_what_is_no_melody_is_left_out() -> None:
    drums, bass, melody = track([(0, 1, 60)], is_drum=True), track([(0, 1, 61)], 32), track([(4, 5, 62)], 31)
    silent = track([(0, 1, 63, 0), (0, 1, 20, 80), (0, 1, 109, 80), (8, 9, 108), (12, 13, 21)])
    found = windows(Piece("", 480, (drums, bass, melody, silent), (), ()), MelodyOptions(bars=1))
    assert [window.ids.nonzero()[0].tolist() for window in found] == [[4, 5], [8, 9, 12, 13]]
    every = windows(Piece("", 480, (bass,), (), ()), MelodyOptions(bars=1, programs=frozenset(range(128))))
    assert len(every) == 1


def test_other_meters_have_other_bars() -> None:
    music = piece([(0, 24, 60), (25, 26, 62)], meters=[(0, 6, 8)])
    (window, last) = windows(music, MelodyOptions(meter=(6, 8)))
    assert window.ids.shape == last.ids.shape == (24,)
    assert last.ids[13:15].tolist() == [43, 1]


def test_two_bars_are_read_as_one() -> None:
    music = piece([(0, 8, 60), (8, 16, 62), (30, 32, 64)], meters=[(0, 2, 4)])
    with pytest.raises(InputError, match="with --meter 2/4 or --pair-bars"):
        lines(music, bars=2)
    (window,) = windows(music, MelodyOptions(bars=2, pair_bars=True))
    assert text(window) == "c.......e....... -.............g."
    assert [window.bar for window in windows(music, MelodyOptions(bars=1, pair_bars=True))] == [0, 2]


@pytest.mark.parametrize(
    ("meter", "wanted", "as_it_is", "paired"),
    [
        ((4, 4), (4, 4), True, False),
        ((2, 2), (4, 4), True, False),
        ((2, 4), (4, 4), False, True),
        ((6, 8), (3, 4), False, False),
        ((3, 8), (6, 8), False, True),
        ((3, 8), (3, 4), False, False),
        ((12, 16), (6, 8), True, False),
        ((0, 4), (4, 4), False, False),
        ((4, 0), (4, 4), False, False),
    ],
)
def test_which_meter_serves_for_which(
    meter: tuple[int, int], wanted: tuple[int, int], as_it_is: bool, paired: bool
) -> None:
    assert serves(meter, wanted) is as_it_is
    assert pairs(meter, wanted) is paired


def test_meters_are_read_and_measured() -> None:
    assert [steps_per_bar(parse_meter(each)) for each in ("4/4", "3/4", " 6/8", "2/4", "9/8", "5 / 4", "3/16")] == [
        *(16, 12, 12, 8, 18, 20, 3)
    ]
    for wrong in ("", "4", "4/3", "0/4", "4/0", "-3/4", "4/4/4", "five/four", "3/32", "1000/4"):
        with pytest.raises(InputError, match="meter"):
            parse_meter(wrong)
    with pytest.raises(InputError, match=r"1\.5 16th notes"):
        MelodyOptions(meter=(3, 32))
    with pytest.raises(InputError, match="0 bars"):
        MelodyOptions(bars=0)


@pytest.mark.parametrize(
    ("music", "reason"),
    [
        (Piece("", 480, ()), "no notes"),
        (piece([]), "no notes"),
        (Piece("", 480, (track([(0, 1, 60)], is_drum=True),)), "drums only"),
        (Piece("", 480, (track([(0, 1, 60)], 40),)), "none of its instruments .* 40"),
        (piece([(0, 1, 20), (1, 2, 109)]), "outside pitch 21-108"),
        (piece([(0, 1, 60, 0)]), "outside pitch|no notes"),
        (piece([(0, 99, 60)], meters=[(0, 6, 8)]), "^its meter is 6/8, not 4/4: prepare or train with --meter 6/8$"),
        (piece([(0, 99, 60)], meters=[(0, 0, 4)]), "0/4 is no meter"),
        (piece([(0, 99, 60)], meters=[(0, 3, 32)]), "no whole number of 16th"),
        (piece([(0, 9, 60)]), "longest melody has 1 bar, a window 2"),
        (piece([(0, 9, 60), (16, 90, 60), (90, 99, 6)], meters=[(16, 3, 4)]), "1 bar, a window 2; its meter is 3/4"),
        (piece([(0, 1, 60), (24, 90, 60)], meters=[(0, 6, 8), (24, 9, 8)]), "meters are 6/8, 9/8"),
    ],
)
def test_whatever_gives_nothing_says_why(music: Piece, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        windows(music, MelodyOptions())


def test_a_short_piece_is_taken_as_it_stands() -> None:
    music = piece([(5, 6, 62)], [(18, 20, 60), (18, 30, 50), (26, 32, 64)], tempos=[(0, 90.0), (20, 100.0)])
    window = whole(Piece("", 480, music.tracks[1:], (), music.tempos), MelodyOptions())
    assert window is not None
    assert (text(window), window.bar, window.tempo) == ("................ ..c.-.....g.....", 0, 90.0)
    first = whole(music, MelodyOptions())
    assert first is not None
    assert text(first) == ".....e-......... ................"


def test_a_longer_piece_is_not() -> None:
    assert whole(piece([(0, 32.4, 60)]), MelodyOptions()) is not None
    assert whole(piece([(0, 32.5, 60)]), MelodyOptions()) is None
    assert whole(piece([(0, 1, 60), (31, 31, 60)]), MelodyOptions()) is not None
    assert whole(piece([(0, 1, 60), (32, 32, 60)]), MelodyOptions()) is None
    assert whole(piece([(0, 1, 60)], [(0, 40, 60)]), MelodyOptions()) is None
    assert whole(piece([(2, 40, 60), (2, 4, 62)]), MelodyOptions()) is None


def test_a_short_piece_of_another_meter_is_refused() -> None:
    with pytest.raises(InputError, match="with --meter 3/4"):
        whole(piece([(0, 1, 60)], meters=[(0, 3, 4)]), MelodyOptions())
    with pytest.raises(InputError, match=r"^its meter is 3/4"):
        whole(piece([(0, 1, 60), (16, 17, 60)], meters=[(0, 4, 4), (16, 3, 4)]), MelodyOptions())
    with pytest.raises(InputError, match="no notes"):
        whole(piece([]), MelodyOptions())


def test_distance_costs_nothing() -> None:
    far = Piece("", 480, (track([(0, 4, 60), (2**40, 2**40 + 9, 62), (2**50, 2**51, 64)]),), (), ())
    assert len(windows(far, MelodyOptions(bars=1))) == 3
    many = tuple((tick, 100.0 + tick) for tick in range(20_000))
    assert len(windows(Piece("", 480, (track([(0, 4, 60), (900, 904, 62)]),), (), many), MelodyOptions(bars=1))) == 2


# The same rules once more, as plainly as they can be said: a grid with one cell a step.


def plain_windows(rows: list[tuple[int, int, int]], tpq: int, bar: int, bars: int) -> set[bytes]:
    steps = [(_step(on, tpq), max(_step(end, tpq), _step(on, tpq) + 1), pitch) for on, end, pitch in rows]
    notes = sorted(steps, key=lambda note: (note[0], -note[2]))
    found = set()
    while notes:
        begin = notes[0][0] // bar * bar
        grid = [0] * (notes[-1][0] + max(end - on for on, end, _ in notes) + 2 * bar)
        silent_from, last_on = None, None
        for on, end, pitch in notes:
            if on == last_on:
                continue
            if silent_from is not None and on - silent_from >= bar:
                break
            grid[on:] = [0] * len(grid[on:])
            grid[on], grid[end], silent_from, last_on = pitch - 19, 1, end, on
        assert silent_from is not None
        stop = math.ceil(silent_from / bar) * bar
        for first in range(begin, stop - bars * bar + 1, bar):
            window = grid[first : first + bars * bar]
            for step, symbol in enumerate(window):
                if symbol > 1:
                    found.add(bytes([0] * step + window[step:]))
                    break
        notes = [note for note in notes if note[0] >= stop]
    return found


def _step(tick: int, tpq: int) -> int:
    return math.floor(Fraction(4 * tick, tpq) + Fraction(1, 2))


@given(
    rows=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60), st.integers(60, 64)), min_size=1, max_size=40),
    tpq=st.sampled_from([1, 3, 4, 7, 8]),
    bars=st.integers(1, 3),
)
def test_windows_agree_with_the_plain_way(rows: list[tuple[int, int, int]], tpq: int, bars: int) -> None:
    rows = list({(on, on + length, pitch) for on, length, pitch in rows})
    distinct = {(on, pitch): end for on, end, pitch in sorted(rows)}  # files have no two notes alike in these
    rows = sorted((on, end, pitch) for (on, pitch), end in distinct.items())
    notes = np.array([(*row, 80) for row in rows], dtype=np.int64)
    music = Piece("", tpq, (Track("", 0, False, notes),), (), ())
    try:
        found = {window.ids.tobytes() for window in windows(music, MelodyOptions(bars=bars))}
    except InputError:
        found = set()
    assert found == plain_windows(rows, tpq, 16, bars)
