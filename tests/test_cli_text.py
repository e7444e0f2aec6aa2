"""The command line with sentences: lines where melodies give files, and every bad input told in one line."""

import gzip
import json
import random
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from command_line import Run, files, runner, succeed

from data_prep.score import Note, Score
from data_prep.tokenizers.characters import CharacterTokenizer
from data_prep.tokenizers.words import WordTokenizer
from seqvae.checkpoint import save_model
from seqvae.config import Config, DataConfig, ModelConfig
from seqvae.latent_file import Latents
from seqvae.trained import load
from seqvae.vae import SequenceVAE

WORDS = ("the", "a", "cat", "dog", "storm", "sat", "ran", "is", "coming", "on", "mat", "and", "slept", "home", ".", ",")

PRESET = """
name = "small"
[data]
tokenizer = "words"
[model]
embedding_size = 8
encoder_size = 8
decoder_size = 12
decoder_layers = 1
latent_size = 4
[training]
steps = 3
batch_size = 16
device = "cpu"
precision = "fp32"
"""
PHASES = """
annealing = "none"
[[phases]]
name = "autoencoder"
beta = 0.0
steps = 2
[[phases]]
name = "vae"
reset = "decoder"
beta = 1.0
steps = 2
"""


def save_tiny_model(path: Path, tokenizer: WordTokenizer | CharacterTokenizer) -> None:
    """A model with random weights, large ones, so that different latents make different sentences."""
    sizes = {"vocabulary_size": tokenizer.vocabulary_size, "length": tokenizer.length, "embedding_size": 8}
    ids = {name: getattr(tokenizer, name) for name in ("bos", "eos", "pad", "blank")}
    config = Config(
        "tiny",
        "",
        DataConfig(tokenizer=tokenizer.name, max_length=tokenizer.length - 1),
        ModelConfig(**sizes, **ids, encoder_size=8, decoder_size=16, decoder_layers=1, latent_size=4),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SequenceVAE(config.model)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4.0)
    save_model(path, model, config, tokenizer.to_json(), {"elbo": -20.0})


def lines(seed: int, n: int = 200) -> str:
    rng = random.Random(seed)
    return "".join(" ".join(rng.choices(WORDS, k=rng.randint(1, 8))) + "\n" for _ in range(n))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files to try commands on: models of words and of characters, good and bad text, a melody."""
    folder = tmp_path_factory.mktemp("shelf")
    save_tiny_model(folder / "tiny.safetensors", WordTokenizer(9, symbols=WORDS))
    save_tiny_model(folder / "letters.safetensors", CharacterTokenizer(13, symbols=tuple("abcdeimnorst ")))
    (folder / "notes.txt").write_text(lines(0))
    (folder / "more").mkdir()
    (folder / "more/one.txt").write_text(lines(1, 30))
    (folder / "more/two.txt.gz").write_bytes(gzip.compress(lines(2, 30).encode()))
    (folder / "small.toml").write_text(PRESET)
    (folder / "phases.toml").write_text(PRESET + PHASES)
    (folder / "music.toml").write_text(PRESET.replace('tokenizer = "words"', "bars = 1"))
    (folder / "language.toml").write_text(PRESET.replace("latent_size = 4", "latent_size = 0"))
    (folder / "mixed.toml").write_text(PRESET.replace('tokenizer = "words"', 'tokenizer = "words"\nbars = 3'))
    (folder / "windows.txt").write_bytes(b"\xef\xbb\xbfthe cat\r\n\r\nthe dog\r\n")
    (folder / "latin.txt").write_bytes("the cat\nthe caf\u00e9\n".encode("latin-1"))
    (folder / "empty.txt").touch()
    (folder / "blank.txt").write_text("\n \n\n")
    (folder / "nul.txt").write_bytes(b"the \0cat\n\0\n")
    (folder / "alien.txt").write_text("zyzzy qwerty\nzyzzy\n")
    (folder / "one.txt").write_text("the cat sat\n")
    (folder / "endless.txt").write_text("the cat " * 150_000 + "\nthe cat sat\n")
    (folder / "long.txt").write_text("the cat\n" + "the dog " * 1_300_000 + "\nthe mat\n")
    (folder / "cut.gz").write_bytes(gzip.compress(lines(3).encode())[:200])
    (folder / "nothing").mkdir()
    Score(tuple(Note(60 + i % 5, 4 * i, 4 * i + 4) for i in range(8)), 32).write_midi(folder / "a.mid")
    (folder / "tunes").mkdir()
    (folder / "tunes/a.mid").write_bytes((folder / "a.mid").read_bytes())
    np.savez(folder / "z4.npz", mean=np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32))
    return folder


@pytest.fixture
def seqvae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shelf: Path) -> Run:
    """The command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, capsys, shelf)


