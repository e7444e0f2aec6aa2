"""What an installation takes with it, and that the tested versions lie within the ranges that are allowed."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import seqvae

ROOT = Path(__file__).parents[1]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pins}


def test_every_requirement_is_pinned_within_its_range() -> None:
    described, pins = project()["project"], constraints()
    wanted = [*described["dependencies"], *chain(*described["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{name}=={pins[name]} is not {requirement.specifier}"


def test_pins_are_plain_versions() -> None:
    pins = constraints()
    assert pins["torch"] == "2.13.0"
    assert not [version for version in pins.values() if not re.fullmatch(r"\d[\w.]*", version)]


def test_files_beside_the_code_are_packaged() -> None:
    data = project()["tool"]["setuptools"]["package-data"]
    packaged = {path for floor in data for pattern in data[floor] for path in (ROOT / floor).glob(pattern)}
    inside = [path for floor in ("cli", "seqvae", "data_prep") for path in (ROOT / floor).rglob("*") if path.is_file()]
    assert packaged == {path for path in inside if path.suffix not in (".py", ".pyc")}
    assert ROOT / "seqvae" / "presets" / "melody-2bar.toml" in packaged


def test_types_are_there_for_those_who_import() -> None:
    data = project()["tool"]["setuptools"]["package-data"]
    assert all("py.typed" in data[floor] and (ROOT / floor / "py.typed").exists() for floor in ("seqvae", "data_prep"))


def test_all_folders_of_code_are_packages() -> None:
    for floor in ("cli", "seqvae", "data_prep"):
        folders = {path.parent for path in (ROOT / floor).rglob("*.py")}
        assert all((folder / "__init__.py").exists() for folder in folders)


def test_the_installed_command_is_this_one() -> None:
    found = [entry for entry in entry_points(group="console_scripts") if entry.name == "seqvae"]
    if not found:
        pytest.skip("seqvae is not installed here, the tests run from the sources alone")
    assert found[0].value == "cli.__main__:main"
    assert found[0].dist is not None
    assert found[0].dist.version == seqvae.__version__


def test_the_makefile_offers_what_the_readme_promises() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", text, re.MULTILINE) for target in ("demo", "test", "lint", "clean"))
    tunes = re.findall(r"samples/melodies/\S+\.mid", text)
    assert len(tunes) == 2
    assert all((ROOT / tune).is_file() for tune in tunes)


def test_a_source_distribution_can_be_tested(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77")
    command = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "egg_info", "-e", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    packed = {ROOT / line for line in (tmp_path / "seqvae.egg-info/SOURCES.txt").read_text("utf-8").splitlines()}
    folders = [path for name in ("benchmarks", "samples", "tests") for path in (ROOT / name).rglob("*")]
    needed = {path for path in folders if path.is_file() and path.suffix != ".pyc"}
    assert needed | {ROOT / "Makefile", ROOT / "constraints.txt", ROOT / ".ci" / "run"} <= packed
