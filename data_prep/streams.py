"""MusicXML and Humdrum kern through music21's streams.

A score is a tree: parts hold measures, measures hold notes and voices. All that a part sounds goes into one track;
its measures become bars, with the length that music21 gives them in the score as a whole.
"""

import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data_prep.bars import TICKS, Bar, Voice, WrittenNote, check_meters, to_piece
from data_prep.errors import InputError
from data_prep.meters import is_tempo
from data_prep.piece import Piece

_END_OF_KERN = re.compile(r"^\*-(?:\t\*-)*[ \r]*\n(?=(?:!.*\n|[ \t\r]*\n)*\*\*)", re.MULTILINE)
MAX_BYTES = 50_000_000  # of text; music21 needs some hundred times that
_PLAIN_LINES = ("regular", "none", "dashed", "dotted", "short", "tick")  # bar lines that end no section


def score_bytes(path: Path) -> bytes:
    """The file's content; of a compressed MusicXML the score inside. A small archive can hold gigabytes: limited."""
    if path.suffix.lower() != ".mxl":
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB, too large for notation")
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        inside = archive.read("META-INF/container.xml") if _fits(archive, "META-INF/container.xml") else b""
        root = re.search(rb"full-path\s*=\s*[\"']([^\"']+)[\"']", inside)
        scores = [root[1].decode()] if root else [n for n in archive.namelist() if n.endswith((".xml", ".musicxml"))]
        if not scores or not _fits(archive, scores[0]):
            raise InputError(f"{path}: no score in it, or one larger than {MAX_BYTES // 1_000_000} MB")
        with archive.open(scores[0]) as score:
            return score.read(MAX_BYTES)


def _fits(archive: zipfile.ZipFile, name: str) -> bool:
    return name in archive.namelist() and archive.getinfo(name).file_size <= MAX_BYTES


def parse_xml(data: bytes, name: str) -> Piece:
    """MusicXML as a piece; `name` serves where the score has no title. music21's own errors pass through."""
    from music21.musicxml.xmlToM21 import MusicXMLImporter

    root = ElementTree.fromstring(data)  # from bytes: the file says its encoding itself
    if root.tag != "score-partwise":
        raise InputError(f"it is no MusicXML written part by part: its root is <{root.tag[:40]}>")
    check_meters(f"{beats.text}/4" for beats in root.iter("beats"))
    _say_plainly(root)
    importer = MusicXMLImporter()
    importer.xmlRootToScore(root, importer.stream)
    importer.stream.toSoundingPitch(inPlace=True)  # its pitches are as written, those of kern as they sound
    return _piece(importer.stream, name)


def _say_plainly(root: ElementTree.Element) -> None:
    """Change a score where music21 would fail on it, or read it otherwise than it is meant."""
    for sound in root.iter("midi-instrument"):
        if sound.findtext("midi-channel", "").strip() == "10" and sound.find("midi-program") is None:
            ElementTree.SubElement(sound, "midi-program").text = "1"  # without one music21 reads no channel
    for shift in root.iter("transpose"):
        octaves, semitones = shift.find("octave-change"), shift.find("chromatic")
        if octaves is not None and semitones is not None and shift.find("diatonic") is None:  # music21 fails on it
            semitones.text = str(int(semitones.text or 0) + 12 * int(octaves.text or 0))
            shift.remove(octaves)
    for measure in root.iter("measure"):
        for cue in [note for note in measure.findall("note") if note.find("cue") is not None]:  # it is not played
            if cue.find("chord") is not None or cue.find("grace") is not None:
                measure.remove(cue)
            elif (pitch := cue.find("pitch")) is not None:
                pitch.clear()
                pitch.tag = "rest"


def kern_pieces(text: str) -> list[str]:
    """The pieces of a kern file, which follow each other: where all spines have ended others begin."""
    ends = [0, *(match.end() for match in _END_OF_KERN.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def parse_kern(text: str, name: str) -> Piece:
    """Humdrum kern as a piece; `name` serves where the score has no title. music21's own errors pass through."""
    from music21.humdrum.spineParser import HumdrumDataCollection

    check_meters(f"{beats}/4" for beats in re.findall(r"\*M(\d+)", text))
    humdrum = HumdrumDataCollection(text)
    humdrum.parse()
    return _piece(humdrum.stream, name)


def _piece(score: Any, name: str) -> Piece:
    """A music21 score as a piece, a track for each part."""
    from music21 import stream

    title = score.metadata and (score.metadata.title or score.metadata.movementName)
    parts = list(score.parts) if isinstance(score, stream.Score) else [score]
    voices = [_voice(part) for part in parts]
    if not any(bar.notes for voice in voices for bar in voice.bars):
        raise InputError("no notes")
    return to_piece(title or name, [voice for voice in voices if any(bar.notes for bar in voice.bars)])


def _voice(part: Any) -> Voice:
    from music21 import stream

    measures = list(part.getElementsByClass(stream.Measure))
    starts = [measure.offset for measure in measures]
    ends = [*starts[1:], part.highestTime]
    bars = (
        [_bar(*row) for row in zip(measures, starts, ends, strict=True)]
        if measures
        else [_bar(part, 0, part.highestTime)]
    )
    for bar, before in zip(bars[1:], measures, strict=False):
        right = before.rightBarline
        bar.section = bar.section or (right is not None and right.type not in _PLAIN_LINES)
    instrument = part.getInstrument(returnDefault=True)
    program = instrument.midiProgram
    return Voice(bars, str(part.partName or ""), program if program in range(128) else 0, instrument.midiChannel == 9)


def _bar(measure: Any, start: float, end: float) -> Bar:
    from music21 import chord, harmony, note, stream

    bar = Bar(length=_ticks(end - start))
    is_measure = isinstance(measure, stream.Measure)
    if is_measure:
        left = measure.leftBarline
        bar.section = left is not None and left.type not in _PLAIN_LINES
        if measure.timeSignature is not None:
            bar.meter = (measure.timeSignature.numerator, measure.timeSignature.denominator)
    for item in measure.recurse().notes if is_measure else measure.flatten().notes:
        if item.duration.isGrace or isinstance(item, harmony.ChordSymbol):
            continue
        onset = _ticks(item.getOffsetInHierarchy(measure))
        heads = item.notes if isinstance(item, chord.Chord) else [item] if isinstance(item, note.Note) else []
        for head in heads:
            tied = head.tie is not None and head.tie.type in ("start", "continue")
            bar.notes.append(WrittenNote(onset, _ticks(item.quarterLength), head.pitch.midi, tied))
    bar.notes.sort(key=lambda head: head.onset)
    bar.tempos = [
        (_ticks(mark.getOffsetInHierarchy(measure)), float(tempo))
        for mark in measure.recurse().getElementsByClass("MetronomeMark")
        if is_tempo(tempo := mark.getQuarterBPM())
    ]
    return bar


def _ticks(quarters: Any) -> int:
    return round(float(quarters) * TICKS)
