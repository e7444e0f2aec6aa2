"""Written music: bars on the grid, ABC, MusicXML, kern, and the tunebooks of music21's corpus."""

import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from data_prep import notation, tunebook
from data_prep.bars import TICKS, Bar, Voice, WrittenNote, place, to_piece
from data_prep.errors import InputError
from data_prep.piece import Piece
from data_prep.reading import read_all, read_pieces

FULL = 4 * TICKS


def bars(*quarters: float, sections: Sequence[int] = (), endings: Sequence[int] = ()) -> list[Bar]:
    return [
        Bar(round(q * TICKS), [WrittenNote(0, round(q * TICKS), 60)], section=i in sections, ending=i in endings)
        for i, q in enumerate(quarters)
    ]


@pytest.mark.parametrize(
    ("written", "starts"),
    [
        (bars(4, 4, 4), [0, 4, 8]),
        (bars(1, 4, 4, 3), [3, 4, 8, 12]),  # a pickup, and an end that lacks what the pickup brings
        (bars(1, 4, 3, 1, 4, 4), [3, 4, 8, 11, 12, 16]),  # a bar that a repeat divides
        (bars(1, 4, 3, 0.5, 4, 4, sections=[3]), [3, 4, 8, 11.5, 12, 16]),  # a rest is missing at the repeat
        (bars(4, 4, 3, 0.5, 4, 4), [0, 4, 8, 12, 16, 20]),  # no repeat: two bars, each short at its end
        (bars(4, 4, 1, 4, 4, sections=[2]), [0, 4, 11, 12, 16]),  # a pickup after a full bar
        (bars(4, 4, 3, 2, 4, 4, sections=[3]), [0, 4, 8, 14, 16, 20]),  # too long for one bar
        (bars(4, 4, 4, 2, 2, 4, 4, endings=[4]), [0, 4, 8, 12, 16, 20, 24]),  # first and second ending
        (bars(4, 6, 4, 4), [0, 4, 12, 16]),  # a cadenza
        (bars(3, 3, 3, 4), [0, 3, 6, 9]),  # bar lines that tell nothing
        (bars(2), [0]),
        (bars(1, 4), [3, 4]),
        (bars(1, 3, 4, 4, 4), [3, 4, 8, 12, 16]),  # a pickup is no part of the next bar
        (bars(4, 3, 1, 4, 4, 4), [0, 4, 7, 8, 12, 16]),  # the second bar is divided
        (bars(4, 4, 6, 4, 4, sections=[2]), [0, 4, 8, 16, 20]),  # what is too long is no pickup
        (bars(4, 4, 3, 1), [0, 4, 8, 11]),  # the last bar is divided
    ],
)
def test_bars_are_laid_on_the_grid(written: list[Bar], starts: list[float]) -> None:
    assert [start / TICKS for _, start in place(written)] == starts


def test_a_new_meter_counts_from_its_bar_line() -> None:
    written = bars(4, 4, 0.5, 3, 3)
    written[0].meter, written[2].meter = (4, 4), (6, 8)
    written[2].section = True
    piece = to_piece("tune", [Voice(written)])
    assert piece.meters == ((0, 4, 4), (8 * 480, 6, 8))
    assert piece.tracks[0].notes[:, 0].tolist() == [0, 4 * 480, int(10.5 * 480), 11 * 480, 14 * 480]


