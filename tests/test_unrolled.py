"""LSTMs that are run step by step are torch's own, and so are their gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import config, melodies, sentences, weights
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqvae import onednn, recurrence, unrolled
from seqvae.config import ModelConfig
from seqvae.training import train
from seqvae.vae import SequenceVAE

T, B, I, H = 6, 5, 4, 3  # noqa: E741
LENGTHS = torch.tensor([6, 2, 1, 5, 3])
MODELS = {
    "melodies": ModelConfig(encoder_size=6, encoder_layers=2, latent_size=4, decoder_size=5, vocabulary_size=9),
    "one-hot sentences": ModelConfig(
        summary="mean", encoder_size=6, latent_size=4, decoder_size=5, vocabulary_size=9, bos=7, eos=7, pad=8
    ),
    "embedded sentences": ModelConfig(
        **{"embedding_size": 3, "summary": "max", "encoder_size": 6, "encoder_layers": 2, "latent_size": 4},
        **{"decoder_size": 5, "decoder_layers": 3, "vocabulary_size": 9, "bos": 7, "eos": 7, "pad": 8},
    ),
    "one direction, z at the start": ModelConfig(
        **{"embedding_size": 3, "bidirectional": False, "encoder_size": 6, "latent_size": 4, "decoder_size": 5},
        **{"vocabulary_size": 9, "bos": 7, "eos": 7, "pad": 8, "latent_to": "start", "initial_state": "shared"},
    ),
    "no latents, dropout": ModelConfig(latent_size=0, decoder_size=5, vocabulary_size=9, dropout=0.3),
}


@pytest.fixture
def lstm() -> Callable[..., nn.LSTM]:
    torch.manual_seed(0)
    return lambda **settings: nn.LSTM(I, H, **settings).double()


def read(x: Tensor) -> unrolled.Read:
    """Of inputs (T, B, I)."""

    def given(weight: Tensor, bias: Tensor, order: Tensor | None) -> Tensor:
        return (x if order is None else x.gather(0, order.unsqueeze(-1).expand(x.shape))) @ weight + bias

    return given


def gradients(outputs: Tensor, hidden: Tensor, of: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a loss in which every output and state has a weight of its own."""
    weights = (torch.linspace(-1, 1, each.numel(), dtype=each.dtype).view(each.shape) for each in (outputs, hidden))
    return torch.autograd.grad(sum((x * w).sum() for x, w in zip((outputs, hidden), weights, strict=True)), of)


@pytest.mark.parametrize("settings", [{}, {"num_layers": 3}, {"bidirectional": True, "num_layers": 2}])
def test_outputs_states_and_gradients_are_those_of_torch(lstm: Callable[..., nn.LSTM], settings: dict) -> None:
    module = lstm(**settings)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(3, B, H, dtype=torch.float64, requires_grad=True) for _ in range(2))
    if settings != {"num_layers": 3}:
        state = None
    of = [x, *module.parameters(), *(state or ())]
    outputs, (hidden, _) = module(x, state)
    found, states = unrolled.run(module, read(x), state)
    found = recurrence.together(found, None)
    torch.testing.assert_close((found, states), (outputs, hidden))
    torch.testing.assert_close(gradients(found, states, of), gradients(outputs, hidden, of))


@pytest.mark.parametrize("directions", [1, 2])
def test_what_lies_beyond_a_length_has_no_part(lstm: Callable[..., nn.LSTM], directions: int) -> None:
    module = lstm(bidirectional=directions == 2, num_layers=2)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    outputs, (hidden, _) = module(packed)
    outputs, _ = pad_packed_sequence(outputs)
    found, states = unrolled.run(module, read(x), lengths=LENGTHS)
    found = recurrence.together(found, LENGTHS) * (torch.arange(T).unsqueeze(1) < LENGTHS).unsqueeze(-1)
    torch.testing.assert_close((found, states), (outputs, hidden))
    of = [x, *module.parameters()]
    torch.testing.assert_close(gradients(found, states, of), gradients(outputs, hidden, of))


