"""The Penn Treebank benchmark runs to its table, goes on where it was, and marks what is missing."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ptb
from seqvae.checkpoint import read_settings
from seqvae.config import Config, DataConfig, ModelConfig, TrainConfig

WORDS = ("the", "a", "cat", "dog", "sees", "likes", "N", "<unk>")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, lines in (("train", 60), ("valid", 12), ("test", 12)):
        text = "\n".join(" " + " ".join(rng.choice(WORDS, rng.integers(1, 7))) + " " for _ in range(lines))
        (tmp_path / f"ptb.{split}.txt").write_text(text + "\n")
    return tmp_path


def small(name: str) -> Config:
    model = ModelConfig(embedding_size=4, encoder_size=6, decoder_size=6, decoder_layers=1, latent_size=3)
    training = TrainConfig(epochs=2, batch_size=8, optimizer="sgd", learning_rate_decay="plateau")
    return Config(name, data=DataConfig(tokenizer="words", split="spaces"), model=model, training=training)


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(ptb, "preset", small)

    def call(*arguments: str) -> str:
        command = ["ptb", str(folder), "--out", str(folder / "runs"), "--samples", "5", *arguments]
        monkeypatch.setattr("sys.argv", command)
        ptb.main()
        return capsys.readouterr().out

    return call


def test_rows_are_trained_measured_once_and_told(run, folder: Path) -> None:
    first = run("--rows", "linear", "language-model", "--seeds", "0", "1")
    figures = json.loads((folder / "runs" / "linear-0" / "test.json").read_text())
    assert figures["perplexity"] == pytest.approx(np.exp(figures["iw_nll"] / figures["tokens"]))
    assert f"{figures['iw_nll']:9.2f}" in first
    assert json.loads((folder / "runs" / "language-model-1" / "test.json").read_text())["rate"] == 0.0
    lines = first.splitlines()
    assert sum("linear-" in line for line in lines) == 2
    assert any("cyclical, seqvae" in line and "not measured" in line for line in lines)
    assert any("101.24   101.40    0.00    0" in line for line in lines)
    assert (folder / "runs" / "frontier.png").read_bytes().startswith(b"\x89PNG")
    before = (folder / "runs" / "linear-0" / "last.pt").stat().st_mtime_ns
    assert first.split("test split")[1] == run("--rows", "linear").split("test split")[1]
    assert (folder / "runs" / "linear-0" / "last.pt").stat().st_mtime_ns == before


def test_the_frontier_goes_on_from_the_best_row_and_is_drawn_as_a_line(run, folder: Path) -> None:
    with pytest.raises(SystemExit, match="goes on from best-0, which is not in"):
        run("--rows", "beta-0.2")
    told = run("--rows", "best", "beta-0.2", "beta-1.0")
    found = {name: read_settings(folder / "runs" / name / "model.safetensors") for name in ("beta-0.2-0", "beta-1.0-0")}
    assert [config.training.beta for config in found.values()] == [0.2, 1.0]
    assert all(config.start_from and config.training.epochs == 2 for config in found.values())
    assert len((folder / "runs" / "beta-0.2-0" / "metrics.csv").read_text().splitlines()) == 2  # validated at the end
    assert "beta-0.2-0  " in told


@pytest.mark.parametrize("name", [name for name in ptb.TABLE if name != "best"])
def test_rows_of_the_literature_follow_the_fields_protocol(name: str, tmp_path: Path) -> None:
    """He et al. 2019 and Li et al. 2019, as their tables have it."""
    config = ptb.ROWS[name].config(0, tmp_path)
    model, stages = config.model, [training for _, training in config.stages()]
    assert (model.embedding_size, model.encoder_size, model.decoder_size, model.decoder_layers) == (256, 256, 256, 1)
    assert (model.bidirectional, model.tied, model.initial_state, model.latent_to) == (False, False, "shared", "steps")
    assert (model.dropout, model.latent_size) == (0.5, 0 if name == "language-model" else 32)
    lis = name == "ae-free-bits"
    for training in stages:
        assert (training.batch_size, training.optimizer, training.clip) == (32, "sgd", 5.0)
        assert (training.learning_rate, training.learning_rate_decay) == (0.5 if lis else 1.0, "plateau")
        assert (training.plateau_patience, training.plateau_halvings) == (5 if lis else 2, 5)
        assert training.plateau_after == (0 if name == "language-model" else 15)
        assert training.beta == 0.0 or training.annealing == "cyclical" or training.annealing_epochs == 10
    if lis:
        nats = stages[-1].free_bits * math.log(2) * model.latent_size
        assert ([training.beta for training in stages], nats) == ([0.0, 1.0], pytest.approx(8.0, abs=1e-5))
        assert config.phases[-1].reset == "decoder"
    assert [training.aggressive for training in stages] == [name == "aggressive"] * len(stages)


def test_the_presets_of_all_rows_are_sound(tmp_path: Path) -> None:
    for row in ptb.ROWS.values():
        if row.start_from is not None:
            continue
        config = row.config(3, tmp_path)
        assert config.model.tied or (config.model.embedding_size, config.model.decoder_size) == (256, 256)
        assert all(training.seed == 3 for _, training in config.stages())
        assert all(training.batch_size == 32 for _, training in config.stages())
