"""Paths and sums in the latent space, and the file that keeps latents."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from seqvae.errors import ModelError
from seqvae.latent_file import Latents
from seqvae.latents import arithmetic, interpolate, lerp, slerp

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 16)).astype(np.float32)


def test_slerp_turns_at_a_constant_rate_on_the_great_circle() -> None:
    a, b = A / np.linalg.norm(A), B / np.linalg.norm(B)
    whole = np.arccos(a @ b)
    for t in (0.25, 0.5, 0.9):
        point = slerp(a, b, t)
        assert np.linalg.norm(point) == pytest.approx(1.0, abs=1e-6)
        assert np.arccos(a @ point) == pytest.approx(t * whole, abs=1e-5)
        np.testing.assert_allclose(slerp(7 * a, 7 * b, t), 7 * point, rtol=1e-5)  # on a sphere of any size


def test_ends_are_exact() -> None:
    path = interpolate(A, B, 5)
    assert path.dtype == np.float32
    assert np.array_equal(path[0], A)
    assert np.array_equal(path[-1], B)


@pytest.mark.parametrize("other", [A, -A, np.zeros_like(A), 2 * A])
def test_parallel_and_zero_vectors_fall_back_to_a_line(other: np.ndarray) -> None:
    path = interpolate(A, other, 3)
    assert np.isfinite(path).all()
    np.testing.assert_allclose(path[1], lerp(A, other, 0.5), atol=1e-6)


def test_rounding_breaks_no_path_between_parallel_vectors() -> None:
    """Some of whose cosines are a little beyond 1."""
    for a in np.random.default_rng(0).standard_normal((200, 3)):
        for other in (a, 3 * a, -a):
            assert np.isfinite(interpolate(a, other, 3)).all()


def test_a_path_from_a_to_a_stays() -> None:
    np.testing.assert_allclose(interpolate(A, A, 4), np.tile(A, (4, 1)), atol=1e-6)


def test_arithmetic() -> None:
    np.testing.assert_allclose(arithmetic([A, B], [A]), B, atol=1e-6)
    with pytest.raises(ValueError, match="arithmetic needs at least one"):
        arithmetic([])


def test_an_interpolation_has_two_ends() -> None:
    assert np.array_equal(interpolate(A, B, 2), [A, B])
    with pytest.raises(ValueError, match="at least 2"):
        interpolate(A, B, 1)


def make() -> Latents:
    mean = RNG.standard_normal((2, 3)).astype(np.float32)
    return Latents(mean, np.abs(mean), ["a.mid", "ü.mid"], [1, 3], [120.0, 90.5], "melody-2bar")


def test_latents_come_back_as_they_were(tmp_path: Path) -> None:
    before = make()
    before.save(tmp_path / "latents.npz")
    after = Latents.load(tmp_path / "latents.npz")
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert (after.source, after.place, after.tempo, after.model) == (
        before.source,
        before.place,
        before.tempo,
        before.model,
    )


def test_latents_of_sentences_have_lines_and_no_tempo(tmp_path: Path) -> None:
    before = Latents(A[None], np.abs(A[None]), ["the cat sat"], [7], None, "psalms", "text")
    before.save(tmp_path / "latents.npz")
    with np.load(tmp_path / "latents.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["line", "mean", "model", "scale", "source"]
    after = Latents.load(tmp_path / "latents.npz")
    assert (after.source, after.place, after.tempo, after.kind) == (["the cat sat"], [7], None, "text")


@pytest.mark.parametrize("scale", [np.ones(4), np.full((4, 2), -1.0), np.full((4, 2), 1e300), np.full((4, 2), "1")])
def test_scales_are_those_of_means(tmp_path: Path, scale: np.ndarray) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((4, 2)), scale=scale)
    with pytest.raises(ModelError, match=r"'scale' must have the shape of 'mean', \(4, 2\), of finite values"):
        Latents.load(tmp_path / "z.npz")


def test_a_damaged_archive_is_no_latents_file(tmp_path: Path) -> None:
    good = tmp_path / "good.npz"
    np.savez(good, mean=np.zeros((4, 2)))
    with zipfile.ZipFile(good) as archive:
        array = archive.read("mean.npy")
    contents = (b"text", array.replace(b"{", b"("), array.replace(b"'descr'", b"  desc("))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_LZMA):
        for content in contents:
            with zipfile.ZipFile(tmp_path / "z.npz", "w", method) as archive:
                archive.writestr("mean.npy", content)
            with pytest.raises(ModelError, match=r"z\.npz (is no latents file|has no latents)"):
                Latents.load(tmp_path / "z.npz")


def test_whole_numbers_are_scales_and_places(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((2, 2)), scale=np.ones((2, 2), int), bar=np.array([1, 2], np.float16))
    latents = Latents.load(tmp_path / "z.npz")
    assert (latents.scale.dtype, latents.place) == (np.float32, [1, 2])


@pytest.mark.parametrize("bar", [1e300, np.nan, np.inf, 0.0, -1.0, 1.5])
def test_places_are_numbers_that_people_count(tmp_path: Path, bar: float) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((2, 2)), bar=np.array([1.0, bar]))
    with pytest.raises(ModelError, match="'bar' must hold whole numbers from 1"):
        Latents.load(tmp_path / "z.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"tempo": np.array(100.0)}, r"'tempo' has the shape \(\), .* \(1,\)"),
        ({"tempo": np.full((1, 2), 100.0)}, r"'tempo' has the shape \(1, 2\)"),
        ({"tempo": np.array([100 + 0j])}, "'tempo' has values that no MIDI file can hold"),
        ({"bar": np.array(3)}, r"'bar' has the shape \(\)"),
        ({"source": np.array("a.mid")}, r"'source' has the shape \(\)"),
    ],
)
def test_arrays_of_another_shape_are_told_by_name(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((1, 2)), **arrays)
    with pytest.raises(ModelError, match=message):
        Latents.load(tmp_path / "z.npz")


def test_means_may_be_whole_numbers_and_a_model_in_a_list(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", mean=np.ones((2, 2), int), model=np.array(["melody-2bar"]))
    found = Latents.load(tmp_path / "z.npz")
    assert (found.mean.dtype, found.mean.tolist(), found.model) == (np.float32, [[1.0, 1.0]] * 2, "melody-2bar")


def test_only_mean_is_needed(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((4, 2)))
    assert len(Latents.load(tmp_path / "z.npz")) == 4


def broken(tmp_path: Path) -> dict[str, Path]:
    files = {name: tmp_path / f"{name}.npz" for name in ("text", "empty", "objects", "other", "nan", "rows", "bare")}
    files["text"].write_text("not a zip")
    files["empty"].write_bytes(b"")
    np.savez(files["objects"], mean=np.array([{"a": 1}], dtype=object))
    np.savez(files["other"], weights=np.zeros((2, 2)))
    np.savez(files["nan"], mean=np.full((2, 2), np.nan))
    np.savez(files["rows"], mean=np.zeros((2, 2)), bar=np.zeros(3))
    with open(files["bare"], "wb") as file:
        np.save(file, np.zeros((2, 2)))
    return files | {"missing": tmp_path / "missing.npz"}


@pytest.mark.parametrize("name", ["text", "empty", "objects", "other", "nan", "rows", "bare", "missing"])
def test_what_is_no_latents_file_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError) as error:
        Latents.load(broken(tmp_path)[name])
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("tempo", [3.0, -5.0, np.nan, np.inf])
def test_tempos_that_no_file_can_hold_are_refused(tmp_path: Path, tempo: float) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((2, 2)), tempo=np.array([120.0, tempo]))
    with pytest.raises(ModelError, match="'tempo' has values that no MIDI file can hold"):
        Latents.load(tmp_path / "z.npz")


def test_latents_beyond_single_precision_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", mean=np.full((2, 2), 1e300))
    with pytest.raises(ModelError, match="not finite"):
        Latents.load(tmp_path / "z.npz")
