"""What every sequence VAE keeps to: shapes, causality, and two roads to the same logits."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from seqvae import decoders, stepping
from seqvae.config import INITIALISATIONS, ModelConfig
from seqvae.embedding import dropped_out
from seqvae.objectives import distortion, rate_per_dimension
from seqvae.presets import preset
from seqvae.updating import update
from seqvae.vae import Noise, SequenceVAE

SMALL = {"vocabulary_size": 7, "length": 5, "encoder_size": 6, "decoder_size": 8, "latent_size": 3}
TEXT = {"bos": 0, "eos": 1, "blank": 2}
CONFIGS = {
    "one-hot": ModelConfig(**SMALL),
    "embedded": ModelConfig(**SMALL, embedding_size=4),
    "deep": ModelConfig(**SMALL, encoder_layers=2, decoder_layers=3),
    "shallow": ModelConfig(**SMALL, decoder_layers=1),
    "z at the start alone": ModelConfig(**SMALL, latent_to="start"),
    "mean-pooled": ModelConfig(**SMALL, summary="mean"),
    "max-pooled": ModelConfig(**SMALL, summary="max", encoder_layers=2),
    "one way": ModelConfig(**SMALL, bidirectional=False, encoder_layers=2),
    "one way, mean-pooled": ModelConfig(**SMALL, bidirectional=False, summary="mean"),
    "one way, max-pooled": ModelConfig(**SMALL, bidirectional=False, summary="max"),
    "sentences": ModelConfig(
        **SMALL, **TEXT, embedding_size=4, bidirectional=False, initial_state="shared", bias=False
    ),
    "sentences, both directions": ModelConfig(**SMALL, **TEXT, embedding_size=4, dropout=0.5),
    "tied": ModelConfig(**SMALL, **TEXT, embedding_size=8, tied=True),
    "tied, without bias": ModelConfig(**SMALL, embedding_size=8, tied=True, bias=False, decoder_layers=1),
    "one-hot sentences": ModelConfig(**SMALL, **TEXT, summary="mean", latent_to="start"),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> SequenceVAE:
    torch.manual_seed(3)
    return SequenceVAE(CONFIGS[request.param]).double().eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 7, (4, 5), generator=torch.Generator().manual_seed(4))


def test_under_autocast_gates_cells_and_sums_stay_in_fp32(
    model: SequenceVAE, tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = []

    def pointwise(gates: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        types.extend((gates.dtype, cell.dtype))
        return stepping.pointwise(gates, cell)

    monkeypatch.setattr(decoders, "pointwise", pointwise)
    decoder = model.float().decoder
    for grad in (False, True):
        with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16):
            state, previous = decoder.start(torch.randn(4, 3)), None
            for step in range(tokens.shape[1]):
                _, state = decoder.step(state, previous)
                previous = tokens[:, step]
    assert set(types) == {torch.float32}


def test_shapes(model: SequenceVAE, tokens: torch.Tensor) -> None:
    posterior = model.encode(tokens)
    assert posterior.loc.shape == posterior.scale.shape == (4, 3)
    assert (posterior.scale > 0).all()
    assert model.decode(posterior.loc, tokens).shape == (4, 5, 7)
    terms = model(tokens)
    assert terms.distortion.shape == terms.elbo.shape == (4,)
    assert terms.rates.shape == (4, 3)


def test_one_step_at_a_time_is_the_teacher_forced_pass(model: SequenceVAE, tokens: torch.Tensor) -> None:
    z = torch.randn(4, 3, dtype=torch.float64)
    state, previous, logits = model.decoder.start(z), None, []
    for step in range(5):
        found, state = model.decoder.step(state, previous)
        logits.append(found)
        previous = tokens[:, step]
    torch.testing.assert_close(torch.stack(logits, 1), model.decode(z, tokens))


def test_steps_follow_weights_that_change(model: SequenceVAE, tokens: torch.Tensor) -> None:
    """What `step` keeps of the weights without a gradient is laid out anew when one of them is another."""
    z = torch.randn(4, 3, dtype=torch.float64)
    with torch.no_grad():
        first, _ = model.decoder.step(model.decoder.start(z), None)
        again, _ = model.decoder.step(model.decoder.start(z), None)
        assert torch.equal(first, again)
        for parameter in model.decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            logits, _ = model.decoder.step(model.decoder.start(z), None)
            torch.testing.assert_close(logits, model.decode(z, tokens)[:, 0])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_steps_follow_an_optimizer(model: SequenceVAE, tokens: torch.Tensor, kind: Any) -> None:
    """A fused one, too, which moves the weights without a word."""
    model, z = model.float(), torch.randn(4, 3)
    optimizer = kind(model.decoder.parameters(), lr=0.1, fused=True)
    for _ in range(3):
        with torch.no_grad():
            logits, _ = model.decoder.step(model.decoder.start(z), None)
            torch.testing.assert_close(logits, model.decode(z, tokens)[:, 0])
        optimizer.zero_grad()
        lost = model.distortion(z, tokens).mean()
        lost.backward()
        assert update(optimizer, lost.detach(), 1.0)


@pytest.mark.parametrize(
    "changes", [{}, {"summary": "mean", "encoder_layers": 2}, {"summary": "max", "bidirectional": False}]
)
@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3, 1, 4])])
def test_an_lstm_in_fp16_goes_with_the_rest_in_bf16(
    tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch, lengths: torch.Tensor | None, changes: dict[str, Any]
) -> None:
    """On a GPU autocast gives fp16 out of cuDNN's LSTM whatever type is asked for: the same is done here."""
    model = SequenceVAE(ModelConfig(**SMALL, **changes))
    plain = torch.lstm

    def in_half(inputs: torch.Tensor, state: Any, *rest: Any) -> tuple[torch.Tensor, ...]:
        assert inputs.dtype != torch.bfloat16  # which cuDNN's LSTM has not been given in all versions of torch
        with torch.autocast("cpu", enabled=False):
            found = plain(inputs.float(), tuple(each.float() for each in state), *rest)
        return tuple(each.half() for each in found)

    monkeypatch.setattr(torch, "lstm", in_half)
    monkeypatch.setattr(torch._VF, "lstm", in_half, raising=False)  # the one that nn.LSTM calls
    for noise in (Noise(), Noise(scheduled=0.5, parallel=True)):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            terms = model(tokens, lengths, noise=noise)
        (terms.distortion + terms.rates.sum(-1)).mean().backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())


