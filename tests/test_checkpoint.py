"""Model files and training states: they come back whole, and what is none of them is refused in one line."""

import errno
import json
import pickle
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from seqvae.checkpoint import FORMAT, Origin, load_model, load_state, read_header, save_model, save_state
from seqvae.config import Config, DataConfig, ModelConfig
from seqvae.errors import ModelError
from seqvae.vae import SequenceVAE
from seqvae.writing import write_atomically

CONFIG = Config(
    "tiny",
    data=DataConfig(dataset="/somewhere/else"),
    model=ModelConfig(encoder_size=6, decoder_size=6, latent_size=4),
)
TOKENIZER = {"name": "melody", "bars": 2, "meter": [4, 4]}


@pytest.fixture
def model() -> SequenceVAE:
    torch.manual_seed(0)
    return SequenceVAE(CONFIG.model)


def test_a_model_file_rebuilds_the_model_by_itself(tmp_path: Path, model: SequenceVAE) -> None:
    origin = Origin("0.1.0", "2.13.0", "cpu", "fp32", 40, "abc")
    save_model(tmp_path / "m.safetensors", model, CONFIG, TOKENIZER, {"elbo": -12.5}, origin)
    found = load_model(tmp_path / "m.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found.model.state_dict()[name])
    assert found.config.model == CONFIG.model
    assert found.tokenizer == TOKENIZER
    assert found.metrics == {"elbo": -12.5}
    assert found.origin == origin
    assert list(tmp_path.iterdir()) == [tmp_path / "m.safetensors"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"embedding_size": 6, "tied": True}, {"posterior": "batch-norm"}, {"posterior": "delta", "bias": False}],
)
def test_loading_makes_whole_models_and_no_first_weights(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = replace(CONFIG, model=replace(CONFIG.model, **changes))
    model = SequenceVAE(config.model).eval()
    save_model(tmp_path / "m.safetensors", model, config, TOKENIZER, {})
    torch.manual_seed(1)
    found = load_model(tmp_path / "m.safetensors").model
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    assert not any(tensor.is_meta for tensor in (*found.parameters(), *found.buffers()))
    assert all(parameter.requires_grad for parameter in found.parameters())
    tokens = torch.randint(0, 90, (2, 32))
    torch.testing.assert_close(found.encode(tokens).loc, model.encode(tokens).loc)
    torch.testing.assert_close(found.decode(torch.ones(2, 4), tokens), model.decode(torch.ones(2, 4), tokens))


def test_loading_leaves_the_compiler_of_torch_alone(tmp_path: Path, model: SequenceVAE) -> None:
    """It takes a second to be loaded, and torch does that for some work that there is none of."""
    save_model(tmp_path / "m.safetensors", model, CONFIG, TOKENIZER, {})
    code = (
        "import sys; from pathlib import Path; from seqvae.checkpoint import load_model; load_model(Path(sys.argv[1]))"
    )
    code += "; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, f"{tmp_path / 'm.safetensors'}"], check=True)


def test_weights_that_are_tied_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    sizes = {"embedding_size": 64, "decoder_size": 64, "encoder_size": 6, "latent_size": 4, "vocabulary_size": 900}
    files = {}
    for tied in (False, True):
        config = Config(model=ModelConfig(**sizes, tied=tied))
        files[tied] = tmp_path / f"{tied}.safetensors"
        save_model(files[tied], SequenceVAE(config.model), config, TOKENIZER, {})
    saved = files[False].stat().st_size - files[True].stat().st_size
    assert saved == pytest.approx(4 * 900 * 64, rel=0.01)
    decoder = load_model(files[True]).model.decoder
    assert decoder.output.weight is decoder.input.rows


def test_no_folder_of_the_training_machine_is_kept(tmp_path: Path, model: SequenceVAE) -> None:
    save_model(tmp_path / "m.safetensors", model, CONFIG, TOKENIZER, {})
    assert b"/somewhere/else" not in (tmp_path / "m.safetensors").read_bytes()


def test_half_precision_halves_the_file(tmp_path: Path, model: SequenceVAE) -> None:
    save_model(tmp_path / "whole.safetensors", model, CONFIG, TOKENIZER, {})
    save_model(tmp_path / "half.safetensors", model, CONFIG, TOKENIZER, {}, half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    found = load_model(tmp_path / "half.safetensors").model.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=1e-3)


def _broken(folder: Path, model: SequenceVAE) -> dict[str, Path]:
    files = {
        name: folder / f"{name}.safetensors" for name in ("text", "empty", "cut", "foreign", "later", "sizes", "origin")
    }
    files["text"].write_text("this is no model")
    files["empty"].write_bytes(b"")
    save_model(folder / "good", model, CONFIG, TOKENIZER, {})
    files["cut"].write_bytes((folder / "good").read_bytes()[:-50])
    save_file({"w": torch.zeros(2)}, files["foreign"])
    save_file({"w": torch.zeros(2)}, files["later"], metadata={"seqvae": json.dumps({"format": 99})})
    other = Config(model=ModelConfig(encoder_size=7, decoder_size=6, latent_size=4))
    save_model(files["sizes"], model, other, TOKENIZER, {})
    header = read_header(folder / "good") | {"origin": {"by": "somebody"}}
    save_file(model.state_dict(), files["origin"], metadata={"seqvae": json.dumps(header)})
    return files | {"missing": folder / "missing.safetensors"}


@pytest.mark.parametrize("name", ["text", "empty", "cut", "foreign", "later", "sizes", "origin", "missing"])
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, model: SequenceVAE, name: str) -> None:
    with pytest.raises(ModelError) as error:
        load_model(_broken(tmp_path, model)[name])
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"config": []},
        {"config": {"data": {"tokenizer": "leaves"}}},
        {"config": {"training": {"clip": 10**400}}, "metrics": [1]},
        {"tokenizer": "words"},
        {"metrics": {"elbo": None}},
        {"origin": asdict(Origin("1", "2", "cpu", "fp32", 3, "hash")) | {"sequences": "many"}},
        {"format": None},
        None,
    ],
)
def test_headers_that_were_meddled_with_are_told(tmp_path: Path, model: SequenceVAE, change: Any) -> None:
    save_model(tmp_path / "good", model, CONFIG, TOKENIZER, {})
    header = [] if change is None else read_header(tmp_path / "good") | change
    save_file(model.state_dict(), tmp_path / "bad.safetensors", metadata={"seqvae": json.dumps(header)})
    with pytest.raises(ModelError, match=r"bad.safetensors is a damaged seqvae model \(.+\)$"):
        load_model(tmp_path / "bad.safetensors")


