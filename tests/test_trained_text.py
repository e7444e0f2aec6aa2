"""A TrainedModel of sentences keeps the promises that one of melodies does, and those of sentences."""

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqvae
from data_prep.dataset import Dataset, prepare
from data_prep.errors import InputError
from data_prep.score import Note, Score
from data_prep.text import TextOptions
from data_prep.tokenizers.base import Tokenizer
from data_prep.tokenizers.characters import CharacterTokenizer
from data_prep.tokenizers.words import WordTokenizer
from seqvae import trained
from seqvae.checkpoint import ModelFile
from seqvae.config import OF_TOKENIZER, Config, DataConfig, ModelConfig
from seqvae.errors import ModelError, OptionError
from seqvae.previews import Previews
from seqvae.trained import TrainedModel
from seqvae.vae import SequenceVAE

WORDS = ("the", "a", "cat", "dog", "storm", "sat", "ran", "is", "coming", "on", "mat", "and", ".", ",")
SENTENCES = [
    "the cat sat on a mat.",
    "a storm is coming",
    "the dog",
    "a cat and a dog and a cat",
    "a mat, the mat, and the mat.",
    "storm",
]
MUSIC = {"name": "melody", "bars": 2, "meter": [4, 4]}


def model_of(tokenizer: Tokenizer) -> TrainedModel:
    """Without training, but with such weights that different latents make different sentences."""
    ids = {name: getattr(tokenizer, name) for name in OF_TOKENIZER}
    sizes = {"embedding_size": 8, "encoder_size": 12, "decoder_size": 16, "decoder_layers": 1, "latent_size": 6}
    config = Config(data=DataConfig(tokenizer=tokenizer.name), model=ModelConfig(**ids, **sizes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = SequenceVAE(config.model)
    with torch.no_grad():
        model.decoder.output.weight.mul_(12)
        model.decoder.initial.weight.mul_(5)
        model.encoder.mean.weight.mul_(8)
    return TrainedModel("tiny", ModelFile(model, config, tokenizer.to_json(), {}), "cpu")


@pytest.fixture(
    scope="module",
    params=[WordTokenizer(12, symbols=WORDS), CharacterTokenizer(40, symbols=tuple("abcdeghimnorstu .,"))],
    ids=["words", "characters"],
)
def vae(request: pytest.FixtureRequest) -> TrainedModel:
    return model_of(request.param)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("\n".join(SENTENCES))
    return path


def test_a_sentence_a_line_of_a_file_and_its_name_are_the_same(vae: TrainedModel, notes: Path) -> None:
    found = vae.encode(SENTENCES)
    assert found.source == SENTENCES
    assert (found.kind, found.tempo, found.place) == ("text", None, [1] * 6)
    for file in (notes, str(notes)):
        lines = vae.encode(file)
        np.testing.assert_array_equal(lines.mean, found.mean)
        assert (lines.source, lines.place) == ([str(notes)] * 6, [1, 2, 3, 4, 5, 6])
    assert len(vae.encode([notes, "the dog"])) == 7
    assert len(vae.encode(notes, all_windows=False)) == 1


def test_sentences_of_any_length_come_back_in_their_order(vae: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one = [vae.encode(sentence) for sentence in SENTENCES]
    for batch in (1, 2, 4, 512):
        monkeypatch.setattr(trained, "BATCH", batch)
        mean, scale = vae.encode(SENTENCES)
        np.testing.assert_allclose(mean, np.concatenate([found.mean for found in one_by_one]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scale, np.concatenate([found.scale for found in one_by_one]), rtol=1e-4, atol=1e-5)


def test_everything_made_is_a_sentence_that_reads_back(vae: TrainedModel) -> None:
    for sentence in vae.sample(20, seed=0):
        assert isinstance(sentence, str)
        ids = vae.tokenizer.encode(sentence)
        assert vae.tokenizer.decode(ids) == sentence
        assert len(ids) <= vae.tokenizer.length


def test_reconstruct_is_encode_then_decode(vae: TrainedModel, notes: Path) -> None:
    made = vae.reconstruct(SENTENCES)
    assert made == vae.decode(vae.encode(SENTENCES).mean) == vae.reconstruct(notes)
    assert len(set(made)) > 1


def test_interpolation_and_arithmetic(vae: TrainedModel, notes: Path) -> None:
    a, b = SENTENCES[:2]
    path = vae.interpolate(a, b, steps=5)
    assert [path[0], path[-1]] == vae.reconstruct([a, b])
    assert vae.interpolate(notes, b, steps=5) == path
    assert len(set(vae.interpolate(a, a, steps=4, temperature=1.0, seed=3))) == 1
    assert vae.arithmetic([a]) == vae.reconstruct(a)[0]
    assert vae.arithmetic([a, b], [b]) == vae.arithmetic([notes])


def test_seeds_and_ways_to_decode_act(vae: TrainedModel) -> None:
    assert vae.sample(6, seed=3) == vae.sample(6, seed=3) != vae.sample(6, seed=4)
    z = vae.encode(SENTENCES).mean
    greedy = vae.decode(z)
    assert vae.decode(z, temperature=3.0, seed=1) != greedy
    assert vae.decode(z, temperature=3.0, top_k=1, seed=1) == vae.decode(z, beam=1) == greedy
    assert vae.sample(6, seed=3, beam=4) == vae.sample(6, seed=3, beam=4) != vae.sample(6, seed=4, beam=4)


def test_what_a_search_finds_is_likelier_and_longer_with_a_penalty() -> None:
    vae, z = model_of(WordTokenizer(12, symbols=WORDS)), np.random.default_rng(0).standard_normal((30, 6))
    greedy, short, long = vae.decode(z), vae.decode(z, beam=8, length_penalty=0.0), vae.decode(z, beam=8)
    found, before = (
        np.mean([_log_p(vae, row, text) for row, text in zip(z, made, strict=True)]) for made in (short, greedy)
    )
    assert found > before
    assert sum(map(len, long)) > sum(map(len, short))


@torch.no_grad()
def _log_p(vae: TrainedModel, z: np.ndarray, sentence: str) -> float:
    ids = torch.from_numpy(vae.tokenizer.encode(sentence).astype(np.int64))
    return -float(vae.model.distortion(torch.from_numpy(z).float().unsqueeze(0), ids.unsqueeze(0)))


def test_what_is_not_read_as_it_stands_is_a_remark(tmp_path: Path) -> None:
    vae = model_of(WordTokenizer(6, symbols=WORDS))
    (tmp_path / "odd.txt").write_text("the cat\nthe zyzzy\n")
    remarks = vae.encode([tmp_path / "odd.txt", "the qwerty ran and ran and ran"]).remarks
    assert remarks[0].startswith(f"{tmp_path / 'odd.txt'}, line 2: 1 of 2 words is unknown: zyzzy")
    assert remarks[1].startswith("'the qwerty ran and ran and ran': 1 of 5 words is unknown: qwerty")
    assert "cut" in remarks[1]
    assert len(remarks) == 2


def test_wrong_input_is_told_in_one_line(notes: Path, tmp_path: Path) -> None:
    vae = model_of(WordTokenizer(12, symbols=WORDS))
    tune = Score((Note(60, 0, 4),), 32)
    tune.write_midi(tmp_path / "a.mid")
    (tmp_path / "latin.txt").write_bytes(b"the cat\n\xe9\n")
    with pytest.raises(OptionError, match="no bars"):
        vae.encode(notes, bar=2)
    with pytest.raises(OptionError, match="tempo"):
        vae.decode(np.zeros(6), tempo=90.0)
    with pytest.raises(ModelError, match="score"):
        vae.encode(tune)
    for item, words in (
        (tmp_path / "a.mid", "is music"),
        (str(tmp_path / "a.mid"), "is music"),
        ("missing.txt", "does not exist"),
        ("missing.mid", "does not exist"),
        (Path("the dog"), "does not exist"),
        ("zyzzy qwerty", "zyzzy qwerty"),
        (" \n", "empty sentence"),
        (tmp_path / "latin.txt", "line 2"),
        (str(tmp_path), "is a folder"),
        (b"the caf\xe9".decode("utf-8", "surrogateescape"), "not utf-8"),
    ):
        with pytest.raises(InputError, match=words) as error:
            vae.encode(item)
        assert "\n" not in str(error.value)
    latin, coding = tmp_path / "latin.txt", {"encoding": "latin-1"}
    assert len(vae.encode(latin, **coding)) == len(vae.reconstruct(latin, **coding)) == 2
    assert vae.interpolate(latin, latin, 2, **coding) == [vae.arithmetic(latin, **coding)] * 2
    with pytest.raises(InputError, match="latin-9000"):
        vae.encode(latin, encoding="latin-9000")


def test_a_pipe_is_read(tmp_path: Path) -> None:
    vae, pipe = model_of(WordTokenizer(12, symbols=WORDS)), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("the cat\nthe dog\n",), daemon=True)
    writer.start()
    assert len(vae.encode(str(pipe))) == 2
    writer.join(timeout=10)


@pytest.mark.parametrize("changed", [{"eos": 0}, {"eos": None}, {"pad": 9}, {"length": 50}])
def test_a_model_and_a_tokenizer_that_do_not_fit_are_refused(vae: TrainedModel, changed: dict[str, Any]) -> None:
    config = dataclasses.replace(vae.config, model=dataclasses.replace(vae.config.model, **changed))
    with pytest.raises(ModelError, match="'odd' and its tokenizer do not fit each other"):
        TrainedModel("odd", ModelFile(SequenceVAE(config.model), config, vae.tokenizer.to_json(), {}), "cpu")


def test_a_model_of_music_says_what_it_is_given(tmp_path: Path) -> None:
    config = Config(model=ModelConfig(encoder_size=4, decoder_size=4, latent_size=2))
    music = TrainedModel("tunes", ModelFile(SequenceVAE(config.model), config, MUSIC, {}), "cpu")
    with pytest.raises(InputError, match="the cat sat does not exist; model 'tunes' reads music"):
        music.encode("the cat sat")
    with pytest.raises(OptionError, match="--encoding"):
        music.encode(Score((Note(60, 0, 4),), 32), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("the cat\n")
    with pytest.raises(InputError, match="is text"):
        music.encode(tmp_path / "notes.txt")
    assert len(music.sample(2, beam=3)) == 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    (folder / "train.txt").write_text("\n".join(SENTENCES * 3))
    (folder / "test.txt").write_text("\n".join([*SENTENCES[:4], "the storm sat"]))
    options = TextOptions(max_length=11)
    return prepare(
        [folder / "train.txt"], folder / "D", options, valid=[folder / "test.txt"], test=[folder / "test.txt"]
    )


def test_evaluation_of_a_dataset_is_that_of_its_sentences(dataset: Dataset) -> None:
    vae = model_of(dataset.tokenizer)
    examples = vae.read(dataset.path.parent / "test.txt")
    by_split, by_file = vae.evaluate(dataset.path, "test", samples=0), vae.evaluate(examples, samples=0)
    assert by_split.keys() == by_file.keys()
    assert {"perplexity", "mutual_information", "active_units"} <= by_split.keys()
    for name in ("rate", "tokens", "active_units", "token_accuracy", "exact"):  # what no noise is in
        assert by_split[name] == pytest.approx(by_file[name], rel=1e-4)


def test_evaluation_takes_what_encode_takes(dataset: Dataset) -> None:
    vae, path = model_of(dataset.tokenizer), dataset.path.parent / "test.txt"
    lines = path.read_text().splitlines()
    expected = vae.evaluate(vae.read(path), samples=0)
    assert vae.evaluate(path, samples=0) == vae.evaluate(str(path), samples=0) == expected
    assert vae.evaluate(lines, samples=0) == expected
    assert vae.evaluate(lines[0], samples=0) == vae.evaluate([lines[0]], samples=0)
    with pytest.raises(InputError, match=r"missing\.seqvae does not exist"):
        vae.evaluate("missing.seqvae")
    with pytest.raises(OptionError, match=r"split valid: .* is no dataset"):
        vae.evaluate(lines, "valid")
    for strange in (b"abc", ["the cat", None]):
        with pytest.raises(TypeError, match="give paths, sentences or scores"):
            vae.encode(strange)


def test_a_dataset_of_another_vocabulary_is_refused_in_one_short_line(dataset: Dataset) -> None:
    with pytest.raises(ModelError, match="was prepared for") as error:
        model_of(WordTokenizer(12, symbols=WORDS)).evaluate(dataset.path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    other = dataset.tokenizer
    with pytest.raises(ModelError, match="another vocabulary"):
        model_of(dataclasses.replace(other, symbols=other.symbols[::-1])).evaluate(dataset.path)


def test_saved_and_loaded_it_is_the_same_model(vae: TrainedModel, tmp_path: Path) -> None:
    vae.save(tmp_path / "mine.safetensors")
    again = seqvae.load(tmp_path / "mine.safetensors", device="cpu")
    assert again.tokenizer == vae.tokenizer
    assert again.sample(3, seed=1) == vae.sample(3, seed=1)


def test_previews_are_lines_and_leave_the_model_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    vae = model_of(dataset.tokenizer)
    model = SequenceVAE(dataclasses.replace(vae.config.model, dropout=0.5)).train()
    previews = Previews(dataset.path, every=0.0)
    previews(model, tmp_path, 7)
    first = (tmp_path / "previews/step-000007.txt").read_text()
    lines = first.splitlines()
    assert lines[0] == "samples:"
    assert lines[6] == "originals and reconstructions:"
    assert lines[7::2] == SENTENCES[:4]
    previews(model, tmp_path, 8)
    assert (tmp_path / "previews/step-000008.txt").read_text() == first  # no noise but what a seed gives
    assert model.training
