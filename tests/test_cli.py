"""The command line: what each command makes, what it refuses, and that nothing is half done or overwritten unasked."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run, files, runner, succeed

from cli import main as entry
from cli.outputs import Lines, MidiFile, appearing
from data_prep import midi
from data_prep.errors import InputError
from data_prep.score import Note, Score
from seqvae import __version__
from seqvae.checkpoint import save_model
from seqvae.config import Config, DataConfig, ModelConfig
from seqvae.errors import OptionError
from seqvae.latent_file import Latents
from seqvae.trained import load
from seqvae.vae import SequenceVAE

COMMANDS = [command.name or command.callback.__name__ for command in entry.app.registered_commands]
TOKENIZER = {"name": "melody", "bars": 2, "meter": [4, 4]}


def save_tiny_model(path: Path, latent_size: int) -> None:
    """A model with random weights, large ones, so that different latents make different music."""
    config = Config("tiny", "", DataConfig(), ModelConfig(encoder_size=8, decoder_size=16, latent_size=latent_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SequenceVAE(config.model)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4.0)
    save_model(path, model, config, TOKENIZER, {"elbo": -20.0})


def tune(pitches: list[int], bars: int, meter: tuple[int, int] = (4, 4), **note: int | bool) -> Score:
    """Quarter notes up and down the pitches; bars of `meter`."""
    steps = bars * 16 * meter[0] // meter[1]
    notes = tuple(Note(pitches[i % len(pitches)], 4 * i, 4 * i + 4, **note) for i in range(steps // 4))
    return Score(notes, steps, meter=meter, tempo=90.0, name="tune")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files to try commands on: a model, good and bad music."""
    folder = tmp_path_factory.mktemp("shelf")
    save_tiny_model(folder / "tiny.safetensors", 4)
    save_tiny_model(folder / "other.safetensors", 5)
    tune([60, 64, 67, 72, 71], 2).write_midi(folder / "a.mid")
    tune([50, 55, 57], 2).write_midi(folder / "b.mid")
    tune([60, 62, 64, 65, 67, 69, 71], 8).write_midi(folder / "long.mid")
    tune([60, 62], 1).write_midi(folder / "short.mid")
    tune([60, 62, 64], 6, meter=(3, 4)).write_midi(folder / "waltz.mid")
    tune([36, 38], 4, is_drum=True).write_midi(folder / "drums.mid")
    tune([60, 62], 4, program=73).write_midi(folder / "flute.mid")
    Score((), 32).write_midi(folder / "silent.mid")
    (folder / "empty.mid").touch()
    (folder / "text.mid").write_text("this is no music")
    (folder / "cut.mid").write_bytes((folder / "long.mid").read_bytes()[:50])
    (folder / "nothing").mkdir()
    (folder / "bad").mkdir()
    for name in ("empty.mid", "text.mid"):
        (folder / "bad" / name).write_bytes((folder / name).read_bytes())
    (folder / "mixed").mkdir()
    for name in ("a.mid", "long.mid", "text.mid", "waltz.mid"):
        (folder / "mixed" / name).write_bytes((folder / name).read_bytes())
    rng = np.random.default_rng(0)
    for number in range(12):
        pitches = rng.integers(55, 80, 11).tolist()
        tune(pitches, 12).write_midi(folder / "tunes" / f"{number}.mid")
        tune(pitches, 12, meter=(3, 4)).write_midi(folder / "waltzes" / f"{number}.mid")
    os.mkfifo(folder / "pipe.npz")
    (folder / "site").mkdir()  # config.toml is a usual name
    (folder / "site" / "config.toml").write_text('name = "x"')
    shutil.copytree(folder / "tunes", folder / "run" / "tunes")
    (folder / "run" / "config.toml").write_text(Config().to_toml())
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04" + bytes(200))
    np.savez(folder / "odd.npz", mean=np.ones((1, 4), np.float32), bar=np.array(["first"]))
    np.savez(folder / "z4.npz", mean=rng.standard_normal((3, 4), dtype=np.float32))
    return folder


@pytest.fixture
def seqvae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shelf: Path) -> Run:
    """The command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, capsys, shelf)


def notes(path: Path) -> list[list[int]]:
    return [track.notes.tolist() for track in midi.read(path).tracks]


# --- help and start-up


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples_line_by_line(seqvae: Run, command: str) -> None:
    out = succeed(seqvae(command, "--help"))
    examples = out.split("Examples:\n")[1].split("\n\n")[0].splitlines()
    assert all(line.startswith(("    seqvae ", "    python ", "    torchrun ")) for line in examples)
    assert any(f"seqvae {command}" in line for line in examples)
    assert "\b" not in out


def test_the_command_alone_prints_its_help(seqvae: Run) -> None:
    out = succeed(seqvae())
    assert out == succeed(seqvae("--help"))
    assert all(f"\n  {command} " in out for command in COMMANDS)


def test_version(seqvae: Run) -> None:
    assert succeed(seqvae("--version")).startswith("seqvae 0.")


def test_help_starts_fast_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, cli.main; print(*{'torch', 'numpy', 'music21', 'matplotlib', 'symusic', 'rich'} & {*sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []

    def seconds(*command: str) -> float:
        """Processor time: the clock on the wall also counts what else the machine does."""
        before = os.times()
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
        after = os.times()
        assert done.stdout.startswith("Usage: seqvae ") or "--help" not in command
        return sum(after[2:4]) - sum(before[2:4])

    runs = [(seconds("-m", "cli.main", "--help"), seconds("-c", "import typer")) for _ in range(5)]
    help_, typer = map(min, zip(*runs, strict=True))
    assert help_ < 5 * typer  # twice is usual; torch alone takes more than fifteen times as long


def test_an_interruption_while_it_is_loaded_is_told_in_one_line() -> None:
    code = """
import sys
class Impatient:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "seqvae: interrupted\n")