TINY = ["--model", "@tiny.safetensors"]
SMALL = ["--preset", "@small.toml"]
CAT, STORM = "the cat sat on a mat", "a storm is coming"


def told(seqvae: Run, *arguments: object) -> tuple[list[str], list[str]]:
    """The lines on stdout and on stderr of a command that did its work."""
    code, out, err = seqvae(*arguments)
    assert code == 0, err
    return out.splitlines(), err.splitlines()


# --- what the commands print and write


def test_sample_prints_a_line_each_and_tells_the_seed_beside_them(seqvae: Run, tmp_path: Path) -> None:
    made, notes = told(seqvae, "sample", "-n", 5, *TINY)
    assert len(made) == 5
    seed = notes[0].split("--seed ")[1].split()[0]
    assert told(seqvae, "sample", "-n", 5, "--seed", seed, *TINY) == (made, [])
    assert told(seqvae, "sample", "-n", 5, "--seed", int(seed) + 1, *TINY)[0] != made
    assert list(tmp_path.iterdir()) == []
    with_file = told(seqvae, "sample", "-n", 5, "--seed", seed, *TINY, "--out", "made/samples.txt")
    assert with_file == (made, ["seqvae: 5 new sentences: written to made/samples.txt"])
    assert Path("made/samples.txt").read_text() == "\n".join(made) + "\n"


@pytest.mark.parametrize("options", [["--temperature", 0.2], ["--top-k", 1], ["--top-p", 0.01], ["--beam", 4]])
def test_each_way_to_decode_acts(seqvae: Run, options: list) -> None:
    base = ["sample", "-n", 6, "--seed", 5, *TINY]
    assert succeed(seqvae(*base, *options)) != succeed(seqvae(*base))


def test_a_search_goes_with_every_command(seqvae: Run) -> None:
    for command in (
        ["interpolate", CAT, STORM],
        ["reconstruct", CAT],
        ["arithmetic", "--plus", CAT],
        ["decode", "@z4.npz"],
    ):
        assert succeed(seqvae(*command, *TINY, "--beam", 3, "--length-penalty", 0.5))


def test_interpolate_prints_a_line_a_step_and_ends_at_the_reconstructions(seqvae: Run) -> None:
    steps = succeed(seqvae("interpolate", CAT, STORM, "--steps", 5, *TINY)).splitlines()
    assert len(steps) == 5
    pairs = succeed(seqvae("reconstruct", CAT, STORM, *TINY)).splitlines()
    assert pairs[0::2] == [CAT, STORM]
    assert [pair.strip() for pair in pairs[1::2]] == [steps[0], steps[-1]]
    assert steps[0] != steps[-1]
    same, _ = told(seqvae, "interpolate", CAT, CAT, "--steps", 4, "--temperature", 1, *TINY)
    assert len(set(same)) == 1


def test_of_a_file_interpolate_and_arithmetic_take_the_first_sentence(seqvae: Run) -> None:
    Path("cat.txt").write_text(f"{CAT}\nthe dog\n")
    for command in (["interpolate", "cat.txt", STORM], ["arithmetic", "--plus", "cat.txt", "--plus", STORM]):
        quoted = [CAT if word == "cat.txt" else word for word in command]
        assert succeed(seqvae(*command, *TINY)) == succeed(seqvae(*quoted, *TINY))


def test_arithmetic_prints_one_line(seqvae: Run) -> None:
    out = succeed(seqvae("arithmetic", "--plus", STORM, "--minus", STORM, "--plus", CAT, *TINY))
    assert out.splitlines() == [succeed(seqvae("reconstruct", CAT, *TINY)).splitlines()[1].strip()]


