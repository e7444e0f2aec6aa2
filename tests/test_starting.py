"""A run that starts from another model has its weights, its sizes and its tokenizer."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Run, files, runner, succeed
from small_trainings import config, melodies, sentences, write_tunes

from data_prep.dataset import open_dataset, prepare
from data_prep.errors import InputError
from data_prep.text import TextOptions
from data_prep.tokenizers.words import WordTokenizer
from data_prep.windows import MelodyOptions
from seqvae.checkpoint import load_model, save_model
from seqvae.config import Config, DataConfig, Phase
from seqvae.errors import ModelError, OptionError
from seqvae.model_files import model_name
from seqvae.presets import preset
from seqvae.run_folder import read_config
from seqvae.starting import PATIENCE, settings
from seqvae.training import train
from seqvae.vae import SequenceVAE


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets of tunes and of sentences, others beside them, and a small model of each: runs/music and runs/text."""
    shelf = tmp_path_factory.mktemp("shelf")
    (shelf / "notes").mkdir()
    (shelf / "tunes").mkdir()
    made = {"music": melodies(shelf / "tunes"), "text": sentences(shelf / "notes")}
    phases = (Phase("first", changes={"annealing": "linear"}), Phase("last", changes={"learning_rate": 2e-2}))
    scheduled = {"scheduled_sampling": "exponential"}
    train(config(*phases, **scheduled), made["music"], shelf / "runs" / "music", progress=False)
    of_text = dataclasses.replace(config(), data=DataConfig("words", max_length=7))
    train(of_text, made["text"], shelf / "runs" / "text", progress=False)
    (shelf / "started.toml").write_text(settings(str(shelf / "runs" / "text")).to_toml())
    (shelf / "mine").mkdir()
    write_tunes(shelf / "mine", np.random.default_rng(1), tunes=4)
    lines = [f"the {word} cat sees a {word}" for word in ("red", "blue", "old", "grey") * 4]
    (shelf / "mine.txt").write_text("\n".join(lines))
    return shelf


@pytest.fixture
def seqvae(shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, capsys, shelf)


def model_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_model(run / "model.safetensors").model.state_dict()


def far(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """The largest change of a weight."""
    return max((before[name] - after[name]).abs().max().item() for name in before)


@pytest.mark.parametrize("kind", ["music", "text"])
def test_the_first_weights_are_the_models(shelf: Path, tmp_path: Path, kind: str) -> None:
    begun = settings(str(shelf / "runs" / kind))
    dataset = shelf / {"music": "tunes", "text": "notes"}[kind] / "dataset"
    hardly = dataclasses.replace(begun.training, learning_rate=1e-9, final_learning_rate=0.0)
    train(dataclasses.replace(begun, training=hardly), dataset, tmp_path / "run", progress=False)
    before = model_weights(shelf / "runs" / kind)
    assert far(before, model_weights(tmp_path / "run")) < 1e-6
    train(dataclasses.replace(begun, start_from=None, training=hardly), dataset, tmp_path / "other", progress=False)
    assert far(before, model_weights(tmp_path / "other")) > 1e-2


def test_it_trains_as_the_model_did_in_the_end(shelf: Path) -> None:
    begun = settings(str(shelf / "runs" / "music"))
    assert begun.phases == ()
    training = begun.training
    assert training.learning_rate == 2e-2  # of the last phase
    assert (training.scheduled_sampling, training.patience) == ("constant", PATIENCE)
    assert (training.batch_size, training.beta) == (16, config().training.beta)


def test_what_belongs_to_the_first_steps_is_not_done_again(tmp_path: Path) -> None:
    made = config(annealing="linear", aggressive=True, whiten=True)
    save_model(tmp_path / "made.safetensors", SequenceVAE(made.model), made, {}, {})
    training = settings(str(tmp_path / "made.safetensors")).training
    assert (training.annealing, training.aggressive, training.whiten) == ("none", False, False)


def test_a_preset_says_how_to_train_and_the_model_what(shelf: Path) -> None:
    begun = settings(str(shelf / "runs" / "text"), preset("ptb-best"))
    text = load_model(shelf / "runs" / "text" / "model.safetensors")
    assert (begun.training, begun.phases) == (preset("ptb-best").training, preset("ptb-best").phases)
    kept = dataclasses.replace(text.config.model, dropout=0.5, initialisation="uniform")  # these are not weights
    assert (begun.model, begun.data) == (kept, text.config.data)
    with pytest.raises(OptionError, match=r"--preset melody-2bar is for music, model .*text for text"):
        settings(str(shelf / "runs" / "text"), preset("melody-2bar"))


def test_models_are_named_after_their_run_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"runs/jigs.v2/model.safetensors": "jigs.v2", "mine.v2.safetensors": "mine.v2"}
    assert {path: model_name(Path(path)) for path in names} == names
    assert model_name(Path("model.safetensors")) == tmp_path.name


