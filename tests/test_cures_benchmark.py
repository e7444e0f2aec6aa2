"""The comparison of cures trains every one of them, tells what each gives, and does nothing twice."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import cures
from seqvae.checks import check
from seqvae.config import ModelConfig
from seqvae.objectives import charged_rate


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    rng = np.random.default_rng(0)
    words = ("the", "a", "cat", "dog", "sees", "likes")
    lines = {" ".join(rng.choice(words, rng.integers(2, 8))) for _ in range(120)}
    (tmp_path / "text.txt").write_text("\n".join(sorted(lines)) + "\n")
    sizes = {"embedding_size": 4, "encoder_size": 6, "latent_size": 4, "decoder_size": 6, "decoder_layers": 1}
    monkeypatch.setattr(cures, "MODEL", ModelConfig(**sizes))

    def call(*arguments: str) -> str:
        options = ["--text", f"{tmp_path / 'text.txt'}", "--out", f"{tmp_path}", "--epochs", "2", "--samples", "3"]
        monkeypatch.setattr("sys.argv", ["cures", *options, *arguments])
        cures.main()
        return capsys.readouterr().out

    return call


def test_cures_are_trained_measured_once_and_told(run: Callable[..., str], tmp_path: Path) -> None:
    rows = ["language-model", "delta", "ae-free-bits", "adversarial"]
    told = run("--rows", *rows, "--seeds", "0", "1")
    assert all(cures.ROWS[name].title in told for name in rows)
    assert f"{cures.ROWS['none'].title:40}    not measured" in told
    assert (tmp_path / "cures.png").read_bytes().startswith(b"\x89PNG")
    found = {name: json.loads((tmp_path / f"{name}-0" / "test.json").read_text()) for name in rows}
    assert found["language-model"]["rate"] == 0.0
    assert found["delta"]["rate"] >= cures.TARGET
    lines = {line[:40].strip(): line for line in told.splitlines()}
    both = [json.loads((tmp_path / f"delta-{seed}" / "test.json").read_text())["iw_nll"] for seed in (0, 1)]
    assert f"{np.mean(both):.2f} +- {np.std(both, ddof=1):.2f}" in lines[cures.ROWS["delta"].title]
    kept = tmp_path / "delta-0" / "model.safetensors"
    before = kept.stat().st_mtime_ns
    assert told.split("test split")[1] == run("--rows", *rows).split("test split")[1]
    assert kept.stat().st_mtime_ns == before


def test_a_cure_differs_from_none_in_what_it_says_alone() -> None:
    base = cures.ROWS["none"].config(12, 0)
    for row in cures.ROWS.values():
        config = row.config(12, 0)
        check(config)
        assert config.model == replace(base.model, **row.model)
        if not row.autoencoder_first:
            annealed = {"linear": 4, "sigmoid": 4, "cyclical": 12}.get(config.training.annealing)
            assert config.training == replace(base.training, **row.training, annealing_epochs=annealed)


@pytest.mark.parametrize(("per", "dimensions"), [("total", 1), ("dimension", 32), ("batch", 32)])
def test_eight_nats_are_free_in_all(per: str, dimensions: int) -> None:
    rates = torch.full((3, dimensions), 8.0 / dimensions)
    free = cures.ROWS[f"free-bits-{per}"].config(12, 0).training
    assert charged_rate(rates, free.free_bits, free.free_bits_per) == pytest.approx(0.0, abs=1e-5)
    assert charged_rate(rates + 1.0, free.free_bits, free.free_bits_per) == pytest.approx(dimensions, rel=1e-5)


@pytest.mark.parametrize(("name", "whiten"), [("ae-free-bits", False), ("whiten", True)])
def test_an_autoencoder_is_followed_by_a_new_decoder(name: str, whiten: bool) -> None:
    config = cures.ROWS[name].config(12, 0)
    (first, before), (second, after) = config.stages()
    assert (first.reset, second.reset) == ("none", "decoder")
    assert (before.beta, before.epochs, before.annealing, before.free_bits) == (0.0, 2, "none", None)
    assert (after.beta, after.epochs, after.annealing, after.annealing_epochs) == (1.0, 10, "linear", 4)
    assert after.free_bits == pytest.approx(0.25 / np.log(2))
    assert after.free_bits_per == "dimension"
    assert (before.whiten, after.whiten) == (False, whiten)


def test_other_settings_and_texts_in_the_same_folder_are_refused(
    run: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--rows", "none")
    with pytest.raises(SystemExit):
        run("--rows", "none", "--epochs", "3")
    assert "begun with epochs 2: give" in capsys.readouterr().err
    with (tmp_path / "text.txt").open("a") as file:
        file.write("one more\n")
    with pytest.raises(SystemExit):
        run("--rows", "none")
    assert "begun with sha256" in capsys.readouterr().err
    (tmp_path / "text.txt").unlink()
    assert cures.ROWS["none"].title in run("--rows")  # the table alone


def test_no_samples_are_refused(run: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--samples", "0")
    assert "--samples 0: must be at least 1" in capsys.readouterr().err
