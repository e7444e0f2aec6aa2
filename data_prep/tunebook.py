"""ABC tunebooks: text in which every tune begins with `X:` and its music is written in letters.

music21 reads the letters (keys, tuplets, broken rhythms, ties); bars, voices, repeats and how long an accidental holds
are read here from its tokens: they are known exactly there, and building no music21 streams is ten times faster. Each
tune is parsed on its own, so that a broken one costs itself alone.

Accidentals hold up to the bar line, in every octave, as the standard has it; what is tied over the line keeps its own.
Voices sound as their clefs (`treble-8`), `octave=` and `transpose=` say.
Left out, as they do not belong to the melody: grace notes, chord symbols, decorations, lyrics, overlays (`&`).
Repeats are played once.
"""

import re
from collections.abc import Iterator
from typing import Any

from data_prep.bars import TICKS, Bar, Voice, WrittenNote, bar_ticks, check_meters, to_piece
from data_prep.errors import InputError
from data_prep.meters import is_tempo
from data_prep.piece import Piece

_CLEFS = "treble|alto|tenor|bass|perc"
_CLEF = re.compile(rf"(^|[\s=])({_CLEFS})|[\s=]none", re.IGNORECASE)  # it sounds as written, but:
_NO_KEY = re.compile(rf"\s*(?:clef|{_CLEFS}|middle|m|octave|transpose|stafflines)(?![a-z])")
_LOW_BASS = re.compile(r"bass.*\bm(?:iddle)?=d\b|\bm(?:iddle)?=d\b.*bass")  # saves commas: its d is D,
_SHIFT = re.compile(r"(octave|transpose)=(-?\d{1,2})|([+-])8(?!\d)")  # -8 of a clef: it sounds an octave lower
_SIGN = r"(\^{1,2}|_{1,2}|=)([A-Ga-g])"
_KEY_SIGN = re.compile(rf"\s{_SIGN}(?![A-Za-z])")
_SIGNS = {"^": "#", "_": "-", "=": "n"}  # as music21 writes them
_MISREAD = re.compile(r"^(?:M:.*\+|Q:.*=).*", re.MULTILINE)
_TUNE = re.compile(r"^(?=X:)", re.MULTILINE)
_FIELD = re.compile(r"[A-Za-z+]:(?![|:])")  # not the end of a repeat after a note
_SPACER = re.compile(r"y[\d/]*")
_TIE = re.compile(r"[A-Ga-g][,'\d/]*(-?)")  # of each note in a chord
# music21 drops a note after H; Hx stands over a bar line, a single ! for the end of a line
_DECORATION = re.compile(r"Hx|[!~H-Wh-w]")
_ENDING = re.compile(r"(?<=[\[|])(\d)[\d,.-]*")  # [1, |2, [3-4
_TEXT_BLOCK = re.compile(r"^%%begin(\w+)(?:(?!^%%begin).)*?^%%end\1", re.MULTILINE | re.DOTALL)
_BARS_OF_REST = re.compile(r"[ZX](\d{0,3})")
_RESTS = "Y"  # a field that ABC does not use tells of them: music21 leaves them out
_INLINE = re.compile(r"\[([A-Za-z]:[^\]\n]*)\]")
_ASIDE = re.compile(r'"[^"\n]*"|![^!\n|]{1,40}!|\+[a-z]+\+|&[^|\n]*')


def split(text: str) -> list[str]:
    """The tunes of a book, in order, each with the defaults (`M: L: Q:`) that stand before the first.

    After a blank line a tune goes on only with fields or bars: what else stands there is prose.
    """
    head, *tunes = _TUNE.split(_TEXT_BLOCK.sub("%", text.replace("\r\n", "\n").replace("\r", "\n")))
    defaults = [line for line in head.splitlines() if re.match(r"[LMQ]:", line)]
    return ["\n".join(_tune_lines(tune, defaults)) for tune in tunes]