def test_steps_have_the_gradient_of_the_teacher_forced_pass(model: SequenceVAE, tokens: torch.Tensor) -> None:
    z = torch.randn(4, 3, dtype=torch.float64)
    model.decode(z, tokens).square().sum().backward()
    parameters = list(model.decoder.parameters())
    wanted = [parameter.grad.clone() for parameter in parameters]
    model.zero_grad()
    state, previous = model.decoder.start(z), None
    for step in range(5):
        logits, state = model.decoder.step(state, previous)
        logits.square().sum().backward(retain_graph=True)
        previous = tokens[:, step]
    for parameter, gradient in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_steps_in_half_precision_stay_near_the_exact_ones(tokens: torch.Tensor) -> None:
    """Products of 8 bits: within 2 % of the logits' own spread after all steps, whose cells are kept in fp32."""
    torch.manual_seed(3)
    model = SequenceVAE(ModelConfig(vocabulary_size=7, length=5, encoder_size=8, decoder_size=64, latent_size=16))
    z, logits = torch.randn(4, 16), {}
    for low in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            state, previous, found = model.decoder.start(z), None, []
            for step in range(5):
                each, state = model.decoder.step(state, previous)
                found.append(each)
                previous = tokens[:, step]
            assert all(cell.dtype == torch.float32 for cell in state.cell)
        logits[low] = torch.stack(found, 1)
    assert not torch.equal(logits[True], logits[False])
    assert (logits[True] - logits[False]).abs().max() < 0.02 * logits[False].std()


