"""Settings: there and back, and refused where they make no sense."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from data_prep import files, text
from data_prep.text import TextOptions
from data_prep.tokenizers import words
from data_prep.windows import MelodyOptions
from seqvae import config as settings
from seqvae.checks import check
from seqvae.config import Config, DataConfig, ModelConfig, Phase, TrainConfig
from seqvae.errors import OptionError
from seqvae.presets import preset, preset_names
from seqvae.run_folder import CONFIG_FILE, STATE_FILE


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_sound_and_survive_toml(name: str) -> None:
    config = preset(name)
    assert config.name == name
    assert config.description
    assert Config.from_toml(config.to_toml()) == config
    assert Config.from_dict(config.to_dict()) == config


def test_melody_2bar_has_the_sizes_of_musicvae() -> None:
    small, big = preset("melody-2bar").model, preset("melody-2bar-big").model
    assert small == ModelConfig()
    assert (big.encoder_size, big.decoder_size, big.decoder_layers, big.latent_size) == (2048, 2048, 3, 512)


def test_a_preset_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[model]\nlatent_size = 5\n[training]\nsteps = 3\nlearning_rate = 1\n')
    config = preset(path)
    assert (config.name, config.model.latent_size, config.training.learning_rate) == ("mine", 5, 1.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[model", "not valid TOML"),
        ("x = " + "[" * 100_000, "not valid TOML"),
        ("[training]\nclip = " + "1" * 5000, "not valid TOML"),
        ("[model]\nsize = 3", "unknown key 'size'"),
        ("[modle]\n", "unknown key 'modle'"),
        ("name = 3", "name = 3 must be text"),
        ("phases = 3", "phases = 3 must be [[phases]], tables"),
        ("model = 3", "model = 3 must be a table, [model]"),
        ('[model]\nlatent_size = "big"', "must be int"),
        ("[model]\nlatent_size = true", "must be int"),
        ("[training]\nsteps = 5\n[model]\nencoder_size = 0", "--encoder-size 0: must be at least 1"),
        ("", "no end is set"),
    ],
)
def test_a_wrong_preset_file_is_told_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(OptionError) as error:
        preset(path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_and_missing_presets_name_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="melody-2bar"):
        preset("melody-3bar")
    with pytest.raises(OptionError, match="cannot be read"):
        preset(tmp_path / "nothing.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(OptionError, match="UTF-8"):
        preset(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("final_learning_rate", 1.0),
        ("clip", -1.0),
        ("weight_average", 1.0),
        ("beta", -0.1),
        ("annealing", "stairs"),
        ("annealing_steps", 0),
        ("free_bits", -1.0),
        ("free_bits_per", "octave"),
        ("scheduled_sampling", "yes"),
        ("scheduled_sampling_rate", 1.5),
        ("steps", 0),
        ("epochs", -1),
        ("minutes", 0.0),
        ("patience", 0),
        ("validate_every", 0),
        ("transpose", 12),
        ("device", "tpu"),
        ("precision", "fp8"),
        ("select", "luck"),
        ("seed", -1),
    ],
)
def test_every_bad_value_names_its_option(option: str, value: object) -> None:
    config = Config(training=replace(TrainConfig(steps=1), **{option: value}))
    with pytest.raises(OptionError, match="--" + option.replace("_", "-")):
        check(config)


@pytest.mark.parametrize("embedding", [None, 100])
def test_tied_weights_are_of_one_size(embedding: int | None) -> None:
    model = ModelConfig(tied=True, embedding_size=embedding, decoder_size=256)
    with pytest.raises(OptionError, match="tied"):
        check(Config(model=model, training=TrainConfig(steps=1)))
    check(Config(model=replace(model, embedding_size=256), training=TrainConfig(steps=1)))


def test_a_run_has_one_device() -> None:
    phases = (Phase("first"), Phase("second", changes={"device": "cuda"}))
    with pytest.raises(OptionError, match="phase second: a run has one device, which --device names"):
        check(Config(training=TrainConfig(steps=1), phases=phases))


def test_an_average_of_decay_0_is_none() -> None:
    check(Config(training=TrainConfig(steps=1, weight_average=0.0, whiten=True)))
    with pytest.raises(OptionError, match="--whiten moves weights at once"):
        check(Config(training=TrainConfig(steps=1, weight_average=0.9, whiten=True)))


def test_what_the_floors_both_say_of_data_agrees() -> None:
    """data_prep knows nothing of seqvae's settings, which repeat its own."""
    assert (settings.MUSIC, settings.TEXT) == (files.MUSIC, files.TEXT)
    assert {CONFIG_FILE, STATE_FILE} == files.RUN
    assert (settings.LONG, settings.WORDS) == (text.LONG, words.SPLITS)
    here = DataConfig(tokenizer="words")
    there = TextOptions()
    assert all(getattr(here, each.name) == getattr(there, each.name) for each in fields(TextOptions))
    assert MelodyOptions.parse(here.meter, here.bars, here.pair_bars, here.programs) == MelodyOptions()


@pytest.mark.parametrize(("section", "option"), [("training", "beta"), ("training", "clip"), ("model", "gamma")])
def test_numbers_are_finite(section: str, option: str) -> None:
    config = Config(training=TrainConfig(steps=1))
    wrong = replace(config, **{section: replace(getattr(config, section), **{option: math.inf})})
    with pytest.raises(OptionError, match=f"--{option} inf: must be finite"):
        check(wrong)


def test_settings_are_named_as_the_command_line_spells_them() -> None:
    wrong = Config(data=DataConfig(tokenizer="words", split="letters"), training=TrainConfig(steps=1))
    with pytest.raises(OptionError, match="--words letters: must be one of punctuation, spaces"):
        check(wrong)


OF_LATENTS = ["free_bits", "mmd", "adversarial", "whiten", "aggressive", "encoder_drop", "encoder_mask", "encoder_swap"]


@pytest.mark.parametrize("option", OF_LATENTS)
def test_a_language_model_takes_nothing_that_is_for_latents(option: str) -> None:
    language_model = ModelConfig(latent_size=0)
    check(Config(model=language_model, training=TrainConfig(steps=1)))
    given = {option: True if option in ("whiten", "aggressive") else 0.5}
    with pytest.raises(OptionError, match=f"--{option.replace('_', '-')}: a model without latents"):
        check(Config(model=language_model, training=TrainConfig(steps=1, **given)))


def test_what_32_bits_do_not_hold_is_refused() -> None:
    training, delta = TrainConfig(steps=1), ModelConfig(posterior="delta", latent_size=8)
    check(Config(model=replace(delta, minimum_rate=320.0), training=training))
    with pytest.raises(OptionError, match="must be at most 320, 40 nats for each of 8 dimensions"):
        check(Config(model=replace(delta, minimum_rate=321.0), training=training))
    with pytest.raises(OptionError, match=r"--gamma 10000\.0: must be at most 1000"):
        check(Config(model=ModelConfig(posterior="batch-norm", gamma=1e4), training=training))