def _tune_lines(tune: str, defaults: list[str]) -> Iterator[str]:
    first, *lines = tune.splitlines()
    yield first
    yield from defaults
    if not any(re.match(r"\s*[LM]:", line) for line in (*defaults, *lines)):
        yield "L:1/8"
    in_music = over = False
    for line in map(str.strip, lines):
        field = _FIELD.match(line)
        in_music = in_music or line.startswith("K:") or ("|" in line and not field)
        over = over or (in_music and not line)
        if field:
            yield from _known(line)
        elif in_music and (not over or "|" in line):
            yield from _plain(line)


def _plain(line: str) -> Iterator[str]:
    """A line of music as music21 reads it: inline fields and bars of rest on lines of their own, invisible rests as
    rests, first and second endings alone, no asides, decorations and spacers.
    """
    for part in _INLINE.sub(r"\n\1\n", _ASIDE.sub("", line.partition("%")[0])).split("\n"):
        if _FIELD.match(part):
            yield from _known(part)
        else:
            plain = _SPACER.sub("", _DECORATION.sub("", _ENDING.sub(_first_or_second, part)).replace("x", "z"))
            yield from _BARS_OF_REST.sub(rf"\n{_RESTS}:\1\n", plain).split("\n")


def _first_or_second(ending: re.Match[str]) -> str:
    """music21 takes `[3` for the beginning of a chord, and the hyphen of `[1-3` for a tie."""
    return "1" if ending[1] == "1" else "2"


def _known(field: str) -> Iterator[str]:
    """A field, if it is one with a capital: lyrics, remarks and the like would be read as notes."""
    if field[0].isupper() and field[0] != _RESTS:
        yield field


def title(tune: str) -> str:
    """The first title of a tune, or its number."""
    found = re.search(r"^T:\s*(.*\S)", tune, re.MULTILINE) or re.match(r"X:\s*(.*\S)", tune)
    return found[1] if found else "untitled"


def parse(tune: str) -> Piece:
    """One tune as a piece, a track for each voice.

    Raises:
        InputError: there are no notes in it, or no meter. music21's own errors pass through.
    """
    check_meters(re.findall(r"^M:([^%\n]*)", tune, re.MULTILINE))
    tune = _MISREAD.sub(_plainly, tune)
    voices = [Voice(bars) for bars in _voices(_tokens(tune)) if any(bar.notes for bar in bars)]
    if not voices:
        raise InputError("no notes")
    return to_piece(title(tune), voices)


def _plainly(field: re.Match[str]) -> str:
    """A meter or tempo as music21 reads it: it takes 2+2+3/8 for 223/8, and a blank before = for a whole note more."""
    if field[0].startswith("Q:"):
        return re.sub(r"[ \t]*=[ \t]*", "=", field[0])
    return re.sub(r"\(?(\d+(?:\s*\+\s*\d+)+)\)?", lambda beats: str(sum(map(int, beats[1].split("+")))), field[0])


def _tokens(tune: str) -> list[Any]:
    """music21's tokens of a tune; grace notes are left unparsed: it would count them in tuplets."""
    from music21.abcFormat import ABCHandler

    handler = ABCHandler()
    handler.tokenize(tune)
    tokens = handler.tokens
    handler.tokens = list(_own_fields(_main_notes(tokens)))
    handler.tokenProcess()
    return tokens


def _main_notes(tokens: list[Any]) -> list[Any]:
    """All but grace notes, which are marked.

    music21 knows a broken rhythm only where nothing but its sign stands between two notes; `A>{g}B`, `A>(BC)` and
    `A-<B` have one, too.
    """
    from music21.abcFormat import ABCBar, ABCBrokenRhythmMarker, ABCGraceStart, ABCGraceStop, ABCNote

    kept: list[Any] = []
    before, sign, in_grace = None, "", False
    for token in tokens:
        if isinstance(token, ABCGraceStart | ABCGraceStop):
            in_grace = isinstance(token, ABCGraceStart)
        elif isinstance(token, ABCBrokenRhythmMarker):
            sign = token.src.strip()
        elif isinstance(token, ABCNote) and in_grace:
            token.inGrace = True
        else:
            kept.append(token)
            if isinstance(token, ABCNote):
                if before and sign:
                    before.brokenRhythmMarker, token.brokenRhythmMarker = (sign, "left"), (sign, "right")
                before, sign = token, ""
            elif isinstance(token, ABCBar):
                before = None
    return kept