def test_steps_have_the_precision_that_holds_now(tokens: torch.Tensor) -> None:
    """What was kept of the weights in half precision is not used in full."""
    torch.manual_seed(0)
    model, z = SequenceVAE(CONFIGS["shallow"]).eval(), torch.randn(4, 3)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            rounded, _ = model.decoder.step(model.decoder.start(z), None)
        exact, _ = model.decoder.step(model.decoder.start(z), None)
        torch.testing.assert_close(exact, model.decode(z, tokens)[:, 0])
    assert not torch.allclose(rounded, exact)


def test_what_was_kept_of_weights_is_forgotten_when_others_train_them(tokens: torch.Tensor) -> None:
    """By a fused optimizer, whose changes torch does not count."""
    torch.manual_seed(0)
    model, z = SequenceVAE(CONFIGS["shallow"]).eval(), torch.randn(4, 3)
    with torch.no_grad():
        model.decoder.step(model.decoder.start(z), None)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.1, fused=True)
    (-model(tokens).elbo.mean()).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        logits, _ = model.decoder.step(model.decoder.start(z), None)
        torch.testing.assert_close(logits, model.decode(z, tokens)[:, 0])


def test_the_decoder_never_looks_ahead(model: SequenceVAE, tokens: torch.Tensor) -> None:
    z = torch.randn(4, 3, dtype=torch.float64)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    before, after = model.decode(z, tokens), model.decode(z, changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_elbo_is_log_likelihood_less_rate(model: SequenceVAE, tokens: torch.Tensor) -> None:
    terms = model(tokens, generator=torch.Generator().manual_seed(5))
    posterior = model.encode(tokens)
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    z = posterior.loc + posterior.scale * noise
    log_likelihood = torch.distributions.Categorical(logits=model.decode(z, tokens)).log_prob(tokens).sum(-1)
    prior = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    rate = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(terms.elbo, log_likelihood - rate, rtol=1e-5, atol=1e-5)  # cross entropy is fp32


def test_every_parameter_has_a_gradient(model: SequenceVAE, tokens: torch.Tensor) -> None:
    (-model(tokens).elbo.mean()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_the_same_noise_gives_the_same_pass(model: SequenceVAE, tokens: torch.Tensor) -> None:
    first, again = (model(tokens, generator=torch.Generator().manual_seed(6)).elbo for _ in range(2))
    assert torch.equal(first, again)


def test_both_directions_of_the_encoder_reach_the_posterior(model: SequenceVAE, tokens: torch.Tensor) -> None:
    for step in (0, 4):
        changed = tokens.clone()
        changed[:, step] = (changed[:, step] + 1) % 7
        assert not torch.allclose(model.encode(tokens).loc, model.encode(changed).loc)


def test_sizes_of_the_melody_models() -> None:
    with torch.device("meta"):
        small = SequenceVAE(ModelConfig())
        big = SequenceVAE(ModelConfig(encoder_size=2048, decoder_size=2048, decoder_layers=3, latent_size=512))
    assert sum(p.numel() for p in small.parameters()) == pytest.approx(4.4e6, rel=0.01)
    assert sum(p.numel() for p in big.parameters()) == pytest.approx(134.6e6, rel=0.01)


def test_padding_counts_for_nothing(model: SequenceVAE, tokens: torch.Tensor) -> None:
    lengths = torch.tensor([5, 3, 1, 4])
    padded = tokens.clone()
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = 6 - padded[row, length:]
    z = torch.randn(4, 3, dtype=torch.float64)
    together = model.encode(tokens, lengths), model.distortion(z, tokens, lengths)
    again = model.encode(padded, lengths), model.distortion(z, padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = tokens[row : row + 1, :length]
        for posterior, lost in (together, again):
            torch.testing.assert_close(posterior.loc[row : row + 1], model.encode(alone).loc)
            torch.testing.assert_close(posterior.scale[row : row + 1], model.encode(alone).scale)
            torch.testing.assert_close(lost[row : row + 1], model.distortion(z[row : row + 1], alone))


def test_the_states_of_chosen_sequences_go_on_as_they_would_have(model: SequenceVAE, tokens: torch.Tensor) -> None:
    z, rows = torch.randn(4, 3, dtype=torch.float64), torch.tensor([2, 0, 2])
    _, state = model.decoder.step(model.decoder.start(z), None)
    logits, _ = model.decoder.step(state, tokens[:, 0])
    chosen, _ = model.decoder.step(state.select(rows), tokens[rows, 0])
    torch.testing.assert_close(chosen, logits[rows])


def test_dropout_is_noise_in_training_alone(tokens: torch.Tensor) -> None:
    torch.manual_seed(0)
    model, z = SequenceVAE(CONFIGS["sentences, both directions"]), torch.randn(4, 3)

    def logits(seed: int) -> torch.Tensor:
        return model.decoder(z, tokens, torch.Generator().manual_seed(seed))

    assert torch.equal(logits(1), logits(1))
    assert not torch.allclose(logits(1), logits(2))
    model.eval()
    assert torch.equal(logits(1), logits(2))


def test_dropout_reaches_what_a_decoder_says() -> None:
    """In a whole pass, and in steps of which the first reads no token."""
    torch.manual_seed(0)
    decoder = SequenceVAE(ModelConfig(**SMALL | {"decoder_size": 400}, dropout=0.5)).decoder
    z, tokens = torch.randn(4, 3), torch.randint(0, 7, (4, 5))
    said = decoder.outputs(z, tokens, torch.Generator().manual_seed(0))
    assert (said == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    one, other = (decoder.step(decoder.start(z), None, torch.Generator().manual_seed(seed))[0] for seed in (0, 1))
    assert not torch.allclose(one, other)


def test_dropout_keeps_the_mean() -> None:
    kept = dropped_out(torch.ones(100_000), 0.3, torch.Generator().manual_seed(0))
    assert sorted(kept.unique().tolist()) == pytest.approx([0.0, 1 / 0.7])
    assert kept.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("share", [1e-3, 0.25, 0.9])
@pytest.mark.parametrize("shape", [(100_001,), (3, 7, 9_001)], ids=str)
def test_dropout_drops_the_share_that_is_asked_for(share: float, shape: tuple[int, ...]) -> None:
    dropped = dropped_out(torch.ones(shape), share, torch.Generator().manual_seed(1)) == 0
    spread = (share * (1 - share) / dropped.numel()) ** 0.5
    assert abs(dropped.double().mean() - share) < 4 * spread
    neighbours = dropped[..., 1:] & dropped[..., :-1]  # which are drawn from the same bits
    assert abs(neighbours.double().mean() - share**2) < 6 * (share**2 / neighbours.numel()) ** 0.5


@pytest.mark.parametrize("share", [1e-9, 1 - 1e-9])
def test_dropout_at_its_ends(share: float) -> None:
    kept = dropped_out(torch.ones(2, 1000, dtype=torch.float64), share, torch.Generator().manual_seed(0))
    assert (kept != 0).double().mean() == pytest.approx(1 - share, abs=1e-2)
    assert kept.isfinite().all()


def test_a_penn_treebank_model_has_the_parameters_of_the_literature() -> None:
    with torch.device("meta"):
        model = SequenceVAE(replace(preset("ptb-vae").model, vocabulary_size=10_002, bos=0))
    assert sum(p.numel() for p in model.parameters()) == 8_791_552


def test_the_tied_model_of_penn_treebank_has_no_more_parameters() -> None:
    with torch.device("meta"):
        model = SequenceVAE(replace(preset("ptb-best").model, vocabulary_size=10_002, bos=0))
    assert 8_600_000 < sum(p.numel() for p in model.parameters()) <= 8_791_552


def test_first_weights_are_of_the_kind_that_is_asked_for() -> None:
    """Orthogonal: W W' = 1 for each gate, and forget gates open; uniform: within 1/sqrt(H), spread 1/sqrt(3 H)."""
    torch.manual_seed(0)
    size = 64
    wide = SMALL | {"encoder_size": size, "decoder_size": size}
    for part in ("encoder", "decoder"):
        first = {kind: SequenceVAE(ModelConfig(**wide, initialisation=kind)) for kind in INITIALISATIONS}
        scaled, plain = (getattr(first[kind], part).lstm for kind in ("orthogonal", "uniform"))
        for gate in scaled.weight_hh_l0.chunk(4):
            torch.testing.assert_close(gate @ gate.T, torch.eye(size))
        assert [gate.unique().tolist() for gate in scaled.bias_ih_l0.chunk(4)] == [[0.0], [1.0], [0.0], [0.0]]
        assert not scaled.bias_hh_l0.any()
        for weights in plain.parameters():
            assert weights.detach().abs().max() <= size**-0.5
            assert weights.detach().std() == pytest.approx((3 * size) ** -0.5, rel=0.15)


def test_tied_weights_are_those_of_an_untied_model_moved_together(tokens: torch.Tensor) -> None:
    """The same logits; and the one gradient is the sum of the two."""
    torch.manual_seed(0)
    tied = SequenceVAE(CONFIGS["tied"]).double()
    untied = SequenceVAE(replace(CONFIGS["tied"], tied=False)).double()
    rows = tied.decoder.input.rows
    untied.load_state_dict(tied.state_dict() | {"decoder.output.weight": rows})
    for model in (tied, untied):
        model(tokens, generator=torch.Generator().manual_seed(1)).elbo.sum().backward()
    read, said = untied.decoder.input.rows.grad, untied.decoder.output.weight.grad
    assert read.any()
    assert said.any()
    torch.testing.assert_close(rows.grad, read + said)
    fewer = sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters())
    assert fewer == rows.numel()


def test_without_latents_it_is_a_language_model(tokens: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = SequenceVAE(ModelConfig(**SMALL | {"latent_size": 0}, **TEXT, embedding_size=4))
    terms = model(tokens)
    assert terms.rates.shape == terms.z.shape == (4, 0)
    (-terms.elbo.mean()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    assert not any(name.startswith("encoder") for name, _ in model.named_parameters())


@pytest.mark.parametrize("noise", [{}, {"scheduled": 1e-9}, {"scheduled": 1e-9, "parallel": True}])
@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3, 1, 4])])
def test_hidden_words_are_asked_for_all_the_same(
    tokens: torch.Tensor, lengths: torch.Tensor | None, noise: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = SequenceVAE(CONFIGS["one-hot sentences"])
    terms = model(tokens, lengths, torch.Generator().manual_seed(1), Noise(word_dropout=1.0, **noise))
    logits = model.decode(terms.z, torch.full_like(tokens, TEXT["blank"]))
    torch.testing.assert_close(terms.distortion, distortion(logits, tokens, lengths))


def test_encoders_of_hidden_words_read_the_end() -> None:
    torch.manual_seed(0)
    model = SequenceVAE(CONFIGS["one-hot sentences"])
    tokens, masked = torch.tensor([[3, 4, 1], [5, 1, 3]]), torch.tensor([[2, 2, 1], [2, 1, 3]])
    lengths = torch.tensor([3, 2])
    wanted = rate_per_dimension(model.encode(masked, lengths))
    torch.testing.assert_close(model(tokens, lengths, noise=Noise(mask=1.0)).rates, wanted)