def test_weights_that_do_not_fit_are_told_by_name(tmp_path: Path, model: SequenceVAE) -> None:
    with pytest.raises(ModelError, match=r"sizes.safetensors is a damaged seqvae model .*size mismatch for "):
        load_model(_broken(tmp_path, model)["sizes"])
    with torch.no_grad():
        model.decoder.output.bias[1] = torch.nan
    save_model(tmp_path / "lost.safetensors", model, CONFIG, TOKENIZER, {})
    with pytest.raises(ModelError, match=r"\(decoder.output.bias has numbers that are not finite\)$"):
        load_model(tmp_path / "lost.safetensors")


def test_a_model_of_a_later_seqvae_asks_for_that(tmp_path: Path, model: SequenceVAE) -> None:
    save_model(tmp_path / "good", model, CONFIG, TOKENIZER, {})
    header = json.dumps(read_header(tmp_path / "good") | {"format": FORMAT + 1})
    save_file(model.state_dict(), tmp_path / "later.safetensors", metadata={"seqvae": header})
    with pytest.raises(ModelError, match=r"later.safetensors has format .*: update seqvae$"):
        load_model(tmp_path / "later.safetensors")


def test_the_header_reads_without_the_weights(tmp_path: Path, model: SequenceVAE) -> None:
    save_model(tmp_path / "m.safetensors", model, CONFIG, TOKENIZER, {})
    assert read_header(tmp_path / "m.safetensors")["tokenizer"] == TOKENIZER


def test_states_come_back_and_pickles_are_never_run(tmp_path: Path) -> None:
    save_state(tmp_path / "last.pt", {"w": torch.ones(2), "done": {"step": 3, "best": {"elbo": -1.0}}})
    state = load_state(tmp_path / "last.pt")
    assert state["done"] == {"step": 3, "best": {"elbo": -1.0}}

    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (ran,))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="damaged"):
        load_state(tmp_path / "evil.pt")
    assert not ran.exists()


def test_a_full_disk_is_told_with_the_file_s_name(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "last.pt"
    save_state(path, {"weights": torch.zeros(10)})
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*last\.pt"):
            save_state(path, {"weights": torch.zeros(1 << 16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(to: Path) -> None:
        to.write_text("half of the n")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_only_place_is_told_by_the_name_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)  # Linux does, even of what is not there
    with pytest.raises(OSError, match=r"Read-only file system: '.*/config.toml'"):
        write_atomically(tmp_path / "config.toml", refuse)