def test_encode_takes_every_line_and_decode_gives_them_back(seqvae: Run) -> None:
    succeed(seqvae("encode", "@windows.txt", *TINY))
    with np.load("latents.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["line", "mean", "model", "scale", "source"]
        assert arrays["line"].tolist() == [1, 3]
        assert arrays["mean"].shape == arrays["scale"].shape == (2, 4)
    made = succeed(seqvae("decode", "latents.npz", *TINY))
    assert made.splitlines() == [line.strip() for line in _copies(seqvae, "@windows.txt")]
    assert "2 latents of size 4, from 1 source" in succeed(seqvae("info", "latents.npz"))


def _copies(seqvae: Run, item: str) -> list[str]:
    return succeed(seqvae("reconstruct", item, *TINY)).splitlines()[1::2]


def test_folders_and_gz_are_read(seqvae: Run) -> None:
    succeed(seqvae("encode", "@more", *TINY))
    found = Latents.load("latents.npz")
    assert len(found) == 60
    assert {Path(source).name for source in found.source} == {"one.txt", "two.txt.gz"}


def test_a_file_that_is_named_twice_is_read_once(seqvae: Run) -> None:
    succeed(seqvae("encode", CAT, "@more", "@more/one.txt", CAT, *TINY))
    assert len(Latents.load("latents.npz")) == 2 + 60


def test_a_file_in_another_encoding(seqvae: Run) -> None:
    code, _, err = seqvae("encode", "@latin.txt", *TINY)
    assert code == 1
    assert "line 2: not utf-8" in err
    assert "--encoding" in err
    told(seqvae, "encode", "@latin.txt", *TINY, "--encoding", "latin-1")
    assert len(Latents.load("latents.npz")) == 2


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("the zyzzy sat", ["'the zyzzy sat'", "1 of 3 words is unknown", "zyzzy"]),
        ("the cat " * 9, ["cut", "8 words"]),
    ],
)
def test_what_is_not_read_as_it_stands_is_told(seqvae: Run, item: str, words: list[str]) -> None:
    made, notes = told(seqvae, "reconstruct", item, *TINY)
    assert len(made) == 2
    assert all(word in notes[0] for word in words)


def test_of_several_items_bad_ones_are_left_out_and_counted(seqvae: Run) -> None:
    made, notes = told(seqvae, "reconstruct", CAT, "zyzzy", "@latin.txt", *TINY)
    assert made[0] == CAT
    assert len(made) == 2
    assert "zyzzy" in notes[0]
    assert "latin.txt, line 2: not utf-8" in notes[1]
    assert notes[2] == "seqvae: 2 of 3 items were left out"


def test_many_remarks_are_counted(seqvae: Run) -> None:
    Path("alien.txt").write_text("the zyzzy\n" * 50)
    _, notes = told(seqvae, "encode", "alien.txt", *TINY)
    assert len(notes) == 21
    assert "line 20" in notes[19]
    assert "30 more" in notes[20]


def test_evaluate_measures_files_whole_and_datasets_by_split(seqvae: Run) -> None:
    out = succeed(seqvae("evaluate", "@notes.txt", *TINY, "--samples", 2, "--json", "figures.json"))
    report = json.loads(Path("figures.json").read_text())
    assert {"perplexity", "mutual_information", "active_units", "tokens", "iw_nll"} <= report["figures"].keys()
    assert report["figures"]["mutual_information_cap"] == pytest.approx(np.log(200))
    assert all(word in out for word in ("0.01", "ln N", "Li et al. 2019", "perplexity"))
    code, _, err = seqvae("evaluate", "@notes.txt", *TINY, "--split", "train")
    assert (code, err.count("\n")) == (2, 1)
    assert "1 sentence of 3 with unknown words" in seqvae("evaluate", "the zyzzy", CAT, STORM, *TINY)[2]
    Path("half.txt").write_bytes(b"the cat\nthe\0dog\n\0\n")
    assert "2 lines with NUL bytes left out" in seqvae("evaluate", "half.txt", *TINY)[2]
    assert "half.txt: 2 lines with NUL bytes left out" in seqvae("encode", "half.txt", *TINY)[2]


