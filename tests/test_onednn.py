"""Products by oneDNN are products, and so are those with weights that were laid out once."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from test_few import MODELS, decoding, latents
from torch import Tensor

from seqvae import few, onednn
from seqvae.devices import autocast
from seqvae.int8 import Int8Weight
from seqvae.onednn import PackedWeight, is_faster, multiplies, product
from seqvae.sampling import generate
from seqvae.stepping import laid_out, plus_product

CPU = torch.device("cpu")
PRECISE = {"atol": 1e-5, "rtol": 1e-5}
TYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if multiplies(dtype)]


@pytest.fixture(params=[True, False], ids=["packed", "as it lies"])
def everything_packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whatever the size of a weight and however many rows."""
    monkeypatch.setattr(onednn, "LARGE", 0 if request.param else 2**60)
    monkeypatch.setattr(onednn, "MUCH", 2**60)
    return request.param


needs_packed = pytest.mark.skipif(len(TYPES) < 2, reason="torch has no packed products here")


def lying(rows: int, columns: int, how: str) -> Tensor:
    """A matrix that lies in memory row by row, column by column, or in part of larger rows."""
    torch.manual_seed(rows)
    return {
        "rows": torch.randn(rows, columns),
        "columns": torch.randn(columns, rows).t(),
        "part": torch.randn(rows, columns + 3)[:, 3:],
    }[how]


@needs_packed
@pytest.mark.parametrize("of_x", ["rows", "columns", "part"])
@pytest.mark.parametrize("of_weight", ["rows", "columns", "part"])
@pytest.mark.parametrize("size", [(5, 40, 7), (9, 40, 7)])
def test_a_product_of_any_matrices_has_its_gradients(
    of_x: str, of_weight: str, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "SMALL", 1)
    rows, inner, columns = size
    x, weight, gradient = lying(rows, inner, of_x), lying(inner, columns, of_weight), torch.randn(rows, columns)
    assert is_faster(x, weight) == ("part" not in (of_x, of_weight))
    found, exact = [x, weight], [x.double(), weight.double()]
    for each in (*found, *exact):
        each.requires_grad_()
    said, expected = product(*found), torch.matmul(*exact)
    torch.testing.assert_close(said.double(), expected, **PRECISE)
    for given, wanted in zip(
        torch.autograd.grad(said, found, gradient), torch.autograd.grad(expected, exact, gradient.double()), strict=True
    ):
        torch.testing.assert_close(given.double(), wanted, **PRECISE)
    with torch.no_grad():
        torch.testing.assert_close(product(*found).double(), expected, **PRECISE)


@needs_packed
def test_rows_of_many_steps_are_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "SMALL", 1)
    steps, weight = torch.randn(3, 5, 40).transpose(0, 1), torch.randn(40, 7)
    for x in (steps, steps[..., :30]):
        w = weight[: x.shape[-1]]
        assert is_faster(x, w)
        torch.testing.assert_close(product(x, w), x @ w)
        for addend in (torch.randn(7), torch.randn(3, 7)):
            torch.testing.assert_close(plus_product(addend, x, w), addend + x @ w)


@needs_packed
def test_gradients_of_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "SMALL", 1)
    x, weight = torch.randn(4, 6, requires_grad=True), torch.randn(6, 3, requires_grad=True)
    second = []
    for said in (product(x, weight), x @ weight):
        (slope,) = torch.autograd.grad(said.pow(3).sum(), x, create_graph=True)
        second.append(torch.autograd.grad(slope.pow(2).sum(), weight)[0])
    torch.testing.assert_close(*second, atol=1e-3, rtol=1e-4)


def test_what_is_left_to_torch() -> None:
    large = torch.empty(2**11, 2**11)
    assert is_faster(large, large) == multiplies(torch.float32)
    assert not is_faster(large[:1, :1], large[:1])
    for dtype in (torch.float64, torch.bfloat16):
        assert not is_faster(large.to(dtype), large.to(dtype))
    assert not is_faster(large.to("meta"), large.to("meta"))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("rows", [0, 1, 2, 65])