def _own_fields(tokens: list[Any]) -> Iterator[Any]:
    """The tokens, with the key, meter and unit of a voice said again where it goes on: music21 keeps the last ones.

    A field that tells a clef alone is left out: music21 would take clef=alto for a key of C, and alto for one of A.
    """
    from music21.abcFormat import ABCMetadata, ABCNote

    header: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}  # by voice, from the first note of any on
    voice = ""
    for token in tokens:
        if not isinstance(token, ABCMetadata):
            if isinstance(token, ABCNote):
                own.setdefault(voice, dict(header))
            yield token
            continue
        token.preParse()
        if token.isKey() and _NO_KEY.match(token.data):
            continue
        yield token
        if token.isVoice():
            voice = _voice_name(token)
            yield from own.get(voice, header).values()
        elif token.tag in ("K", "L", "M"):
            fields = own.setdefault(voice, dict(header)) if own else header
            fields[token.tag] = token


def _voice_name(token: Any) -> str:
    return token.data.split()[0] if token.data.split() else ""


def _voices(tokens: list[Any]) -> list[list[Bar]]:
    """Bars by voice. What stands before the first `V:` (meter, tempo, clef) holds for all."""
    from music21.abcFormat import ABCBar, ABCMetadata, ABCNote

    common = writer = _Writer()
    voices: dict[str, _Writer] = {}
    for token in tokens:
        if isinstance(token, ABCMetadata) and token.isVoice():
            writer = voices.setdefault(_voice_name(token), _Writer(common))
            writer.sounding(token.data)
        elif isinstance(token, ABCMetadata) and token.tag == _RESTS:
            writer.rest(int(token.data or 1))
        elif isinstance(token, ABCMetadata):
            # a header may go on after it has named its voices
            for each in [writer] if any(voice.begun for voice in voices.values()) else [common, *voices.values()]:
                each.field(token)
        elif isinstance(token, ABCBar):
            writer.line(token)
        elif isinstance(token, ABCNote):
            writer.note(token)
    return [each.finish() for each in [common, *voices.values()]]