def test_prepare_train_and_evaluate_the_dataset(seqvae: Run) -> None:
    out = succeed(seqvae("prepare", "@notes.txt", *SMALL, "--min-count", 2, "--out", "D"))
    assert "200 sentences" in out
    assert "sentences" in succeed(seqvae("info", "D"))
    code, _, err = seqvae("train", "D", *SMALL, "--out", "run")
    assert (code, err.count("\n")) == (0, 1)
    assert "was prepared with min-count 2" in err
    assert load("run").config.data.min_count == 2
    out = succeed(seqvae("evaluate", "D", "--model", "run", "--split", "valid", "--samples", 0))
    assert "the valid split" in out
    assert seqvae("evaluate", "D", *TINY)[0] == 1


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "@tiny.safetensors",
            ["model tiny", "words, at most 8", "vocabulary of 20", "elbo", '[data]\ntokenizer = "words"'],
        ),
        ("@letters.safetensors", ["characters, at most 12"]),
        ("@notes.txt", ["200 sentences", "16 different", "8 at most"]),
        ("@windows.txt", ["2 sentences of 4 words", "1 empty line"]),
        ("@more/two.txt.gz", ["30 sentences"]),
        ("@endless.txt", ["2 sentences", "1 line longer than 1,048,576 characters"]),
    ],
)
def test_info(seqvae: Run, what: str, words: Sequence[str]) -> None:
    out = succeed(seqvae("info", what))
    assert all(word in out for word in words)
    assert "bars" not in out


# --- training


def test_train_prepares_once_previews_lines_and_says_how_to_go_on(seqvae: Run) -> None:
    out = succeed(seqvae("train", "@notes.txt", *SMALL))
    assert "200 sentences" in out
    assert "perplexity" in out
    assert "seqvae sample --model runs/notes-small" in out
    run = Path("runs/notes-small")
    assert {"config.toml", "model.safetensors", "metrics.csv", "last.pt"} <= files(run).keys()
    assert "originals and reconstructions:" in next((run / "previews").glob("*.txt")).read_text()
    assert "bars" not in (run / "config.toml").read_text()
    assert "reusing" in succeed(seqvae("train", "@notes.txt", *SMALL, "--out", "runs/second"))
    told(seqvae, "sample", "-n", 1, "--model", "runs/notes-small")
    told(seqvae, "interpolate", CAT, STORM, "--model", "runs/notes-small")


def test_the_kind_of_the_sources_picks_the_preset(seqvae: Run) -> None:
    for source in ("@notes.txt", "@more"):
        run = Path("runs", f"{Path(source[1:]).stem}-text-words")
        _, notes = told(seqvae, "train", source, "--steps", 1, "--batch-size", 4)
        assert notes == ["seqvae: using preset text-words, as SOURCE is text; choose another with --preset"]
        assert load(run).config.name == "text-words"
    succeed(seqvae("prepare", "@notes.txt", "--out", "D"))
    assert told(seqvae, "train", "D", "--steps", 1, "--batch-size", 4)[1][0].startswith(
        "seqvae: using preset text-words"
    )
    code, _, err = seqvae("train", "D", "--preset", "melody-2bar")
    assert (code, err.count("\n")) == (2, 1)
    assert "D is text" in err


def test_characters_have_a_preset_of_their_own(seqvae: Run) -> None:
    succeed(seqvae("train", "@notes.txt", "--preset", "text-chars", "--steps", 1, "--batch-size", 4, "--out", "run"))
    assert load("run").tokenizer.name == "characters"


def test_a_language_model_has_no_latents_to_move_in(seqvae: Run) -> None:
    Path("lm.toml").write_text(PRESET.replace("latent_size = 4", "latent_size = 0"))
    succeed(seqvae("train", "@notes.txt", "--preset", "lm.toml", "--out", "run"))
    assert len(told(seqvae, "sample", "-n", 3, "--seed", 1, "--model", "run")[0]) == 3
    assert "perplexity" in succeed(seqvae("evaluate", "@notes.txt", "--model", "run"))
    code, _, err = seqvae("interpolate", CAT, STORM, "--model", "run")
    assert (code, err.count("\n")) == (1, 1)
    assert "no latents" in err


