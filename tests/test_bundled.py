"""The model that comes with seqvae: small, whole, and good for what it is there for."""

from pathlib import Path

import numpy as np
import pytest
import torch

import seqvae
from data_prep.examples import examples
from seqvae.batch import Batch
from seqvae.evaluation import evaluate
from seqvae.model_files import bundled_names, find_model
from seqvae.trained import TrainedModel, melody_options

ROOT = Path(__file__).parents[1]
MELODIES = ROOT / "samples" / "melodies"
PAIR = [MELODIES / "drowsy-maggie.mid", MELODIES / "sleepy-maggie-reel.mid"]


@pytest.fixture(scope="module")
def vae() -> TrainedModel:
    return seqvae.load()


def test_it_is_the_melody_model_and_small_enough(vae: TrainedModel) -> None:
    assert bundled_names() == ["melody-2bar", "text-psalms"]
    assert find_model().stat().st_size <= 10 * 1000 * 1000
    assert vae.tokenizer.to_json() == {"name": "melody", "bars": 2, "meter": [4, 4]}
    assert vae.config.data.pair_bars
    assert sum(p.numel() for p in vae.model.parameters()) == pytest.approx(4.4e6, rel=0.01)


def test_its_card_tells_what_matters() -> None:
    card = find_model().with_suffix(".md").read_text(encoding="utf-8")
    for word in ("Data", "Licence", "Recipe", "seqvae train", "Figures", "Limits"):
        assert word in card


def test_it_remembers_tunes(vae: TrainedModel) -> None:
    """Far above chance on the sample tunes, most of which it was trained on."""
    options = melody_options(vae.config)
    ids = np.stack([example.ids for path in sorted(MELODIES.iterdir()) for example in examples(path, options)])
    tokens = torch.from_numpy(ids.astype(np.int64))
    figures = evaluate(vae.model, map(Batch, tokens.split(256)), vae.tokenizer.note_on)
    assert figures["note_on_free_running"] > 0.7
    assert figures["rate"] < 60.0


def test_interpolation_of_the_readme(vae: TrainedModel) -> None:
    path = vae.interpolate(*PAIR, steps=7)
    ends = vae.reconstruct(PAIR)
    assert [path[0].notes, path[-1].notes] == [score.notes for score in ends]
    assert len({score.notes for score in path}) >= 4
    same = vae.interpolate(PAIR[0], PAIR[0], steps=3)
    assert len({score.notes for score in same}) == 1
    assert same[0].notes


def test_samples_are_melodies(vae: TrainedModel) -> None:
    """New tunes move in small steps and stay in the range of the tunes it learned from."""
    pitches = [[note.pitch for note in score.notes] for score in vae.sample(64, seed=0)]
    assert np.mean([len(melody) for melody in pitches]) > 6
    leaps = np.abs(np.concatenate([np.diff(melody) for melody in pitches]))
    assert (leaps <= 12).mean() > 0.95
    assert (leaps <= 4).mean() > 0.5