class _Writer:
    """Collects the bars of one voice."""

    def __init__(self, common: "_Writer | None" = None) -> None:
        self.bars: list[Bar] = []
        self.bar = Bar()
        self.at = 0.0  # quarters since the bar line
        self.shift: int = common.shift if common else 0  # semitones, for what sounds higher than it is written
        self.key: dict[str, str] = dict(common.key) if common else {}  # accidentals that stand beside a key, by step
        self.signs = dict(self.key)  # and in a bar, where they hold up to the bar line; in every octave
        self.held: dict[str, str] = {}  # those of notes that are tied to the next one, by step and octave
        self.meter: tuple[int, int] | None = common.meter if common else None
        self.next_meter: tuple[int, int] | None = None
        if common:
            self.bar.meter, self.bar.tempos = common.bar.meter, list(common.bar.tempos)

    @property
    def begun(self) -> bool:
        return bool(self.bars) or self.at > 0

    def field(self, token: Any) -> None:
        if token.isMeter() and (meter := token.getTimeSignatureObject()) is not None:
            self.meter = (meter.numerator, meter.denominator)
            if self.at > 0:  # in the middle of a bar it counts from the next bar line: few writers mean it otherwise
                self.next_meter = self.meter
            else:
                self.bar.meter = self.meter
        elif token.isTempo():
            self._tempo(token)
        elif token.isKey():
            self._key(token)

    def _key(self, token: Any) -> None:
        if not _NO_KEY.match(token.data):
            self.key = dict.fromkeys(_STEPS, "n") if re.search(r"\bexp\b", token.data) else {}
            for signs, step in _KEY_SIGN.findall(token.data):
                self.key[step.upper()] = _SIGNS[signs[0]] * len(signs)
            self.signs = dict(self.key)
        if _CLEF.search(token.data):  # without a clef it keeps its own
            self.shift = 0
        self.sounding(token.data)

    def sounding(self, said: str) -> None:
        """What is said of a voice or a key may be that it sounds higher or lower than it is written."""
        said = re.sub(r'"[^"]*"', "", said)
        low, found = _LOW_BASS.search(said), _SHIFT.findall(said)
        if low or found:
            self.shift = (-24 if low else 0) + sum(
                int(by) * (12 if what == "octave" else 1) if what else int(f"{up}12") for what, by, up in found
            )

    def _tempo(self, token: Any) -> None:
        try:
            tempo = token.getMetronomeMarkObject().getQuarterBPM()
        except Exception:  # "Q:Allegro" and the like: words are no tempo, and music21 fails on some in many ways
            return
        if is_tempo(tempo):
            self.bar.tempos.append((round(self.at * TICKS), float(tempo)))

    def line(self, token: Any) -> None:
        self.finish()
        self.signs = dict(self.key)
        self.bar.section |= token.isRepeat() or not token.isRegular()
        self.bar.ending |= token.isRepeatBracket() == 2

    def rest(self, bars: int) -> None:
        for _ in range(bars):
            self.at = bar_ticks(self.meter) / TICKS
            self.finish()

    def note(self, token: Any) -> None:
        if token.inGrace:  # its accidentals hold
            self.signs |= {step.upper(): _SIGNS[signs[0]] * len(signs) for signs, step in re.findall(_SIGN, token.src)}
            return
        heads = [(*self._sounding(name, written), tied) for name, written, tied in _heads(token)]
        length = float(token.quarterLength)
        if token.activeTuplet is not None:
            length *= token.activeTuplet.numberNotesNormal / token.activeTuplet.numberNotesActual
        onset, end = round(self.at * TICKS), round((self.at + length) * TICKS)
        for step, sign, octave, tied in heads:
            pitch = _midi_pitch(step, sign, octave) + self.shift
            self.bar.notes.append(WrittenNote(onset, end - onset, pitch, tied))
        self.held = {step + octave: sign for step, sign, octave, tied in heads if tied}
        self.at += length

    def _sounding(self, name: str, written: bool) -> tuple[str, str, str]:
        """Step, accidental and octave of a note head; an accidental that is `written` at it holds from now on."""
        octave = name.lstrip("ABCDEFG#-n")
        step, sign = name[0], name[1 : len(name) - len(octave)]
        if written:
            self.signs[step] = sign
        else:
            sign = self.held.get(step + octave, self.signs.get(step, sign))
        return step, sign, octave

    def finish(self) -> list[Bar]:
        """Close the bar, if anything is in it, and give all so far."""
        if self.at > 0:
            self.bar.length = round(self.at * TICKS)
            self.bars.append(self.bar)
            self.bar, self.at, self.next_meter = Bar(meter=self.next_meter), 0.0, None
        return self.bars


def _heads(token: Any) -> list[tuple[str, bool, bool]]:
    """The names of its pitches, and of each whether an accidental is written at it and whether it is tied to the next.

    Of a chord all can be tied, `[CE]-`, or some, `[C-E]`, which music21 does not tell.
    """
    parts = [part for part in getattr(token, "subTokens", [token]) if part.pitchName]
    ties = _TIE.findall(token.src)
    if len(parts) == 1 or len(ties) != len(parts):
        ties = [""] * len(parts)
    every = token.tie in ("start", "continue")
    return [
        (part.pitchName, part.accidentalDisplayStatus is True, every or tie == "-")
        for part, tie in zip(parts, ties, strict=True)
    ]


_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def _midi_pitch(step: str, sign: str, octave: str) -> int:
    """In music21's names C4 is 60, # raises, - lowers, n is natural."""
    return 12 * (int(octave) + 1) + _STEPS[step] + sign.count("#") - sign.count("-")