def test_a_run_is_resumed_to_the_same_weights(seqvae: Run) -> None:
    succeed(seqvae("train", "@notes.txt", *SMALL, "--steps", 6, "--out", "runs/whole"))
    succeed(seqvae("train", "@notes.txt", *SMALL, "--steps", 2, "--out", "runs/parts"))
    succeed(seqvae("train", "--resume", "--preset", "@small.toml", "--out", "runs/parts", "--steps", 6))
    states = [torch.load(f"runs/{run}/last.pt", weights_only=True)["model"] for run in ("whole", "parts")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    Path("more.txt").write_text("a line of other words\n" * 20)
    code, _, err = seqvae("train", "@notes.txt", "more.txt", *SMALL, "--resume", "--out", "runs/parts", "--steps", 9)
    assert (code, err.count("\n")) == (2, 1)
    assert "SOURCE holds other sequences" in err  # and not that it has another vocabulary size


def test_a_preset_beside_resume_says_how_to_go_on_and_not_with_what(seqvae: Run) -> None:
    other_data = ["--vocabulary-size", 9, "--max-length", 5]
    succeed(seqvae("train", "@notes.txt", *SMALL, *other_data, "--steps", 2, "--out", "run"))
    for steps, source in ((3, ["@notes.txt"]), (4, [])):
        succeed(seqvae("train", *source, "--resume", "--preset", "@small.toml", "--out", "run", "--steps", steps))
    assert seqvae("train", "@notes.txt", "--start-from", "run", "--steps", 1, "--out", "next")[0] == 0
    code, _, err = seqvae("train", "--resume", "--preset", "@small.toml", "--out", "next", "--steps", 2)
    assert (code, "leave --preset out" in err) == (2, True)


DATA = [
    (["--vocabulary-size", 9], {"vocabulary_size": 9}),
    (["--min-count", 5, "--max-length", 4, "--long", "drop"], {"min_count": 5, "max_length": 4, "long": "drop"}),
    (["--words", "spaces", "--lowercase"], {"split": "spaces", "lowercase": True}),
    (["--encoding", "latin-1"], {"encoding": "latin-1"}),
]


@pytest.mark.parametrize(("options", "wanted"), DATA, ids=[options[0] for options, _ in DATA])
def test_options_of_the_data_reach_the_run(seqvae: Run, options: list, wanted: dict) -> None:
    succeed(seqvae("train", "@notes.txt", *SMALL, *options, "--out", "run"))
    vae = load("run")
    assert {name: getattr(vae.config.data, name) for name in wanted} == wanted
    assert vae.tokenizer.vocabulary_size <= wanted.get("vocabulary_size", 20)
    assert vae.tokenizer.length == wanted.get("max_length", 100) + 1
    succeed(seqvae("prepare", "@notes.txt", *SMALL, "--out", "D"))
    code, _, err = seqvae("train", "D", *SMALL, *options, "--out", "x")
    assert code == 2
    assert err.startswith("seqvae: --")
    assert "was prepared with" in err


def test_files_of_their_own_for_valid_and_test(seqvae: Run) -> None:
    more = ["--valid", "@more/one.txt", "--test", "@more/two.txt.gz"]
    out = succeed(seqvae("train", "@notes.txt", *SMALL, *more, "--out", "runs/own"))
    assert "train 200, valid 30, test 30" in out
    assert "train 200, valid 30, test 30" in succeed(seqvae("prepare", "@notes.txt", *SMALL, *more, "--out", "D"))
    out = succeed(seqvae("train", "@notes.txt", *SMALL, *more[:2], "--out", "runs/untested"))
    hint = out.split("measure it: seqvae ")[1].splitlines()[0]
    assert "the valid split" in succeed(seqvae(*shlex.split(hint), "--samples", 0))
    code, _, err = seqvae("train", "D", *SMALL, *more, "--out", "x")
    assert code == 2
    assert "split already" in err


def test_a_tokenizer_json_as_vocabulary(seqvae: Run) -> None:
    pieces = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: id for id, word in enumerate(WORDS)}, "the"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    pieces.save("tokenizer.json")
    Path("sized.toml").write_text(PRESET.replace('"words"', '"words"\nmin_count = 2\nlowercase = true'))
    succeed(seqvae("train", "@notes.txt", "--preset", "sized.toml", "--tokenizer", "tokenizer.json", "--out", "run"))
    Path("tokenizer.json").rename("moved.json")  # the model stands alone
    assert load("run").tokenizer.name == "huggingface"
    made, _ = told(seqvae, "reconstruct", CAT, "--model", "run")
    assert made[0] == CAT
    succeed(seqvae("train", "@notes.txt", "--resume", "--out", "run", "--tokenizer", "moved.json", "--steps", 4))
    Path("moved.json").unlink()  # ... and the run has its vocabulary
    assert "holds the same" in succeed(seqvae("train", "@notes.txt", "--resume", "--out", "run", "--steps", 5))


