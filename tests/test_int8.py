"""Products in int8: what they are, how far from exact ones, and where they are taken."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_few import MODELS, decoding, latents
from test_unrolled import MODELS as ENCODERS
from torch import Tensor

import seqvae
from seqvae import few, int8, int8_lstm, sampling
from seqvae.beam import beam_search
from seqvae.config import INFERENCE_PRECISIONS, MUSIC, ModelConfig
from seqvae.devices import autocast, choose_precision
from seqvae.errors import OptionError
from seqvae.int8 import Int8Weight, int8_products, is_fast, packs, wanted
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

pytestmark = pytest.mark.usefixtures("int8")
CPU = torch.device("cpu")
SAMPLES = Path(__file__).parents[1] / "samples"


def rounded_states(h: Tensor) -> Tensor:
    return (h * 127).round() / 127


def rounded_weights(weight: Tensor) -> Tensor:
    """(O, K), as torch's modules have them."""
    steps = weight.abs().amax(1, keepdim=True) / 127
    return (weight / steps).round() * steps


def rounded_lstm(inputs: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
    """The states (T, B, H) of an LSTM after inputs (T, B, 4H), by the formula; what it multiplies is rounded."""
    states = []
    for gates in inputs:
        i, f, g, o = (gates + rounded_states(hidden) @ weight.t()).chunk(4, dim=-1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states)


def rounded_logits(model: SequenceVAE, z: Tensor, tokens: Tensor) -> Tensor:
    """(B, T, V) of a decoder, teacher-forced, by the formula."""
    decoder = model.decoder
    hidden, cell = decoder._initial(z)
    read = decoder._read(tokens[:, :-1])
    if decoder.latent_inputs:
        read = torch.cat([read, z.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=-1)
    below = read.transpose(0, 1)
    for number, (into, before, bias, more_bias) in enumerate(decoder.lstm.all_weights):
        if number:  # both weights of a gate are rounded as one
            into, before = rounded_weights(torch.cat([into, before], 1)).split([into.shape[1], before.shape[1]], 1)
            below = rounded_states(below)
        else:
            before = rounded_weights(before)
        below = rounded_lstm(below @ into.t() + bias + more_bias, before, hidden[number], cell[number])
    said = F.linear(rounded_states(below), rounded_weights(decoder.output.weight), decoder.output.bias)
    return said.transpose(0, 1)


def test_a_product_is_that_of_what_was_rounded_and_near_the_exact_one() -> None:
    torch.manual_seed(0)
    x, weight = torch.rand(6, 40, dtype=torch.float64) * 2 - 1, torch.randn(40, 9, dtype=torch.float64)
    weight[:, 3] = 0.0
    addend = torch.randn(6, 9, dtype=torch.float64)
    held = Int8Weight.of(weight)
    found = held.plus(addend, x)
    expected = rounded_states(x) @ rounded_weights(weight[:, weight.any(0)].t()).t()
    torch.testing.assert_close((found - addend)[:, weight.any(0)], expected)
    assert torch.equal(found[:, 3], addend[:, 3])
    half_a_step = weight.abs().amax(0) / 254  # of weights; of states it is 1 / 254
    assert ((found - addend - x @ weight).abs() <= weight.abs().sum(0) / 254 + len(weight) * half_a_step).all()


@pytest.mark.parametrize("rows", [1, 3, 200])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("columns", [3, 1024])
def test_the_largest_numbers_do_not_saturate(rows: int, sign: float, columns: int) -> None:
    states, weight = torch.ones(rows, 2048), sign * torch.ones(2048, columns)
    found = Int8Weight.of(weight).plus(torch.zeros(rows, columns), states)
    torch.testing.assert_close(found, torch.full((rows, columns), sign * 2048.0))


needs_packed = pytest.mark.skipif(not (packs() and is_fast()), reason="needs AVX-512 VNNI and oneDNN's products")


@needs_packed
@pytest.mark.parametrize("rows", [2, 65])
@pytest.mark.parametrize(("K", "columns"), [(40, 9), (256, 100)])
def test_packed_products_are_the_same(rows: int, K: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, held = torch.rand(rows, K) * 2 - 1, Int8Weight.of(torch.randn(K, columns))
    x[0] = 1.0
    x[1] = -1.0
    exact = (x * 127).round().double() @ held.numbers.double() * held.scale.double()
    for addend in (torch.randn(rows, columns), torch.randn(columns)):
        expected = (addend + exact).float()
        torch.testing.assert_close(held.plus(addend, x), expected)
        with monkeypatch.context() as patch:
            patch.setattr(int8, "WORTH_PACKING", 0)
            assert held.is_best_packed(rows)
            torch.testing.assert_close(held.plus(addend, x), expected)


@needs_packed
def test_packed_are_large_weights_and_those_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = Int8Weight.of(torch.randn(5, 10)), Int8Weight.of(torch.randn(10, 10))
    monkeypatch.setattr(int8, "WORTH_PACKING", 100)
    monkeypatch.setattr(int8, "MUCH", 1000)
    assert [small.is_best_packed(rows) for rows in (1, 2, 19, 20)] == [False, False, False, True]
    assert [large.is_best_packed(rows) for rows in (1, 2)] == [False, True]


@needs_packed
@pytest.mark.parametrize("rows", [few.ROWS, few.ROWS + 1])
def test_packed_products_decode_and_encode_the_same(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes the steps: `few`, or torch's."""
    model, ids, states = decoding(MODELS["melodies"]).float(), [], []
    z, tokens = latents(model, rows).float(), torch.arange(rows * 6).view(rows, 6) % 7
    for large in (0, 2**60):
        monkeypatch.setattr(int8, "WORTH_PACKING", large)
        with torch.no_grad(), int8_products():
            ids.append(generate(model.decoder, z, 6, generator=torch.Generator().manual_seed(3)))
            states.append(model.encoder.summarised(tokens))
    assert torch.equal(*ids)
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("rows", [1, 3])
def test_steps_are_those_of_a_rounded_lstm(config: ModelConfig, rows: int) -> None:
    model = decoding(config)
    z, tokens = latents(model, rows), torch.randint(0, 7, (rows, 6), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode(), int8_products():
        expected = rounded_logits(model, z, tokens)
        step = few.FewSteps(model.decoder, z)
        found = [step(None).clone(), *(step(tokens[:, t]).clone() for t in range(5))]
        state, steps = model.decoder.start(z), []
        for t in range(6):
            logits, state = model.decoder.step(state, tokens[:, t - 1] if t else None)
            steps.append(logits)
        for each in (found, steps):
            torch.testing.assert_close(torch.stack(each, dim=1), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name, config in ENCODERS.items() if config.latent_size])
def test_an_encoder_is_a_rounded_lstm(name: str) -> None:
    torch.manual_seed(1)
    model = SequenceVAE(replace(ENCODERS[name], summary="last")).double().eval()
    lstm, H = model.encoder.lstm, model.config.encoder_size
    tokens = torch.randint(0, 6, (4, 6), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.normal_()
        read = tokens if model.config.bos is None else F.pad(tokens, (1, 0), value=model.config.bos)
        below, nothing = model.encoder.input(read).transpose(0, 1), torch.zeros(4, H, dtype=torch.float64)
        ways = 2 if lstm.bidirectional else 1
        for layer in range(lstm.num_layers):
            outputs = []
            for way in range(ways):
                into, before, bias, more_bias = lstm.all_weights[layer * ways + way]
                if layer:
                    below, into = rounded_states(below), rounded_weights(into)
                gates = (below.flip(0) if way else below) @ into.t() + bias + more_bias
                outputs.append(rounded_lstm(gates, rounded_weights(before), nothing, nothing))
            below = torch.cat([outputs[0], *(each.flip(0) for each in outputs[1:])], dim=-1)
        expected = torch.cat([each[-1] for each in outputs], dim=-1)
        with int8_products():
            torch.testing.assert_close(model.encoder.summarised(tokens), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("name", [name for name, config in ENCODERS.items() if config.latent_size])
def test_sequences_of_several_lengths_are_read_as_each_alone(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever sums up their states, and however many steps are laid out at a time."""
    torch.manual_seed(1)
    model = SequenceVAE(ENCODERS[name]).double().eval()
    tokens = torch.randint(0, 6, (rows, 6), generator=torch.Generator().manual_seed(2))
    lengths = torch.arange(rows) % 6 + 1
    with torch.no_grad(), int8_products():
        each = [model.encoder.summarised(row[None, :length]) for row, length in zip(tokens, lengths, strict=True)]
        monkeypatch.setattr(int8_lstm, "ROWS", 5)
        found = model.encoder.summarised(tokens, lengths)
    torch.testing.assert_close(found, torch.cat(each), atol=1e-9, rtol=1e-9)


def test_an_encoder_reads_with_its_weights_as_they_are() -> None:
    torch.manual_seed(1)
    model = SequenceVAE(ENCODERS["melodies"]).eval()
    tokens, found = torch.randint(0, 6, (3, 6)), []
    for _ in range(2):
        with torch.no_grad(), int8_products():
            found += [model.encoder.summarised(tokens), model.encoder.summarised(tokens)]
            model.encoder.lstm.weight_hh_l0.mul_(-1.0)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("rows", [0, 1, few.ROWS + 4])
def test_many_sequences_are_decoded_as_a_few(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, found = decoding(MODELS["melodies"]), []
    z = latents(model, rows)
    for suits in (lambda decoder, z: True, lambda decoder, z: False):
        monkeypatch.setattr(sampling, "suits", suits)
        with int8_products():
            found.append(generate(model.decoder, z, 6, generator=torch.Generator().manual_seed(3)))
    assert found[0].shape == (rows, 6)
    assert torch.equal(*found)


def test_a_beam_search_rounds_too() -> None:
    model = decoding(MODELS["embedded sentences"])
    z, scores = latents(model, 3), []
    for precision in ("fp32", "int8"):
        with torch.no_grad(), autocast(CPU, precision):
            scores.append(beam_search(model.decoder, z, 6, 3, 1.0, []).scores)
    assert not torch.equal(*scores)
    torch.testing.assert_close(*scores, atol=0.5, rtol=0.1)


def test_what_dropout_makes_larger_than_1_is_not_rounded() -> None:
    model = decoding(replace(MODELS["z at the start"], dropout=0.5))
    z, logits = latents(model, 400), []
    model.train()
    for precision in ("fp32", "int8"):
        with torch.no_grad(), autocast(CPU, precision):
            noise = torch.Generator().manual_seed(0)
            logits.append(model.decoder.step(model.decoder.start(z), None, noise)[0])
    torch.testing.assert_close(*logits, atol=0.1, rtol=0.1)  # what wraps around 127 is off by 2


def test_contexts_nest() -> None:
    model = decoding(MODELS["melodies"]).float()
    z = latents(model, 2).float()

    def logits() -> Tensor:
        return model.decoder.step(model.decoder.start(z), None)[0]

    with torch.no_grad():
        exact = logits()
        with autocast(CPU, "int8"):
            rounded = logits()
            with autocast(CPU, "fp32"):
                assert torch.equal(logits(), exact)
            assert torch.equal(logits(), rounded)
        assert not torch.equal(exact, rounded)


def test_weights_are_laid_out_anew_for_other_products() -> None:
    model = decoding(MODELS["melodies"])
    z, logits = latents(model, 2), []
    for precision in ("fp32", "int8", "fp32"):
        with torch.no_grad(), autocast(CPU, precision):
            logits.append(model.decoder.step(model.decoder.start(z), None)[0])
    assert torch.equal(logits[0], logits[2])
    assert not torch.equal(logits[0], logits[1])


def test_what_has_a_gradient_is_exact() -> None:
    """And so is the teacher-forced pass, by which models are judged."""
    model = decoding(MODELS["melodies"])
    z, tokens = latents(model, 2), torch.zeros(2, 6, dtype=torch.long)
    exact, read = model.decoder(z, tokens), model.encoder.summarised(tokens)
    with int8_products():
        assert not wanted()
        assert torch.equal(model.encoder.summarised(tokens), read)
        step, _ = model.decoder.step(model.decoder.start(z), None)
        torch.testing.assert_close(step, exact[:, 0])
        with torch.no_grad():
            assert wanted()
            assert torch.equal(model.decoder(z, tokens), exact)
            assert not torch.equal(model.encoder.summarised(tokens), read)
    assert not wanted()


@pytest.mark.parametrize("name", ["melody-2bar", "text-psalms"])
def test_it_costs_a_trained_model_little(name: str) -> None:
    """Latents move by a few percent of their scale, and what is drawn from them is of all but the same distribution.

    `evaluate` stays exact.
    """
    exact, fast = (seqvae.load(name, "cpu", precision) for precision in ("fp32", "int8"))
    tunes = sorted((SAMPLES / "melodies").iterdir())[:6]
    verses = (SAMPLES / "text" / "psalms.txt").read_text(encoding="utf-8").splitlines()[:64]
    examples = exact.read(tunes, all_windows=True) if exact.kind == MUSIC else exact.read(verses)
    posterior, found = (vae.encode_examples(examples) for vae in (exact, fast))
    shift = (found.mean - posterior.mean) / posterior.scale
    assert 0 < np.sqrt(np.mean(shift**2)) < 0.03
    np.testing.assert_allclose(found.scale, posterior.scale, rtol=0.05)

    decoder, z = exact.model.decoder, torch.from_numpy(posterior.mean)
    ids = generate(decoder, z, exact.config.model.length, generator=torch.Generator().manual_seed(0))
    said = []
    for precision in ("fp32", "int8"):
        with torch.no_grad(), autocast(CPU, precision):
            state, steps = decoder.start(z), []
            for t in range(ids.shape[1]):
                logits, state = decoder.step(state, ids[:, t - 1] if t else None)
                steps.append(logits.log_softmax(-1))
        said.append(torch.stack(steps))
    nats = (said[0].exp() * (said[0] - said[1])).sum(-1)  # of each step: the Kullback-Leibler divergence
    assert 0 < nats.sum(0).mean() < 0.005

    assert fast.evaluate(examples) == exact.evaluate(examples)


def test_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("int8", CPU, INFERENCE_PRECISIONS) == "int8"
    with pytest.raises(OptionError, match=r"--precision int8: must be one of auto, fp32, bf16$"):
        choose_precision("int8", CPU)
    with pytest.raises(OptionError, match="--precision int8: needs --device cpu"):
        choose_precision("int8", torch.device("meta"), INFERENCE_PRECISIONS)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False, raising=False)
    with pytest.raises(OptionError, match="--precision int8: needs --device cpu, and a processor with AVX-512 VNNI"):
        seqvae.load("melody-2bar", "cpu", "int8")
    monkeypatch.delattr(torch.cpu, "_is_vnni_supported", raising=False)  # a private name of torch's
    with pytest.raises(OptionError, match="--precision int8: needs --device cpu, and a processor with AVX-512 VNNI"):
        seqvae.load("melody-2bar", "cpu", "int8")


@needs_packed
def test_a_model_that_has_decoded_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "WORTH_PACKING", 0)
    model = decoding(MODELS["melodies"]).float()
    z = latents(model, 3).float()

    def ids(model: SequenceVAE) -> Tensor:
        with int8_products():
            return generate(model.decoder, z, 6, generator=torch.Generator().manual_seed(3))

    found = ids(model)
    assert torch.equal(ids(copy.deepcopy(model)), found)
