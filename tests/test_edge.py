"""Odd and broken files: each is read or refused in one line, quickly, in little memory, and without a crash.

They are read in a process of their own with a gigabyte of address space, so that a crash in C++ fails a test.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
MANIFEST = DATA / "edge" / "manifest.json"

READ_ALL = """
import json, resource, sys, time
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from data_prep import midi
from data_prep.errors import InputError
from data_prep.examples import examples
from data_prep.windows import MelodyOptions

for line in sys.stdin:
    path, begin, found = Path(line.rstrip("\\n")), time.process_time(), {}
    try:
        found["notes"] = sum(len(track.notes) for track in midi.read(path).tracks)
        for options in (MelodyOptions(), MelodyOptions(bars=16), MelodyOptions(meter=(3, 4), pair_bars=True)):
            try:
                found["windows"] = found.get("windows", 0) + len(examples(path, options))
            except InputError as error:
                found["reasons"] = [*found.get("reasons", []), str(error)]
    except InputError as error:
        found["refused"] = str(error)
    print(json.dumps(found | {"seconds": time.process_time() - begin}), flush=True)
"""


def read_all(paths: list[Path]) -> dict[str, dict[str, Any]]:
    stdin = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ_ALL], input=stdin, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {path.name: each for path, each in zip(paths, found, strict=True)}


def check(found: dict[str, Any]) -> None:
    assert found["seconds"] < 2
    messages = [found["refused"]] if "refused" in found else found.get("reasons", [])
    assert all("\n" not in message and 10 < len(message) < 300 for message in messages)


@pytest.mark.skipif(not MANIFEST.exists(), reason="../shared/data is not here")
def test_edge_files_follow_their_manifest() -> None:
    entries = json.loads(MANIFEST.read_text())
    found = read_all([MANIFEST.parent / entry["file"] for entry in entries])
    for entry in entries:
        each = found[entry["file"]]
        check(each)
        if entry["expect"] == "accept":
            assert each.get("notes") == entry["notes"], entry
        elif entry["expect"] == "reject":
            assert "refused" in each, entry
        elif entry["expect"] == "accept-empty":
            assert each["notes"] == 0, entry
            assert not each.get("windows")
            assert "no notes" in each["reasons"][0]
        elif "refused" not in each and entry["notes"] is not None:
            assert each["notes"] == entry["notes"], entry


@pytest.mark.skipif(not MANIFEST.exists(), reason="../shared/data is not here")
def test_unusual_files_are_read_or_refused() -> None:
    paths = sorted(path for path in (DATA / "edge-jazzsoft" / "midi").rglob("*") if path.is_file())
    assert len(paths) == 72
    for each in read_all(paths).values():
        check(each)