TRAINING = [
    (["--posterior", "batch-norm", "--gamma", 0.5], {"posterior": "batch-norm", "gamma": 0.5}),
    (["--posterior", "delta", "--minimum-rate", 2], {"posterior": "delta", "minimum_rate": 2.0}),
    (["--summary", "max", "--latent-to", "start"], {"summary": "max", "latent_to": "start"}),
    (["--dropout", 0.2], {"dropout": 0.2}),
    (
        ["--optimizer", "sgd", "--learning-rate-decay", "plateau"],
        {"optimizer": "sgd", "learning_rate_decay": "plateau"},
    ),
    (["--annealing-epochs", 1.5], {"annealing_epochs": 1.5}),
    (["--weight-average", 0.99], {"weight_average": 0.99}),
    (["--validate-every", 7], {"validate_every": 7}),
    (["--free-bits", 1, "--free-bits-form", "mask"], {"free_bits": 1.0, "free_bits_form": "mask"}),
    (["--mmd", 2, "--beta", 0], {"mmd": 2.0, "beta": 0.0}),
    (["--adversarial", 1], {"adversarial": 1.0}),
    (["--aggressive"], {"aggressive": True}),
    (["--whiten"], {"whiten": True}),
    (["--word-dropout", 0.3], {"word_dropout": 0.3}),
    (["--encoder-drop", 0.1, "--encoder-mask", 0.2], {"encoder_drop": 0.1, "encoder_mask": 0.2}),
    (["--encoder-swap", 0.3], {"encoder_swap": 0.3}),
    (["--select", "distortion"], {"select": "distortion"}),
]


@pytest.mark.parametrize(("options", "wanted"), TRAINING, ids=[options[0] for options, _ in TRAINING])
def test_training_options_reach_the_run(seqvae: Run, options: list, wanted: dict) -> None:
    succeed(seqvae("train", "@notes.txt", *SMALL, "--steps", 1, "--out", "run", *options))
    config = Config.from_toml(Path("run/config.toml").read_text())
    settings = vars(config.model) | vars(config.training)
    assert {name: settings[name] for name in wanted} == wanted


def test_too_little_text_to_train_on(seqvae: Run) -> None:
    code, _, err = seqvae("train", "@one.txt", *SMALL, "--out", "run")
    assert (code, err.count("\n")) == (1, 1)
    assert "one.txt has nothing to validate on: add more different sentences" in err
    assert not Path("run").exists()


def test_phases_follow_each_other_and_keep_what_they_set(seqvae: Run) -> None:
    assert "4 steps" in succeed(seqvae("train", "@notes.txt", "--preset", "@phases.toml", "--out", "run"))
    for option in (["--beta", 0.5], ["--minutes", 1], ["--steps", 9]):
        code, out, err = seqvae("train", "@notes.txt", "--preset", "@phases.toml", "--out", "x", *option)
        assert (code, out) == (2, "")
        assert err.startswith(f"seqvae: {option[0]} {option[1]}")
        assert "phases.toml set it; change it there" in err
    code, _, err = seqvae("train", "@notes.txt", "--preset", "ptb-best", "--out", "x", "--epochs", 2)
    assert (code, "seqvae presets ptb-best > mine.toml" in err) == (2, True)
    code, _, err = seqvae("train", "--resume", "--out", "run", "--steps", 9)
    assert (code, "a run that goes on keeps its phases" in err) == (2, True)
    told = succeed(seqvae("train", "--resume", "--out", "run"))
    assert ("nothing was done" in told, "--start-from" in told, "--steps" in told) == (True, True, False)


# --- bad input: one clear line, the right exit code, nothing written

