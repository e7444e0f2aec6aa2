"""The sentences that come with seqvae, and the presets that learn them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.dataset import Dataset, prepare
from data_prep.text import TextOptions, sentences
from seqvae.config import TEXT_OPTIONS, Config
from seqvae.presets import preset
from seqvae.trained import find_model, load
from seqvae.training import train

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "samples" / "text").glob("*.txt"))
PRESETS = ("text-words", "text-chars")


def options(config: Config) -> TextOptions:
    data = config.data
    return TextOptions(data.tokenizer, **{name: getattr(data, name) for name in TEXT_OPTIONS})


def prepared(name: str, out: Path) -> Dataset:
    return prepare([FILES[0].parent], out, options(preset(name)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_line_is_a_sentence_and_nothing_else(path: Path) -> None:
    raw = path.read_text(encoding="ascii")
    lines = raw.splitlines()
    assert [line.text for line in sentences(path)] == lines
    assert raw.endswith("\n")
    for line in lines:
        assert re.fullmatch(r"[A-Za-z][A-Za-z' ,:;.?!-]*[A-Za-z'?!]", line), line
        assert 4 <= len(line.split()) <= 23, line
        assert "Selah" not in line
        assert not re.search(r" [,:;.?!]|  ", line), line


def test_the_readme_counts_them() -> None:
    readme = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    total = 0
    for path in FILES:
        lines = path.read_text(encoding="ascii").splitlines()
        total += len(lines)
        words = sum(len(line.split()) for line in lines)
        assert re.search(rf"\| `{path.name}` \| [^|]+ \| {len(lines):,} \| {words:,} \|", readme)
    assert f"{total:,} lines" in readme


@pytest.mark.parametrize("name", PRESETS)
def test_they_prepare_without_a_loss(name: str, tmp_path: Path) -> None:
    data = prepared(name, tmp_path / "data")
    assert data.skipped == []
    assert sum(len(data.split(split)) for split in ("train", "valid", "test")) == sum(
        len(path.read_text(encoding="ascii").splitlines()) for path in FILES
    )
    assert data.info["counts"]["cut"] == data.info["counts"]["dropped"] == 0
    assert data.tokenizer.vocabulary_size == {"text-words": 4099, "text-chars": 63}[name]


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_learn(name: str, tmp_path: Path) -> None:
    """Small and for a moment."""
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(FILES[-1].read_text(encoding="ascii").splitlines()[:80] * 2), encoding="ascii")
    config = preset(name)
    data = prepare([path], tmp_path / "data", options(config))
    small = replace(config.model, embedding_size=16, encoder_size=16, decoder_size=24, latent_size=4)
    brief = replace(config.training, minutes=None, epochs=5, batch_size=16)
    result = train(replace(config, model=small, training=brief), data.path, tmp_path / "run", progress=False)
    header, *rows = (result.run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    lost = [float(row.split(",")[header.split(",").index("train_distortion")]) for row in rows]
    assert result.steps >= 30
    assert lost[-1] < 0.9 * lost[0]
    assert result.best["rate"] > 0


def test_the_bundled_model_writes_lines_that_change_word_by_word() -> None:
    vae = load("text-psalms")
    assert find_model("text-psalms").stat().st_size <= 4 * 1000 * 1000
    ends = ["the LORD is my shepherd", "a wise son maketh a glad father"]
    path = vae.interpolate(*ends)
    assert [path[0], path[-1]] == vae.reconstruct(ends)
    assert len(set(path)) >= 4
    assert path[0].startswith("the LORD is my")
    known = set(vae.tokenizer.symbols)
    lines = vae.sample(64, temperature=0.5, seed=0)
    assert {word for line in lines for word in vae.tokenizer.split_up(line)} <= known
    assert 4 <= sum(len(line.split()) for line in lines) / 64 <= 14
    assert len(set(lines)) > 55


def test_its_card_tells_what_matters() -> None:
    card = find_model("text-psalms").with_suffix(".md").read_text(encoding="utf-8")
    for word in ("Data", "Licence", "Recipe", "seqvae train", "Figures", "Limits"):
        assert word in card