def test_where_a_run_came_from_is_kept(shelf: Path, tmp_path: Path) -> None:
    begun = settings(str(shelf / "runs" / "music"))
    assert Config.from_toml(begun.to_toml()) == begun
    train(begun, shelf / "tunes" / "dataset", tmp_path / "run", progress=False)
    assert read_config(tmp_path / "run").start_from == str((shelf / "runs/music/model.safetensors").resolve())
    assert load_model(tmp_path / "run" / "model.safetensors").config.start_from == "music"
    assert settings("melody-2bar").start_from == "melody-2bar"


def test_a_start_that_does_not_fit_is_refused_before_anything_is_made(shelf: Path, tmp_path: Path) -> None:
    begun = settings(str(shelf / "runs" / "music"))
    other = dataclasses.replace(begun, model=dataclasses.replace(begun.model, latent_size=7))
    four = prepare([shelf / "mine"], tmp_path / "four", MelodyOptions(bars=4), workers=1).path
    for wrong, dataset, message in [
        (other, shelf / "tunes" / "dataset", r"--latent-size 7: a run that starts from .* keeps its latent-size, 6"),
        (begun, four, r"--start-from .*: its melody tokenizer is not that of the dataset; give the files themselves"),
        (settings(str(shelf / "runs" / "text")), shelf / "tunes" / "dataset", "its words tokenizer is not that"),
    ]:
        with pytest.raises(OptionError, match=message):
            train(wrong, dataset, tmp_path / "run", progress=False)
    gone = dataclasses.replace(begun, start_from="nothing")
    with pytest.raises(ModelError, match="no model 'nothing'"):
        train(gone, shelf / "tunes" / "dataset", tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_part_may_begin_anew_at_once(shelf: Path, tmp_path: Path) -> None:
    begun = settings(str(shelf / "runs" / "music"))
    still = Phase("still", "decoder", {"learning_rate": 1e-30, "final_learning_rate": 0.0})
    train(dataclasses.replace(begun, phases=(still,)), shelf / "tunes" / "dataset", tmp_path / "run", progress=False)
    before, after = model_weights(shelf / "runs" / "music"), model_weights(tmp_path / "run")
    for name in before:
        assert torch.allclose(before[name], after[name]) == name.startswith("encoder"), name


def test_a_run_may_be_replaced_by_one_that_starts_from_it(shelf: Path, tmp_path: Path) -> None:
    shutil.copytree(shelf / "runs" / "music", tmp_path / "run")
    before, begun = model_weights(tmp_path / "run"), settings(str(tmp_path / "run"))
    hardly = dataclasses.replace(begun.training, learning_rate=1e-9, final_learning_rate=0.0)
    begun = dataclasses.replace(begun, training=hardly)
    train(begun, shelf / "tunes" / "dataset", tmp_path / "run", force=True, progress=False)
    assert far(before, model_weights(tmp_path / "run")) < 1e-6


def test_sentences_take_the_vocabulary_that_is_given(shelf: Path, tmp_path: Path) -> None:
    known = WordTokenizer(8, symbols=("the", "cat"))
    made = prepare([shelf / "mine.txt"], tmp_path / "data", TextOptions(), vocabulary=known)
    assert made.tokenizer == known
    assert made.tokenizer.decode(made.split("train")[0]) == "the <unk> cat <unk> <unk> <unk>"
    assert prepare([shelf / "mine.txt"], tmp_path / "own", TextOptions()).tokenizer != known
    with pytest.raises(InputError, match="a vocabulary is for text"):
        prepare([shelf / "mine"], tmp_path / "tunes", MelodyOptions(), vocabulary=known)
    with pytest.raises(InputError, match="the tokenizer huggingface needs a tokenizer file: name one with --tokenizer"):
        prepare([shelf / "mine.txt"], tmp_path / "none", TextOptions("huggingface"))
    prepare([shelf / "mine.txt"], tmp_path / "pieces", TextOptions("huggingface"), vocabulary=known)


@pytest.mark.parametrize(("kind", "source"), [("music", "@mine"), ("text", "@mine.txt")])
def test_from_the_command_line(seqvae: Run, shelf: Path, tmp_path: Path, kind: str, source: str) -> None:
    code, out, err = seqvae("train", source, "--start-from", f"@runs/{kind}", "--steps", 2)
    assert code == 0
    assert f"starting from {shelf}/runs/{kind}/model.safetensors, at a learning rate of " in err
    run = tmp_path / "runs" / f"mine-from-{kind}"
    trained, start = load_model(run / "model.safetensors"), load_model(shelf / "runs" / kind / "model.safetensors")
    assert trained.tokenizer == start.tokenizer
    assert 0 < far(start.model.state_dict(), trained.model.state_dict()) < 0.1
    seqvae("train", "--resume", "--out", run, "--steps", 4)
    code, out, err = seqvae("train", source, "--resume", "--out", run, "--steps", 6)
    assert (code, "reusing" in out) == (0, True)
    assert read_config(run).start_from == f"{shelf}/runs/{kind}/model.safetensors"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["@mine", "--start-from", "@runs/music", "--bars", 4], ["--bars 4", "runs/music", "keeps its bars, 2"]),
        (["@mine", "--start-from", "@runs/music", "--meter", "3/4"], ["--meter 3/4", "4/4"]),
        (["@mine", "--start-from", "@runs/music", "--summary", "mean"], ["--summary mean", "last"]),
        (["@mine.txt", "--start-from", "@runs/text", "--lowercase"], ["--lowercase", "keeps its lowercase"]),
        (["@mine.txt", "--start-from", "@runs/text", "--vocabulary-size", 50], ["--vocabulary-size 50"]),
        (["@mine.txt", "--start-from", "@runs/text", "--words", "spaces"], ["--words spaces", "punctuation"]),
        (["@mine.txt", "--start-from", "@runs/text", "--tokenizer", "x.json"], ["--tokenizer x.json", "vocabulary"]),
        (["@mine.txt", "--preset", "@started.toml", "--min-count", 2], ["--min-count 2", "keeps its min-count, 1"]),
        (["@mine.txt", "--start-from", "@runs/text", "--bars", 4], ["--bars is for music"]),
        (["@mine.txt", "--start-from", "@runs/music"], ["mine.txt"]),
        (["@mine", "--start-from", "@runs/text"], ["mine"]),
        (["@mine", "--start-from", "nothing"], ["no model 'nothing'", "melody-2bar"]),
        (["@mine", "--start-from", "@mine.txt"], ["mine.txt", "no seqvae model"]),
        (["@mine", "--start-from", "@runs/music", "--preset", "text-words"], ["--preset text-words is for text"]),
        (["--resume", "--out", "@runs/music", "--start-from", "@runs/music"], ["--start-from", "--resume"]),
    ],
)
def test_bad_input_gives_one_line_and_nothing_is_written(
    seqvae: Run, tmp_path: Path, arguments: list[Any], words: list[str]
) -> None:
    code, out, err = seqvae("train", *arguments)
    assert code in (1, 2)
    assert (out, err.count("\n")) == ("", 1)
    assert all(word in err for word in words), err
    assert files(tmp_path) == {}


def test_a_dataset_of_other_sentences_is_refused(seqvae: Run, shelf: Path) -> None:
    succeed(seqvae("prepare", "@mine.txt", "--out", "mine.seqvae"))
    code, out, err = seqvae("train", "mine.seqvae", "--start-from", "@runs/text")
    assert (code, out) == (2, "")
    assert "its words tokenizer is not that of the dataset" in err.splitlines()[-1]
    assert open_dataset(Path("mine.seqvae")).tokenizer != open_dataset(shelf / "notes" / "dataset").tokenizer