@pytest.mark.parametrize("first", ["seqvae.distributed", "seqvae.trained"])
def test_no_interruption_is_lost_while_torch_is_loaded(first: str) -> None:
    """Torch itself loads numpy, if it is not there, and whatever goes wrong with that counts for nothing."""
    code = f"""
import sys
class Impatient:
    def find_spec(self, name, *_):
        if name == "numpy":
            sys.meta_path.remove(self)
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
try:
    import {first}
except KeyboardInterrupt:
    print("interrupted")
"""
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=here)
    assert done.stdout == "interrupted\n"


def test_who_stops_listening_stops_nothing(shelf: Path, tmp_path: Path) -> None:
    """The reader has gone before there is anything to read."""
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    prepare = f"prepare {shelf}/tunes --out made"
    evaluate = f"evaluate {shelf}/tunes --split train --model {shelf}/tiny.safetensors --json figures.json"
    for arguments, made in ((prepare, "made"), (evaluate, "figures.json")):
        command = [sys.executable, "-m", "cli.main", *arguments.split()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=here) as done:
            assert done.stdout is not None
            done.stdout.close()
            assert b"Error" not in done.stderr.read()  # type: ignore[union-attr]
        assert done.returncode == 0
        assert (tmp_path / made).exists()


@pytest.mark.usefixtures("sighup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_as_ctrl_c_does(seqvae: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.setattr("seqvae.trained.load", lambda *_: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert seqvae("sample", *TINY) == (130, "", "seqvae: interrupted\n")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_library_makes_of_an_interruption_is_one(
    seqvae: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """As numpy does, interrupted while it is loaded."""

    def half_loaded(*_: object) -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        raise ImportError("cannot load module more than once per process")

    monkeypatch.setattr("seqvae.trained.load", half_loaded)
    assert seqvae("sample", *TINY) == (130, "", "seqvae: interrupted\n")


@pytest.mark.usefixtures("sighup")
def test_what_nohup_has_ignored_stays_so(seqvae: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr("seqvae.trained.load", lambda *given: os.kill(os.getpid(), signal.SIGHUP) or load(*given))
    assert seqvae("sample", *TINY, "-n", "1", "--out", tmp_path / "made")[0] == 0


def test_a_folder_that_is_gone_is_told(seqvae: Run, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert seqvae("presets")[::2] == (
            1,
            "seqvae: the folder in which this runs is not there any more: go to another one\n",
        )
    finally:
        os.chdir(tmp_path)


def test_a_file_that_looks_like_an_option_is_told_how_to_be_named(seqvae: Run) -> None:
    Path("-a.mid").touch()
    code, _, err = seqvae("info", "-a.mid")
    assert code == 2
    assert "write ./-a.mid" in err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_nobody_need_listen(closed: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a cat sat\na dog ran\na bird sang\n")
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for command, status in (("info nothing", 1), ("prepare notes.txt --out made", 0)):
        line = f"{sys.executable} -m cli.main {command} {closed}"
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, env=here, check=False)
        assert done.returncode == status
        assert done.stderr.count("\n") <= 1
    assert (tmp_path / "made").is_dir()


# --- what the commands make


def test_what_comes_to_stand_there_meanwhile_stays(tmp_path: Path) -> None:
    def write() -> None:
        with appearing(tmp_path, force=False) as folder:
            for name in ("a.mid", "b.mid"):
                (folder / name).write_text("new")
            (tmp_path / "a.mid").write_text("precious")

    with pytest.raises(OptionError, match=r"a.mid exists"):
        write()
    assert files(tmp_path) == {"a.mid": b"precious"}
    lines = Lines(tmp_path / "lines.txt", force=False)
    (tmp_path / "lines.txt").write_text("precious")
    with pytest.raises(OptionError, match=r"lines.txt exists"):
        lines.write(["new"], "lines")
    assert (tmp_path / "lines.txt").read_text() == "precious"
    music = MidiFile(tmp_path / "sum.mid", force=False)
    (tmp_path / "sum.mid").write_text("precious")
    with pytest.raises(InputError, match=r"sum.mid exists"):
        music.write([tune([60], 1)], "sum")
    assert (tmp_path / "sum.mid").read_text() == "precious"


def test_int8_is_refused_where_it_would_be_slow(seqvae: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False, raising=False)
    code, out, err = seqvae("sample", "--precision", "int8", *TINY)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("seqvae: --precision int8: needs --device cpu, and a processor with AVX-512 VNNI")
    assert not Path("sampled").exists()


def test_sample(seqvae: Run) -> None:
    out = succeed(seqvae("sample", "-n", 3, "--seed", 5, "--model", "@tiny.safetensors"))
    assert "sampled" in out
    assert sorted(files(Path("sampled"))) == [*(f"sample-0{n}.mid" for n in (1, 2, 3)), "samples.mid", "samples.png"]
    piece = midi.read(Path("sampled/sample-01.mid"))
    assert piece.meters[0] == (0, 4, 4)
    assert piece.tempos[0] == (0, 120.0)


@pytest.mark.parametrize(
    ("option", "same"),
    [
        ([], True),
        (["--seed", 6], False),
        (["--temperature", 0.2], False),
        (["--top-k", 1], False),
        (["--top-p", 0.01], False),
        (["--beam", 3], False),
    ],
)
def test_the_same_seed_gives_the_same_bytes_and_each_option_acts(seqvae: Run, option: list, same: bool) -> None:
    base = ["sample", "-n", 2, "--seed", 5, "--model", "@tiny.safetensors"]
    succeed(seqvae(*base, "--out", "first"))
    succeed(seqvae(*base, *option, "--out", "second"))
    assert (files(Path("first")) == files(Path("second"))) is same


def test_without_a_seed_one_is_drawn_and_told(seqvae: Run) -> None:
    out = succeed(seqvae("sample", "-n", 1, "--model", "@tiny.safetensors", "--out", "first"))
    seed = out.split("--seed ")[1].split()[0]
    succeed(seqvae("sample", "-n", 1, "--model", "@tiny.safetensors", "--out", "second", "--seed", seed))
    assert files(Path("first")) == files(Path("second"))


def test_interpolate_ends_at_the_reconstructions(seqvae: Run) -> None:
    succeed(seqvae("interpolate", "@a.mid", "@b.mid", "--steps", 5, "--model", "@tiny.safetensors"))
    made = files(Path("interpolation"))
    assert sorted(made) == ["interpolation.mid", "interpolation.png", *(f"step-0{i}.mid" for i in range(1, 6))]
    succeed(seqvae("reconstruct", "@a.mid", "@b.mid", "--model", "@tiny.safetensors"))
    assert notes(Path("interpolation/step-01.mid")) == notes(Path("reconstruction/a.mid"))
    assert notes(Path("interpolation/step-05.mid")) == notes(Path("reconstruction/b.mid"))
    assert notes(Path("reconstruction/a.mid")) != notes(Path("reconstruction/b.mid"))
    steps = [midi.read(Path(f"interpolation/step-0{i}.mid")) for i in range(1, 6)]
    row = midi.read(Path("interpolation/interpolation.mid"))
    assert sum(len(step.tracks[0].notes) for step in steps if step.tracks) == len(row.tracks[0].notes)
    assert steps[0].tempos[0][1] == pytest.approx(90, abs=0.01)


def test_reconstructions_are_drawn_below_their_originals(
    seqvae: Run, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, tuple]] = []
    monkeypatch.setattr(
        "data_prep.pictures.piano_rolls",
        lambda scores, titles, path, stack: drawn.extend(zip(titles, (score.notes for score in scores), strict=True)),
    )
    monkeypatch.setattr("data_prep.pictures.MOST", 2)
    out = succeed(seqvae("reconstruct", "@a.mid", "@b.mid", "--model", "@tiny.safetensors"))
    assert "reconstruction.png of the first 1 are in reconstruction" in out
    assert [title for title, _ in drawn] == [f"{n}, {what}" for n in "ab" for what in ("the original", "reconstructed")]
    vae = load(shelf / "tiny.safetensors")
    for number, name in enumerate(("a", "b")):
        original, copy = (roll for _, roll in drawn[2 * number : 2 * number + 2])
        assert original == vae.tokenizer.decode(vae.read(shelf / f"{name}.mid")[0].ids).notes
        assert copy == vae.reconstruct(shelf / f"{name}.mid")[0].notes


@pytest.mark.parametrize("temperature", [0, 1])
def test_interpolating_a_file_with_itself_gives_a_constant_row(seqvae: Run, temperature: int) -> None:
    options = ["--steps", 3, "--temperature", temperature, "--model", "@tiny.safetensors"]
    succeed(seqvae("interpolate", "@a.mid", "@a.mid", *options))
    steps = [notes(Path(f"interpolation/step-0{i}.mid")) for i in (1, 2, 3)]
    assert steps[0] == steps[1] == steps[2]


def test_a_bar_of_a_longer_file_can_be_chosen(seqvae: Run) -> None:
    made = {}
    for options in ([], ["--bar", 1], ["--bar", 4]):
        folder = Path("".join(map(str, options)) or "first")
        succeed(seqvae("reconstruct", "@long.mid", "--model", "@tiny.safetensors", "--out", folder, *options))
        made[folder.name] = notes(folder / "long.mid")
    assert made["first"] == made["--bar1"] != made["--bar4"]
    code, _, err = seqvae("reconstruct", "@long.mid", "--model", "@tiny.safetensors", "--out", "x", "--bar", 99)
    assert code == 2
    assert err.startswith("seqvae: --bar 99")


def test_odd_file_names_are_no_obstacle(seqvae: Run, shelf: Path) -> None:
    odd = Path("cost $1 $2\n \udcff \u65cb\u5f8b.mid")
    odd.write_bytes((shelf / "a.mid").read_bytes())
    succeed(seqvae("reconstruct", odd, "--model", "@tiny.safetensors"))
    succeed(seqvae("encode", odd, "--model", "@tiny.safetensors"))
    succeed(seqvae("decode", "latents.npz", "--model", "@tiny.safetensors"))
    assert "tune" in succeed(seqvae("info", odd))


def test_files_in_deep_folders_have_names_that_fit(seqvae: Run, shelf: Path) -> None:
    for place in ("a", "b"):
        deep = Path("all", place, 80 * "\u00e9", 80 * "\u65cb")
        deep.mkdir(parents=True)
        (deep / "tune.mid").write_bytes((shelf / "a.mid").read_bytes())
    succeed(seqvae("reconstruct", "all", *TINY))
    end = 65 * "\u65cb" + "-tune"  # 200 bytes
    assert files(Path("reconstruction")).keys() == {f"{end}.mid", f"{end}-2.mid", "reconstruction.png"}


def test_a_short_file_is_filled_up_and_that_is_told(seqvae: Run) -> None:
    code, _, err = seqvae("reconstruct", "@short.mid", "--model", "@tiny.safetensors")
    assert code == 0
    assert "short.mid" in err
    assert "filled up" in err


def test_encode_then_decode_is_reconstruct(seqvae: Run, shelf: Path) -> None:
    model = ["--model", "@tiny.safetensors"]
    succeed(seqvae("encode", "@a.mid", "@b.mid", *model))
    with np.load("latents.npz", allow_pickle=False) as arrays:
        assert arrays["mean"].shape == arrays["scale"].shape == (2, 4)
        assert [Path(name).name for name in arrays["source"]] == ["a.mid", "b.mid"]
        assert arrays["bar"].tolist() == [1, 1]
        assert arrays["model"] == "tiny"
    succeed(seqvae("decode", "latents.npz", *model))
    succeed(seqvae("reconstruct", "@a.mid", "@b.mid", *model))
    assert notes(Path("decoded/01-a-bar1.mid")) == notes(Path("reconstruction/a.mid"))
    assert notes(Path("decoded/02-b-bar1.mid")) == notes(Path("reconstruction/b.mid"))


def test_encode_writes_all_windows(seqvae: Run) -> None:
    succeed(seqvae("encode", "@long.mid", "--model", "@tiny.safetensors", "--out", "all.npz"))
    assert Latents.load("all.npz").place == [1, 2, 3, 4, 5, 6, 7]


def test_decode_asks_for_the_model_that_made_the_latents(seqvae: Run) -> None:
    succeed(seqvae("encode", "@a.mid", "--model", "@tiny.safetensors"))
    code, _, err = seqvae("decode", "latents.npz")
    assert code == 2
    assert "'tiny'" in err
    assert "--model" in err


def test_arithmetic(seqvae: Run) -> None:
    model = ["--model", "@tiny.safetensors"]
    succeed(seqvae("arithmetic", "--plus", "@a.mid", "--minus", "@a.mid", "--plus", "@b.mid", *model))
    succeed(seqvae("reconstruct", "@b.mid", *model))
    assert notes(Path("arithmetic.mid")) == notes(Path("reconstruction/b.mid"))


def test_prepare_evaluate_and_info(seqvae: Run) -> None:
    out = succeed(seqvae("prepare", "@tunes", "@waltz.mid", "--out", "D", "--workers", 1))
    assert "3/4" in out
    assert "D" in succeed(seqvae("info", "D"))
    options = ["--model", "@tiny.safetensors", "--samples", 2, "--split", "train"]
    out = succeed(seqvae("evaluate", "D", *options, "--json", "figures.json"))
    report = json.loads(Path("figures.json").read_text())
    assert {"elbo", "rate", "iw_nll", "note_on_free_running", "exact"} <= report["figures"].keys()
    assert all(name in out for name in report["figures"])
    code, out, err = seqvae("evaluate", "@tunes", "@waltz.mid", *options)
    assert code == 0
    assert f"{report['figures']['elbo']:.4f}" in out
    assert "3/4" in err
    code, _, err = seqvae("evaluate", "@flute.mid", *options)
    assert (code, "use --programs 73" in err) == (1, True)
    assert "elbo" in seqvae("evaluate", "@flute.mid", "--programs", "73", *options)[1]
    assert seqvae("evaluate", "D", "--programs", "73", *options)[0] == 2


@pytest.mark.parametrize(
    ("source", "option", "name", "value"),
    [
        ("@waltz.mid", ["--meter", "3/4"], "meter", "3/4"),
        ("@tunes", ["--pair-bars"], "pair_bars", True),
        ("@flute.mid", ["--programs", "0-1,73"], "programs", [0, 1, 73]),
    ],
)
def test_prepare_takes_options_of_the_data(seqvae: Run, source: str, option: list, name: str, value: object) -> None:
    succeed(seqvae("prepare", source, *option, "--out", "D"))
    assert json.loads(Path("D/dataset.json").read_text())["options"][name] == value


def test_presets(seqvae: Run) -> None:
    assert "melody-2bar-small" in succeed(seqvae("presets"))
    assert Config.from_toml(succeed(seqvae("presets", "melody-2bar"))).name == "melody-2bar"


def test_corpus(seqvae: Run) -> None:
    assert "miscFolk" in succeed(seqvae("corpus"))
    out = succeed(seqvae("corpus", "miscFolk", "--out", "books"))
    assert f"{len(list(Path('books/miscFolk').glob('*.mid')))} tunes" in out
    code, _, err = seqvae("corpus", "miscFolk", "--out", "books")
    assert code == 2
    assert "--force" in err


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("@tiny.safetensors", ["model tiny", "latent size 4", "elbo", "[training]"]),
        ("@waltz.mid", ["18 quarters", "3/4", "90", "18 notes"]),
        ("@drums.mid", ["drums"]),
        ("@z4.npz", ["3 latents of size 4"]),
    ],
)
def test_info(seqvae: Run, what: str, words: list[str]) -> None:
    out = succeed(seqvae("info", what))
    assert all(word in out for word in words)


