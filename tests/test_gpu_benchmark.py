"""The checks of benchmarks/gpu.py that need no GPU hold here, and they can fail."""

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from seqvae.decoders import LSTMDecoder

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"))


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(getattr(request, "param", "cpu"))


@pytest.fixture
def bench(device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu.Bench:
    monkeypatch.setattr(gpu, "SMALL", "melody-2bar-small")
    for name, number in (("WINDOWS", 1000), ("SENTENCES", 500), ("VOCABULARY", 50), ("BATCH", 8)):
        monkeypatch.setattr(gpu, name, number)
    made = gpu.Bench(device, gpu.windows(tmp_path), gpu.sentences(tmp_path), 0.01)
    made.windows.use_gpu(device)
    return made


@pytest.mark.parametrize("device", ["cpu", GPU], indirect=True)
def test_the_checks_hold(bench: gpu.Bench) -> None:
    assert {what: check() for what, check in gpu.checks(bench)} == dict.fromkeys(dict(gpu.checks(bench)), "")


def test_sentences_are_those_of_penn_treebank_in_length(bench: gpu.Bench) -> None:
    train = bench.sentences.train
    assert train.lengths.mean() == pytest.approx(gpu.MEAN, rel=0.1)
    assert train.lengths.std() == pytest.approx(gpu.DEVIATION, rel=0.1)
    assert all((train[row] == gpu.EOS).nonzero()[0].tolist() == [len(train[row]) - 1] for row in range(len(train)))
    assert bench.sentences.tokenizer.decode(train[0]).split()[0].startswith("word")


def test_the_data_say_what_they_are(bench: gpu.Bench) -> None:
    assert bench.windows.dataset.summary().startswith("1,016 windows of 2 bars in 4/4, from 1 tune in 1 file")
    assert bench.sentences.dataset.summary().startswith("516 sentences of ")


def test_a_batch_is_the_same_when_the_data_are_kept_on_a_device(bench: gpu.Bench) -> None:
    bench.windows.keep_on(bench.device)
    assert gpu.resident(bench) == ""


def test_passes_that_are_not_cudnns_are_told(bench: gpu.Bench) -> None:
    assert gpu.kernels(bench, gpu.SMALL).startswith("not called: aten::_cudnn_rnn, not called: aten::_cudnn_rnn_back")


def test_without_a_gpu_the_table_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit):
        gpu.main()
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == list(gpu.MARKS)
    assert out.count("not measured") == len(gpu.MARKS)
    assert "there is no GPU here" in err


def test_the_marks_are_of_what_is_timed(bench: gpu.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SMALL", "melody-2bar")  # as it is outside of these tests
    timed = [what for what, _ in gpu.speeds(dataclasses.replace(bench, device=torch.device("cuda")))]
    assert set(gpu.MARKS) <= set(timed)


def test_wrong_gradients_are_told(bench: gpu.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    nll = LSTMDecoder.nll
    monkeypatch.setattr(
        LSTMDecoder, "nll", lambda self, z, *rest: nll(self, z, *rest) * (1.001 if z.dtype == torch.float32 else 1.0)
    )
    assert "is off by" in gpu.gradients(bench, gpu.SMALL, "last", "fp32")


def test_weights_that_change_unheard_are_told(bench: gpu.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.autograd.graph, "increment_version", lambda weights: None)
    assert "do not hear that weights have changed" in gpu.recordings(bench)


def test_what_breaks_does_not_stop_the_rest() -> None:
    assert gpu.attempted(lambda: "ok") == ("ok", False)
    assert gpu.attempted(lambda: str(1 / 0)) == ("ZeroDivisionError: division by zero", True)


def test_speeds_are_above_0(bench: gpu.Bench) -> None:
    assert bench.rate(bench.trainer(gpu.SMALL, 8)) > 0
    assert bench.rate(bench.trainer(gpu.WORDS, 8)) > 0
    assert bench.rate(gpu.sampler(bench, 8)) > 0