def test_a_tie_over_a_rest_that_was_put_in_holds() -> None:
    written = bars(4, 3, 4, 4)
    written[1].notes = [WrittenNote(0, 3 * TICKS, 60, tied=True)]
    notes = to_piece("tune", [Voice(written)]).tracks[0].notes
    assert (notes[:, :2] // 480).tolist() == [[0, 4], [4, 12], [12, 16]]


def test_a_tie_to_nothing_ties_nothing() -> None:
    written = bars(4, 4)
    written[0].notes = [
        WrittenNote(beat * TICKS, TICKS, pitch, tied=beat == 0) for beat, pitch in enumerate((60, 62, 60))
    ]
    notes = to_piece("tune", [Voice(written)]).tracks[0].notes
    assert (notes[:, :3] // [480, 480, 1]).tolist() == [[0, 1, 60], [1, 2, 62], [2, 3, 60], [4, 8, 60]]


def test_a_bar_of_another_meter_shares_no_bar() -> None:
    written = bars(4, 4, 3, 1, 4, 4, 4)
    assert [start / TICKS for _, start in place(written)] == [0, 4, 8, 11, 12, 16, 20]
    written[3].meter = (4, 4)
    assert [start / TICKS for _, start in place(written)] == [0, 4, 8, 12, 16, 20, 24]


def test_a_tempo_over_a_pickup_counts_from_the_bar_line() -> None:
    written = bars(1, 4, 4, 3)
    written[0].tempos, written[2].tempos = [(0, 90.0)], [(TICKS, 100.0)]
    assert to_piece("tune", [Voice(written)]).tempos == ((0, 90.0), (9 * 480, 100.0))


def test_meters_and_tempos_are_those_of_the_first_voice_that_has_any() -> None:
    voices = [bars(3, 3, 3) for _ in range(3)]
    voices[1][0].meter, voices[1][1].tempos = (3, 4), [(0, 90.0)]
    voices[2][0].meter, voices[2][0].tempos = (6, 8), [(0, 200.0)]
    piece = to_piece("trio", [Voice(voice) for voice in voices])
    assert (piece.meters, piece.tempos) == (((0, 3, 4),), ((3 * 480, 90.0),))


@pytest.mark.parametrize(("parts", "ticks"), [(1, 480), (32, 480), (3, 480), (15, 480), (7, 3360), (9, TICKS)])
def test_ticks_are_as_few_as_are_exact(parts: int, ticks: int) -> None:
    written = bars(4, 4)
    written[0].notes = [WrittenNote(n * TICKS // parts, TICKS // parts, 60 + n) for n in range(parts)]
    piece = to_piece("tune", [Voice(written)])
    assert piece.ticks_per_quarter == ticks
    assert (piece.tracks[0].notes[:parts, 0] * parts).tolist() == [n * ticks for n in range(parts)]


def abc(text: str, path: Path) -> list[Piece]:
    path.write_text(text)
    return read_pieces(path)


def tune(tmp_path: Path, music: str, meter: str = "4/4", key: str = "C") -> Piece:
    return abc(f"X:1\nT:A tune\nM:{meter}\nL:1/8\nK:{key}\n{music}\n", tmp_path / "tune.abc")[0]


def heads(piece: Piece, track: int = 0) -> list[tuple[float, float, int]]:
    """Start and length in quarters, and pitch."""
    ticks = piece.ticks_per_quarter
    return [((s / ticks), (e - s) / ticks, p) for s, e, p, _ in piece.tracks[track].notes.tolist()]


def test_abc_notes_keys_and_lengths(tmp_path: Path) -> None:
    piece = tune(tmp_path, "G,2 c' ^F/ =f/2 _B3/2 z/ A>B|", key="D")
    assert heads(piece) == [
        (0, 1, 55),
        (1, 0.5, 85),
        (1.5, 0.25, 66),
        (1.75, 0.25, 77),
        (2, 0.75, 70),
        (3, 0.75, 69),
        (3.75, 0.25, 70),
    ]
    assert (piece.name, piece.tracks[0].name, piece.meters, piece.tempos) == ("A tune", "A tune", ((0, 4, 4),), ())


def test_abc_triplets_are_exact(tmp_path: Path) -> None:
    piece = tune(tmp_path, "(3CDE (5F/G/A/B/c/ G4|")
    starts = (piece.tracks[0].notes[:, 0] * 30 / piece.ticks_per_quarter).tolist()
    assert starts[:4] == [0, 10, 20, 30]
    assert starts[-1] == 45  # five in the time of two
    assert piece.ticks_per_quarter % 30 == 0


@pytest.mark.parametrize("middle", [">", ">{e}", "{^e}>", ">(", ">.", ">u", "->", ">-", ' > "Am"', ">!trill!"])
def test_abc_broken_rhythms_reach_over_what_is_no_note(tmp_path: Path, middle: str) -> None:
    assert heads(tune(tmp_path, f"C{middle}D z6|"))[:2] == [(0, 0.75, 60), (0.75, 0.25, 62)]


def test_abc_graces_count_in_no_tuplet(tmp_path: Path) -> None:
    starts = [round(start * 12) for start, *_ in heads(tune(tmp_path, "(3C{g}D{ab}E F2 z4|"))]
    assert starts == [0, 4, 8, 12]


def test_abc_decorations_are_no_notes(tmp_path: Path) -> None:
    piece = tune(tmp_path, "HC2 TuD2 JE2 LH^F2 H:|G2 WA2 jB2 pc2 Hx||Hz2 c6|")
    assert heads(piece) == [*((n, 1, pitch) for n, pitch in enumerate((60, 62, 64, 66, 67, 69, 71, 72))), (9, 3, 72)]


def test_abc_ties_graces_chords_and_asides(tmp_path: Path) -> None:
    piece = tune(tmp_path, '"Am"{gag}A2-A2 !trill!+fermata+[CEG]4-|[CEG]2 x2 ~c2 .d2|')
    assert heads(piece) == [(0, 2, 69), *[(2, 3, pitch) for pitch in (60, 64, 67)], (6, 1, 72), (7, 1, 74)]


@pytest.mark.parametrize(
    ("music", "pitches"),
    [
        ("^c2 c2 C2 ^^c c|c8|", [73, 73, 61, 74, 74, 72]),  # up to the bar line, in every octave
        ("^f2 =f2 f4|f8|", [78, 77, 77, 77]),  # the later one holds
        ("[^C_E]2 C2 E4|[CE]8|", [61, 63, 61, 63, 60, 64]),
        ("{^c}d4 ~c2 ~^c2|", [74, 73, 73]),
        ("^c4-|c2 c2 z4|", [73, 72]),  # what is tied over the bar line sounds on
        ("^c2-[ce]2-|[ce]2 d2 c4|", [73, 76, 74, 72]),
    ],
)
def test_abc_accidentals_hold_up_to_the_bar_line(tmp_path: Path, music: str, pitches: list[int]) -> None:
    assert [pitch for *_, pitch in heads(tune(tmp_path, music, key="C"))] == pitches


def test_abc_ties_of_single_notes_in_a_chord(tmp_path: Path) -> None:
    piece = tune(tmp_path, "[C-^E-]4 [CE]4|[C,2E2-]2 [D/E/]2 z2|")
    assert heads(piece) == [(0, 4, 60), (0, 4, 65), (4, 2, 48), (4, 2.5, 64), (6, 0.5, 62)]


def test_abc_line_breaks_of_old_programs_are_no_decorations(tmp_path: Path) -> None:
    assert [pitch for *_, pitch in heads(tune(tmp_path, "C8|!\nD8|!\n!trill!E8|"))] == [60, 62, 64]


def test_abc_fields_of_a_voice_are_its_own(tmp_path: Path) -> None:
    one = "V:1\nF8|\n[K:G]\n[L:1/4]F4|\nV:2\nF8|F8|\nV:1\nF4|\n"
    piece = abc(f"X:1\nM:4/4\nL:1/8\nV:1\nV:2\nK:C\n{one}", tmp_path / "duet.abc")[0]
    assert [heads(piece, voice) for voice in (0, 1)] == [
        [(0, 4, 65), (4, 4, 66), (8, 4, 66)],
        [(0, 4, 65), (4, 4, 65)],
    ]


@pytest.mark.parametrize("change", ["|[M:3/4]", "[M:3/4]|", "\nM:3/4\n|"])
def test_abc_meters_count_from_a_bar_line(tmp_path: Path, change: str) -> None:
    piece = tune(tmp_path, f"C8|D8{change}E6|F6|")
    assert [start for start, *_ in heads(piece)] == [0, 4, 8, 11]
    assert piece.meters == ((0, 4, 4), (8 * piece.ticks_per_quarter, 3, 4))


@pytest.mark.parametrize("meter", ["2+2+3/8", "(2 + 2+3)/8", "7/8"])
def test_abc_meters_of_several_beats(tmp_path: Path, meter: str) -> None:
    piece = tune(tmp_path, "A|CDEF GAB|c7|", meter=meter)
    assert [(bar[1], bar[2]) for bar in piece.meters] == [(7, 8)]
    assert [start for start, *_ in heads(piece)][:2] == [3, 3.5]


def test_abc_pickups_and_divided_bars(tmp_path: Path) -> None:
    piece = tune(tmp_path, "AB|cdef gabc|c4 B2:|AB|cdef gabc|c8|]")
    assert [start for start, *_ in heads(piece)][:3] == [3, 3.5, 4]
    assert [start for start, _, pitch in heads(piece) if pitch == 69] == [3, 11]


def test_abc_inline_fields_and_voices(tmp_path: Path) -> None:
    two = "V:1\nV:2\nM:3/4\n[V:1]C2D2E2|[V:2]c2d2e2|\n[V:1][M:2/4]F4|[V:2]f4|\n"
    piece = abc(f"X:1\nT:Duet\nL:1/8\nK:C\n{two}", tmp_path / "duet.abc")[0]
    assert [heads(piece, voice) for voice in (0, 1)] == [
        [(0, 1, low), (1, 1, low + 2), (2, 1, low + 4), (3, 2, low + 5)] for low in (60, 72)
    ]
    assert piece.meters == ((0, 3, 4), (3 * piece.ticks_per_quarter, 2, 4))


def test_abc_clefs_that_sound_lower_hold_until_another_one(tmp_path: Path) -> None:
    piece = tune(tmp_path, "C4 D4|\nK:G\nC4 D4|\nK:none\nC8|\nK:C clef=treble\nC4 D4|", key="C treble-8")
    assert [pitch for *_, pitch in heads(piece)] == [48, 50, 48, 50, 48, 60, 62]


@pytest.mark.parametrize(
    ("clef", "by"), [("clef=bass", 0), ("alto", 0), ("treble-8", -12), ("octave=1", 12), ("Am", -1)]
)
def test_abc_clefs_alone_keep_the_key(tmp_path: Path, clef: str, by: int) -> None:
    assert [pitch for *_, pitch in heads(tune(tmp_path, f"F8|[K:{clef}]F8|", key="D"))] == [66, 66 + by]


def test_abc_fields_that_are_no_music_give_no_notes(tmp_path: Path) -> None:
    aside = "r:a bad face\ns:* !pp! d\nw:a b c\n+:d e\nm: ~g = {a}g\nY:3\n"
    piece = tune(tmp_path, f"C4 D4|\n{aside}[r:a cabbage]E4 F4|")
    assert [pitch for *_, pitch in heads(piece)] == [60, 62, 64, 65]


def test_abc_bars_of_rest_and_spacers(tmp_path: Path) -> None:
    piece = tune(tmp_path, "V:1\nC6|Z|E6|X2|y2 G3 yA3|\nV:2\nC6|D6|Z|", meter="3/4")
    assert heads(piece) == [(0, 3, 60), (6, 3, 64), (15, 1.5, 67), (16.5, 1.5, 69)]
    assert heads(piece, 1) == [(0, 3, 60), (3, 3, 62)]


@pytest.mark.parametrize("later", ["[3F8:|[4G8|]", "[3-4 F8:|[5,6G8|]", "|3F8:||4.G8|]"])
def test_abc_has_any_number_of_endings(tmp_path: Path, later: str) -> None:
    piece = tune(tmp_path, f"C8|[1-2 C8:|{later}[c4e4]")
    assert [(start, pitch) for start, _, pitch in heads(piece)][:4] == [(0, 60), (4, 60), (8, 65), (12, 67)]


def test_abc_blocks_of_text_give_no_notes(tmp_path: Path) -> None:
    block = "%%begintext\nA faded | page\nX:2\n%%endtext\n"
    assert heads(tune(tmp_path, f"C4 D4|\n{block}E4 F4|")) == [(0, 2, 60), (2, 2, 62), (4, 2, 64), (6, 2, 65)]
    endless = f"%%begintext\nX:1\nM:4/4\nL:1/8\nK:C\nC8|\nX:2\nM:4/4\nL:1/8\nK:C\n{block}D8|\n"
    assert [heads(piece) for piece in abc(endless, tmp_path / "book.abc")] == [[(0, 4, 60)], [(0, 4, 62)]]


def test_abc_without_a_meter_is_in_eighths(tmp_path: Path) -> None:
    (piece,) = abc("X:1\nK:C\nCDEF GABc|[M:4/4]c8|\n", tmp_path / "a.abc")
    assert heads(piece) == [
        *((n / 2, 0.5, pitch) for n, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72))),
        (4, 4, 72),
    ]


@pytest.mark.parametrize(
    ("said", "by"),
    [
        ("clef=treble-8", -12),
        ("treble+8", 12),
        ("-8va", -12),
        ("octave=1", 12),
        ("bass octave=-1 transpose=-2", -14),
        ("clef=bass", 0),
        ("bass middle=d", -24),
        ("treble middle=d", 0),
    ],
)
def test_abc_of_transposing_voices_is_read_as_it_sounds(tmp_path: Path, said: str, by: int) -> None:
    assert [pitch for *_, pitch in heads(tune(tmp_path, "C4 D4|", key=f"C {said}"))] == [60 + by, 62 + by]
    if "va" not in said:
        piece = tune(tmp_path, f'V:1 {said} name="8-8"\nV:2\nK:C\n[V:1]C4 D4|\n[V:2]C4 D4|')
        assert [[pitch for *_, pitch in heads(piece, voice)] for voice in (0, 1)] == [[60 + by, 62 + by], [60, 62]]


@pytest.mark.parametrize(("key", "pitches"), [("D phr ^f", [66, 70, 65, 66]), ("D exp _B ^f", [66, 70, 65, 66])])
def test_abc_accidentals_of_a_key(tmp_path: Path, key: str, pitches: list[int]) -> None:
    assert [pitch for *_, pitch in heads(tune(tmp_path, "F4 B2 =F2|F8|", key=key))] == pitches


def test_abc_tempo(tmp_path: Path) -> None:
    piece = abc("X:1\nT:t\nM:4/4\nL:1/8\nQ:1/2=60\nK:C\nCDEF GABc|\nQ:Slowly\nc8|\n", tmp_path / "a.abc")[0]
    assert piece.tempos == ((0, 120.0),)


@pytest.mark.parametrize("tempo", ["1/4=96", "1/4 = 96", "1/4 =96 % a remark", '"Slow = sad" 3/8= 64'])
def test_abc_tempo_with_blanks(tmp_path: Path, tempo: str) -> None:
    assert abc(f"X:1\nM:6/8\nL:1/8\nQ:{tempo}\nK:C\nCDE FGA|\n", tmp_path / "a.abc")[0].tempos == ((0, 96.0),)


BOOK = """A heading, which is no tune.
M:3/4

X:1
T:First
L:1/4
K:C
CDE|FGA|

Prose between the tunes.

X:2
T:Broken
K:C
C1/D0/0 |(9999:x
X:3
T:Silent
K:C
z2|
X:3
T:Second
M:2/4
L:1/4
K:G
FG|A:|

|:BA|
"""


def test_a_book_gives_its_good_tunes_and_tells_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "book.abc"
    path.write_bytes(BOOK.replace("First", "Première").replace("\n", "\r\n").encode("latin-1"))
    pieces, skipped = read_all(path)
    assert {number: (piece.name, piece.meters[0][1:]) for number, piece in pieces.items()} == {
        1: ("Première", (3, 4)),
        4: ("Second", (2, 4)),
    }
    assert [len(piece.tracks[0].notes) for piece in pieces.values()] == [6, 5]
    assert [title for title, _ in skipped] == ["Broken", "Silent"]
    assert skipped[1][1] == "no notes"
    assert capfd.readouterr() == ("", "")


MUSICXML = """<?xml version="1.0"?>
<score-partwise version="3.1"><movement-title>Étude</movement-title>
<part-list><score-part id="P1"><part-name>Piano</part-name></score-part></part-list>
<part id="P1"><measure number="0" implicit="yes">
<attributes><divisions>2</divisions><time><beats>4</beats><beat-type>4</beat-type></time></attributes>
<direction><sound tempo="90"/></direction>
<note><pitch><step>G</step><octave>4</octave></pitch><duration>2</duration></note></measure>
<measure number="1">
<note><grace/><pitch><step>B</step><octave>4</octave></pitch></note>
<note><pitch><step>C</step><octave>5</octave></pitch><duration>4</duration></note>
<note><chord/><pitch><step>E</step><octave>5</octave></pitch><duration>4</duration></note>
<note><rest/><duration>2</duration></note>
<note><pitch><step>D</step><octave>5</octave></pitch><duration>2</duration><tie type="start"/></note></measure>
<measure number="2">
<note><pitch><step>D</step><octave>5</octave></pitch><duration>6</duration><tie type="stop"/></note>
<barline location="right"><bar-style>light-heavy</bar-style></barline></measure></part></score-partwise>
"""
WANTED = [(3, 1, 67), (4, 2, 72), (4, 2, 76), (7, 4, 74)]


def write_mxl(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_musicxml_plain_and_compressed(tmp_path: Path) -> None:
    container = '<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>'
    for name in ("a.musicxml", "b.xml"):
        (tmp_path / name).write_text(MUSICXML, encoding="utf-8")
    files = {"META-INF/container.xml": container, "other.xml": "<x/>", "score.xml": MUSICXML}
    write_mxl(tmp_path / "c.mxl", files)
    write_mxl(tmp_path / "d.mxl", {"score.xml": MUSICXML})
    (tmp_path / "e.xml").write_bytes(MUSICXML.replace("?>", ' encoding="UTF-16"?>', 1).encode("utf-16"))
    for path in sorted(tmp_path.iterdir()):
        (piece,) = read_pieces(path)
        assert heads(piece) == WANTED, path.name
        assert (piece.name, piece.meters, piece.tracks[0].name) == ("Étude", ((0, 4, 4),), "Piano")
        assert [tempo for _, tempo in piece.tempos] == [90.0]


def musicxml(tmp_path: Path, text: str) -> Piece:
    (tmp_path / "a.musicxml").write_text(text, encoding="utf-8")
    return read_pieces(tmp_path / "a.musicxml")[0]


def test_musicxml_ties_go_on_over_several_bars(tmp_path: Path) -> None:
    on = '<duration>8</duration><tie type="stop"/><tie type="start"/>'
    bar = f'<measure number="2"><note><pitch><step>D</step><octave>5</octave></pitch>{on}</note></measure>'
    piece = musicxml(tmp_path, MUSICXML.replace('<measure number="2">', bar + '<measure number="3">'))
    assert heads(piece) == [*WANTED[:3], (7, 8, 74)]


def test_musicxml_ties_of_single_notes_in_a_chord(tmp_path: Path) -> None:
    low = "<note><chord/><pitch><step>A</step><octave>4</octave></pitch><duration>{}</duration></note>"
    text = MUSICXML.replace('</note></measure>\n<measure number="2">', f"</note>{low.format(2)}</measure><measure>")
    piece = musicxml(tmp_path, text.replace("</note>\n<barline", f"</note>{low.format(6)}<barline"))
    assert heads(piece) == [*WANTED[:3], (7, 1, 69), (7, 4, 74), (8, 3, 69)]


def test_musicxml_cues_are_not_played(tmp_path: Path) -> None:
    cue = "<note><cue/>{}<pitch><step>G</step><octave>5</octave></pitch><duration>2</duration></note>"
    cues = cue.format("") + cue.format("<chord/>") + cue.format("<grace/>").replace("<duration>2</duration>", "")
    after = "<measure number='3'><note><pitch><step>C</step><octave>5</octave></pitch><duration>8</duration></note>"
    text = MUSICXML.replace("<rest/>", "<cue/><pitch><step>F</step><octave>5</octave></pitch>")
    text = text.replace("<barline", f"{cues}</measure>{after}<barline")
    assert heads(musicxml(tmp_path, text)) == [*WANTED, (12, 4, 72)]


def test_musicxml_drums_are_told_by_their_channel(tmp_path: Path) -> None:
    kit = (
        '<score-instrument id="P1-I1"><instrument-name>Kit</instrument-name></score-instrument>'
        '<midi-instrument id="P1-I1"><midi-channel>10</midi-channel><midi-program>1</midi-program></midi-instrument>'
    )
    alone = kit.replace("<midi-program>1</midi-program>", "")
    for sound, is_drum in ((kit, True), (alone, True), (kit.replace(">10<", ">1<"), False)):
        piece = musicxml(tmp_path, MUSICXML.replace("</part-name>", f"</part-name>{sound}"))
        assert [track.is_drum for track in piece.tracks] == [is_drum]


@pytest.mark.parametrize(
    ("shift", "by"),
    [
        ("<diatonic>-1</diatonic><chromatic>-2</chromatic>", -2),
        ("<diatonic>-1</diatonic><chromatic>-2</chromatic><octave-change>-1</octave-change>", -14),
        ("<chromatic>0</chromatic><octave-change>-1</octave-change>", -12),
        ("<chromatic>3</chromatic>", 3),
    ],
)
def test_musicxml_of_transposing_instruments_is_read_as_it_sounds(tmp_path: Path, shift: str, by: int) -> None:
    transposing = f"<transpose>{shift}</transpose></attributes>"
    piece = musicxml(tmp_path, MUSICXML.replace("</attributes>", transposing, 1))
    assert heads(piece) == [(start, length, pitch + by) for start, length, pitch in WANTED]


def test_musicxml_tempos_of_no_music_are_left_out(tmp_path: Path) -> None:
    assert musicxml(tmp_path, MUSICXML.replace('tempo="90"', 'tempo="5000"')).tempos == ()


@pytest.mark.parametrize("side", ["left", "right"])
def test_musicxml_sections_begin_at_double_bar_lines(tmp_path: Path, side: str) -> None:
    line = f'<barline location="{side}"><bar-style>light-light</bar-style></barline>'
    full, pickup = (
        f"<note><pitch><step>{step}</step><octave>5</octave></pitch><duration>{duration}</duration></note>"
        for step, duration in (("C", 8), ("E", 2))
    )
    contents = [full, full + line, pickup, full, full] if side == "right" else [full, full, line + pickup, full, full]
    head, rest = MUSICXML.split('<measure number="0"')
    attributes = rest[rest.index("<attributes>") : rest.index("<direction>")]
    contents[0] = attributes + contents[0]
    measures = "".join(f'<measure number="{n}">{content}</measure>' for n, content in enumerate(contents, 1))
    piece = musicxml(tmp_path, f"{head}{measures}</part></score-partwise>")
    assert [start for start, *_ in heads(piece)] == [0, 4, 11, 12, 16]


def test_kern_of_several_pieces(tmp_path: Path) -> None:
    first, second = (f"**kern\t**kern\n*M4/4\t*M4/4\n1c\t1{note}\n*-\t*-\n" for note in "eg")
    (tmp_path / "both.krn").write_text(f"!!!OTL: One\n{first}!! a remark\n\n!!!OTL: Two\n{second}!!!ONB: the end\n")
    pieces = read_pieces(tmp_path / "both.krn")
    assert [[pitch for *_, pitch in heads(piece)] for piece in pieces] == [[64], [67]]
    assert [piece.name for piece in pieces] == ["One", "Two"]


def test_kern(tmp_path: Path) -> None:
    path = tmp_path / "tune.krn"
    path.write_text("**kern\n*M4/4\n=0\n4g\n=1\n2cc 2ee\n4r\n[4dd 4b\n=2\n4dd] 4b\n2.cc\n==\n*-\n")
    (piece,) = read_pieces(path)
    assert heads(piece) == [(3, 1, 67), (4, 2, 72), (4, 2, 76), (7, 1, 71), (7, 2, 74), (8, 1, 71), (9, 3, 72)]
    assert piece.name == "tune"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.abc", b""),
        ("prose.abc", b"Dear Sir,\nno tune is in this letter.\n"),
        ("bytes.abc", b"X:1\nK:C\n" + bytes(range(256))),
        ("page.xml", b"<html><body>Not found</body></html>"),
        ("text.musicxml", b"hello"),
        ("cut.xml", MUSICXML[:900].encode()),
        ("laughs.xml", b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>'),
        ("text.mxl", b"hello"),
        ("text.krn", b"hello\nworld\n"),
        ("spines.krn", b"**kern\n4c\t4d\n*-\n"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=name) as caught:
        read_pieces(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 200
    assert capfd.readouterr() == ("", "")


HEAD = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.abc",
            HEAD.replace("M:4", "M:99999") + "CDEF|",
            "99999/4 is not a meter",
        ),  # music21 would think for minutes
        ("b.abc", HEAD + "[M:4444/4]CDEF|", "4444/4 is not a meter"),
        ("c.xml", MUSICXML.replace("<beats>4", "<beats>999999"), "999999/4 is not a meter"),
        ("d.krn", "**kern\n*M99999/4\n4c\n*-\n", "99999/4 is not a meter"),
        ("e.abc", HEAD + "C99999999999999 D|" * 3, "longer than"),
        ("f.xml", MUSICXML.replace("score-partwise", "score-timewise"), "score-timewise"),
        ("g.xml", MUSICXML.replace("<divisions>2", "<divisions>0"), "ZeroDivisionError"),
    ],
)
def test_strange_numbers_are_refused_at_once(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_pieces(tmp_path / name)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.streams.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="larger than"):
        read_pieces(write_mxl(tmp_path / "bomb.mxl", {"score.xml": "0" * 1001}))
    (tmp_path / "large.xml").write_text(MUSICXML)
    with pytest.raises(InputError, match="too large"):
        read_pieces(tmp_path / "large.xml")
    with pytest.raises(InputError, match="no score"):
        read_pieces(write_mxl(tmp_path / "none.mxl", {"readme": "nothing"}))


@pytest.mark.parametrize(("name", "message"), [("none.mid", "does not exist"), ("a.txt", "no kind"), ("x", "a folder")])
def test_paths_that_cannot_serve(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match=message):
        read_pieces(tmp_path / name)


def test_threads_leave_stderr_and_filters_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = threading.Barrier(2)

    def parse(tune: str) -> Piece:
        with suppress(threading.BrokenBarrierError):
            inside.wait(0.2)  # the one that came first leaves first
        time.sleep(0.1 * (tune == "second"))
        return Piece(tune, 480, ())

    monkeypatch.setattr(tunebook, "parse", parse)
    stderr, filters = sys.stderr, list(warnings.filters)
    threads = [threading.Thread(target=notation.read_tunes, args=([tune],)) for tune in ("first", "second")]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert sys.stderr is stderr
    assert warnings.filters == filters
