"""The promises of a TrainedModel: files in, files out, and the same answer on every road."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import seqvae
from data_prep.errors import InputError
from data_prep.score import Note, Score
from seqvae import trained
from seqvae.checkpoint import ModelFile
from seqvae.config import MOST_SEED, Config, ModelConfig
from seqvae.errors import ModelError, OptionError
from seqvae.sampling import Decoding
from seqvae.trained import TrainedModel
from seqvae.vae import SequenceVAE

TOKENIZER = {"name": "melody", "bars": 2, "meter": [4, 4]}


@pytest.fixture(scope="module")
def vae() -> TrainedModel:
    torch.manual_seed(0)
    config = Config(model=ModelConfig(encoder_size=16, decoder_size=16, latent_size=8))
    model = SequenceVAE(config.model)
    with torch.no_grad():  # without training: spread the logits, so that tunes differ
        model.decoder.output.weight.mul_(30)
        model.decoder.initial.weight.mul_(5)
    return TrainedModel("tiny", ModelFile(model, config, TOKENIZER, {}), "cpu")


def tune(first: int, bars: int = 2, tempo: float = 120.0) -> Score:
    notes = tuple(Note(first + (5 * step) % 13, step, step + 2) for step in range(0, 16 * bars, 2))
    return Score(notes, 16 * bars, tempo=tempo)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, first, bars, tempo in (("a", 60, 2, 90.0), ("b", 48, 2, 150.0), ("long", 55, 5, 120.0)):
        tune(first, bars, tempo).write_midi(tmp_path / f"{name}.mid")
    return [tmp_path / "a.mid", tmp_path / "b.mid", tmp_path / "long.mid"]


def notes(scores: list[Score]) -> list[tuple[Note, ...]]:
    return [score.notes for score in scores]


def test_encode_unpacks_and_tells_where_from(vae: TrainedModel, files: list[Path]) -> None:
    mean, scale = vae.encode(files)
    assert mean.shape == scale.shape == (3, 8)
    found = vae.encode(files, all_windows=True)
    assert len(found) == 2 + len(set(found.place[2:]))
    assert found.tempo[:2] == pytest.approx([90.0, 150.0], abs=0.01)
    assert found.source[0] == str(files[0])


def test_a_score_a_path_and_a_string_are_the_same_music(vae: TrainedModel, files: list[Path]) -> None:
    for item in (files[0], str(files[0]), tune(60)):
        np.testing.assert_array_equal(vae.encode(item).mean, vae.encode([files[0]]).mean)


@pytest.mark.usefixtures("bf16")
def test_few_of_a_small_model_are_computed_exactly_and_the_rest_fast(
    vae: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(weight.numel() for weight in vae.model.parameters())
    monkeypatch.setattr(trained, "WORTH_LOW", 64 * size)
    file = ModelFile(vae.model, vae.config, TOKENIZER, {})
    models = {name: TrainedModel("tiny", file, "cpu", name) for name in ("auto", "fp32", "bf16")}
    few, many = [tune(40)], [tune(40 + n % 40) for n in range(64)]
    for tunes, same in ((few, "fp32"), (many, "bf16")):
        means = {name: model.encode(tunes).mean for name, model in models.items()}
        np.testing.assert_array_equal(means["auto"], means[same])
        assert 0 < np.abs(means["bf16"] - means["fp32"]).max() < 0.02 * means["fp32"].std()
    draws = {name: model.sample(64, seed=1) for name, model in models.items()}
    assert notes(draws["auto"]) == notes(draws["bf16"])
    assert models["auto"].evaluate(models["auto"].read(many), samples=0) == models["fp32"].evaluate(
        models["fp32"].read(many), samples=0
    )
    monkeypatch.setattr(trained, "WORTH_LOW", size)
    np.testing.assert_array_equal(models["auto"].encode(few).mean, models["bf16"].encode(few).mean)


def test_ids_are_what_scores_are_made_of(vae: TrainedModel) -> None:
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(6))
    ids = vae.decode_ids(z, Decoding(temperature=1.0), seed=2)
    assert ids.shape == (3, 32)
    assert [vae.tokenizer.decode(row).notes for row in ids] == notes(vae.decode(z, temperature=1.0, seed=2))


def test_reconstruct_is_encode_then_decode(vae: TrainedModel, files: list[Path]) -> None:
    latents = vae.encode(files)
    assert vae.reconstruct(files) == vae.decode(latents)
    assert notes(vae.decode(latents)) == notes(vae.decode(latents.mean))
    assert [score.tempo for score in vae.decode(latents)] == pytest.approx([90.0, 150.0, 120.0], abs=0.01)
    assert {score.tempo for score in vae.decode(latents, tempo=70)} == {70.0}


def test_ends_of_an_interpolation_are_the_reconstructions(vae: TrainedModel, files: list[Path]) -> None:
    path = vae.interpolate(files[0], files[1], steps=5)
    assert len(path) == 5
    assert notes([path[0], path[-1]]) == notes(vae.reconstruct(files[:2]))
    assert path[0].tempo == pytest.approx(90.0, abs=0.01)
    assert path[-1].tempo == pytest.approx(150.0, abs=0.01)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_from_a_to_a_is_a_constant_row(vae: TrainedModel, files: list[Path], temperature: float) -> None:
    path = vae.interpolate(files[0], files[0], steps=4, temperature=temperature)
    assert len(set(notes(path))) == 1
    assert len(path) == 4


def test_arithmetic_of_a_minus_b_plus_b_is_a(vae: TrainedModel, files: list[Path]) -> None:
    a, b, _ = files
    assert vae.arithmetic([a]).notes == vae.reconstruct(a)[0].notes
    assert vae.arithmetic([a, b], [b]).notes == vae.arithmetic([a]).notes


def test_same_seed_same_music(vae: TrainedModel) -> None:
    assert notes(vae.sample(6, seed=3)) == notes(vae.sample(6, seed=3))
    assert notes(vae.sample(6, seed=3)) != notes(vae.sample(6, seed=4))
    assert notes(vae.sample(6)) != notes(vae.sample(6))
    assert len(set(notes(vae.sample(6, seed=3)))) > 1


def test_temperature_and_filters_act(vae: TrainedModel) -> None:
    z = np.zeros((1, 8))
    greedy = notes(vae.decode(z))
    assert notes(vae.decode(z, temperature=3.0, seed=1)) != greedy
    assert notes(vae.decode(z, temperature=3.0, top_k=1, seed=1)) == greedy
    assert notes(vae.decode(z, temperature=3.0, top_p=1e-6, seed=1)) == greedy


def test_every_score_is_two_bars_and_reads_back(vae: TrainedModel, tmp_path: Path) -> None:
    for number, score in enumerate(vae.sample(5, seed=0)):
        assert score.steps == 32
        path = tmp_path / f"{number}.mid"
        score.write_midi(path)
        if score.notes:
            np.testing.assert_array_equal(vae.encode(path).mean, vae.encode(score).mean)


def test_bar_chooses_the_window(vae: TrainedModel, files: list[Path]) -> None:
    every = vae.encode(files[2], all_windows=True)
    np.testing.assert_allclose(vae.encode(files[2], bar=every.place[2]).mean[0], every.mean[2], rtol=1e-5)
    with pytest.raises(OptionError, match="--bar 40"):
        vae.encode(files[2], bar=40)
    score = vae.decode(every.mean[:1])[0]
    np.testing.assert_array_equal(vae.encode(score, bar=1).mean, vae.encode(score).mean)
    with pytest.raises(OptionError, match="--bar 7: a score is taken from its beginning"):
        vae.encode(score, bar=7)


def test_weights_that_are_not_finite_are_told(vae: TrainedModel, files: list[Path]) -> None:
    broken = copy.deepcopy(vae)
    with torch.no_grad():
        next(broken.model.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="gives latents that are not finite"):
        broken.encode(files[0])


def test_wrong_input_is_told_in_one_line(vae: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="latent size is 8"):
        vae.decode(np.zeros((2, 9)))
    with pytest.raises(OptionError, match="between 2 and"):
        vae.interpolate(tune(60), tune(61), steps=1)
    for n in (0, 10**7):
        with pytest.raises(OptionError, match="between 1 and 1,000,000"):
            vae.sample(n)
    for wrong_kind in (
        lambda: vae.sample(2.5),
        lambda: vae.sample(1, seed="x"),
        lambda: vae.interpolate(tune(60), tune(61), steps=2.5),
        lambda: vae.encode(None),
        lambda: vae.decode("latents.npz"),
        lambda: vae.decode(None),
        lambda: vae.decode(np.zeros((1, 8), complex)),
        lambda: vae.sample(1, temperature="1"),
        lambda: vae.sample(1, temperature=None),
        lambda: vae.sample(1, top_k=2.5),
    ):
        with pytest.raises(TypeError, match=r"number|give"):
            wrong_kind()
    for wrong in ({"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}):
        with pytest.raises(OptionError, match="must be"):
            vae.sample(1, **wrong)
    with pytest.raises(InputError, match=r"nothing\.mid"):
        vae.encode(tmp_path / "nothing.mid")
    for tempo in (0, -5, 1, 1e9, float("nan"), "fast", "100", [100, 100, 100], [100]):
        with pytest.raises(OptionError, match="tempo"):
            vae.decode(np.zeros((2, 8)), tempo=tempo)
    for seed in (-1, 2**64 - 1, np.int64(-1)):
        with pytest.raises(OptionError, match="--seed"):
            vae.sample(1, seed=seed)
    with pytest.raises(OptionError, match="nothing to evaluate"):
        vae.evaluate([])
    with pytest.raises(OptionError, match="--samples -1"):
        vae.evaluate(vae.read(tune(60)), samples=-1)
    with pytest.raises(TypeError, match=r"--samples 1\.5: a whole number"):
        vae.evaluate(vae.read(tune(60)), samples=1.5)
    with pytest.raises(OptionError, match="--seed"):
        vae.evaluate(vae.read(tune(60)), seed=2**70)
    with pytest.raises(OptionError, match="1 latents"):
        vae.interpolate_latents(vae.encode(tune(60)), 3)
    with pytest.raises(OptionError, match="--plus"):
        vae.arithmetic([])


def test_numbers_of_numpy_are_numbers(vae: TrainedModel) -> None:
    assert notes(vae.sample(np.int64(2), seed=np.uint8(255))) == notes(vae.sample(2, seed=255))
    z = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    assert notes(vae.decode(z[::-1], beam=np.int64(2))) == notes(vae.decode(z, beam=2))[::-1]
    assert [score.tempo for score in vae.decode(z, tempo=np.float32(100))] == [100.0, 100.0]
    assert [score.tempo for score in vae.decode(z, tempo=np.array([90, 100]))] == [90.0, 100.0]
    assert notes(vae.decode(z.astype(">f8"))) == notes(vae.decode(torch.from_numpy(z).requires_grad_()))
    assert vae.sample(1, seed=MOST_SEED)
    assert vae.evaluate(vae.read(tune(60)), samples=0, seed=np.uint8(3))


def test_saved_and_loaded_it_is_the_same_model(vae: TrainedModel, tmp_path: Path) -> None:
    vae.save(tmp_path / "mine.safetensors")
    again = seqvae.load(tmp_path / "mine.safetensors")
    assert again.name == "mine"
    assert notes(again.sample(3, seed=1)) == notes(vae.sample(3, seed=1))
    (tmp_path / "run").mkdir()
    vae.save(tmp_path / "run" / "model.safetensors")
    for place, words in (("run", "run is a folder"), ("mine.safetensors", "force=True")):
        with pytest.raises(InputError, match=words):
            vae.save(tmp_path / place)
    vae.save(tmp_path / "mine.safetensors", half=True, force=True)
    assert seqvae.load(tmp_path / "run").name == "run"


def test_a_model_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    for model in ("melody-3bar", tmp_path, ""):
        with pytest.raises(ModelError):
            seqvae.load(model)


def test_a_device_of_torch_is_a_device(vae: TrainedModel, tmp_path: Path) -> None:
    vae.save(tmp_path / "model.safetensors")
    assert seqvae.load(tmp_path / "model.safetensors", torch.device("cpu")).device == torch.device("cpu")


def test_a_device_that_is_not_there_is_told(vae: TrainedModel, tmp_path: Path) -> None:
    vae.save(tmp_path / "mine.safetensors")
    with pytest.raises(OptionError, match="--device abacus"):
        seqvae.load(tmp_path / "mine.safetensors", device="abacus")


def test_tensors_may_have_another_device_by_default(vae: TrainedModel, files: list[Path], tmp_path: Path) -> None:
    vae.save(tmp_path / "model.safetensors")
    with torch.device("meta"):  # where nothing can be computed
        other = seqvae.load(tmp_path / "model.safetensors", "cpu")
        found = other.sample(3, seed=1), other.encode(files).mean, other.interpolate(*files[:2], 3)
        figures = other.evaluate(files, samples=2)
    assert found[0] == vae.sample(3, seed=1)
    assert np.array_equal(found[1], vae.encode(files).mean)
    assert notes(found[2]) == notes(vae.interpolate(*files[:2], 3))
    assert figures == vae.evaluate(files, samples=2)


def test_tensors_may_have_another_type_by_default(
    vae: TrainedModel, files: list[Path], tmp_path: Path, double_by_default: None
) -> None:
    vae.save(tmp_path / "model.safetensors")
    other = seqvae.load(tmp_path / "model.safetensors", "cpu")
    found = [other.sample(n, temperature=1.0, seed=1) for n in (1, 3)]
    assert other.encode(files).mean.dtype == np.float32
    torch.set_default_dtype(torch.float32)
    assert found == [vae.sample(n, temperature=1.0, seed=1) for n in (1, 3)]