def test_a_second_gradient_of_the_same_pass_is_refused(lstm: Callable[..., nn.LSTM]) -> None:
    (outputs,), _ = unrolled.run(lstm(), read(torch.randn(T, B, I, dtype=torch.float64)))
    outputs.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        outputs.sum().backward()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[nn.LSTM]:
    """The LSTMs that were unrolled."""
    found: list[nn.LSTM] = []
    run = unrolled.run

    def counted(lstm: nn.LSTM, *rest: Any, **named: Any) -> Any:
        found.append(lstm)
        return run(lstm, *rest, **named)

    monkeypatch.setattr(unrolled, "run", counted)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_the_same_either_way(name: str, calls: list[nn.LSTM], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = SequenceVAE(MODELS[name]).double()
    tokens = torch.randint(0, 7, (B, model.config.length))
    lengths = None if model.config.eos is None else LENGTHS

    def lost(rows: int) -> Tensor:
        monkeypatch.setattr(unrolled, "ROWS", rows)
        posterior = model.encode(tokens, lengths)
        z = (posterior.loc + posterior.scale).double()
        return model.decoder.nll(z, tokens, tokens, torch.Generator().manual_seed(1))

    theirs = lost(B + 1)
    assert not calls
    ours = lost(B)
    assert calls == [part.lstm for part in (model.encoder, model.decoder) if hasattr(part, "lstm")]
    torch.testing.assert_close(ours, theirs)
    parameters = list(model.parameters())
    torch.testing.assert_close(*(torch.autograd.grad(nll.sum(), parameters) for nll in (ours, theirs)))
    with torch.no_grad():
        torch.testing.assert_close(lost(B), theirs.detach())


def far(found: Tensor, exact: Tensor) -> float:
    """How far away, as a share of the exact one's size."""
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16"])
def test_values_and_gradients_stay_near_exact_ones(
    name: str, low: bool, calls: list[nn.LSTM], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32 by oneDNN's products, large ones and small, in bf16 within what that rounds."""
    torch.manual_seed(0)
    for constant, value in (("SMALL", 1), ("LARGE", 0)):
        monkeypatch.setattr(onednn, constant, value)
    exact = SequenceVAE(MODELS[name]).double()
    model = SequenceVAE(MODELS[name])
    model.load_state_dict(exact.state_dict())
    tokens = torch.randint(0, 7, (B, model.config.length))
    lengths = None if model.config.eos is None else LENGTHS
    monkeypatch.setattr(unrolled, "UNITS", 1)
    monkeypatch.setattr(unrolled, "ROWS", 1)
    left, right = (1e-5, 5e-3) if low else (1e-9, 1e-6)

    def lost(vae: SequenceVAE) -> Tensor:
        posterior = vae.encode(tokens, lengths)
        z = posterior.loc + posterior.scale
        vae.decoder.eval()  # in which nothing is dropped: noise is of the type of what it meets
        return vae.decoder.nll(z.to(vae.decoder.output.weight.dtype), tokens, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(unrolled, "suits", lambda *_: False)
        theirs = lost(exact)
    assert not calls
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        ours = lost(model)
    assert len(calls) == 1 + bool(model.config.latent_size)
    assert ours.dtype == torch.float32
    assert left < far(ours, theirs) < right
    ours.sum().backward()
    theirs.sum().backward()
    for parameter, beside in zip(model.parameters(), exact.parameters(), strict=True):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.stride() == parameter.stride()
        assert far(parameter.grad, beside.grad) < (0.05 if low else 1e-5)


def test_in_bf16_errors_do_not_add_up_over_many_steps() -> None:
    """Cells, gates and their gradients are fp32, so that an LSTM of open forget gates keeps what it has."""
    torch.manual_seed(0)
    exact = nn.LSTM(I, H).double()
    module = nn.LSTM(I, H)
    with torch.no_grad():
        for bias in (exact.bias_ih_l0, exact.bias_hh_l0):
            bias[H : 2 * H] = 4.0
    module.load_state_dict(exact.state_dict())
    x = torch.randn(400, B, I, dtype=torch.float64)
    (there,), _ = unrolled.run(exact, read(x))
    with torch.autocast("cpu", torch.bfloat16):
        nothing = torch.zeros(2, 1, B, H, dtype=torch.bfloat16)  # as a decoder's first state comes
        (here,), _ = unrolled.run(module, read(x.float()), (nothing[0], nothing[1]))
    assert here.dtype == torch.bfloat16
    assert far(here, there) < 0.01
    there[-1].sum().backward()
    here[-1].sum().backward()
    for parameter, beside in zip(module.parameters(), exact.parameters(), strict=True):
        assert far(parameter.grad, beside.grad) < 0.02


def test_what_is_frozen_gets_no_gradient(lstm: Callable[..., nn.LSTM]) -> None:
    module = lstm()
    module.weight_hh_l0.requires_grad_(False)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    (outputs,), _ = unrolled.run(module, read(x))
    outputs.sum().backward()
    assert module.weight_hh_l0.grad is None
    torch.testing.assert_close(x.grad, torch.autograd.grad(module(x)[0].sum(), x)[0])


@pytest.mark.parametrize("data", [melodies, sentences])
@pytest.mark.parametrize("changes", [{"optimizer": "sgd"}, {"aggressive": True, "steps": 2}, {"word_dropout": 0.3}])
def test_trainings_end_with_the_same_weights_either_way(
    data: Callable[[Path], Path],
    changes: dict[str, Any],
    tmp_path: Path,
    calls: list[nn.LSTM],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = data(tmp_path)
    settings = config(model={"embedding_size": None} if data is melodies else {}, **changes)
    train(settings, dataset, tmp_path / "theirs")
    assert not calls
    monkeypatch.setattr(unrolled, "ROWS", 1)
    train(settings, dataset, tmp_path / "ours")
    assert calls
    torch.testing.assert_close(weights(tmp_path / "ours"), weights(tmp_path / "theirs"), atol=2e-4, rtol=1e-3)


def test_few_rows_few_units_in_bf16_and_much_memory_are_left_to_torch(
    lstm: Callable[..., nn.LSTM], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, rows = lstm(), unrolled.ROWS
    assert unrolled.suits(module, rows, T)
    assert not unrolled.suits(module, rows - 1, T)
    with torch.autocast("cpu", torch.bfloat16):
        assert not unrolled.suits(module, rows, T)
        monkeypatch.setattr(unrolled, "UNITS", H)
        assert unrolled.suits(module, 1, T)
    monkeypatch.setattr(unrolled, "CELLS", rows * T * 4 * H - 1)
    assert unrolled.suits(module, rows, T)
    with torch.no_grad():
        assert not unrolled.suits(module, rows, T)
        assert unrolled.suits(module, rows, T - 1)
    assert not unrolled.suits(module.to("meta"), rows, T)