# --- training

SMALL = """
name = "small"
[model]
encoder_size = 8
decoder_size = 8
decoder_layers = 1
latent_size = 4
[training]
steps = 3
batch_size = 16
device = "cpu"
precision = "fp32"
"""


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    (tmp_path / "small.toml").write_text(SMALL)
    return ["--preset", "small.toml"]


def test_a_preset_s_name_leads_to_no_other_place(seqvae: Run, small: list[str]) -> None:
    Path("small.toml").write_text(SMALL.replace('name = "small"', 'name = "../../up"'))
    seqvae("train", "@tunes", *small, "--steps", 1)
    assert (Path("runs") / "tunes-up" / "config.toml").exists()


def test_a_link_to_a_run_and_this_very_folder_are_places_for_a_run(
    seqvae: Run, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(seqvae("train", "@tunes", *small, "--out", "run"))
    os.symlink("run", "link")
    succeed(seqvae("train", "@tunes", *small, "--out", "link", "--force"))
    assert Path("run/model.safetensors").is_file()
    assert os.path.islink("link")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    succeed(seqvae("train", "@tunes", "--preset", tmp_path / "small.toml", "--out", "."))
    assert (tmp_path / "empty" / "model.safetensors").is_file()
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    succeed(seqvae("prepare", "@tunes", "--out", "."))
    assert (tmp_path / "bare" / "train.npy").is_file()


def test_a_folder_with_an_odd_name_is_one_to_work_in(
    seqvae: Run, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Path(os.fsdecode(b"odd\xff\x7f"))
    odd.mkdir()
    monkeypatch.chdir(odd)
    for more in ([], ["--resume", "--steps", 5]):
        succeed(seqvae("train", "@tunes", "--preset", tmp_path / "small.toml", "--out", "run", *more))


def test_train_prepares_once_tells_where_and_refuses_to_overwrite(seqvae: Run, small: list[str]) -> None:
    out = succeed(seqvae("train", "@tunes", *small))
    assert "windows" in out
    assert "seqvae sample --model runs/tunes-small" in out
    assert {"config.toml", "model.safetensors", "metrics.csv", "last.pt"} <= files(Path("runs/tunes-small")).keys()
    before = files(Path("runs"))
    code, _, err = seqvae("train", "@tunes", *small)
    assert code == 2
    assert all(word in err for word in ("--resume", "--force", "--out"))
    assert files(Path("runs")) == before
    assert "reusing" in succeed(seqvae("train", "@tunes", *small, "--out", "runs/second"))
    assert "reusing" in succeed(seqvae("train", "@tunes", *small, "--force", "--seed", 3))
    assert files(Path("runs/tunes-small"))["model.safetensors"] != before["tunes-small/model.safetensors"]
    succeed(seqvae("sample", "-n", 1, "--model", "runs/tunes-small"))


def test_a_model_tells_what_it_was_trained_on(seqvae: Run, small: list[str]) -> None:
    succeed(seqvae("prepare", "@tunes", "--out", "D"))
    succeed(seqvae("prepare", "@tunes", "--pair-bars", "--out", "same"))  # tunes in 4/4 have no bars to pair
    succeed(seqvae("prepare", "@long.mid", "--out", "other"))
    succeed(seqvae("train", "D", *small, "--out", "run"))
    sequences = len(np.load("D/train.npy"))
    line = f"trained on {sequences} sequences by seqvae {__version__} with torch {torch.__version__}, cpu, fp32"
    assert line in succeed(seqvae("info", "run"))
    for dataset, told in (("D", 0), ("same", 0), ("other", 1)):
        code, _, err = seqvae("evaluate", dataset, "--model", "run", "--split", "train", "--samples", 0)
        assert (code, err.count("another dataset")) == (0, told)
    for source, told in (("@tunes", 0), ("@long.mid", 1)):  # the same files are split as they were
        code, _, err = seqvae("evaluate", source, "--model", "run", "--split", "train", "--samples", 0)
        assert (code, err.count("split anew")) == (0, told)
    vae = load("run")
    vae.save("copy.safetensors", half=True)
    assert vae.origin is not None
    assert load("copy.safetensors").origin == vae.origin


def test_without_a_preset_the_kind_of_the_sources_picks_one(seqvae: Run) -> None:
    code, _, err = seqvae("train", "@tunes", "--steps", 1, "--batch-size", 2)
    assert code == 0
    assert err == "seqvae: using preset melody-2bar, as SOURCE is music; choose another with --preset\n"
    assert load("runs/tunes-melody-2bar").config.name == "melody-2bar"


def test_resuming_needs_the_run_alone_and_ends_with_the_same_weights(seqvae: Run, small: list[str]) -> None:
    succeed(seqvae("prepare", "@tunes", "--out", "D"))
    succeed(seqvae("train", "D", *small, "--steps", 6, "--out", "whole"))
    succeed(seqvae("train", "D", *small, "--steps", 2, "--out", "parts"))
    succeed(seqvae("train", "--resume", "--out", "parts", "--steps", 6))
    states = [torch.load(f"{run}/last.pt", weights_only=True)["model"] for run in ("whole", "parts")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert "going on with" in succeed(
        seqvae("train", "@tunes", "--resume", "--out", "parts", "--steps", 9)
    )  # D's files
    succeed(seqvae("prepare", "@long.mid", "--out", "other"))
    for source in ("@long.mid", "other"):
        code, _, err = seqvae("train", source, "--resume", "--out", "parts", "--steps", 12)
        assert code == 2
        assert all(word in err for word in ("--resume: ", "holds other sequences", "leave SOURCE out"))
    assert not list(Path(".datasets").iterdir())  # what was made to compare is gone


def test_a_run_goes_on_with_no_preset_of_the_other_kind(seqvae: Run, small: list[str]) -> None:
    succeed(seqvae("train", "@tunes", *small, "--steps", 1, "--out", "run"))
    code, _, err = seqvae("train", "--resume", "--out", "run", "--preset", "text-words")
    assert code == 2
    assert err.startswith("seqvae: --preset text-words is for text, and ")


OPTIONS = [
    (["--epochs", 1], {"epochs": 1, "steps": None, "minutes": None}),
    (["--minutes", 0.01], {"minutes": 0.01, "steps": None, "epochs": None}),
    (["--batch-size", 7], {"batch_size": 7, "steps": 3}),
    (["--learning-rate", 1e-6], {"learning_rate": 1e-6, "final_learning_rate": 1e-6}),
    (["--beta", 0], {"beta": 0.0}),
    (["--annealing", "cyclical", "--annealing-steps", 9], {"annealing": "cyclical", "annealing_steps": 9}),
    (["--free-bits", 2, "--free-bits-per", "dimension"], {"free_bits": 2.0, "free_bits_per": "dimension"}),
    (["--scheduled-sampling", "exponential"], {"scheduled_sampling": "exponential"}),
    (["--patience", 4, "--seed", 11], {"patience": 4, "seed": 11}),
    (["--device", "cpu", "--precision", "fp32"], {"device": "cpu", "precision": "fp32"}),
    (["--free-bits", 2, "--free-bits-form", "mask"], {"free_bits_form": "mask"}),
    (["--optimizer", "sgd", "--learning-rate-decay", "none"], {"optimizer": "sgd", "learning_rate_decay": "none"}),
    (
        ["--mmd", 1, "--word-dropout", 1, "--encoder-swap", 0.1],
        {"mmd": 1.0, "word_dropout": 1.0, "encoder_swap": 0.1},
    ),
    (["--adversarial", 1, "--encoder-drop", 0.1, "--encoder-mask", 0.1], {"adversarial": 1.0, "encoder_drop": 0.1}),
    (["--aggressive", "--annealing-epochs", 2], {"aggressive": True, "annealing_epochs": 2.0}),
    (["--select", "distortion"], {"select": "distortion"}),
    (["--posterior", "batch-norm", "--gamma", 0.7, "--summary", "mean"], {"posterior": "batch-norm", "gamma": 0.7}),
    (["--posterior", "delta", "--minimum-rate", 2], {"posterior": "delta", "minimum_rate": 2.0}),
    (["--latent-to", "start", "--dropout", 0.1], {"latent_to": "start", "dropout": 0.1}),
]


def test_a_run_that_has_come_to_nothing_is_not_said_to_go_on(seqvae: Run, small: list[str]) -> None:
    succeed(seqvae("train", "@tunes", *small, "--steps", 1, "--out", "begun"))
    for name in ("last.pt", "model.safetensors"):
        Path("begun", name).unlink()
    code, _, err = seqvae("train", "--resume", "--out", "begun")
    assert (code, err.count("\n")) == (1, 1)
    assert "begin again without --resume" in err


@pytest.mark.parametrize(("options", "wanted"), OPTIONS, ids=[" ".join(map(str, options)) for options, _ in OPTIONS])
def test_training_options_reach_the_run(seqvae: Run, small: list[str], options: list, wanted: dict) -> None:
    succeed(seqvae("train", "@tunes", *small, "--out", "run", *options))
    config = Config.from_toml(Path("run/config.toml").read_text())
    settings = vars(config.model) | vars(config.training)
    assert {name: settings[name] for name in wanted} == wanted


def test_a_run_keeps_the_windows_of_its_dataset(seqvae: Run, small: list[str]) -> None:
    succeed(seqvae("train", "@waltzes", *small, "--meter", "3/4", "--out", "raw"))
    succeed(seqvae("prepare", "@waltzes", "--meter", "3/4", "--out", "D"))
    code, _, err = seqvae("train", "D", *small, "--out", "prepared")
    assert (code, err) == (
        0,
        "seqvae: D was prepared with meter 3/4, unlike what preset small says; the dataset counts\n",
    )
    succeed(seqvae("train", "D", *small, "--meter", "3/4", "--out", "asked"))
    assert load("raw").config.data.meter == load("prepared").config.data.meter == "3/4"
    code, _, err = seqvae("train", "D", *small, "--meter", "6/8", "--out", "x")
    assert code == 2
    assert "3/4" in err


def test_options_of_the_data_reach_the_run(seqvae: Run, small: list[str]) -> None:
    succeed(seqvae("train", "@tunes", *small, "--pair-bars", "--programs", "0-1, 40", "--out", "run"))
    data = load("run").config.data
    assert (data.pair_bars, data.programs) == (True, "0-1,40")
    succeed(seqvae("prepare", "@tunes", "--out", "D"))
    for option in (["--pair-bars"], ["--programs", "0-5"]):
        code, _, err = seqvae("train", "D", *small, *option, "--out", "x")
        assert code == 2
        assert err.startswith(f"seqvae: {option[0]}")


def test_too_little_music_to_train_on(seqvae: Run, small: list[str]) -> None:
    code, _, err = seqvae("train", "@waltz.mid", *small, "--meter", "3/4", "--out", "run")
    assert code == 1
    assert "nothing to validate on" in err
    assert not Path("run").exists()


# --- bad input: one clear line, the right exit code, nothing written

TINY = ["--model", "@tiny.safetensors"]
WRONG_USE = [
    ["sampel"],
    ["--nonsense"],
    ["interpolate", "@a.mid"],
    ["interpolate", "@a.mid", "@b.mid", "@a.mid"],
    ["interpolate", "@a.mid", "@b.mid", "--steps", 1],
    ["interpolate", "@a.mid", "@b.mid", "--steps", "many"],
    ["interpolate", "@a.mid", "@b.mid", "--bar", 0],
    ["sample", "-n", 0],
    ["sample", "--temperature", -0.1],
    ["sample", "--temperature", "nan"],
    ["sample", "--top-k", 0],
    ["sample", "--top-p", 0],
    ["sample", "--top-p", 1.1],
    ["sample", "--seed", -1],
    ["sample", "-n", 10**11, *TINY],
    ["sample", "--beam", 10**5, *TINY],
    ["interpolate", "@a.mid", "@b.mid", "--steps", 10**8, *TINY],
    ["sample", "--device", "abacus"],
    ["sample", "--nonsense"],
    ["sample", *TINY, "-n"],
    ["arithmetic", "--minus", "@a.mid", *TINY],
    ["arithmetic", "--plus", "@a.mid", "--out", "sum.txt", *TINY],
    ["encode", "@a.mid", "--out", "@nothing", *TINY],
    ["reconstruct"],
    ["evaluate", "@tunes", "--split", "all", *TINY],
    ["prepare", "@tunes"],
    ["prepare", "@tunes", "--out", "D", "--meter", "4/3"],
    ["prepare", "@tunes", "--out", "D", "--meter", "waltz"],
    ["prepare", "@tunes", "--out", "D", "--programs", "piano"],
    ["prepare", "@tunes", "--out", "D", "--workers", 0],
    ["prepare", "@tunes", "--out", "D", "--workers", 10**20],
    ["prepare", "@tunes", "--out", "D", "--meter", "0/8"],
    ["prepare", "@tunes", "--out", "@tunes", "--force"],
    ["train"],
    ["train", "@tunes", "--preset", "nonsense"],
    ["train", "@tunes", "--preset", "@text.mid"],
    ["train", "@tunes", "--epochs", 0],
    ["train", "@tunes", "--minutes", "inf"],
    ["train", "@tunes", "--learning-rate", 0],
    ["train", "@tunes", "--beta", -1],
    *(["train", "@tunes", option, "1e300"] for option in ("--beta", "--mmd", "--learning-rate", "--free-bits")),
    ["train", "@tunes", "--free-bits", 0, "--free-bits-form", "mask"],
    ["train", "@tunes", "--posterior", "delta", "--free-bits", 3],
    ["train", "@tunes", "--annealing", "steep"],
    ["train", "@tunes", "--free-bits", -1],
    ["train", "@tunes", "--free-bits-per", "step"],
    ["train", "@tunes", "--scheduled-sampling", "never"],
    ["train", "@tunes", "--precision", "fp8"],
    ["train", "@tunes", "--precision", "int8"],
    ["train", "@tunes", "--gamma", 0.5],
    ["train", "@tunes", "--free-bits-per", "dimension"],
    ["train", "@tunes", "--vocabulary-size", 100],
    ["train", "@tunes", "--valid", "@a.mid"],
    ["prepare", "@tunes", "--out", "D", "--encoding", "utf-8"],
    ["sample", "--beam", 4, "--top-k", 3, *TINY],
    ["interpolate", "@a.mid", "@b.mid", "--encoding", "utf-8", *TINY],
    ["evaluate", "@tunes", "--encoding", "utf-8", *TINY],
    ["info", "@a.mid", "--encoding", "utf-8"],
    ["train", "--resume"],
    ["train", "--resume", "--out", "@nothing"],
    ["train", "@tunes", "--resume", "--force", "--out", "x"],
    ["train", "@tunes", "--force", "--out", "@tunes"],
    ["train", "@tunes", "--out", "@a.mid"],
    ["corpus", "nonsense", "--out", "x"],
    ["corpus", "miscFolk"],
    ["presets", "nonsense"],
    ["train", "", "--steps", 1],
    ["prepare", "", "--out", "D"],
    ["evaluate", "", *TINY],
    ["train", "@tunes", "--preset", "", "--steps", 1],
    ["prepare", "@tunes", "--out", "", "--force"],
    ["corpus", "miscFolk", "--out", ""],
    ["sample", "--out", "", *TINY],
    ["sample", "--seed", 2**64, *TINY],
    ["evaluate", "@tunes", "--seed", 2**64, *TINY],
    ["train", "@tunes", "--seed", 2**64],
    ["encode", "@a.mid", "--out", "latents.txt", *TINY],
    ["encode", "@a.mid", "--out", "@pipe.npz", "--force", *TINY],
    ["sample", "--out", "tune.mid", *TINY],
    ["interpolate", "@a.mid", "@b.mid", "--top-k", 3, *TINY],
    ["interpolate", "@a.mid", "@b.mid", "--top-p", 0.5, "--temperature", 0, *TINY],
    ["train", "@tunes", "--force", "--out", "@site"],
    ["train", "@run/tunes", "--force", "--out", "@run"],
]
NO_MELODIES = ("nothing", "missing", "bad", "drums.mid", "flute.mid", "waltz.mid")
FAILURES = [
    *(
        ["interpolate", "@a.mid", f"@{bad}.mid", *TINY]
        for bad in ("missing", "empty", "text", "cut", "silent", "drums")
    ),
    ["interpolate", "@waltz.mid", "@b.mid", *TINY],
    ["interpolate", "@nothing", "@b.mid", *TINY],
    ["arithmetic", "--plus", "@a.mid", "--minus", "@text.mid", *TINY],
    *([command, "@text.mid", *TINY] for command in ("reconstruct", "encode", "evaluate")),
    *([command, "@missing.mid", *TINY] for command in ("reconstruct", "encode", "evaluate")),
    *([command, "@nothing", *TINY] for command in ("reconstruct", "encode", "evaluate")),
    ["reconstruct", "@tiny.safetensors", *TINY],
    ["sample", "--model", "@text.mid"],
    ["sample", "--model", "@nothing"],
    ["sample", "--model", "missing"],
    ["sample", *TINY, "--out", "@a.mid/below"],
    ["decode", "@text.mid", *TINY],
    ["decode", "@missing.npz", *TINY],
    ["decode", "@damaged.npz", *TINY],
    ["decode", "@odd.npz", *TINY],
    ["prepare", "@tunes", "@nothing", "--out", "deep/D"],
    ["decode", "@tiny.safetensors", *TINY],
    ["decode", "@z4.npz", "--model", "@other.safetensors"],
    ["evaluate", "@waltz.mid", *TINY],
    *(["prepare", f"@{bad}", "--out", "deep/D"] for bad in NO_MELODIES),
    *(["train", f"@{bad}", "--out", "deep/run"] for bad in NO_MELODIES),
    ["interpolate", "", "@b.mid", *TINY],
    *(["info", f"@{bad}"] for bad in ("missing", "nothing", "text.mid", "cut.mid")),
]
BAD_INPUT = [*((2, arguments) for arguments in WRONG_USE), *((1, arguments) for arguments in FAILURES)]


@pytest.mark.parametrize(("code", "arguments"), BAD_INPUT, ids=[" ".join(map(str, words)) for _, words in BAD_INPUT])
def test_bad_input_gives_one_line_and_nothing_is_written(
    seqvae: Run, shelf: Path, tmp_path: Path, code: int, arguments: list
) -> None:
    before = files(shelf)
    found, out, err = seqvae(*arguments)
    assert found == code
    assert out == ""
    assert err.startswith("seqvae: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert files(shelf) == before


def test_the_line_names_the_option_the_value_and_what_is_allowed(seqvae: Run) -> None:
    assert seqvae("interpolate", "a", "b", "--steps", 1)[2] == "seqvae: --steps 1: must be between 2 and 1,000,000\n"


BOOK = "X:1\nT:One\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n\nX:2\nT:Two\nM:4/4\nL:1/4\nK:C\ncBAG|FEDC|CEGc|cGEC|\n"


def test_a_tune_of_a_book_is_named_by_its_number(seqvae: Run) -> None:
    Path("book.abc").write_text(BOOK)
    code, _, err = seqvae("reconstruct", "book.abc", *TINY, "--out", "first")
    assert (code, err.count("\n")) == (0, 1)
    assert "book.abc#1: the first of 2 tunes that can be used; for another name it, like book.abc#2" in err
    code, _, err = seqvae("reconstruct", "book.abc", "--bar", 3, *TINY, "--out", "none")
    assert (code, err) == (2, "seqvae: --bar 3: book.abc#1 has windows at bar 1\n")
    assert "1 reconstruction" in succeed(seqvae("reconstruct", "book.abc#2", "--bar", 3, *TINY, "--out", "second"))
    code, _, err = seqvae("interpolate", "book.abc#2", "book.abc#3", *TINY)
    assert code == 1
    assert err == "seqvae: book.abc#3: there is no such tune, or it cannot be read; others are 1, 2\n"
    order = ["book.abc#2", "@a.mid", "book.abc#1", "./book.abc#2"]
    succeed(seqvae("encode", *order, *TINY, "--out", "z.npz"))
    sources = list(dict.fromkeys(Path(source).name for source in Latents.load(Path("z.npz")).source))
    assert sources == ["book.abc#2", "a.mid", "book.abc#1"]
    succeed(seqvae("decode", "z.npz", *TINY))
    assert {"1-book-2-bar1.mid", "4-a-bar1.mid"} < {name.removeprefix("0") for name in files(Path("decoded"))}
    succeed(seqvae("reconstruct", "./book.abc#2", "book.abc#1", *TINY, "--out", "both"))
    assert {"book-1.mid", "book-2.mid"} < files(Path("both")).keys()
    code, _, err = seqvae("evaluate", "book.abc#2", *TINY)
    assert (code, err) == (2, "seqvae: book.abc#2: a book is split by its tunes; give the whole file\n")


def test_in_a_folder_bad_files_are_told_counted_and_left_out(seqvae: Run) -> None:
    code, out, err = seqvae("encode", "@mixed", *TINY)
    assert code == 0
    assert "8 latents" in out
    lines = err.splitlines()
    assert len(lines) == 3
    assert "text.mid" in lines[0]
    assert "3/4" in lines[1]
    assert "2 of 4 files" in lines[2]
    code, _, err = seqvae("reconstruct", "@mixed", *TINY)
    assert code == 0
    assert sorted(files(Path("reconstruction"))) == ["a.mid", "long.mid", "reconstruction.png"]


def test_when_all_of_many_files_are_bad_nothing_is_written(seqvae: Run, tmp_path: Path) -> None:
    code, out, err = seqvae("reconstruct", "@bad", *TINY)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "seqvae: none of the 2 files could be used"
    assert list(tmp_path.iterdir()) == []


# --- nothing is overwritten, nothing half done

WRITERS = [
    (["sample", "-n", 2, "--seed", 1, *TINY, "--out", "place"], "place/sample-02.mid"),
    (["interpolate", "@a.mid", "@b.mid", *TINY, "--out", "place"], "place/interpolation.png"),
    (["reconstruct", "@a.mid", *TINY, "--out", "place"], "place/a.mid"),
    (["decode", "@z4.npz", *TINY, "--out", "place"], "place/02-z4-bar1.mid"),
    (["encode", "@a.mid", *TINY, "--out", "place/latents.npz"], "place/latents.npz"),
    (["arithmetic", "--plus", "@a.mid", *TINY, "--out", "place/sum.mid"], "place/sum.mid"),
    (["evaluate", "@tunes", "--split", "train", *TINY, "--json", "place/figures.json"], "place/figures.json"),
]
WRITER_NAMES = [arguments[0] for arguments, _ in WRITERS]


@pytest.mark.parametrize(("arguments", "victim"), WRITERS, ids=WRITER_NAMES)
def test_nothing_is_overwritten_unasked(seqvae: Run, tmp_path: Path, arguments: list, victim: str) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / victim).write_text("dear to its owner")
    (tmp_path / "place/other.txt").write_text("nobody's business")
    before = files(tmp_path)
    code, _, err = seqvae(*arguments)
    assert code == 2
    assert victim in err
    assert "--force" in err
    assert files(tmp_path) == before
    code, _, _ = seqvae(*arguments, "--force")
    assert code == 0
    after = files(tmp_path)
    assert after.pop("place/other.txt") == b"nobody's business"
    assert after[victim] != b"dear to its owner"


@pytest.mark.parametrize("name", ["sample-01.mid", "samples.mid", "samples.png"])
def test_what_is_in_the_way_is_told_before_any_work(
    seqvae: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr("seqvae.trained.TrainedModel.sample")
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / name).symlink_to("nowhere")  # even a link that leads nowhere is somebody's
    code, out, err = seqvae("sample", "-n", 2, *TINY, "--out", "place")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"place/{name} exists: replace it with --force" in err
    assert os.readlink(f"place/{name}") == "nowhere"


@pytest.mark.parametrize(("arguments", "victim"), WRITERS[:4], ids=WRITER_NAMES[:4])
@pytest.mark.parametrize("there", [False, True])
def test_when_the_disk_is_full_no_half_of_the_files_is_left(
    seqvae: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list, victim: str, there: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if there:
        (tmp_path / "place").mkdir()
    monkeypatch.setattr("data_prep.pictures.piano_rolls", full)
    code, out, err = seqvae(*arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "No space left on device" in err
    assert list(tmp_path.rglob("*")) == ([tmp_path / "place"] if there else [])


OUT_OF_MEMORY = (
    MemoryError("Unable to allocate 9 TiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        *((error, 1, "seqvae: there is not enough memory for this: ") for error in OUT_OF_MEMORY),
        (KeyboardInterrupt(), 130, "seqvae: interrupted\n"),
        (PermissionError(errno.EACCES, "Permission denied", "some/file"), 1, "seqvae: some/file: Permission denied\n"),
    ],
)
def test_what_goes_wrong_outside(
    seqvae: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("seqvae.presets.preset_names", fail)
    ended, out, err = seqvae("presets")
    assert (ended, out) == (code, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_a_programming_error_keeps_its_traceback(seqvae: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqvae.presets.preset_names", lambda: {}["nothing"])
    with pytest.raises(KeyError):
        seqvae("presets")
    monkeypatch.setattr("seqvae.presets.preset_names", lambda: (_ for _ in ()).throw(RuntimeError("of another kind")))
    with pytest.raises(RuntimeError, match="of another kind"):
        seqvae("presets")