WRONG_USE = [
    ["sample", *TINY, "--beam", 0],
    ["sample", *TINY, "--beam", 3, "--temperature", 1],
    ["sample", *TINY, "--length-penalty", 1.5],
    ["sample", *TINY, "--beam", 2, "--length-penalty", 1e9],
    ["sample", *TINY, "--out", "folder"],
    ["interpolate", CAT, STORM, *TINY, "--bar", 2],
    ["interpolate", CAT, STORM, *TINY, "--steps", 1],
    ["arithmetic", "--plus", CAT, *TINY, "--out", "sum.mid"],
    ["evaluate", "@notes.txt", *TINY, "--split", "test"],
    ["info", "@tiny.safetensors", "--encoding", "latin-1"],
    *(["prepare", "@notes.txt", "--out", "D", *SMALL, *option] for option in (["--bars", 2], ["--meter", "3/4"])),
    *(["prepare", "@notes.txt", "--out", "D", *SMALL, *option] for option in (["--no-pair-bars"], ["--programs", "0"])),
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--workers", 2],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--vocabulary-size", 3],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--min-count", 0],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--max-length", 0],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--long", "fold"],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--words", "letters"],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--encoding", "utf-5"],
    ["encode", "@notes.txt", *TINY, "--encoding", "utf-5"],
    ["info", "@notes.txt", "--encoding", "utf-5"],
    ["evaluate", "@notes.txt", *TINY, "--json", "-"],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--tokenizer", "@small.toml", "--min-count", 2],
    ["prepare", "@notes.txt", "--out", "D", "--preset", "@mixed.toml"],
    ["prepare", "@notes.txt", "--out", "D", *SMALL, "--test", "@more/one.txt"],
    *(
        ["train", "@tunes", "--preset", "@music.toml", *option]
        for option in (["--vocabulary-size", 9], ["--long", "cut"], ["--words", "spaces"], ["--encoding", "utf-8"])
    ),
    *(
        ["train", "@tunes", "--preset", "@music.toml", *option]
        for option in (["--no-lowercase"], ["--valid", "@a.mid"])
    ),
    ["train", "@notes.txt", *SMALL, "--gamma", 0.5],
    ["train", "@notes.txt", *SMALL, "--beta", 0, "--free-bits", 5],
    ["train", "@notes.txt", *SMALL, "--beta", 0, "--annealing", "sigmoid"],
    *(
        ["train", "@notes.txt", "--preset", "@language.toml", *option]
        for option in (["--encoder-drop", 0.5], ["--beta", 3], ["--summary", "mean"], ["--latent-to", "start"])
    ),
    ["train", "@notes.txt", *SMALL, "--minimum-rate", 3],
    ["train", "@notes.txt", *SMALL, "--free-bits-form", "mask"],
    ["train", "@notes.txt", *SMALL, "--annealing", "none", "--annealing-epochs", 3],
    ["train", "@notes.txt", *SMALL, "--annealing-steps", 3, "--annealing-epochs", 3],
    ["train", "@notes.txt", *SMALL, "--word-dropout", 1.5],
    ["train", "@notes.txt", *SMALL, "--dropout", 1],
    ["train", "@notes.txt", *SMALL, "--weight-average", 1],
    ["train", "@notes.txt", *SMALL, "--posterior", "cauchy"],
    ["train", "@notes.txt", *SMALL, "--aggressive", "--adversarial", 1],
    ["train", "@notes.txt", *SMALL, "--whiten", "--weight-average", 0.9],
    ["train", "@notes.txt", *SMALL, "--whiten", "--posterior", "delta"],
]
BAD_TEXT = ("latin.txt", "empty.txt", "blank.txt", "nul.txt", "cut.gz", "nothing", "missing.txt", "a.mid", "tunes")
FAILURES = [
    *(["prepare", f"@{bad}", "--out", "deep/D", *SMALL] for bad in BAD_TEXT),
    *(["train", f"@{bad}", "--out", "deep/run", *SMALL] for bad in BAD_TEXT),
    *(["encode", f"@{bad}", *TINY] for bad in (*BAD_TEXT, "alien.txt")),
    *(["evaluate", f"@{bad}", *TINY] for bad in (*BAD_TEXT, "alien.txt")),
    *(["interpolate", CAT, f"@{bad}", *TINY] for bad in BAD_TEXT if bad not in ("nothing", "tunes")),
    *(["info", f"@{bad}"] for bad in ("latin.txt", "missing.txt", "cut.gz")),
    ["interpolate", CAT, "zyzzy qwerty", *TINY],
    ["interpolate", CAT, " ", *TINY],
    ["interpolate", CAT, "missing.txt", *TINY],
    ["reconstruct", "zyzzy", *TINY],
    ["arithmetic", "--plus", CAT, "--minus", "zyzzy", *TINY],
    ["interpolate", CAT, STORM],
    ["reconstruct", CAT],
    ["encode", "@notes.txt"],
    ["prepare", "@notes.txt", "--out", "deep/D", "--preset", "melody-2bar"],
    ["prepare", "@notes.txt", "--out", "deep/D", *SMALL, "--tokenizer", "@notes.txt"],
    ["prepare", "@notes.txt", "--out", "deep/D", *SMALL, "--tokenizer", "missing.json"],
    ["prepare", "@notes.txt", "--out", "deep/D", *SMALL, "--min-count", 100_000],
    ["prepare", "@notes.txt", "--out", "deep/D", *SMALL, "--valid", "@empty.txt"],
    ["sample", *TINY, "--out", "@a.mid/below.txt"],
    ["decode", "@z4.npz", "--model", "@notes.txt"],
]
BAD_INPUT = [*((2, arguments) for arguments in WRONG_USE), *((1, arguments) for arguments in FAILURES)]


