"""Rows in threads of their own: the same results, settings and errors as in one."""

import threading
from collections.abc import Iterator

import pytest
import torch
from test_sampling import tiny, tiny_text
from torch import Tensor

from seqvae import threads
from seqvae.int8 import int8_products, wanted
from seqvae.sampling import generate
from seqvae.threads import side_by_side

ROWS = 40  # more than FewSteps takes
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "ROWS", 20)
    yield
    torch.set_num_threads(before)


def seen(rows: slice) -> Tensor:
    """What a thread of `side_by_side` computes with, for each of its rows."""
    facts = [
        threading.get_ident() % 2**31,
        torch.get_num_threads(),
        torch.is_autocast_enabled("cpu"),
        torch.is_inference_mode_enabled(),
        wanted(),
    ]
    return torch.tensor(facts).expand(rows.stop - rows.start, -1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("shared_noise", [False, True])
@pytest.mark.parametrize("text", [False, True])
def test_the_same_ids_as_in_one_thread(
    text: bool, shared_noise: bool, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = (tiny_text if text else tiny)().double().decoder
    z = 10.0 * torch.randn(ROWS + 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def ids() -> Tensor:
        noise = torch.Generator().manual_seed(1)
        return generate(decoder, z, decoder.config.length, temperature, generator=noise, shared_noise=shared_noise)

    apart = ids()
    monkeypatch.setattr(threads, "ROWS", ROWS)
    assert torch.equal(apart, ids())
    assert len(set(map(tuple, apart.tolist()))) > 1


def test_each_thread_has_its_rows_and_computes_as_the_caller_does() -> None:
    with torch.autocast("cpu", torch.bfloat16), int8_products():
        found = side_by_side(seen, ROWS, CPU)
    assert len(set(found[:, 0].tolist())) == 2
    assert found[:, 1:].tolist() == [[1, True, True, True]] * ROWS
    assert side_by_side(seen, ROWS, CPU)[:, 1:].tolist() == [[1, False, True, False]] * ROWS
    numbers = side_by_side(lambda rows: torch.arange(rows.start, rows.stop), ROWS + 5, CPU)
    assert numbers.tolist() == list(range(ROWS + 5))


def test_more_threads_than_parts_help_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(5)
    assert set(side_by_side(seen, ROWS, CPU)[:, 1].tolist()) == {2}
    assert torch.get_num_threads() == 5


@pytest.mark.parametrize(("rows", "device"), [(ROWS - 1, "cpu"), (ROWS, "cuda")])
def test_few_rows_and_a_gpu_s_are_one_part(rows: int, device: str) -> None:
    found = side_by_side(seen, rows, torch.device(device))
    assert found[:, 1:].tolist() == [[2, False, True, False]] * rows
    assert set(found[:, 0].tolist()) == {threading.get_ident() % 2**31}


@pytest.mark.parametrize("first", [False, True])
def test_an_error_is_the_caller_s(first: bool) -> None:
    def work(rows: slice) -> Tensor:
        if (rows.start == 0) == first:
            raise MemoryError("of this part")
        return torch.zeros(rows.stop - rows.start)

    with pytest.raises(MemoryError, match="of this part"):
        side_by_side(work, ROWS, CPU)
    assert torch.get_num_threads() == 2
    others: list[int] = []
    late = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    late.start()
    late.join()
    assert others == [2]