@pytest.mark.parametrize("columns", [True, False])
def test_products(dtype: torch.dtype, rows: int, columns: bool, everything_packed: bool) -> None:
    torch.manual_seed(0)
    weight = (torch.randn(9, 40).t() if columns else torch.randn(40, 9)).to(dtype)
    x = torch.randn(rows, 50)[:, 10:]  # as the states of several rows lie among what comes from below
    held = PackedWeight(weight)
    assert (held.shape, held.dtype) == (weight.shape, dtype)
    assert held.is_best_packed(1) == (everything_packed or dtype == torch.bfloat16)
    precise = {"atol": 0.1, "rtol": 0.02} if dtype == torch.bfloat16 else PRECISE
    expected = x.to(dtype).double() @ weight.double()
    torch.testing.assert_close(held.times(x.to(dtype)).double(), expected, **precise)
    for addend in (torch.randn(rows, 9), torch.randn(9)):
        found = plus_product(addend, x, held)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), addend + expected, **precise)


@pytest.mark.skipif(not TYPES, reason="torch has no packed products here")
def test_small_weights_in_fp32_are_packed_when_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "LARGE", 100)
    monkeypatch.setattr(onednn, "MUCH", 150)
    small, large = PackedWeight(torch.randn(9, 11)), PackedWeight(torch.randn(10, 10))
    assert [small.is_best_packed(rows) for rows in (1, 2)] == [False, True]
    assert [large.is_best_packed(rows) for rows in (1, 2)] == [True, True]
    monkeypatch.setattr(onednn, "MUCH", 400)
    assert not small.is_best_packed(4)


def test_where_torch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("could not create a primitive")

    assert not multiplies(torch.float64)
    for operators in ({}, {"_linear_pointwise": refuse, "_reorder_linear_weight": refuse}):
        multiplies.cache_clear()
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(torch.ops, "mkldnn", SimpleNamespace(**operators))
            assert not multiplies(torch.float32)
            assert isinstance(laid_out(torch.randn(3, 4)), Tensor)
    multiplies.cache_clear()


def test_what_is_laid_out_how() -> None:
    weight = torch.randn(3, 4, requires_grad=True)
    assert laid_out(weight).requires_grad
    with torch.no_grad():
        assert isinstance(laid_out(weight.double()), Tensor)
        for precision in ("fp32", "bf16"):
            with autocast(CPU, precision):
                held = laid_out(weight)
                assert held.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
                assert isinstance(held, PackedWeight) == multiplies(held.dtype)
        with autocast(CPU, "int8"):
            assert isinstance(laid_out(weight), Int8Weight)
            assert not isinstance(laid_out(weight, of_states=False), Int8Weight)


@needs_packed
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 3, few.ROWS + 1])
def test_sequences_are_those_of_plain_products(
    name: str, rows: int, everything_packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = decoding(MODELS[name]).float(), []
    z = latents(model, rows).float()
    for has in (multiplies, lambda dtype: False):
        monkeypatch.setattr(onednn, "multiplies", has)
        model.train().eval()  # forgets the weights it has laid out
        ids.append(generate(model.decoder, z, 6, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(*ids)


@needs_packed
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 3])
def test_steps_of_a_few_in_bf16_are_torchs(name: str, rows: int) -> None:
    """But for what is rounded: sums are taken in another order."""
    model = decoding(MODELS[name]).float()
    z, tokens = latents(model, rows).float(), torch.randint(0, 7, (rows, 6), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode(), autocast(CPU, "bf16"):
        assert few.suits(model.decoder, z)
        step, state, found, expected = few.FewSteps(model.decoder, z), model.decoder.start(z), [], []
        for t in range(6):
            previous = tokens[:, t - 1] if t else None
            found.append(step(previous).clone())
            logits, state = model.decoder.step(state, previous)
            expected.append(logits)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=0.1, rtol=0.05)
