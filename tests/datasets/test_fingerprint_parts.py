"""Simulations that go on from finished parts."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

import crbestim
from crbestim import MTHybridStateModel, PulseSequence
from crbestim._array_log import parts_of
from crbestim.datasets import _fingerprint_parts

make_fingerprints = partial(crbestim.make_fingerprints, progress=False)
LIMIT = 2**20  # for which a chunk of the short model has 43 samples
OPTIONS = {"n_samples": 600, "random_state": 0, "memory_limit": LIMIT}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(_fingerprint_parts, "_MOST_SAMPLES", 100)


def simulated(model, monkeypatch):
    """Note how many samples the model simulates together with their bounds."""
    counts, stream = [], type(model)._stream_bounds

    def noted(self, theta, *args, **kwargs):
        counts.append(len(theta))
        yield from stream(self, theta, *args, **kwargs)

    monkeypatch.setattr(type(model), "_stream_bounds", noted)
    return counts


def assert_same(first, second):
    assert sorted(first) == sorted(second)
    for key in first:
        np.testing.assert_array_equal(np.asarray(first[key]), np.asarray(second[key]), err_msg=key)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"known": "B1", "targets": ("T1", "T2f")},
        {"basis": np.eye(60, 12), "compressed": True, "method": "sobol", "n_samples": 512},
        {"basis": np.eye(60, 12), "covariance": np.diag(np.linspace(1, 2, 12))},
    ],
    ids=["signals", "known", "coefficients", "coloured"],
)
def test_the_rest_is_simulated_and_the_result_is_the_same(short_model, tmp_path, monkeypatch, options):
    options = OPTIONS | options
    expected = make_fingerprints(short_model, **options)
    assert_same(make_fingerprints(short_model, checkpoint=tmp_path / "log", **options), expected)
    parts = parts_of(tmp_path / "log")
    assert len(parts) == -(-options["n_samples"] // 86)  # two chunks each
    for number in (1, 3):
        parts[number].unlink()
    counts = simulated(short_model, monkeypatch)
    again = make_fingerprints(short_model, checkpoint=str(tmp_path / "log"), **options)
    assert_same(again, expected)
    assert counts.count(86) == 2
    assert sum(counts) < 2 * 86 + 20
    assert parts_of(tmp_path / "log") == parts


def test_interrupted_simulation_keeps_its_parts(short_model, tmp_path, monkeypatch):
    stream, calls = type(short_model)._stream_bounds, []

    def interrupted(self, theta, *args, **kwargs):
        calls.append(len(theta))
        if calls.count(86) == 3:
            raise KeyboardInterrupt
        yield from stream(self, theta, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(short_model), "_stream_bounds", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS)
    assert len(parts_of(tmp_path)) == 2
    assert_same(
        make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS), make_fingerprints(short_model, **OPTIONS)
    )


def test_given_tissues_need_no_seed(short_model, draw_theta, tmp_path):
    theta = draw_theta(5)
    first = make_fingerprints(short_model, theta=theta, checkpoint=tmp_path)
    assert_same(make_fingerprints(short_model, theta=theta, checkpoint=tmp_path), first)
    assert len(parts_of(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"n_samples": 599},
        {"targets": "T1"},
        {"known": "B1"},
        {"basis": np.eye(60, 12)},
        {"covariance": np.diag(np.linspace(1, 2, 60))},
        {"memory_limit": LIMIT // 2},
        {"method": "sobol", "n_samples": 512},
    ],
    ids=str,
)
def test_parts_of_another_simulation_are_refused(short_model, tmp_path, change):
    make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="belongs to a simulation with other data or settings"):
        make_fingerprints(short_model, checkpoint=tmp_path, **(OPTIONS | change))


def test_parts_of_coefficients_are_not_those_of_signals(short_model, tmp_path):
    options = OPTIONS | {"basis": np.eye(60, 12)}
    make_fingerprints(short_model, checkpoint=tmp_path, **options)
    with pytest.raises(ValueError, match="belongs to a simulation"):
        make_fingerprints(short_model, checkpoint=tmp_path, compressed=True, **options)


def test_parts_of_another_model_are_refused(short_model, short_sequence, tmp_path):
    make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS)
    longer = PulseSequence(
        short_sequence.flip_angle * 1.001, short_sequence.pulse_duration, short_sequence.repetition_time, 5e-4
    )
    for model in (MTHybridStateModel(longer), MTHybridStateModel(short_sequence, saturation="generalized-bloch")):
        with pytest.raises(ValueError, match="belongs to a simulation"):
            make_fingerprints(model, checkpoint=tmp_path, **OPTIONS)


def test_damaged_part_is_told(short_model, tmp_path):
    make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS)
    parts = parts_of(tmp_path)
    parts[2].write_bytes(parts[-1].read_bytes())  # a part of another length
    with pytest.raises(ValueError, match="batch_000002.npz is damaged. Delete it"):
        make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS)
    parts[2].write_bytes(parts[2].read_bytes()[:100])
    with pytest.raises(ValueError, match="batch_000002.npz is damaged. Delete it"):
        make_fingerprints(short_model, checkpoint=tmp_path, **OPTIONS)


@pytest.mark.parametrize("seed", [None, np.random.default_rng(0), 1.0])
def test_a_seed_is_needed(short_model, tmp_path, seed):
    with pytest.raises(ValueError, match="checkpoint needs an int as random_state, or theta"):
        make_fingerprints(short_model, n_samples=3, random_state=seed, checkpoint=tmp_path)


def test_what_is_no_path_is_refused(short_model, tmp_path):
    with pytest.raises(TypeError, match="checkpoint must be a path; got int"):
        make_fingerprints(short_model, n_samples=3, random_state=0, checkpoint=3)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        make_fingerprints(short_model, n_samples=3, random_state=0, checkpoint=tmp_path)


@pytest.mark.parametrize("finished", [False, True])
def test_memory_stays_within_its_limit(short_model, tmp_path, finished):
    options = OPTIONS | {"n_samples": 4000}
    make_fingerprints(short_model, checkpoint=tmp_path / "warm", **(options | {"n_samples": 100}))
    if finished:
        make_fingerprints(short_model, checkpoint=tmp_path / "log", **options)
    tracemalloc.start()
    try:
        data = make_fingerprints(short_model, checkpoint=tmp_path / "log", **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    result = data.X.nbytes + data.y.nbytes + data.crb.nbytes + data.theta.to_numpy().nbytes
    theta_bytes = data.theta.to_numpy().nbytes
    assert peak - result < LIMIT + 4 * theta_bytes


@pytest.mark.parametrize(
    ("n", "chunk", "memory_limit", "expected"),
    [
        (250, 40, 10**6, [(0, 80), (80, 160), (160, 240), (240, 250)]),
        (150, 1000, 10**6, [(0, 100), (100, 150)]),
        (3, 1, 1, [(0, 1), (1, 2), (2, 3)]),
        (100, 5, 240, [(10 * i, 10 * i + 10) for i in range(10)]),
    ],
)
def test_parts_are_whole_chunks_in_a_bounded_memory(n, chunk, memory_limit, expected):
    parts = _fingerprint_parts.split(n, chunk, 10, memory_limit)
    assert [(part.start, part.stop) for part in parts] == expected
