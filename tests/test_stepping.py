"""How weights are laid out for products."""

import pytest
import torch

from seqvae import stepping
from seqvae.stepping import in_product_type


@pytest.mark.parametrize("size", [(3, 4), (4, 4), (6, 4)])
@pytest.mark.parametrize("transposed", [True, False])
def test_small_weights_in_fp32_and_large_ones_in_bf16_lie_in_columns(
    size: tuple[int, int], transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepping, "SMALL", 4 * 4)
    monkeypatch.setattr(stepping, "LARGE", 6 * 4)
    weight = torch.randn(size[::-1]).t() if transposed else torch.randn(size)
    exact = in_product_type(weight)
    assert torch.equal(exact, weight)
    with torch.autocast("cpu", torch.bfloat16):
        low = in_product_type(weight)
    assert torch.equal(low, weight.bfloat16())
    assert exact.t().is_contiguous() == (size[0] <= 4)
    assert low.t().is_contiguous() == (size[0] >= 6)
    assert all(each.is_contiguous() or each.t().is_contiguous() for each in (exact, low))