@pytest.mark.parametrize(("code", "arguments"), BAD_INPUT, ids=[" ".join(map(str, words)) for _, words in BAD_INPUT])
def test_bad_input_gives_one_line_and_nothing_is_written(
    seqvae: Run, shelf: Path, tmp_path: Path, code: int, arguments: list
) -> None:
    names = sorted(path.name for path in shelf.iterdir())
    found, out, err = seqvae(*arguments)
    assert (found, err.count("\n")) == (code, 1)
    assert out == ""
    assert err.startswith("seqvae: ")
    assert len(err) < 600
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in shelf.iterdir()) == names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "@a.mid", *TINY], ["a.mid is music", "text"]),
        (["interpolate", CAT, STORM], [CAT, "does not exist", "reads music", "text"]),
        (["reconstruct", CAT], [CAT, "reads music"]),
        (["prepare", "@notes.txt", "--out", "D", "--preset", "melody-2bar"], ["notes.txt is text", "text-words"]),
        (["interpolate", CAT, "zyzzy qwerty", *TINY], ["zyzzy qwerty", "knows none"]),
        (["prepare", "@notes.txt", "--out", "D", *SMALL, "--bars", 2], ["--bars", "music", "preset small"]),
        (["train", "@tunes", "--preset", "@music.toml", "--words", "spaces"], ["--words", "text"]),
        (
            ["prepare", "@notes.txt", "--out", "D", "--preset", "text-chars", "--words", "spaces"],
            ["--words spaces", "means nothing for the tokenizer characters"],
        ),
        (["prepare", "@latin.txt", "--out", "D", *SMALL], ["line 2", "0xe9", "--encoding", "latin-1"]),
        (["train", "--out", "new"], ["SOURCE is missing: give files", "--resume --out RUN"]),
    ],
)
def test_the_line_says_what_is_wrong_and_what_to_do(seqvae: Run, arguments: list, words: list[str]) -> None:
    err = seqvae(*arguments)[2]
    assert [word for word in words if word not in err] == []


def test_odd_text_is_read_and_what_was_done_is_counted(seqvae: Run) -> None:
    sources = ["@notes.txt", "@windows.txt", "@nul.txt", "@latin.txt", "@long.txt", "@alien.txt"]
    out = succeed(seqvae("prepare", *sources, *SMALL, "--min-count", 3, "--out", "D"))
    told = ("1 empty line", "of which the beginning was read", "without a known word", "skipped 2", "not utf-8", "NUL")
    assert all(words in out for words in told)
    out = succeed(seqvae("prepare", "@long.txt", "@notes.txt", *SMALL, "--long", "drop", "--out", "E"))
    assert "1 line longer than 1,048,576 characters, left out" in out


def test_a_vocabulary_of_one_word(seqvae: Run) -> None:
    Path("echo.txt").write_text("".join("no " * n + "\n" for n in range(1, 60)))
    out = succeed(seqvae("train", "echo.txt", *SMALL, "--out", "run"))
    assert "single word" in out
    assert told(seqvae, "sample", "-n", 3, "--model", "run", "--seed", 1)[0]


# --- nothing is overwritten

WRITERS = [
    ["sample", "-n", 2, "--seed", 1, *TINY],
    ["interpolate", CAT, STORM, *TINY],
    ["reconstruct", CAT, *TINY],
    ["decode", "@z4.npz", *TINY],
    ["arithmetic", "--plus", CAT, *TINY],
]


@pytest.mark.parametrize("arguments", WRITERS, ids=[arguments[0] for arguments in WRITERS])
def test_nothing_is_overwritten_unasked(seqvae: Run, arguments: list) -> None:
    Path("dear.txt").write_text("dear to its owner")
    code, out, err = seqvae(*arguments, "--out", "dear.txt")
    assert (code, out) == (2, "")
    assert "dear.txt" in err
    assert "--force" in err
    assert Path("dear.txt").read_text() == "dear to its owner"
    made, _ = told(seqvae, *arguments, "--out", "dear.txt", "--force")
    assert Path("dear.txt").read_text().splitlines() == made
